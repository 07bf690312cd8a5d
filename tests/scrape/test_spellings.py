"""Agents whose libraries write names in their own way, on real sockets: each is read, filtered and whole."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, replace

import pytest
from aiohttp import web

from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint, Reading
from exporter.scrape.client import PageClient
from exporter.scrape.reader import AgentReader
from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.pages import TEXT, Page, example_vitals
from exporter.simulator.vitals import CURRENT, Image, Spelling
from tests.factories import make_target
from tests.fakes.simulated_agent import agent_at_work

HOST = f"127.24.{os.getpid() % 256}.1"
VITALS = example_vitals(seed=5)


async def readings(port: int, count: int = 3) -> list[Reading]:
    """Read the agent at this port so many times: the whole page first, then filtered ones if that loses nothing."""
    target = make_target(address=HOST, endpoint=Endpoint(Dialect.OTEL, port, "/metrics"))
    settings = ScrapeSettings()
    async with PageClient(settings) as client:
        reader = AgentReader(settings, client, time.monotonic, random.Random(1))  # noqa: S311 - jitter
        return [(await reader.read(target)).reading for _ in range(count)]


@pytest.mark.parametrize("spelling", Spelling)
async def test_an_agent_is_read_however_its_names_are_spelled(spelling: Spelling) -> None:
    """In OpenMetrics, which client_java sends to whoever accepts it; nothing is lost against today's spelling."""
    found = []
    for image in (CURRENT, replace(CURRENT, spelling=spelling)):
        subject = agent_at_work(0, "production", "production-0", image, tasks=7)
        server = AgentServer(subject, Place(HOST), clock=lambda: 100.0)
        await server.follow()
        try:
            found += await readings(9464)
        finally:
            await server.close()
    assert all(reading == found[0] for reading in found)
    assert None not in astuple(found[0])


@asynccontextmanager
async def serving(image: Image, known: str) -> AsyncIterator[tuple[int, list[int]]]:
    """Serve an agent's page; the filter knows names that contain `known`. Yields the port, and the sizes of answers."""
    page, sizes = Page(image, Dialect.OTEL), list[int]()

    async def answer(request: web.BaseRequest) -> web.Response:
        names = frozenset(name for name in request.query.getall("name[]", ()) if known in name)
        body = page.render(VITALS, names=names) if names or "name[]" not in request.query else b""
        sizes.append(len(body))
        return web.Response(body=body, headers={"Content-Type": TEXT})

    server = web.Server(answer, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, HOST, 0)
    try:
        yield listener.sockets[0].getsockname()[1], sizes
    finally:
        listener.close()
        await server.shutdown(timeout=0.1)


@pytest.mark.parametrize("spelling", Spelling)
async def test_the_filter_works_for_every_spelling(spelling: Spelling) -> None:
    """Servers know their families by underscored names, and all of those are asked for: no page is sent whole again."""
    async with serving(replace(CURRENT, spelling=spelling), known="") as (port, sizes):
        first, *others = await readings(port)
    assert others == [first, first]
    assert max(sizes[1:]) < sizes[0] / 4


@pytest.mark.parametrize("known", ["_connected", "nothing", "task_running"])
async def test_a_filter_that_knows_other_names_loses_no_family(known: str) -> None:
    """What its page lacks is found on the whole one, in the same turn and from then on."""
    async with serving(replace(CURRENT, spelling=Spelling.QUOTED), known) as (port, sizes):
        first, *others = await readings(port, 4)
    assert others == [first] * 3
    assert len(sizes) == 5
    assert {size == sizes[0] for position, size in enumerate(sizes) if position != 1} == {True}
