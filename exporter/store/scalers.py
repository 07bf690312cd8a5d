"""The known autoscalers, and which of them scale a fleet: those whose target is the Deployment of the fleet's pods."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from exporter.fleet.scaler import Scaler

DEPLOYMENT = "Deployment.apps"
"""The workload kind of agents in the vendor's charts."""


@dataclass(frozen=True, slots=True)
class _Seen:
    scalers: tuple[Scaler, ...]
    by_target: Mapping[tuple[str, str], tuple[Scaler, ...]]
    """By namespace and name of the Deployment."""
    at: float


class KnownScalers:
    """The last known autoscalers of each namespace."""

    def __init__(self) -> None:
        self._seen: dict[str | None, _Seen] = {}

    def seen(self, namespace: str | None, scalers: tuple[Scaler, ...], now: float) -> bool:
        """Record all autoscalers of a namespace (None: of the cluster); return whether they changed."""
        before = self._seen.get(namespace)
        if before is not None and before.scalers == scalers:
            self._seen[namespace] = _Seen(before.scalers, before.by_target, now)
            return False
        by_target: dict[tuple[str, str], tuple[Scaler, ...]] = {}
        for scaler in sorted(scalers, key=lambda scaler: scaler.name):
            if scaler.target_kind == DEPLOYMENT:
                key = (scaler.namespace, scaler.target)
                by_target[key] = (*by_target.get(key, ()), scaler)
        self._seen[namespace] = _Seen(scalers, by_target, now)
        return True

    def of(self, namespace: str, workloads: Collection[str], since: float) -> tuple[Scaler, ...] | None:
        """Return the autoscalers of Deployments with these names; None if unknown, as without a name.

        What was not confirmed after the instant `since` counts as unknown.
        """
        seen = self._seen.get(namespace) or self._seen.get(None)
        if seen is None or seen.at < since:
            return None
        if not workloads:
            return None
        return tuple(scaler for name in sorted(workloads) for scaler in seen.by_target.get((namespace, name), ()))
