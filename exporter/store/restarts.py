"""Restarts of agents' containers per fleet, as a counter that does not decrease when a pod is deleted.

Kubernetes counts restarts per pod; a sum over pods decreases with each replaced pod, and a query cannot distinguish
that from a counter reset. This is the sum of the increases instead. Independent of readings and of the source of
targets.
"""

from collections.abc import Callable

from exporter.fleet.model import Target

FleetKey = tuple[str, str]
"""Namespace and fleet."""


class RestartCounter:
    """Adds up the increases of all pods' restarts. Starts at 0 with the process, like any counter."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        """By UID: last known restarts of the agent's container."""
        self._seen: dict[FleetKey, int] = {}
        # A fleet without pods keeps its count, or it would decrease when the fleet returns.

    def see(self, target: Target, *, made_unseen: Callable[[float | None], bool]) -> None:
        """Record the current state of a pod.

        For a new pod, `made_unseen` tells by its creation time whether all its restarts count; those of a pod that
        existed before discovery started do not.
        """
        facts = target.facts
        if facts is None:
            return
        key = (target.namespace, target.fleet)
        # Without a container there was no restart.
        restarts = facts.restarts if facts.restarts is not None else self._last.get(target.uid, 0)
        start = self._last.get(target.uid)
        if start is None:
            start = 0 if made_unseen(facts.created_time) else restarts
        self._seen[key] = self._seen.get(key, 0) + max(0, restarts - start)
        self._last[target.uid] = restarts

    def forget(self, uid: str) -> None:
        """Record that a pod is gone; its restarts still count."""
        self._last.pop(uid, None)

    def of(self, key: FleetKey) -> int | None:
        """Return the restarts in a fleet; None if it never had a Kubernetes pod."""
        return self._seen.get(key)
