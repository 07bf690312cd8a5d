"""Raw pods as the API server sends them."""

from typing import Any

Json = dict[str, Any]

LABEL = "app.kubernetes.io/instance"


def raw_pod(
    name: str = "agent-1",
    *,
    uid: str | None = None,
    namespace: str = "matillion",
    labels: Json | None = None,
    metadata: Json | None = None,
    spec: Json | None = None,
    status: Json | None = None,
) -> Json:
    """Make a running, ready agent pod; what is given replaces the keys of its part."""
    container = {
        "name": "agent",
        "image": "registry.example/agent:9.1",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "1500m", "memory": "4Gi"}},
    }
    running = {
        "name": "agent",
        "restartCount": 2,
        "state": {"running": {"startedAt": "2024-03-01T10:00:00Z"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2024-03-01T09:59:50Z"}},
    }
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": "1",
            "creationTimestamp": "2024-03-01T09:00:00Z",
            "labels": {LABEL: "prod"} if labels is None else labels,
            **(metadata or {}),
        },
        "spec": {"nodeName": "node-1", "containers": [container], **(spec or {})},
        "status": {
            "phase": "Running",
            "podIP": "10.1.2.3",
            "conditions": [
                {"type": "Initialized", "status": "True", "lastTransitionTime": "2024-03-01T09:00:01Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2024-03-01T10:00:20Z"},
            ],
            "containerStatuses": [running],
            **(status or {}),
        },
    }
