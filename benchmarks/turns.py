"""`python -m benchmarks.turns`: for how long the largest pieces of work hold the event loop, and what a start costs.

Everything is done here in one process, with the longest lists, the largest pages and the most agents there may be.
Prints a table; exit 0 when every target is met, 1 when one is missed.
"""

import asyncio
import gc
import http.client
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from structlog.testing import capture_logs

from benchmarks.scrape.figures import verdict
from benchmarks.silent_agents import SilentAgents
from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint
from exporter.fleet.policy import Policy
from exporter.publish.cloudwatch import Pace
from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeError
from exporter.scrape.poller import Poller
from exporter.scrape.reader import AgentReader
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, make_facts, make_fleet, make_snapshot, make_target
from tests.fakes import hostile
from tests.fakes.background import background
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import CREDENTIALS, HandClock, leave_in_spool, old_datums, publishing
from tests.web.serving import StaticView, make_server, running

AGENTS = 10_000
MOST_MILLISECONDS = 50.0
"""For which any part of the process may hold the event loop."""
MOST_TO_BEGIN = 100.0
"""The same when publishing begins: the AWS library's client is made once, in pieces that are not ours."""
MOST_TO_START = 250.0
"""Microseconds of the processor for each agent."""
BACKLOG = 20_000
"""Datums that wait when publishing begins."""
LIMIT = ScrapeSettings().max_body_bytes
LARGEST = {
    "blank lines": hostile.page(b"\n" * LIMIT),
    "blank lines in gzip": hostile.answer(
        hostile.response(hostile.gzip_bomb(LIMIT), "200 OK", "Content-Encoding: gzip")
    ),
    "one series again and again": hostile.page(b"app_version 1\n" * (LIMIT // 14)),
    "one line": hostile.page(b'app_version{a="' + b"x" * (LIMIT - 100) + b'"} 1\n'),
}
"""Pages as large as allowed."""
TRIES = 5
"""The best of them counts: what disturbs a loop from outside is not the exporter's doing."""

_T = TypeVar("_T")
Row = tuple[str, float, float]
"""What was measured, the figure, the target."""


async def longest_turn(work: Awaitable[object]) -> float:
    """Return the longest time between two turns of the loop while something is done, in ms of this thread's CPU."""
    longest, doing = 0.0, asyncio.ensure_future(work)
    while not doing.done():
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    await doing
    return longest * 1000


async def longest_delay(work: Awaitable[object]) -> float:
    """Return by how much a timer was late at most while something is done, in ms: threads hold the loop up, too."""
    longest, doing = 0.0, asyncio.ensure_future(work)
    while not doing.done():
        before = time.perf_counter()
        await asyncio.wait({doing}, timeout=0.001)
        longest = max(longest, time.perf_counter() - before - 0.001)
    await asyncio.gather(doing, return_exceptions=True)
    return longest * 1000


async def best(measure: Callable[[], Awaitable[float]]) -> float:
    """Return the least of a few measurements."""
    return min([await measure() for _ in range(TRIES)])


def read(address: str, path: str) -> Awaitable[bytes]:
    """Read an answer in a thread."""

    def ask() -> bytes:
        client = http.client.HTTPConnection(address, timeout=60)
        client.request("GET", path)
        body = client.getresponse().read()
        client.close()
        return body

    return asyncio.to_thread(ask)


async def agents_listed() -> float:
    """Measure the list of all agents, some 9 MB."""
    snapshots = [make_snapshot(f"agent-{number:05}", facts=make_facts()) for number in range(AGENTS)]
    async with running(make_server(StaticView([make_fleet(snapshots)]))) as address:
        return await best(lambda: longest_turn(read(address, "/api/v1/agents")))


async def history_listed() -> float:
    """Measure six hours of a hundred fleets, some 11 MB."""
    view = StaticView([make_fleet(name=f"fleet-{number}") for number in range(100)])
    server = make_server(view)
    for number in range(1440):
        view.instant = NOW + 15 * number
        server.history.sample()
    async with running(server) as address:
        return await best(lambda: longest_turn(read(address, "/api/v1/history")))


async def page_read(behaviour: hostile.Behaviour) -> float:
    """Measure one page of an agent, as large as allowed."""
    settings = ScrapeSettings(interval=30.0, timeout=20.0, filter_names=False)
    async with hostile.HostileServer(behaviour) as server, PageClient(settings) as client:
        endpoint = Endpoint(Dialect.OTEL, server.port, "/metrics")
        target = make_target("ill", address=server.host, endpoint=endpoint)

        async def scrape() -> None:
            with suppress(ScrapeError):
                await AgentReader(settings, client, time.monotonic, random.Random(1)).read(target)  # noqa: S311 - jitter

        return await best(lambda: longest_delay(scrape()))


async def publishing_begun() -> float:
    """Measure the beginning of publishing, with a backlog in the spool."""
    clock = HandClock()
    with tempfile.TemporaryDirectory() as folder:
        await leave_in_spool(Path(folder), old_datums(clock(), BACKLOG))
        async with FakeCloudWatch(clock) as cloudwatch:

            async def first_datum() -> None:
                # The fake shares the loop, and takes its time over a full request: only the first, a small one, counts.
                async with publishing(Path(folder), cloudwatch, pace=Pace(backlog_pause=1.0)):
                    await cloudwatch.until(lambda: bool(cloudwatch.of("CapacityTasks")))

            return await longest_turn(first_datum())


async def agents_begun() -> float:
    """Return the microseconds of the processor that the beginning with an agent takes, of ten thousand."""
    settings, silent = ScrapeSettings(interval=15.0), SilentAgents()
    store = SnapshotStore(Policy(), monotonic=time.monotonic, wall=time.time)
    random_phases = random.Random(1)  # noqa: S311 - it spreads scrapes over time
    poller = Poller(settings, store, silent, silent, monotonic=time.monotonic, phases=random_phases)
    targets = [make_target(f"agent-{n}", address=f"10.0.{n >> 8}.{n & 255}") for n in range(AGENTS)]
    before = time.process_time()
    store.replace("static targets", targets)
    async with background(poller.run()):
        await asyncio.sleep(0.001)
        return (time.process_time() - before) / AGENTS * 1e6


async def measured() -> list[Row]:
    """Measure everything."""
    rows: list[Row] = [
        (f"the list of {AGENTS:,} agents, ms", await agents_listed(), MOST_MILLISECONDS),
        ("the history of 100 fleets, ms", await history_listed(), MOST_MILLISECONDS),
    ]
    rows += [
        (f"a page of {LIMIT >> 20} MiB, {name}, ms", await page_read(page), MOST_MILLISECONDS)
        for name, page in LARGEST.items()
    ]
    rows.append(("publishing begins with a backlog, ms", await publishing_begun(), MOST_TO_BEGIN))
    rows.append(("scraping of an agent begins, µs of CPU", await agents_begun(), MOST_TO_START))
    return rows


def main() -> int:
    """Print the table; return the exit code."""
    os.environ |= CREDENTIALS
    gc.collect()
    gc.freeze()
    with capture_logs():
        rows = asyncio.run(measured())
    print("| the event loop is held by | at most | target | |\n| --- | --- | --- | --- |")
    for what, figure, target in rows:
        print(f"| {what} | {figure:.1f} | ≤ {target:.0f} | {verdict(good=figure <= target)} |")
    return 0 if all(figure <= target for _, figure, target in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
