"""A past that is read again and again: what is read when, and what a failure leaves."""

import asyncio
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History, kept_days
from exporter.history.encoding import MAX_TASKS
from exporter.history.periodic import (
    OVERLAP,
    Found,
    PeriodicPast,
    SourceError,
    Span,
    known_tasks,
    read_once,
    spans_to_read,
)
from exporter.store.restarts import FleetKey

ETL, OTHER = ("matillion", "etl"), ("matillion", "other")
DAY = 20_454
"""2026-01-01, in days since 1970."""
NOON = DAY * 86400.0 + 43200
SETTLE = 90.0


class Database:
    """A `PastReader` of which every slot that is over has the demand `tasks`."""

    name = "database"

    def __init__(self, *fleets: FleetKey) -> None:
        self.fleets = set(fleets)
        self.tasks = 1
        self.left_out = 0
        self.failure: SourceError | None = None
        self.asked: list[tuple[Sequence[Span], Collection[FleetKey] | None]] = []
        self.times: list[float] = []
        """When it was asked, on the event loop's clock."""
        self.entered = 0

    async def __aenter__(self) -> "Database":
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.entered -= 1

    async def read(self, spans: Sequence[Span], fleets: Collection[FleetKey] | None) -> Found:
        assert self.entered == 1
        self.times.append(asyncio.get_running_loop().time())
        self.asked.append((spans, None if fleets is None else set(fleets)))
        if self.failure:
            raise self.failure
        history = History()
        for span in spans:
            history = history.with_slots(span.first, [self.tasks] * span.count)
        return Found({key: history for key in self.fleets if fleets is None or key in fleets}, left_out=self.left_out)


class Clock:
    def __init__(self, now: float = NOON + SETTLE) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def running(self) -> float:
        """Return the time on the clock of the event loop, which a test makes virtual."""
        return self.now + asyncio.get_running_loop().time()


def periodic(database: Database, clock: Any, **more: Any) -> PeriodicPast:
    return PeriodicPast(database, days=7, settle=SETTLE, wall=clock, **more)


def values(past: PeriodicPast, first: int, count: int, fleet: FleetKey = ETL) -> list[int]:
    known = past.past(fleet)
    assert known is not None
    return list(known.history.slots(first, count))


