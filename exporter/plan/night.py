"""The hours of the scored past in which following the demand waits longest: what a picture shows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.plan.comparison import Plan
from exporter.simulation.hpa import SYNC_SECONDS

BEFORE, AFTER = 3600.0, 3 * 3600.0
"""Seconds that are shown before and after the worst moment."""
EVERY = 4
"""Looks of the HPA that become one point: a minute."""


@dataclass(frozen=True, slots=True)
class Night:
    """Points a minute apart."""

    begin: float
    """Unix seconds."""
    end: float
    demand: Sequence[float]
    """Tasks there would be if none waited."""
    following: Sequence[float]
    """Slots of the agents that are up when the demand is followed."""
    ahead: Sequence[float]

    @property
    def highest(self) -> float:
        """The highest of all its points."""
        return max(*self.demand, *self.following, *self.ahead)


def night(plan: Plan) -> Night:
    """Return the hours around the hour in which most tasks have no slot."""
    trace = plan.named("following").trace
    ahead = plan.named("ahead").trace
    assert trace is not None and ahead is not None  # noqa: S101, PT018 - these two are traced
    missing = [max(0, demand - slots) for demand, slots in zip(trace.demand, trace.slots, strict=True)]
    hour = int(3600 / SYNC_SECONDS)
    sums = [sum(missing[index : index + hour]) for index in range(0, len(missing), hour)]
    worst = sums.index(max(sums)) * hour
    first = max(0, worst - int(BEFORE / SYNC_SECONDS))
    last = min(len(missing), worst + int(AFTER / SYNC_SECONDS))
    begin = trace.begin + first * SYNC_SECONDS
    # The demand when nothing waits is that of ahead, all but: a queue would hide what came.
    return Night(
        begin,
        trace.begin + last * SYNC_SECONDS,
        _points(ahead.demand, first, last),
        _points(trace.slots, first, last),
        _points(ahead.slots, first, last),
    )


def _points(values: Sequence[int], first: int, last: int) -> Sequence[float]:
    return [float(max(values[index : min(index + EVERY, last)])) for index in range(first, last, EVERY)]
