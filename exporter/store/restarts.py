"""Restarts of agents' containers, counted per fleet so that the number never falls when a pod goes.

Kubernetes counts restarts in the life of a pod; a sum over pods falls with each pod that is replaced, and a query
cannot tell that from a counter that was reset. This is the sum of the increases instead. It knows nothing of readings,
and nothing of where targets come from.
"""

from collections.abc import Callable

from exporter.fleet.model import Target

FleetKey = tuple[str, str]
"""Namespace and fleet."""


class RestartCounter:
    """Sees the pods come, change and go, and adds up what is new. Starts at 0 with the process, as a counter does."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        """By UID: restarts of the agent's container as last seen."""
        self._seen: dict[FleetKey, int] = {}
        # A fleet that has no pod just now keeps its count, or it would fall when the fleet comes back.

    def see(self, target: Target, *, made_unseen: Callable[[float | None], bool]) -> None:
        """Take note of a pod as it is now.

        Of a pod never seen before, `made_unseen` says by its time of creation whether all its restarts are news; those
        of a pod that was there before anybody looked are not.
        """
        facts = target.facts
        if facts is None:
            return
        key = (target.namespace, target.fleet)
        # As long as no container has been made, none was restarted.
        restarts = facts.restarts if facts.restarts is not None else self._last.get(target.uid, 0)
        start = self._last.get(target.uid)
        if start is None:
            start = 0 if made_unseen(facts.created_time) else restarts
        self._seen[key] = self._seen.get(key, 0) + max(0, restarts - start)
        self._last[target.uid] = restarts

    def forget(self, uid: str) -> None:
        """Take note that a pod is gone; what it added stays."""
        self._last.pop(uid, None)

    def of(self, key: FleetKey) -> int | None:
        """Return the restarts seen in a fleet; None if it never had a pod of Kubernetes."""
        return self._seen.get(key)
