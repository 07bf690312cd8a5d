"""The past as a series, and the tasks that bring it about."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.forecast.history import GAP
from exporter.plan.errors import PlanError
from exporter.plan.series import MAX_DAYS, Series, gathered, usable
from exporter.plan.work import MOST_UNITS, Work, _units, work
from exporter.simulation.replay import replay
from tests.plan.samples import MIDNIGHT, STEP, nightly, series

DAY = 86400.0


@pytest.mark.parametrize(
    ("past", "sentence"),
    [
        (nightly(2.5), "the past covers 2.5 days, and a plan needs at least 3"),
        (series(4, lambda step: 1 if step % 4 else GAP), "demand is known for 75% of the 4 days only"),
        (series(4, lambda _step: 0), "the demand is 0 all the time"),
    ],
)
def test_a_thin_past_is_refused(past: Series, sentence: str) -> None:
    """With how much is needed."""
    with pytest.raises(PlanError, match=sentence):
        usable(past, 3)


def test_a_long_past_is_cut_to_its_end() -> None:
    """Half a year takes no longer than two months."""
    past = nightly(200)
    seen = usable(past, 3)
    assert (seen.days, seen.end) == (MAX_DAYS, past.end)
    rows = [(MIDNIGHT + STEP * step, 1.0) for step in range(100 * 288)]
    assert gathered(rows).days == pytest.approx(MAX_DAYS, abs=0.01)


def test_gaps_stay_at_the_lower_of_their_neighbors() -> None:
    """So that no work comes in a gap, and none is late."""
    past = Series(0.0, STEP, [GAP, 4, GAP, GAP, 9, 7, GAP, 2, GAP])
    assert list(past.bridged()) == [4, 4, 4, 4, 9, 7, 2, 2, 2]
    assert past.known == 4 / 9
    assert list(past.history().slots(0, 9)) == list(past.values)


def test_the_middle_is_a_local_midnight() -> None:
    """Both halves have whole days of the schedule's zone."""
    assert nightly(10).middle(ZoneInfo("UTC")) == MIDNIGHT + 5 * DAY
    assert nightly(10).middle(ZoneInfo("Europe/Berlin")) == MIDNIGHT + 5 * DAY - 7200
    assert nightly(3).middle(ZoneInfo("UTC")) in (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)


def present(made: Work, past: Series) -> list[int]:
    """Return the tasks there are in the middle of each step."""
    middles = [past.begin + (index + 0.999) * past.step for index in range(len(past.values))]
    return [sum(at <= middle < at + seconds for at, seconds in made.units) for middle in middles]


LEVELS = st.lists(st.integers(0, 40), min_size=2, max_size=30).filter(any)


@given(levels=LEVELS, task_seconds=st.sampled_from([60.0, 300.0, 3600.0]))
def test_work_brings_the_demand_about(levels: list[int], task_seconds: float) -> None:
    """At the end of each step, when all that it adds has come; in the order of time, and never longer than assumed."""
    past = Series(MIDNIGHT, STEP, levels)
    made = work(past, task_seconds, 20)
    assert made.grain == 1
    assert present(made, past) == levels
    assert list(made.units) == sorted(made.units)
    assert all(0 < seconds <= 1.5 * task_seconds + 1e-6 for _, seconds in made.units)


def test_a_large_fleet_is_replayed_in_units() -> None:
    """Of several tasks that come together, so that a replay does not take long; longer tasks where these do not do."""
    large = series(14, lambda step: 2000 if step % 24 else 2400)
    made = work(large, 300.0, 20)
    assert made.grain in (10, 20)
    assert len(made.units) <= 1.2 * MOST_UNITS
    huge = work(series(14, lambda step: 40_000 if step % 24 else 41_000), 300.0, 20)
    assert huge.grain == 20
    assert huge.task_seconds > 300.0
    assert len(huge.units) <= 1.2 * MOST_UNITS


def test_units_of_several_tasks_bring_what_single_ones_do() -> None:
    """The same agent-hours, and about the same waiting, as if each task were replayed by itself."""
    past = nightly(1, base=60, peak=900)
    single = replay(work(past, 300.0, 20).units, past.begin, past.end, 90.0, lambda _now, demand: float(demand))
    units = _units(past, [round(level / 4) for level in past.values], 300.0)
    coarse = replay(
        units, past.begin, past.end, 90.0, lambda _now, demand: float(demand), target=4.0, tasks_per_agent=5
    )
    assert coarse.agent_hours == pytest.approx(single.agent_hours, rel=0.03)
    assert coarse.waited() * 4 == pytest.approx(single.waited(), rel=0.1)
    assert coarse.p95 == pytest.approx(single.p95, abs=15.0)
