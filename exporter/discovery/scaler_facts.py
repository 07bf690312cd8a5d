"""What a raw HorizontalPodAutoscaler describes: one `Scaler`, or none.

Pure, and total: a field that makes no sense is not known, never an error. The versions of `autoscaling` name the fields
read here alike, but for v1: that has no conditions, and one metric.
"""

from collections.abc import Iterator

from exporter.fleet.scaler import Condition, Scaler
from exporter.kube.fields import Json, condition, line, mapping, mappings
from exporter.kube.quantity import parse_quantity

KEDA_LABEL = "scaledobject.keda.sh/name"
"""KEDA marks the HPAs it makes with it (keda.sh, "Scaling Deployments")."""

_MAX_NAME_LENGTH = 253
"""Of an object (kubernetes.io, "Object Names and IDs")."""
_MAX_TEXT_LENGTH = 400
"""Of a condition's reason or message. Those of the HPA controller quote a whole selector and the error behind it."""
_MAX_METRICS = 20
_MAX_REPLICAS = 2**31 - 1
"""Replicas are 32-bit numbers in the API."""


def read_scaler(hpa: object) -> Scaler | None:
    """Return an HPA's scaler; None where its name or what it scales is missing."""
    metadata, spec, status = (mapping(mapping(hpa).get(part)) for part in ("metadata", "spec", "status"))
    reference = mapping(spec.get("scaleTargetRef"))
    names = [line(value, _MAX_NAME_LENGTH) for value in (metadata.get("name"), reference.get("name"))]
    name, target = names
    if not all(names):
        return None
    active = _condition(status, "ScalingActive")
    behavior = mapping(spec.get("behavior"))
    return Scaler(
        namespace=line(metadata.get("namespace"), _MAX_NAME_LENGTH),
        name=name,
        target=target,
        target_kind=_kind(reference),
        min_agents=_replicas(spec.get("minReplicas")),
        max_agents=_replicas(spec.get("maxReplicas")),
        current_agents=_replicas(status.get("currentReplicas")),
        desired_agents=_desired(status, active),
        active=active,
        able=_condition(status, "AbleToScale"),
        limited=_condition(status, "ScalingLimited"),
        keda=_by_keda(metadata),
        metrics=tuple(_metric_names(spec))[:_MAX_METRICS],
        tolerance_up=parse_quantity(mapping(behavior.get("scaleUp")).get("tolerance")),
        tolerance_down=parse_quantity(mapping(behavior.get("scaleDown")).get("tolerance")),
    )


def _desired(status: Json, active: Condition | None) -> int | None:
    """Return the replicas it decided on.

    An HPA that never got a metric has decided nothing, and shows 0 all the same. To scale to 0 it must be active, or be
    disabled by a Deployment that was scaled to 0 by hand.
    """
    desired = _replicas(status.get("desiredReplicas"))
    decided = active is not None and (active.holds is True or active.reason == "ScalingDisabled")
    return desired if desired or decided else None


def _condition(status: Json, kind: str) -> Condition | None:
    found = condition(status, kind)
    if not found:
        return None
    condition_status = found.get("status")
    holds = condition_status == "True" if condition_status in ("True", "False") else None
    return Condition(holds, line(found.get("reason"), _MAX_TEXT_LENGTH), line(found.get("message"), _MAX_TEXT_LENGTH))


def _kind(reference: Json) -> str:
    """Return kind and API group of what is scaled, such as `Deployment.apps`; the version does not matter."""
    version, kind = (line(reference.get(key), _MAX_NAME_LENGTH) for key in ("apiVersion", "kind"))
    group, _, _ = version.rpartition("/")
    return f"{kind}.{group}" if group else kind


def _by_keda(metadata: Json) -> bool:
    owners = mappings(metadata.get("ownerReferences"))
    return KEDA_LABEL in mapping(metadata.get("labels")) or any(one.get("kind") == "ScaledObject" for one in owners)


def _metric_names(spec: Json) -> Iterator[str]:
    for metric in mappings(spec.get("metrics")):
        for source in ("external", "pods", "object"):
            yield from _named(mapping(metric.get(source)).get("metric"))
        for source in ("resource", "containerResource"):
            yield from _named(metric.get(source))
    if spec.get("targetCPUUtilizationPercentage") is not None:
        yield "cpu"  # v1


def _named(metric: object) -> Iterator[str]:
    if name := line(mapping(metric).get("name"), _MAX_NAME_LENGTH):
        yield name


def _replicas(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_REPLICAS else None
