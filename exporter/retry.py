"""How long to wait before something that failed is tried again. It does not wait itself."""

import random


class Backoff:
    """Delays in seconds that double from `first` to `longest` and stay there.

    Each is shortened at random by up to the share `jitter`, so that replicas that failed together do not come back
    together; 0 is for what only one of them does.
    """

    __slots__ = ("_ceiling", "_first", "_jitter", "_longest", "_rng")

    def __init__(self, first: float, longest: float, *, jitter: float = 0.5, rng: random.Random | None = None) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._rng = rng or random.Random()  # noqa: S311 - it spreads load, it keeps no secret
        self._ceiling = first

    def next(self) -> float:
        """Return how long to wait now; the next delay is up to twice as long."""
        delay = self._ceiling * (1.0 - self._rng.uniform(0.0, self._jitter))
        self._ceiling = min(self._longest, self._ceiling * 2)
        return delay

    def reset(self) -> None:
        """Begin again with the shortest delay: what failed has succeeded."""
        self._ceiling = self._first
