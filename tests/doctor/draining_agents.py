"""Agents that nobody asks, with the grace, the node and the volumes that a test is about."""

from typing import Any

from tests.doctor.cluster import PODS, Cluster, Json
from tests.fakes.kube_pods import raw_pod


def agent(name: str = "a-0", *, fleet: str = "etl", grace: int | None = 43_200, **spec: Any) -> Json:
    """Make an agent of the vendor's Deployment of a fleet."""
    labels = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": fleet}
    owner = {"controller": True, "kind": "ReplicaSet", "name": f"{fleet}-matillion-runner-app-7f9c"}
    return raw_pod(
        name,
        labels=labels | {"pod-template-hash": "7f9c"},
        metadata={"ownerReferences": [owner]},
        spec=({} if grace is None else {"terminationGracePeriodSeconds": grace}) | spec,
        status={"podIP": None},
    )


def given(kube: Cluster, *agents: Json) -> Cluster:
    """Put agents into a cluster."""
    kube.said[PODS] = (200, {"items": list(agents)})
    return kube
