"""All that is true of a run, for the invariants to compare with what was seen."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from tests.chaos.faults import Happened, Happenings
from tests.chaos.pods import Pod
from tests.chaos.replicas import Boot, Times
from tests.chaos.truth import Truth

SLACK = 1.0
"""Seconds by which what the agents note and what an exporter sees may differ on a machine that is not late at all."""
WATCH_BACKOFF = 30.0
"""Longest pause before the list of pods is asked for again after failures (exporter/kube/watch.py)."""
FIRST_BACKOFF = 2.0
"""Seconds; each pause is about as long as all before it together."""
FOLLOWING = 120.0
"""A watch that lasts half a minute ends a series of failures, so what is longer ago does not count any more."""

Verdicts = Iterator[str | None]
"""One for each check: None where the invariant holds, else a sentence about what does not."""


class Lateness:
    """How late the machine was when: what a bare server took, and how long a process waited for a processor."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._seconds: list[float] = []

    def add(self, at: float, seconds: float) -> None:
        """Take a measurement; they come in about the order of time."""
        place = bisect_right(self._at, at)
        self._at.insert(place, at)
        self._seconds.insert(place, seconds)

    def within(self, since: float, until: float) -> float:
        """Return the most between two instants."""
        return max(self._seconds[bisect_left(self._at, since) : bisect_right(self._at, until)], default=0.0)


@dataclass(frozen=True)
class Facts:
    """What is true."""

    truth: Truth
    pods: Mapping[str, Pod]
    times: Times
    boots: Mapping[str, Sequence[Boot]]
    """The lives of each replica's process."""
    happenings: Happenings = field(default_factory=Happenings)
    late: Lateness = field(default_factory=Lateness)
    ahead: Callable[[str, float], float] = lambda replica, at: 0.0
    """By how much a replica's wall clock was ahead at an instant."""

    @property
    def settled(self) -> float:
        """Seconds within which an agent is read whatever the phase, on a machine that is in time: two intervals."""
        return 2 * self.times.interval + self.times.timeout

    def slack(self, at: float) -> float:
        """Return by how much what is seen at an instant may differ from what is noted."""
        return SLACK + 2 * self.late.within(at - self.settled, at)

    def boot(self, replica: str, started: float) -> Boot:
        """Return the life of a replica that was started then."""
        return next(boot for boot in self.boots[replica] if boot.started == started)

    def blind(self, replica: str, since: float, until: float) -> bool:
        """Return whether a replica could not see the list of pods between two instants, or may not have."""
        return any(
            one.began <= until and one.ended + self._pause_after(one, faults) >= since
            for faults in [self.happenings.of(replica, "API server")]
            for one in faults
        )

    def saw_until(self, replica: str, at: float) -> float:
        """Return until when before an instant a replica surely saw the list of pods: `at`, or before the outage."""
        faults = self.happenings.of(replica, "API server")
        for fault in sorted(faults, key=lambda one: one.began, reverse=True):
            if fault.began <= at <= fault.ended + self._pause_after(fault, faults):
                at = fault.began
        return at

    def _pause_after(self, fault: Happened, faults: Sequence[Happened]) -> float:
        """Return how long after a fault the list may not be asked for: failures that follow each other add up."""
        if fault.ended == inf:
            return 0.0
        since = fault.ended - FOLLOWING
        lengths = [min(one.ended, fault.ended) - max(one.began, since) for one in faults]
        failing = sum(length for length in lengths if length > 0)
        return min(WATCH_BACKOFF, 2 * failing + FIRST_BACKOFF)
