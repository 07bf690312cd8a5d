"""How long agents take to start: from the discovery of their pod to their first reading.

Only for pods discovered before they were Ready: the start of the others is unknown.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from exporter.fleet.model import Target
from exporter.store.restarts import FleetKey

KEPT_STARTS = 100
"""Latest starts kept per fleet: a new image may take a different time."""
_QUANTILE = 0.99


@dataclass(frozen=True, slots=True, order=True)
class AgentStart:
    """One start of an agent."""

    created: float
    """Unix time at which its pod was created; 0 if unknown."""
    uid: str
    seconds: float
    """From the discovery of the pod to its first reading."""


class StartTimes:
    """Measures the time from discovery to first reading. All instants are monotonic."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        """By UID: when a pod without a reading was discovered."""
        self._took: dict[FleetKey, deque[AgentStart]] = {}

    def see(self, target: Target, now: float) -> None:
        """Record a new pod."""
        if target.facts is not None and not target.facts.ready:
            self._begun[target.uid] = now

    def heard(self, target: Target, now: float) -> None:
        """Record an agent's response; only its first counts."""
        begun = self._begun.pop(target.uid, None)
        if begun is not None:
            created = target.facts.created_time if target.facts is not None else None
            start = AgentStart(created or 0.0, target.uid, now - begun)
            self._took.setdefault((target.namespace, target.fleet), deque(maxlen=KEPT_STARTS)).append(start)

    def forget(self, uid: str) -> None:
        """Record that a pod is gone; its start time, if known, is kept."""
        self._begun.pop(uid, None)

    def usual(self, key: FleetKey) -> float | None:
        """Return the seconds within which nearly all agents of a fleet have started; None without an observed start."""
        took = sorted(start.seconds for start in self._took.get(key, ()))
        return took[ceil(_QUANTILE * len(took)) - 1] if took else None

    def latest(self, key: FleetKey) -> Sequence[AgentStart]:
        """Return the latest starts of a fleet's agents, oldest first."""
        return tuple(self._took.get(key, ()))
