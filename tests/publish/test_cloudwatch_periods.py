"""When a datum is due: one in each period, whatever the clock and the process do."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.publish.periods import CLOCK_CORRECTION, period_of, wait

INTERVALS = st.sampled_from([1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0])
NOW = 1_767_232_800.0


def published(clock: list[float], interval: float) -> list[float]:
    """Return the periods that get a datum when the process looks at these times."""
    last: float | None = None
    periods = []
    for now in clock:
        if wait(now, last, interval) == 0:
            last = period_of(now, interval)
            periods.append(last)
    return periods


def test_periods_begin_with_the_minute() -> None:
    """A datum of 02:00:59.9 belongs to 02:00:00."""
    assert period_of(NOW + 59.9, 60) == NOW
    assert period_of(NOW + 60, 60) == NOW + 60
    assert period_of(NOW + 59.9, 10) == NOW + 50


def test_the_first_datum_is_due_at_once() -> None:
    """A process that starts within a minute speaks for that minute."""
    assert wait(NOW + 40, None, 60) == 0


def test_then_it_waits_for_the_next_minute() -> None:
    """The wait ends when the next period begins, wherever in its own the last datum was made."""
    assert wait(NOW + 40, NOW, 60) == 20
    assert wait(NOW + 0.5, NOW, 60) == 59.5


@given(INTERVALS, st.lists(st.floats(0, 0.99), min_size=2, max_size=50))
def test_one_datum_a_period_whatever_the_jitter(interval: float, jitter: list[float]) -> None:
    """However late within a period the process wakes, each period has one datum."""
    clock = [NOW + (number + late) * interval for number, late in enumerate(jitter)]
    assert published(clock, interval) == [NOW + number * interval for number in range(len(jitter))]


@given(INTERVALS, st.lists(st.floats(-CLOCK_CORRECTION / 2, 7200), max_size=80))
def test_a_corrected_clock_fills_no_period_twice(interval: float, steps: list[float]) -> None:
    """Whatever steps a clock makes forward, and as often as it is corrected a little backward: no duplicates."""
    clock, now, latest = [], NOW, NOW
    for step in steps:
        # No further back than a correction below the latest time ever shown.
        now = max(now + step, latest - CLOCK_CORRECTION / 2)
        latest = max(latest, now)
        clock.append(now)
    periods = published(clock, interval)
    assert periods == sorted(set(periods))


def test_a_clock_that_was_far_ahead_is_not_waited_for() -> None:
    """Set back by an hour, the present is published at once instead of an hour of silence."""
    assert wait(NOW, NOW + 3600, 60) == 0
    assert wait(NOW, NOW + 240, 60) == 300


@given(INTERVALS, st.floats(0, 1e7), st.floats(-3600, 1e6))
def test_the_wait_ends(interval: float, since: float, step: float) -> None:
    """After the wait a datum is due, and the wait is bounded by the interval and a corrected clock."""
    last = period_of(NOW + since, interval)
    now = NOW + since + step
    seconds = wait(now, last, interval)
    assert 0 <= seconds <= interval + CLOCK_CORRECTION
    assert wait(now + seconds + 1e-6, last, interval) == 0
