"""The history over a restart: what is shown of the process before, and what the clocks may do meanwhile."""

from math import inf
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.web.history import MAX_POINTS, RETENTION
from exporter.web.points import BEFORE, NAMES, POINT, read, written
from tests.web.clocked_history import Clocked


def restarted(before: Clocked, seconds: float, *, wrong: float = 0.0, **limits: Any) -> Clocked:
    """Return the history of the next process, which starts `seconds` after the first did, by a clock that is wrong."""
    after = Clocked(**limits)
    content = b"".join(written(before.history.kept()))
    after.view.instant += seconds
    after.step = wrong
    after.history.sample()
    after.history.restore(read(content, max_points=MAX_POINTS, max_fleets=100))
    return after


def demand(clocked: Clocked) -> list[float | None]:
    (document,) = clocked.history.documents()
    values = document["demand_tasks"]
    assert isinstance(values, list)
    return values  # type: ignore[return-value]


def test_points_go_on_after_a_restart_with_a_gap() -> None:
    """What was taken before is there at once; then comes a point of nothing, so that no line is drawn over the gap."""
    before = Clocked()
    before.at(0, "a", "gone")
    before.at(15, "a")
    after = restarted(before, 25)
    assert after.times() == {"a": [0, 15, 16], "gone": [0, 1]}
    after.at(30, "a")
    assert after.times(fleet="a") == {"a": [0, 15, 16, 30]}
    (document,) = after.history.documents(fleet="a")
    assert document["demand_tasks"] == [12, 12, None, 12]
    assert after.times(fleet="a", since=after.wall() - 15) == {"a": [16, 30]}, "an open page gets the gap, too"


def test_restarts_in_a_row_are_one_gap() -> None:
    """A process that ends before its first point adds none."""
    before = Clocked()
    before.at(0, "a")
    third = restarted(restarted(before, 20), 40)
    assert third.times() == {"a": [0, 1]}
    third.at(60, "a")
    fourth = restarted(third, 70)
    assert fourth.times() == {"a": [0, 1, 60, 61]}


def test_points_of_before_grow_too_old() -> None:
    """They are shown as long as others, and after that not even kept."""
    before = Clocked()
    before.at(0, "a", "gone")
    before.at(100, "a", "gone")
    after = restarted(before, 200)
    after.at(RETENTION + 50, "a")
    assert after.times() == {"a": [100, 101, RETENTION + 50], "gone": [100, 101]}
    after.at(RETENTION + 150, "a")
    assert after.times() == {"a": [RETENTION + 50, RETENTION + 150]}
    after.at(RETENTION + 201, "a")
    assert set(after.history.kept()) == {("matillion", "a")}
    assert len(after.history.kept()["matillion", "a"]) == 3


def test_what_was_stored_long_ago_is_not_shown() -> None:
    """A file of last week has no point of the last hours."""
    before = Clocked()
    before.at(0, "a")
    after = restarted(before, 7 * 86400)
    assert after.times() == {}
    after.at(7 * 86400, "a")
    assert after.times() == {"a": [7 * 86400]}


def test_the_bound_on_points_holds_with_those_of_before() -> None:
    """A new point is one old one less, and the oldest goes first."""
    before = Clocked(interval=10, retention=40)
    for number in range(4):
        before.at(10 * number, "a")
    after = restarted(before, 35, interval=10, retention=40)
    after.at(40, "a")
    assert after.times() == {"a": [20, 30, 31, 40]}
    assert len(after.history.kept()["matillion", "a"]) == 4


def test_the_bound_on_fleets_holds_with_those_of_before() -> None:
    """A fleet that is there never gives way to one that was stored; of the stored ones the longest gone does."""
    before = Clocked()
    before.at(0, "old")
    before.at(15, "new")
    after = restarted(before, 20, max_fleets=2)
    after.at(30, "here")
    assert set(after.times()) == {"here", "new"}
    late = Clocked(max_fleets=1)
    late.at(30, "here")
    late.history.restore(before.history.kept())
    assert set(late.times()) == {"here"}


def test_a_file_that_was_read_late() -> None:
    """Another process may have had the file: of its points, those are shown that are from before the own ones."""
    before, after = Clocked(), Clocked()
    for seconds in (0, 15, 30, 45):
        before.at(seconds, "a")
    after.at(25, "a")
    after.at(40, "a")
    after.history.restore(before.history.kept())
    assert after.times() == {"a": [0, 15, 25, 40]}


@pytest.mark.parametrize("wrong", [-7200.0, 3600.0, 86400.0, -1e9])
def test_a_clock_that_is_wrong_at_the_start_loses_nothing(wrong: float) -> None:
    """A machine may get the time only after the exporter has started: then its points are there again."""
    before = Clocked()
    before.at(0, "a")
    before.at(15, "a")
    after = restarted(before, 30, wrong=wrong)
    after.at(45, "a")
    assert after.times()["a"][-1] == 45 + wrong
    after.step = 0.0
    after.at(60, "a")
    assert after.times() == {"a": [0, 15, 16, 45, 60]}


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set(step: float) -> None:
    """What was dated before is moved with it: times ascend, none lies in the future, and the file can be read."""
    clocked = Clocked()
    clocked.at(0, "a")
    clocked.at(15, "a")
    clocked.step = step
    clocked.at(30, "a")
    assert clocked.times() == {"a": [step, step + 15, step + 30]}
    assert demand(clocked) == [12, 12, 12]
    after = restarted(clocked, 40)
    after.step = step
    assert after.times() == {"a": [step, step + 15, step + 30, step + 31]}


def test_a_machine_that_slept() -> None:
    """The time it slept is a gap; nothing is moved over it."""
    clocked = Clocked()
    clocked.at(0, "a")
    clocked.slept = 3600
    clocked.at(15, "a")
    assert clocked.times() == {"a": [0, 3615]}


def test_a_stored_figure_that_is_no_number_is_unknown() -> None:
    """JSON has no infinity, and a figure that is infinite is not known."""
    after = Clocked()
    values = [inf if name == "demand_tasks" else 3.0 for name in NAMES]
    after.history.restore({("matillion", "a"): [POINT.pack(BEFORE, after.wall(), *values)]})
    (document,) = after.history.documents()
    assert document["demand_tasks"] == [None, None]
    assert document["capacity_tasks"] == [3, None]


def test_nothing_is_logged_of_a_restart() -> None:
    """It is no event: the file's own line says it."""
    before = Clocked()
    before.at(0, "a")
    with capture_logs() as logs:
        restarted(before, 10).at(20, "a")
    assert logs == []
