"""The pauses between two tries."""

import random

from hypothesis import given
from hypothesis import strategies as st

from exporter.retry import Backoff


@given(
    seed=st.integers(),
    first=st.floats(0.1, 5),
    growth=st.floats(1, 100),
    jitter=st.floats(0, 1),
    tries=st.integers(1, 40),
)
def test_backoff_stays_within_its_bounds(seed: int, first: float, growth: float, jitter: float, tries: int) -> None:
    """Each delay lies within the jitter below the doubled ceiling; the longest is never exceeded."""
    backoff = Backoff(first, first * growth, jitter=jitter, rng=random.Random(seed))  # noqa: S311 — jitter
    for attempt in range(tries):
        ceiling = min(first * 2**attempt, first * growth)
        assert ceiling * (1 - jitter) <= backoff.next() <= ceiling
    backoff.reset()
    assert backoff.next() <= first


def test_without_jitter_the_delays_are_exact() -> None:
    """They double up to the longest, and begin again after a success."""
    backoff = Backoff(1.0, 5.0, jitter=0.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_two_that_failed_together_do_not_come_back_together() -> None:
    """The delays of two replicas differ without being told to."""
    one, other = Backoff(1.0, 60.0), Backoff(1.0, 60.0)
    assert [one.next() for _ in range(8)] != [other.next() for _ in range(8)]
