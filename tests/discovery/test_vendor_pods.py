"""What the vendor's charts make, of every version in the field: who is an agent, where it is read, whose pod it is."""

from typing import Any

import pytest

from exporter.config import DEFAULT_ENDPOINTS, KubernetesSettings
from exporter.discovery.pod_facts import PodReader
from exporter.fleet.model import Dialect, Endpoint, IgnoredPod, Target
from exporter.kube.selector import parse_selector
from tests.fakes.kube_pods import LABEL
from tests.fakes.vendor import SETS, is_agent, vendor_objects

READER = PodReader(LABEL, DEFAULT_ENDPOINTS, lambda _uid, _ready, _transition: None)
LEGACY = Endpoint(Dialect.LEGACY, 8080, "/actuator/prometheus")


def otel(port: int) -> Endpoint:
    return Endpoint(Dialect.OTEL, port, "/metrics")


ENDPOINTS = {
    "etl-prod-matillion-runner-app": (LEGACY,),
    "etl-old-matillion-agent-app": (LEGACY,),
    "matillion-runner-app": (LEGACY,),
    "etl-next-matillion-runner-app": (otel(9464), LEGACY),
    "etl-port-matillion-runner-app": (otel(9555), LEGACY),
}
DEPLOYMENTS = [one for name in SETS for one in vendor_objects(name, "Deployment")]


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return a pod as the Deployment's ReplicaSet makes it."""
    name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-6fc8fc89b", "controller": True}
    labels = template["metadata"]["labels"] | {"pod-template-hash": "6fc8fc89b"}
    metadata = template["metadata"] | {"name": f"{name}-6fc8fc89b-x2x9z", "namespace": "matillion", "uid": name}
    return {"metadata": metadata | {"labels": labels, "ownerReferences": [owner]}, "spec": template["spec"]}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: str(one["metadata"]["name"]))
def test_agents_of_every_chart_are_found_and_read_where_they_say(deployment: dict[str, Any]) -> None:
    """The default selector finds the agents and no script runner; each has its endpoints, fleet and Deployment."""
    pod, name = pod_of(deployment), deployment["metadata"]["name"]
    assert parse_selector(KubernetesSettings().label_selector).matches(pod["metadata"]["labels"]) is is_agent(
        deployment
    )
    found = READER.read(pod)
    if not is_agent(deployment):
        assert isinstance(found, IgnoredPod), "a selector that finds it makes no agent of it"
        return
    assert isinstance(found, Target)
    assert found.facts is not None
    assert found.endpoints == ENDPOINTS[name]
    assert (found.facts.workload, found.facts.template) == (name, "6fc8fc89b")
    assert found.fleet == deployment["metadata"]["labels"][LABEL]
    assert found.facts.container == f"{name.removesuffix('-app')}-pods"


def test_every_agent_of_the_charts_is_among_them() -> None:
    """A set that is read wrongly would otherwise pass for lack of agents."""
    assert {one["metadata"]["name"] for one in DEPLOYMENTS if is_agent(one)} == set(ENDPOINTS)
    assert not all(map(is_agent, DEPLOYMENTS))
