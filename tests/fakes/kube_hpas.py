"""Raw HorizontalPodAutoscalers as the API server sends them."""

from typing import Any

Json = dict[str, Any]

VALID = {"ScalingActive": ("True", "ValidMetricFound"), "AbleToScale": ("True", "ReadyForNewScale")}


def raw_hpa(
    name: str = "prod-hpa",
    *metrics: str,
    target: str = "prod",
    namespace: str = "matillion",
    version: str = "1",
    conditions: dict[str, tuple[str, str]] | None = None,
    metadata: Json | None = None,
    spec: Json | None = None,
    status: Json | None = None,
) -> Json:
    """Make an HPA of external metrics that is active; what is given replaces the keys of its part."""
    said = VALID if conditions is None else conditions
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "resourceVersion": version,
            **(metadata or {}),
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 2,
            "maxReplicas": 12,
            "metrics": [
                {"type": "External", "external": {"metric": {"name": metric}}}
                for metric in metrics or ("matillion_fleet_demand_tasks",)
            ],
            **(spec or {}),
        },
        "status": {
            "currentReplicas": 3,
            "desiredReplicas": 4,
            "conditions": [
                {"type": kind, "status": holds, "reason": reason, "message": f"it is {reason}"}
                for kind, (holds, reason) in said.items()
            ],
            **(status or {}),
        },
    }
