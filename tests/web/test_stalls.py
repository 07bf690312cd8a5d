"""Long answers leave the event loop its turns, measured in CPU time so that a busy machine does not count."""

import asyncio
import gc
import http.client
import json
import time
from collections.abc import Iterator

import pytest

from tests.factories import NOW, make_facts, make_fleet, make_snapshot
from tests.web.serving import StaticView, make_server, running

LONGEST_SECONDS = 0.05
"""The longest time any part of this process may hold the event loop."""


@pytest.fixture(autouse=True)
def _young_heap() -> Iterator[None]:
    """Keep what the test session itself has on its heap out of the collector's walks, which would be measured too."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def longest_turn(address: str, path: str) -> tuple[float, dict[str, list[object]]]:
    """Ask for a path from another thread; return the longest CPU time between two turns of the loop, and the answer."""

    def ask() -> bytes:
        client = http.client.HTTPConnection(address, timeout=30)
        client.request("GET", path)
        body = client.getresponse().read()
        client.close()
        return body

    longest, asking = 0.0, asyncio.create_task(asyncio.to_thread(ask))
    while not asking.done():
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    return longest, json.loads(await asking)


@pytest.mark.slow
async def test_ten_thousand_agents_never_hold_the_loop() -> None:
    """All 10,000 agents are listed, some 9 MB, in turns below the limit."""
    snapshots = [make_snapshot(f"agent-{number:05}", facts=make_facts()) for number in range(10_000)]
    async with running(make_server(StaticView([make_fleet(snapshots)]))) as address:
        longest, answer = await longest_turn(address, "/api/v1/agents")
    assert len(answer["agents"]) == 10_000
    assert longest < LONGEST_SECONDS


@pytest.mark.slow
async def test_a_full_history_never_holds_the_loop() -> None:
    """A hundred fleets of six hours, some 11 MB, leave in turns too."""
    view = StaticView([make_fleet(name=f"fleet-{number}") for number in range(100)])
    server = make_server(view)
    for number in range(1440):
        view.instant = NOW + 15 * number
        server.history.sample()
    async with running(server) as address:
        longest, answer = await longest_turn(address, "/api/v1/history")
    assert len(answer["history"]) == 100
    assert longest < LONGEST_SECONDS
