"""How long agents take to start: from their pod's being seen first to their first reading.

Only of pods that were seen before they were Ready: nobody knows when the others began.
"""

from collections import deque
from math import ceil

from exporter.fleet.model import Target
from exporter.store.restarts import FleetKey

_KEPT = 100
"""Starts remembered of each fleet, the latest: a new image starts in another time."""
_QUANTILE = 0.99


class StartTimes:
    """Sees pods come and answer. All instants are monotonic."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        """By UID: when a pod that has not answered yet was seen first."""
        self._took: dict[FleetKey, deque[float]] = {}

    def see(self, target: Target, now: float) -> None:
        """Take note of a pod that was not known before."""
        if target.facts is not None and not target.facts.ready:
            self._begun[target.uid] = now

    def heard(self, target: Target, now: float) -> None:
        """Take note that an agent answered; only its first answer counts."""
        begun = self._begun.pop(target.uid, None)
        if begun is not None:
            self._took.setdefault((target.namespace, target.fleet), deque(maxlen=_KEPT)).append(now - begun)

    def forget(self, uid: str) -> None:
        """Take note that a pod is gone; what it took, if it answered, stays."""
        self._begun.pop(uid, None)

    def usual(self, key: FleetKey) -> float | None:
        """Return the seconds within which nearly all agents of a fleet have started; None where none was seen to."""
        took = sorted(self._took.get(key, ()))
        return took[ceil(_QUANTILE * len(took)) - 1] if took else None
