"""`python -m benchmarks.page`: what the status page costs the browser of whoever looks at it, with a thousand agents.

A headless Chromium opens the page of an exporter whose agents' figures change all the time, with six hours of history.
Prints a table; exit 0 when every target is met, 1 when one is missed.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs

from benchmarks.scrape.figures import Spread, verdict
from exporter.fleet.model import AgentSnapshot, Fleet
from tests.factories import NOW, make_facts, make_fleet, make_memory, make_reading, make_scaler, make_snapshot
from tests.fakes.background import background
from tests.fakes.chromium import Page, browser
from tests.web.serving import StaticView, make_server, running

AGENTS, FLEETS = 1000, 5
TRIES = 3
WINDOW_SECONDS = 20.0
MOST_TO_FIRST_CARD = 500.0
"""Milliseconds from the beginning of the navigation."""
MOST_BUSY = 0.4
"""Seconds of the processor that the main thread takes in a window, which has four refreshes."""
HISTORY_POINTS = 1440
_UNSEEN = "connection refused on 10.0.0.1:9464"

_WATCH = """(() => {
  new MutationObserver((_, observer) => {
    if (!document.querySelector(".fleet")) return;
    window.firstCard = performance.now();
    observer.disconnect();
  }).observe(document, {childList: true, subtree: true});
})()"""


def _snapshots(fleet: str, chance: random.Random) -> Iterator[AgentSnapshot]:
    for number in range(AGENTS // FLEETS):
        pod = f"{fleet}-7d9f8b6c5d-{number:05}"
        if number % 10 == 3:
            yield make_snapshot(pod, fleet=fleet, facts=make_facts(), age=60 + 60 * chance.random(), error=_UNSEEN)
            continue
        reading = make_reading(float(chance.randint(4, 22)), tasks_queued=float(chance.randint(0, 2)))
        usage = make_memory((1 + 2 * chance.random()) * 1024**3)
        yield make_snapshot(pod, fleet=fleet, facts=make_facts(), reading=reading, usage=usage)


def _fleets(chance: random.Random) -> list[Fleet]:
    names = [f"fleet-{number}" for number in range(FLEETS)]
    return [
        make_fleet(_snapshots(name, chance), name=name, scalers=[make_scaler(max_agents=400)], restarts=3)
        for name in names
    ]


async def _changing(view: StaticView, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(4)
        view.shown = await asyncio.to_thread(_fleets, chance)


@asynccontextmanager
async def _served() -> AsyncIterator[str]:
    chance = random.Random(1)  # noqa: S311 - figures of a simulated fleet
    view = StaticView()
    ahead = -15.0 * HISTORY_POINTS
    server = make_server(view, wall_clock=lambda: time.time() + ahead)
    for number in range(HISTORY_POINTS):
        if number % 20 == 0:
            view.shown = _fleets(chance)
        ahead += 15
        view.instant = NOW + ahead
        server.history.sample()
    async with running(server) as address, background(_changing(view, chance)):
        yield f"http://{address}/"


async def _busy_seconds(page: Page) -> float:
    metrics = (await page.send("Performance.getMetrics"))["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


async def _measured() -> tuple[Spread, Spread]:
    """Return the milliseconds until the first card, and the seconds of the main thread in each window."""
    first, busy = [], []
    async with _served() as url:
        for _ in range(TRIES):
            with tempfile.TemporaryDirectory() as folder:
                async with browser(Path(folder)) as page:
                    await page.send("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
                    # Its own time of the processor: what else this machine does would count otherwise.
                    await page.send("Performance.enable", timeDomain="threadTicks")
                    await page.goto(url)
                    await page.until("window.firstCard")
                    first.append(float(await page.evaluate("window.firstCard")))
                    await asyncio.sleep(2)
                    before = await _busy_seconds(page)
                    await asyncio.sleep(WINDOW_SECONDS)
                    busy.append(await _busy_seconds(page) - before)
    return Spread.of(first), Spread.of(busy)


def main() -> int:
    """Print the table; return the exit code."""
    with capture_logs():
        first, busy = asyncio.run(_measured())
    rows = (
        ("until the first card, ms", first, 0, MOST_TO_FIRST_CARD),
        (f"main thread in {WINDOW_SECONDS:.0f} s, s", busy, 2, MOST_BUSY),
    )
    print(f"| the page, {AGENTS:,} agents | least – median – greatest | target | |\n| --- | --- | --- | --- |")
    for what, spread, digits, target in rows:
        good = verdict(good=spread.middle <= target)
        print(f"| {what} | {spread.text(digits=digits)} | ≤ {target:g} (median) | {good} |")
    return 0 if first.middle <= MOST_TO_FIRST_CARD and busy.middle <= MOST_BUSY else 1


if __name__ == "__main__":
    sys.exit(main())
