"""What holds for any history."""

from __future__ import annotations

from array import array
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.forecast.forecaster import Forecast
from exporter.forecast.history import GAP, SLOTS, History
from exporter.forecast.replay import replay
from tests.forecast.generated import HEADROOM, MONDAY, before, forecaster, instant, recorded

LEVELS = st.integers(0, 500) | st.none()
BLOCKS = st.lists(LEVELS, min_size=24, max_size=24)
"""Demand by hour."""
MONTHS = st.tuples(BLOCKS, st.dictionaries(st.integers(1, 28), BLOCKS, max_size=4), st.integers(0, 28))
"""A usual day, days that differ by age, and how many days there are."""
DAY = st.lists(st.integers(GAP, 300), min_size=SLOTS, max_size=SLOTS).map(lambda values: array("i", values))


def history_of(month: tuple[list[int | None], dict[int, list[int | None]], int]) -> History:
    usual, odd, count = month
    return recorded(lambda day, hour: odd.get((MONDAY - day).days, usual)[int(hour)], before(MONDAY, count))


@settings(max_examples=25, deadline=None)
@given(MONTHS, st.floats(0, 86399), st.floats(0, 1800), st.floats(0.01, 1.0))
def test_bounded_and_deterministic(
    month: tuple[list[int | None], dict[int, list[int | None]], int], second: float, lead: float, quantile: float
) -> None:
    """Never below 0, never above the highest demand seen, withheld under three days, the same each time."""
    history, now = history_of(month), instant(MONDAY) + second
    found = forecaster(quantile=quantile).expected(history, now, lead)
    assert found == forecaster(quantile=quantile).expected(history_of(month), now, lead)
    if isinstance(found, Forecast):
        highest = history.highest()
        assert highest is not None
        assert 0 <= found.tasks <= highest
        assert month[2] >= 3


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.permutations(range(8, 15)), st.floats(0, 86399))
def test_the_order_of_like_days_is_irrelevant(order: list[int], second: float) -> None:
    """Days of one group, in another order, give the same forecast: here the days before the scored ones."""

    def history(ages: list[int]) -> History:
        levels = {MONDAY - timedelta(days=age): 50 + 10 * index for index, age in enumerate(ages)}
        return recorded(lambda day, hour: levels.get(day, 80) if 2 <= hour < 3 else 5, before(MONDAY, 14))

    ours = forecaster().expected(history(list(range(8, 15))), instant(MONDAY) + second, 60.0)
    other = forecaster().expected(history(order), instant(MONDAY) + second, 60.0)
    assert isinstance(ours, Forecast)
    assert isinstance(other, Forecast)
    assert ours.tasks == other.tasks


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(DAY, DAY)
def test_a_replay_only_adds(demand: array[int], forecast: array[int]) -> None:
    """A forecast never makes more tasks late, and never holds fewer agents."""
    found = replay(demand, forecast, GAP, HEADROOM)
    assert found.late_ahead <= found.late_following
    assert found.held_ahead >= found.held_following


def test_a_replay_of_a_rise() -> None:
    """Of 100 tasks on top of 16, the headroom takes 4; what is held is that of this slot and the one before it."""
    demand = array("i", [16, 116, GAP, 116, 16, 16])
    found = replay(demand, [0, 116, 0, 0, 0, 0], GAP, HEADROOM)
    assert (found.late_following, found.late_ahead) == (96.0, 0.0)
    assert (found.held_following, found.held_ahead) == (16 + 3 * 116 + 16, 16 + 3 * 116 + 16)
    late = replay(array("i", [16, 16, 16]), [100, 0, 0], GAP, HEADROOM)
    assert late.held_ahead == 100 + 100 + 16


def test_shares_of_nothing_are_nothing() -> None:
    """A day without work has avoided nothing and added nothing."""
    found = replay(array("i", [0, 0]), [0, 5], 0, HEADROOM)
    assert (found.avoided, found.added) == (0.0, 0.0)
