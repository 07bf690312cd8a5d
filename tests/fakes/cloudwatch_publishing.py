"""What a publisher needs around it in a test: a fast clock, fleets and leadership set by hand, counted observations."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.config import CloudWatchSettings, SpoolSettings
from exporter.fleet.cloudwatch_catalogue import select
from exporter.fleet.model import Fleet
from exporter.publish.cloudwatch import CloudWatchPublisher, Pace
from exporter.publish.datum import Datum, DatumSeries
from exporter.publish.fleet_datums import Selection
from exporter.publish.spool import Spool
from tests.factories import make_fleet, make_snapshot
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.leadership import Leader
from tests.waiting import PATIENCE

QUICK = Pace(backlog_pause=0.02, first_retry=0.05, max_retry=0.2, max_sleep=0.01)
"""A pace for tests: it waits little for anything but answers, and sees soon that the wall clock was moved on."""
IMPATIENT = replace(QUICK, deadline=1.5)
"""Does not wait for the AWS library to try again and again. A stall may make it send a second time what was taken."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
"""What the default credential chain finds, and nothing of the machine's."""


class HandClock:
    """A wall clock that stands at the beginning of an hour until it is moved on by hand, however long that takes."""

    def __init__(self) -> None:
        self.start = time.time() // 3600 * 3600
        self.now = self.start

    def __call__(self) -> float:
        return self.now


class Fleets:
    """A store with what it is told; `asked` is how often it was asked, which is once for each minute."""

    def __init__(self, *fleets: Fleet) -> None:
        self.current: Sequence[Fleet] = fleets or (make_fleet(),)
        self.missing: str | None = None
        self.asked = 0

    def fleets(self) -> Sequence[Fleet]:
        self.asked += 1
        return self.current

    def fleet_keys(self) -> Sequence[tuple[str, str]]:
        return [(fleet.namespace, fleet.name) for fleet in self.current]

    def not_ready_reason(self) -> str | None:
        return self.missing


class MinutesOfWork(Fleets):
    """A store whose one agent has as many tasks as `of` says for the minute, so that a late value shows."""

    def __init__(self, wall: Callable[[], float]) -> None:
        super().__init__()
        self._wall = wall

    @staticmethod
    def of(minute: float) -> float:
        """Return the tasks in the minute that begins at `minute` (Unix seconds)."""
        return minute // 60 % 19

    def fleets(self) -> Sequence[Fleet]:
        self.asked += 1
        return [make_fleet([make_snapshot(tasks_active=self.of(self._wall()))])]


class Counts:
    """An Observer that adds up."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.datums: Counter[str] = Counter()
        self.dollars: float | None = None

    def cloudwatch_requested(self, outcome: str) -> None:
        self.requests[outcome] += 1

    def cloudwatch_datums(self, outcome: str, count: int) -> None:
        self.datums[outcome] += count

    def cloudwatch_cost(self, dollars_per_month: float) -> None:
        self.dollars = dollars_per_month


def selection(*chosen: str) -> Selection:
    """Return a selection for the cluster `prod`; all metrics if none are named."""
    return Selection(cluster="prod", metrics=select(chosen or ("all",)))


@dataclass
class Running:
    """A publisher at work and everything around it."""

    publisher: CloudWatchPublisher
    fleets: Fleets
    leader: Leader
    counts: Counts
    wall: Callable[[], float]
    task: "asyncio.Task[None]"

    async def minutes(self, number: int) -> None:
        """Move the clock on by so many minutes, by each when the publisher has made the datums of the one before."""
        assert isinstance(self.wall, HandClock)
        for _ in range(number):
            await self.until(lambda: self.fleets.asked > 0)
            asked = self.fleets.asked
            self.wall.now += 60
            await self.until(lambda before=asked: self.fleets.asked > before)

    async def until(self, reached: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until something holds, looking often."""
        async with asyncio.timeout(seconds):
            while not reached():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.01)

    async def drained(self) -> None:
        """Wait until nothing waits in the spool any more."""
        await self.until(lambda: self.publisher.spool_datums == 0)


@asynccontextmanager
async def publishing(
    directory: Path,
    cloudwatch: FakeCloudWatch | str,
    *fleets: Fleet,
    wall: Callable[[], float] | None = None,
    source: Fleets | None = None,
    what: Selection | None = None,
    pace: Pace = QUICK,
    leads: bool = True,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run a publisher for the time of the block: of CapacityTasks alone, of one fleet with one agent.

    Its clock is the fake's; with the URL of another CloudWatch it is given as `wall`.
    """
    url = cloudwatch if isinstance(cloudwatch, str) else cloudwatch.url
    wall = wall or (time.time if isinstance(cloudwatch, str) else cloudwatch.wall)
    spool = SpoolSettings(path=directory / "spool.db", max_datums=settings.pop("max_datums", 500_000))
    made = CloudWatchSettings(**{"region": "eu-west-1", "endpoint_url": url, "spool": spool} | settings)
    what = what or selection("CapacityTasks")
    source, leader, counts = source or Fleets(*fleets), Leader(leads), Counts()
    async with CloudWatchPublisher(made, what, source, leader, counts, wall=wall, pace=pace) as publisher:
        running = Running(publisher, source, leader, counts, wall, asyncio.create_task(publisher.run()))
        try:
            yield running
            assert not running.task.done()
        finally:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        assert running.task.cancelled()


def old_datums(now: float, number: int) -> list[Datum]:
    """Return datums of the minutes before now, a minute apart, the latest first."""
    minute = int(now) // 60 * 60
    series = DatumSeries("Old", "Count", (("Fleet", "f"),))
    return [Datum(series, minute - 60 * (1 + age % 10_000), (float(age),)) for age in range(number)]


async def leave_in_spool(directory: Path, datums: Sequence[Datum]) -> None:
    """Leave datums in the spool, as a process that could not send them does."""
    async with Spool(directory / "spool.db", max_datums=500_000) as spool:
        await spool.add(datums, {}, expire_before=0)
