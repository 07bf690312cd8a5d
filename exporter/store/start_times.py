"""How long agents take to start.

Only for pods discovered before they were Ready: the start of the others is unknown. Two durations are measured. From
the discovery of the pod to the agent's first reading: how long this process has to wait for an agent (`usual`). From
the creation of the pod: how long ahead of the work its pod must be created (`of`, `latest`).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.fleet.model import PodFacts, Target
from exporter.fleet.quantile import quantile
from exporter.fleet.starts import KEPT_STARTS, Starts
from exporter.store.restarts import FleetKey

MAX_START_SECONDS = 6 * 3600.0
"""What takes longer is not measured: a pod that hung for hours, or a clock that is hours ahead. A pod that waited for a
node counts: that is part of the time ahead of which it must be created."""
_QUANTILE = 0.99


@dataclass(frozen=True, slots=True, order=True)
class AgentStart:
    """One start of an agent."""

    created: float
    """Unix time at which its pod was created."""
    uid: str
    seconds: float
    """From the creation of the pod to its first reading."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A pod that was discovered before it was Ready, and has no reading yet."""

    at: float
    """When it was discovered (monotonic)."""
    created: float | None
    """Unix time at which the pod was created; None where that is not when the agent began to start."""


class StartTimes:
    """Measures how long agents take to their first readings."""

    def __init__(self) -> None:
        self._begun: dict[str, _Begun] = {}
        """By UID."""
        self._took: dict[FleetKey, deque[float]] = {}
        """Seconds from discovery to first reading."""
        self._latest: dict[FleetKey, deque[AgentStart]] = {}
        self._starts: dict[FleetKey, Starts] = {}
        # A fleet without pods keeps its starts, or its counters would decrease when the fleet returns.

    def see(self, target: Target, now: float, *, new: bool) -> None:
        """Record the current facts of a pod at `now` (monotonic); `new` if it was not known before."""
        facts = target.facts
        if facts is None:
            return
        self._starts.setdefault((target.namespace, target.fleet), Starts())
        if new and not facts.ready:
            self._begun[target.uid] = _Begun(now, None if _has_run(facts) else facts.created_time)

    def heard(self, target: Target, now: float, wall_now: float) -> None:
        """Record an agent's response at `now` (monotonic) and `wall_now` (Unix time); only its first counts."""
        begun = self._begun.pop(target.uid, None)
        if begun is None:
            return
        key, waited = (target.namespace, target.fleet), now - begun.at
        self._took.setdefault(key, deque(maxlen=KEPT_STARTS)).append(waited)
        if begun.created is None:
            return
        # The creation is on the API server's clock. While ours is behind, the difference is too small, or negative;
        # but the pod was created before it was discovered.
        seconds = max(waited, wall_now - begun.created)
        if seconds <= MAX_START_SECONDS:
            start = AgentStart(begun.created, target.uid, seconds)
            self._latest.setdefault(key, deque(maxlen=KEPT_STARTS)).append(start)
            self._starts[key] = self._starts.get(key, Starts()).observed(seconds)

    def forget(self, uid: str) -> None:
        """Record that a pod is gone; its start time, if known, is kept."""
        self._begun.pop(uid, None)

    def usual(self, key: FleetKey) -> float | None:
        """Return the seconds from discovery within which nearly all agents of a fleet have started; None if unknown."""
        took = self._took.get(key)
        return quantile(took, _QUANTILE) if took else None

    def of(self, key: FleetKey) -> Starts | None:
        """Return the starts of a fleet's agents; None if it never had a Kubernetes pod."""
        return self._starts.get(key)

    def latest(self, key: FleetKey) -> Sequence[AgentStart]:
        """Return the latest starts of a fleet's agents, oldest first."""
        return tuple(self._latest.get(key, ()))


def _has_run(facts: PodFacts) -> bool:
    """Whether a container of the pod has run: then it may have been Ready long ago, and only lost that."""
    return facts.started_time is not None or facts.last_terminated_time is not None or bool(facts.restarts)
