"""Remarks on how a fleet is scaled, as sentences; part of `health`.

Pure. There are none if the fleet's autoscalers are unknown.
"""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from exporter.fleet.model import Fleet
from exporter.fleet.scaler import Scaler

VENDOR_METRICS = frozenset(
    {
        "app_active_task_count",
        "app_active_request_count",
        "matillion_agent_task_running",
        "matillion_agent_request_active",
    }
)
"""The metrics of the HPA in the vendor's charts (charts 0.1 to 0.5, and `hpa.metricSource: otel` of 0.6)."""
_VENDOR_SUFFIX = "-hpa"
"""The vendor's charts call their HPA `<fullname>-hpa`."""
_OURS = "matillion_fleet_"


def scaler_remarks(fleet: Fleet) -> Iterator[str]:
    """Yield the sentences that apply to the fleet's autoscalers now."""
    by_target = attrgetter("target")
    for target, group in groupby(sorted(fleet.scalers or (), key=by_target), key=by_target):
        scalers = tuple(group)
        if len(scalers) > 1:
            yield _rivals(target, scalers)
        for scaler in scalers:
            yield from _standing_still(scaler)
            yield from _at_its_maximum(fleet, scaler)


def is_vendors(scaler: Scaler) -> bool:
    """Return whether an HPA comes from the vendor's charts: by its metrics, or else by its name."""
    if VENDOR_METRICS.intersection(scaler.metrics):
        return True
    ours = scaler.keda or any(metric.startswith(_OURS) for metric in scaler.metrics)
    return scaler.name.endswith(_VENDOR_SUFFIX) and not ours


def _rivals(target: str, scalers: tuple[Scaler, ...]) -> str:
    listed = " and ".join(f"{scaler.name} (by {', '.join(scaler.metrics) or 'no metric'})" for scaler in scalers)
    theirs = [scaler.name for scaler in scalers if is_vendors(scaler)]
    # If all of them are the vendor's, it is unknown which one to remove.
    left_on = len(theirs) < len(scalers) and theirs
    fix = f"disable the vendor's {' and '.join(theirs)}" if left_on else "remove all but one"
    return f"{len(scalers)} HPAs scale the Deployment {target} and conflict: {listed}; {fix}"


def _standing_still(scaler: Scaler) -> Iterator[str]:
    if scaler.able is not None and scaler.able.holds is False:
        yield f"its HPA {scaler.name} cannot scale it: {scaler.able.why}"
    elif scaler.active is not None and scaler.active.holds is False and not scaler.switched_off:
        yield f"its HPA {scaler.name} is not active, so the fleet keeps its size: {scaler.active.why}"


def _at_its_maximum(fleet: Fleet, scaler: Scaler) -> Iterator[str]:
    maximum, desired = scaler.max_agents, fleet.desired_agents
    if maximum is None:
        return
    if desired is not None and desired > maximum:
        yield f"desires {desired} agents, but its HPA {scaler.name} allows at most {maximum}"
    elif scaler.limited is not None and scaler.limited.holds and scaler.limited.reason == "TooManyReplicas":
        yield f"its HPA {scaler.name} desires more than its maximum of {maximum} agents"
