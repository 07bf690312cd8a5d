"""A port whose packets are dropped, for real: as behind the vendor's NetworkPolicy, which opens 8080 only."""

import asyncio
import random
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint
from exporter.scrape.client import PageClient
from exporter.scrape.reader import AgentReader
from tests.factories import make_target
from tests.scrape.scripted_agents import legacy_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops a SYN for a full accept queue"),
]


@pytest.fixture
def dropping_port() -> Iterator[int]:
    """Return a port of this machine that answers no SYN: Linux drops those of a socket whose accept queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    time.sleep(0.1)
    yield port
    for filler in fillers:
        filler.close()
    listener.close()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_the_port_really_drops(dropping_port: int) -> None:
    """Neither refused nor accepted: what the other test is about."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.open_connection("127.0.0.1", dropping_port)


async def test_an_agent_behind_a_dropping_policy_is_read_within_a_second(dropping_port: int) -> None:
    """On the port that is open, without waiting for the one that is not."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(body=legacy_page(), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/actuator/prometheus", page)
    async with TestServer(app) as server:
        settings = ScrapeSettings(
            endpoints=(
                Endpoint(Dialect.OTEL, dropping_port, "/metrics"),
                Endpoint(Dialect.LEGACY, server.port or 0, "/actuator/prometheus"),
            )
        )
        async with PageClient(settings) as client:
            reader = AgentReader(
                settings,
                client,
                asyncio.get_running_loop().time,
                random.Random(1),  # noqa: S311 - jitter
            )
            before = _open_files()
            started = time.monotonic()
            answer = await reader.read(make_target(address="127.0.0.1"))
            took = time.monotonic() - started
            # The connection that is kept for the next time, and the server's end of it.
            assert _open_files() - before == 2
    assert (answer.reading.dialect, answer.reading.tasks_active) == (Dialect.LEGACY, 5)
    # 0.75 s, and what a busy machine adds; the dropped connection alone would be given up after 1.5 s.
    assert took < 0.5 * settings.timeout
