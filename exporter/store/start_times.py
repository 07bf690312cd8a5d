"""How long agents take to start: from the discovery of their pod to their first reading.

Only for pods discovered before they were Ready: the start of the others is unknown.
"""

from collections import deque
from math import ceil

from exporter.fleet.model import Target
from exporter.store.restarts import FleetKey

_KEPT = 100
"""Latest starts kept per fleet: a new image may take a different time."""
_QUANTILE = 0.99


class StartTimes:
    """Measures the time from discovery to first reading. All instants are monotonic."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        """By UID: when a pod without a reading was discovered."""
        self._took: dict[FleetKey, deque[float]] = {}

    def see(self, target: Target, now: float) -> None:
        """Record a new pod."""
        if target.facts is not None and not target.facts.ready:
            self._begun[target.uid] = now

    def heard(self, target: Target, now: float) -> None:
        """Record an agent's response; only its first counts."""
        begun = self._begun.pop(target.uid, None)
        if begun is not None:
            self._took.setdefault((target.namespace, target.fleet), deque(maxlen=_KEPT)).append(now - begun)

    def forget(self, uid: str) -> None:
        """Record that a pod is gone; its start time, if known, is kept."""
        self._begun.pop(uid, None)

    def usual(self, key: FleetKey) -> float | None:
        """Return the seconds within which nearly all agents of a fleet have started; None without an observed start."""
        took = sorted(self._took.get(key, ()))
        return took[ceil(_QUANTILE * len(took)) - 1] if took else None
