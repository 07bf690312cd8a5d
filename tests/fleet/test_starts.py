"""How long agents take to start, as a histogram and in one number."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.histogram import Histogram
from exporter.fleet.quantile import quantile
from exporter.fleet.starts import KEPT_STARTS, START_BOUNDS, Starts
from tests.factories import make_starts

durations = st.lists(st.floats(0, 21_600), max_size=2 * KEPT_STARTS)


@given(durations)
def test_a_histogram_counts_what_is_at_most_each_bound(seconds: list[float]) -> None:
    """A bound belongs to its bucket; the last count is of all, also of what is above the highest bound."""
    histogram = make_starts(seconds).histogram
    assert histogram.bounds == START_BOUNDS
    assert histogram.counts == (
        *(sum(one <= bound for one in seconds) for bound in START_BOUNDS),
        len(seconds),
    )
    assert histogram.sum == sum(seconds)


def test_a_bound_belongs_to_its_bucket() -> None:
    """As `le`, less or equal, has it."""
    assert Histogram((1.0, 2.0), (0, 0, 0)).observed(1.0) == Histogram((1.0, 2.0), (1, 1, 1), 1.0)
    assert Histogram((1.0, 2.0), (0, 0, 0)).observed(1.1) == Histogram((1.0, 2.0), (0, 1, 1), 1.1)


@given(durations)
def test_the_usual_time_is_that_of_nine_of_ten(seconds: list[float]) -> None:
    """One of the durations, which at most a tenth of the latest exceed; an older one has no say."""
    usual = make_starts(seconds).usual_seconds
    latest = seconds[-KEPT_STARTS:]
    if not latest:
        assert usual is None
        return
    assert usual in latest
    assert sum(one > usual for one in latest) <= len(latest) / 10
    assert sum(one < usual for one in latest) < 0.9 * len(latest)


def test_the_quantile_of_one_value_is_that_value() -> None:
    """Whatever the share."""
    assert [quantile([44.5], share) for share in (0.01, 0.9, 1.0)] == [44.5] * 3


def test_without_a_start_nothing_is_usual() -> None:
    """There is a histogram all the same, so that the first start is an increase that a query can see."""
    assert Starts().usual_seconds is None
    assert Starts().histogram.counts == (0,) * (len(START_BOUNDS) + 1)
