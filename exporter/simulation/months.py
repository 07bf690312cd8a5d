"""Generated months of work: tasks by the time they come, and what a perfect hand-written cron would ask for."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from heapq import heappop, heappush
from math import exp
from zoneinfo import ZoneInfo

from exporter.forecast.history import GAP, SLOT_SECONDS, History
from exporter.forecast.local_days import SATURDAY
from exporter.simulation.draws import poisson
from exporter.simulation.replay import Task

ZONE = ZoneInfo("Europe/Berlin")
LEARNED_DAYS = 75
"""Days before the scored ones: two month ends."""
JITTER = 120.0
"""Standard deviation of a job's start, in seconds."""


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that comes by the clock."""

    hour: float
    tasks: int
    seconds: float
    """How long one of its tasks runs on average."""
    spread: float = 240.0
    """Seconds within which its tasks come."""


@dataclass(frozen=True, slots=True)
class Month:
    """One pattern of work."""

    name: str
    first: date
    """First scored day."""
    days: int
    """Scored days."""
    jobs: Callable[[date], Sequence[Job]]
    """The batches of a day."""
    rate: Callable[[date, float], float]
    """Tasks a second that come one by one, by day and hour."""
    season: int = 1
    """Days of the season that Holt-Winters is given."""
    seconds: float = 300.0
    """How long a task runs that comes one by one."""

    def tasks(self, seed: str, learned_days: int = LEARNED_DAYS) -> list[Task]:
        """Return all tasks in the order they come, from `learned_days` before the first scored day."""
        chance = random.Random(f"{seed}/{self.name}")
        found: list[Task] = []
        for offset in range(-learned_days, self.days):
            day = self.first + timedelta(days=offset)
            for job in self.jobs(day):
                start = clock(day, job.hour) + chance.gauss(0, JITTER)
                size = round(job.tasks * chance.uniform(0.85, 1.1))
                found += [
                    (start + chance.uniform(0, job.spread), job.seconds * chance.uniform(0.6, 1.4)) for _ in range(size)
                ]
            for quarter in range(96):
                expected = self.rate(day, quarter / 4) * 900
                found += [
                    (clock(day, quarter / 4) + chance.uniform(0, 900), chance.expovariate(1 / self.seconds))
                    for _ in range(poisson(chance, expected))
                ]
        return sorted(found)

    def cron(self, day: date, hour: float) -> float:
        """Return the tasks that a cron with knowledge of the generator holds agents for, without looking ahead."""
        planned = self.rate(day, hour) * self.seconds
        for job in self.jobs(day):
            begin, end = job.hour - 2 * JITTER / 3600, job.hour + (2 * JITTER + job.spread + job.seconds) / 3600
            if begin <= hour < end:
                planned += job.tasks * 1.1
        return planned


def clock(day: date, hour: float) -> float:
    """Return the Unix seconds of an hour of a local day."""
    minutes = round(hour * 60)
    return datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=ZONE).timestamp()


def ideal(tasks: Sequence[Task]) -> History:
    """Return the history of demand where no task waits."""
    history, ends = History(), list[float]()
    for at, running in _steps(tasks, ends):
        history.record(at, running)
    return history


def sample(month: Month, seed: str) -> list[tuple[float, int]]:
    """Return the last SAMPLE_DAYS days of a month: when each slot begins, in Unix seconds, and its highest demand."""
    end = clock(month.first + timedelta(days=month.days), 0)
    begin = clock(month.first + timedelta(days=month.days - SAMPLE_DAYS), 0)
    first, last = int(begin // SLOT_SECONDS), int(end // SLOT_SECONDS)
    history = ideal([task for task in month.tasks(seed, SAMPLE_DAYS - month.days + 1) if task[0] < end])
    slots = history.slots(first, last - first)
    return [((first + index) * float(SLOT_SECONDS), value) for index, value in enumerate(slots) if value != GAP]


def _steps(tasks: Sequence[Task], ends: list[float]) -> Iterator[tuple[float, int]]:
    """Yield the running tasks at each arrival, and at the start of each slot."""
    slot = tasks[0][0] // SLOT_SECONDS * SLOT_SECONDS
    for at, seconds in tasks:
        while slot <= at:
            while ends and ends[0] <= slot:
                heappop(ends)
            yield slot, len(ends)
            slot += SLOT_SECONDS
        while ends and ends[0] <= at:
            heappop(ends)
        heappush(ends, at + seconds)
        yield at, len(ends)


def _nightly(_day: date) -> Sequence[Job]:
    return [Job(2, 400, 1500), Job(4, 250, 1200), *(Job(hour, 50, 500) for hour in range(24))]


def _business(day: date, hour: float) -> float:
    if day.weekday() >= SATURDAY:
        return 0.01
    shape = exp(-(((hour - 10) / 2) ** 2)) + 0.8 * exp(-(((hour - 15) / 2) ** 2))
    return 0.02 + 0.6 * shape


def _morning(day: date) -> Sequence[Job]:
    return [Job(8, 250, 900), Job(12.5, 120, 900), Job(18, 200, 1200)] if day.weekday() < SATURDAY else []


def _month_end(day: date) -> Sequence[Job]:
    usual = [Job(2, 200, 1200), Job(14, 100, 900)]
    last = (day + timedelta(days=1)).day == 1
    return [*usual, Job(6, 500, 1800), Job(20, 600, 1500)] if last else usual


def _mixed(day: date) -> Sequence[Job]:
    nightly = [Job(2, 300, 1500), Job(4, 150, 900), *(Job(hour, 30, 400) for hour in range(24))]
    if day.weekday() < SATURDAY:
        nightly.append(Job(8, 150, 900))
    return [*nightly, Job(5, 350, 1800)] if (day + timedelta(days=1)).day == 1 else nightly


def _moved(day: date) -> Sequence[Job]:
    return [Job(2 if day < MOVED.first else 3, 400, 1500), *(Job(hour, 50, 500) for hour in range(24))]


def _random(day: date) -> Sequence[Job]:
    chance = random.Random(f"random/{day}")
    return [Job(chance.uniform(0, 23.9), round(chance.expovariate(1 / 150)), 900) for _ in range(8)]


def _little(_day: date, _hour: float) -> float:
    return 0.03


NIGHTLY = Month("nightly and hourly jobs", date(2026, 6, 15), 14, _nightly, _little)
BUSINESS = Month("weekday business load", date(2026, 6, 15), 14, _morning, _business, season=7)
MONTH_END = Month("month end and a clock change", date(2026, 3, 20), 14, _month_end, _little)
MOVED = Month("moved by an hour", date(2026, 6, 15), 7, _moved, _little)
PATTERNLESS = Month("no pattern", date(2026, 6, 15), 14, _random, _little)
MIXED = Month("nightly jobs, weekday business load and a month end", date(2026, 6, 17), 14, _mixed, _business)
MONTHS = (NIGHTLY, BUSINESS, MONTH_END)
SAMPLES = {
    "mixed": MIXED,
    "nightly": NIGHTLY,
    "business": BUSINESS,
    "month-end": MONTH_END,
    "no-pattern": PATTERNLESS,
}
"""What `simulate --month` writes, by the name it is asked for."""
SAMPLE_DAYS = 30
