"""The history: what is kept, for how long, and how many fleets it is kept of."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.web.history import MAX_FLEETS, RETENTION, History
from exporter.web.points import FIGURES
from tests.factories import NOW, WALL_NOW, make_fleet
from tests.forecast.generated import recorded
from tests.web.clocked_history import Clocked
from tests.web.serving import StaticView


def test_a_point_per_fleet_and_sample() -> None:
    """Fleets are kept apart and in order; a query by fleet, namespace and time narrows them."""
    clocked = Clocked()
    clocked.at(0, "b")
    clocked.at(15, "a", "b")
    assert clocked.times() == {"a": [15], "b": [0, 15]}
    assert clocked.times(fleet="b", since=WALL_NOW) == {"b": [15]}
    assert clocked.times(namespace="elsewhere") == {}


def test_unknown_is_null_in_columns_of_equal_length() -> None:
    """A figure that was withheld then stays withheld: null between the known ones, never 0."""
    clocked = Clocked()
    clocked.at(0, "a")
    clocked.at(15, "a", untrusted=True)
    (document,) = clocked.history.documents()
    assert document["demand_tasks"] == [12.0, None]
    assert document["tasks_active"] == [12.0, None]
    assert document["agents_unreachable"] == [0.0, 1.0]
    columns = set(document) - {"namespace", "fleet", "ahead", "stored"}
    assert columns == {"time_seconds", *(figure.name for figure in FIGURES)}
    assert all(len(document[name]) == 2 for name in columns)  # type: ignore[arg-type]


def test_points_grow_too_old_for_present_and_gone_fleets_alike() -> None:
    """A gone fleet keeps what it had until that is too old, then it is forgotten altogether."""
    clocked = Clocked(interval=10, retention=30)
    clocked.at(0, "gone", "here")
    clocked.at(10, "gone", "here")
    clocked.at(35, "here")
    assert clocked.times() == {"gone": [10], "here": [10, 35]}
    clocked.at(45, "here")
    assert clocked.times() == {"here": [35, 45]}


def test_points_are_bounded_even_if_samples_come_too_often() -> None:
    """The number of points is bounded by itself, so that a clock that stands still cannot fill the memory."""
    clocked = Clocked(interval=10, retention=30)
    for _ in range(100):
        clocked.at(0, "a")
    assert len(clocked.times()["a"]) == 3


def test_fleets_are_bounded_and_the_longest_gone_gives_way() -> None:
    """Room for a new fleet comes from the one gone longest, never from one that is there; being full is said once."""
    clocked = Clocked(max_fleets=2)
    clocked.at(0, "old", "older")
    clocked.at(15, "old")
    clocked.at(30, "new")
    assert clocked.times() == {"new": [30], "old": [0, 15]}
    with capture_logs() as logs:
        clocked.at(45, "new", "x", "y")
        clocked.at(60, "new", "x", "y")
    assert clocked.times() == {"new": [30, 45, 60], "x": [45, 60]}
    assert [entry["event"] for entry in logs] == ["some fleets have no history: there are too many"]


def test_nothing_is_noted_before_the_view_is_ready() -> None:
    """Figures of a first, partial look would be a dip that never was."""
    clocked = Clocked()
    clocked.view.reason = "the first scrape round is not over"
    clocked.at(0, "a")
    clocked.view.reason = None
    clocked.at(15, "a")
    assert clocked.times() == {"a": [15]}


def test_documents_may_be_read_while_points_are_taken() -> None:
    """An answer that is being written is not upset by fleets that come and go meanwhile."""
    clocked = Clocked(max_fleets=2)
    clocked.at(0, "a", "b")
    documents: Iterator[Any] = clocked.history.documents()
    assert next(documents)["fleet"] == "a"
    clocked.at(15, "c", "d")
    assert [document["fleet"] for document in documents] == []


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_run_takes_a_point_once_it_is_ready_and_every_interval() -> None:
    """The sampler is on time, and ends by being cancelled."""
    loop = asyncio.get_running_loop()
    view = StaticView([make_fleet()], reason="the first scrape round is not over")
    history = History(view, interval=15.0, wall_clock=loop.time, machine_clock=loop.time)
    task = asyncio.create_task(history.run(), name="web-history")
    await asyncio.sleep(6.5)
    view.reason = None
    await asyncio.sleep(31)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    (document,) = history.documents()
    assert document["time_seconds"] == pytest.approx([7, 22, 37])


def test_full_history_stays_within_the_memory_it_claims() -> None:
    """A fleet's six hours are 0.32 MB at most, as the bound on fleets was chosen for."""
    clocked = Clocked()
    fleet = make_fleet()
    clocked.view.shown = [fleet]
    for number in range(1440):
        clocked.view.instant = NOW + 15 * number
        clocked.history.sample()
    (track,) = clocked.history._tracks.values()
    assert len(track.points) == 1440 == RETENTION / 15
    assert sum(point.__sizeof__() for point in track.points) < 32_000_000 / MAX_FLEETS


def test_what_was_stored_goes_on_before_the_first_point() -> None:
    """After a restart the demand of the hours before is there, where the past of the forecast is; else nothing is."""
    past = recorded(lambda _day, hour: 12.0 if 1.5 < hour < 2.45 else None, [date(2026, 1, 1)])
    clocked = Clocked(past={("matillion", "a"): past}.get)
    clocked.view.shown = [make_fleet(name=name) for name in ("a", "b")]
    [early] = clocked.history.documents()
    assert early["stored"] is not None
    assert early["time_seconds"] == early["demand_tasks"] == []
    clocked.at(0, "a", "b")
    stored, nothing = (document["stored"] for document in clocked.history.documents())
    assert nothing is None
    assert isinstance(stored, dict)
    assert stored["start_time_seconds"] == WALL_NOW - 71 * 300
    values = stored["demand_tasks"]
    assert isinstance(values, list)
    assert len(values) == 72
    assert [value for value in values if value is not None] == [12] * 11
    assert values[-1] is None
    later = next(clocked.history.documents(since=WALL_NOW + 599))
    assert later["stored"] == stored, "a past may have been read after the first answer"
    assert next(clocked.history.documents(since=WALL_NOW + 600))["stored"] is None
    clocked.at(5.9 * 3600, "a", "b")
    stored = next(clocked.history.documents())["stored"]
    assert stored is None, "the first point is so old that nothing of before it is in the range"
