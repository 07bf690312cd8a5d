"""A histogram as Prometheus has it: how many observations were at most each of some bounds, and their sum."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations since the start of the process. Its counts only grow, so it is a counter in each bucket."""

    bounds: tuple[float, ...]
    """Upper bounds of the buckets, ascending; each belongs to its bucket."""
    counts: tuple[int, ...]
    """For each bound, the number of observations that were at most that; and, as the last one, of all."""
    sum: float = 0.0
    """Total of all observations."""

    def observed(self, value: float) -> Histogram:
        """Return the histogram with one more observation."""
        within = (*(value <= bound for bound in self.bounds), True)
        counts = tuple(count + one for count, one in zip(self.counts, within, strict=True))
        return Histogram(self.bounds, counts, self.sum + value)