NOW = int(NOON // SLOT_SECONDS)
"""The slot that begins at noon."""


# -- which spans -------------------------------------------------------------------------------------------------------


def test_all_that_a_history_keeps() -> None:
    """The spans are the days that are not trimmed, up to the last slot that is over."""
    spans = spans_to_read(NOON + 299, 7)
    slots = {slot for span in spans for slot in range(span.first, span.end)}
    assert slots == {
        slot for day in kept_days(NOON, 7) for slot in range(day * SLOTS, day * SLOTS + SLOTS) if slot < NOW
    }
    assert all(one.end < other.first for one, other in pairwise(spans))
    # The ends of September, October and November, and what leads up to today.
    assert len(spans) == 4
    assert spans[-1] == Span((DAY - 8) * SLOTS, NOW)
    history = History()
    for span in spans:
        history = history.with_slots(span.first, [1] * span.count)
    before = list(history.days())
    history.trim(NOON, 7)
    assert history.days() == before


def test_midnight_begins_no_empty_span() -> None:
    """When a day has just begun, nothing of it is over."""
    for after in (0.0, 299.0):
        assert spans_to_read(DAY * 86400 + after, 7)[-1].end == DAY * SLOTS


def test_spans_are_cut_at_days() -> None:
    """Pieces are whole days where the span allows it."""
    assert list(Span(280, 600).cut(288)) == [Span(280, 288), Span(288, 576), Span(576, 600)]
    assert list(Span(288, 288).cut(288)) == []


@pytest.mark.parametrize(
    ("value", "tasks"),
    [(0, 0), (-0.0, 0), (3.9, 3), (MAX_TASKS, MAX_TASKS), (MAX_TASKS + 1, None), (-1, None), (float("nan"), None)],
)
def test_what_is_a_demand(value: float, tasks: int | None) -> None:
    """Negative, absurd and undefined numbers are none."""
    assert known_tasks(value) == tasks


# -- what is read ------------------------------------------------------------------------------------------------------


async def test_first_all_then_what_is_new() -> None:
    """After all was read, only the latest slots are, with an hour of overlap; what changed there is taken."""
    database, clock = Database(ETL), Clock()
    past = periodic(database, clock)
    assert past.past(ETL) is None
    async with database:
        await past.refresh()
        first = past.past(ETL)
        clock.now += 900
        database.tasks = 2
        await past.refresh()
    assert database.asked == [(spans_to_read(NOON, 7), None), ([Span(NOW - OVERLAP, NOW + 3)], None)]
    assert values(past, NOW - OVERLAP - 1, OVERLAP + 5) == [1, *[2] * (OVERLAP + 3), GAP]
    assert past.past(ETL).read_time == clock.now
    # What was given before has not changed.
    assert first.history.slots(NOW, 1)[0] == GAP
    assert first.read_time == clock.now - 900


async def test_all_is_read_again_each_day() -> None:
    """After midnight, and when the clock was set back; what the database has forgotten is forgotten."""
    database, clock = Database(ETL, OTHER), Clock()
    past = periodic(database, clock)
    async with database:
        await past.refresh()
        clock.now += 64800
        database.tasks, database.fleets = 2, {ETL}
        await past.refresh()
        clock.now -= 7200
        await past.refresh()
    assert [len(spans) > 1 for spans, _ in database.asked] == [True, True, True]
    assert values(past, NOW, 1) == [2]
    assert not past.past(OTHER).history.days()


async def test_a_failure_leaves_what_is_known() -> None:
    """The past stays with its age, and what was missed is read later."""
    database, clock = Database(ETL), Clock()
    past = periodic(database, clock)
    async with database:
        await past.refresh()
        before = past.past(ETL)
        database.failure = SourceError("broken", "mend it", "kind")
        clock.now += 3600
        with pytest.raises(SourceError, match="broken"):
            await past.refresh()
        assert past.past(ETL) == before
        database.failure = None
        await past.refresh()
    assert database.asked[-1] == ([Span(NOW - OVERLAP, NOW + 12)], None)
    assert values(past, NOW, 12) == [1] * 12


async def test_fleets_that_come_and_go() -> None:
    """A new fleet's past is read as a whole, that of one that is gone is forgotten, and without any nothing is read."""
    database, clock = Database(ETL), Clock()
    wanted: set[FleetKey] = set()
    past = periodic(database, clock, fleets=lambda: wanted)
    async with database:
        await past.refresh()
        assert database.asked == []
        wanted |= {ETL}
        await past.refresh()
        assert past.past(OTHER) is None
        wanted |= {OTHER}
        await past.refresh()
        assert database.asked[1:] == [(spans_to_read(NOON, 7), {OTHER})]
        assert not past.past(OTHER).history.days()
        wanted -= {ETL}
        clock.now += 900
        await past.refresh()
    assert database.asked[2:] == [([Span(NOW - OVERLAP, NOW + 3)], {OTHER})]
    assert past.past(ETL) is None


async def test_points_that_are_no_demand_are_reported_once() -> None:
    """With how many they are, until there are none."""
    database, clock = Database(ETL), Clock()
    database.left_out = 3
    past = periodic(database, clock)
    with capture_logs() as log:
        async with database:
            for _ in range(3):
                await past.refresh()
                clock.now += 900
    assert [line["points"] for line in log if "no demand" in line["event"]] == [3]


async def test_read_once() -> None:
    """For a command: all of every fleet, and the reader is left."""
    database = Database(ETL, OTHER)
    found = await read_once(database, until=NOON, days=7)
    assert found.keys() == {ETL, OTHER}
    assert database.asked == [(spans_to_read(NOON, 7), None)]
    assert database.entered == 0


# -- over time ---------------------------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_it_reads_after_each_quarter_of_an_hour() -> None:
    """At the same time in every replica, whenever it was started."""
    database, clock = Database(ETL), Clock(NOON + 1000)
    past = periodic(database, clock.running)
    running = asyncio.create_task(past.run())
    await asyncio.sleep(3000)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    times = [clock.now + at - NOON for at in database.times]
    assert times == pytest.approx([1000, 1800 + SETTLE, 2700 + SETTLE, 3600 + SETTLE], abs=1.5)
    assert database.entered == 0


@pytest.mark.looptime
async def test_it_retries_and_says_it_once() -> None:
    """Failures are retried soon, then every quarter of an hour; one line each when they begin and end."""
    database, clock = Database(ETL), Clock()
    database.failure = SourceError("broken", "mend it", "kind")
    with capture_logs() as log:
        running = asyncio.create_task(periodic(database, clock.running).run())
        await asyncio.sleep(7200)
        assert 8 <= len(database.asked) <= 24
        database.failure = None
        await asyncio.sleep(1000)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    events = [(line["event"], line.get("reason"), line.get("fix")) for line in log]
    assert events == [
        ("the past of the fleets cannot be read; what was read before stays in use; will retry", "broken", "mend it"),
        ("the past of the fleets is read", None, None),
        ("the past of the fleets can be read again", None, None),
    ]


@pytest.mark.looptime
async def test_a_new_fleet_is_not_kept_waiting() -> None:
    """Its past is read within seconds, not at the end of the quarter of an hour."""
    database, clock = Database(ETL, OTHER), Clock()
    wanted = {ETL}
    past = periodic(database, clock.running, fleets=lambda: wanted)
    running = asyncio.create_task(past.run())
    await asyncio.sleep(60)
    wanted.add(OTHER)
    await asyncio.sleep(20)
    assert past.past(OTHER) is not None
    assert len(database.asked) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.looptime
async def test_a_clock_that_is_set_back_is_not_waited_for() -> None:
    """The past is read again soon, up to the new time."""
    database, clock = Database(ETL), Clock()
    running = asyncio.create_task(periodic(database, clock.running).run())
    await asyncio.sleep(60)
    clock.now -= 86400
    await asyncio.sleep(60)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [spans[-1].end for spans, _ in database.asked] == [NOW, NOW - SLOTS]
