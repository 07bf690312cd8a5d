"""How long the agents of a fleet take to start: from the creation of the pod to the agent's first reading."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.fleet.histogram import Histogram
from exporter.fleet.quantile import quantile

START_BOUNDS = (15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0, 900.0)
"""Upper bounds of the histogram's buckets in seconds, each at most twice the one before.

An agent takes some 45 s with a node and the image there, and some 180 s on Fargate or a new node: they are densest from
there to 5 minutes. What takes longer than 15 minutes waits for something else, such as a quota.
"""
KEPT_STARTS = 100
"""Latest starts kept per fleet: a new image may take a different time."""
_USUAL = 0.9
_NONE = Histogram(START_BOUNDS, (0,) * (len(START_BOUNDS) + 1))


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of a fleet's agents that this process has observed from the creation of the pod on."""

    histogram: Histogram = _NONE
    """All of them, in seconds."""
    latest: tuple[float, ...] = ()
    """Seconds that the latest took, oldest first; at most `KEPT_STARTS`."""

    def observed(self, seconds: float) -> Starts:
        """Return the starts with one more."""
        return Starts(self.histogram.observed(seconds), (*self.latest, seconds)[-KEPT_STARTS:])

    @property
    def usual_seconds(self) -> float | None:
        """Seconds within which nine of ten of the latest agents have started; None without an observed start."""
        return quantile(self.latest, _USUAL) if self.latest else None
