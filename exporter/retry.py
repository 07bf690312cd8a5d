"""Exponential backoff: computes the delays, does not wait."""

import random


class Backoff:
    """Delays in seconds that double from `first` to `maximum` and stay there.

    Each is shortened at random by up to the share `jitter`, so that replicas that failed together do not retry
    together; 0 is for what only one replica does.
    """

    __slots__ = ("_ceiling", "_first", "_jitter", "_maximum", "_rng")

    def __init__(self, first: float, maximum: float, *, jitter: float = 0.5, rng: random.Random | None = None) -> None:
        self._first = first
        self._maximum = maximum
        self._jitter = jitter
        self._rng = rng or random.Random()  # noqa: S311 - it spreads load, it keeps no secret
        self._ceiling = first

    def next(self) -> float:
        """Return the next delay; the one after it is up to twice as long."""
        delay = self._ceiling * (1.0 - self._rng.uniform(0.0, self._jitter))
        self._ceiling = min(self._maximum, self._ceiling * 2)
        return delay

    def reset(self) -> None:
        """Reset to the first delay after a success."""
        self._ceiling = self._first
