"""Scaling: the external metrics API as the API server sees it, and two autoscalers on one Deployment."""

from typing import Any

import pytest

from exporter.doctor.check import Outcome
from exporter.publish.external_metrics_documents import api_resources
from exporter.publish.external_metrics_values import EXTERNAL_METRICS
from tests.doctor.cluster import API_SERVICE, EXTERNAL, FRONT_PROXY, HPAS, PODS, Cluster, Json, examined, settings
from tests.fakes.certificates import Authority
from tests.fakes.kube_api import status
from tests.fakes.kube_pods import raw_pod

SUBJECT = "autoscaling"
SCALING = (SUBJECT, "scaling of matillion/prod")
OWNER = [{"controller": True, "kind": "ReplicaSet", "name": "prod-7f9c"}]
LABELS = {"app.kubernetes.io/instance": "prod", "pod-template-hash": "7f9c"}
ON: Json = {"external_metrics": {"enabled": True, "cert_file": "/c", "key_file": "/k"}}


def hpa(name: str, *metrics: Json, target: str = "prod", labels: Json | None = None, **state: str) -> Json:
    """Make an HPA; `state` is a condition that is False, with its message."""
    conditions = [{"type": kind, "status": "False", "reason": "Why", "message": text} for kind, text in state.items()]
    return {
        "metadata": {"name": name, "namespace": "matillion", "labels": labels or {}},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}, "metrics": list(metrics)},
        "status": {"conditions": conditions},
    }


def external(name: str = "matillion_fleet_demand_tasks") -> Json:
    """Make an external metric of an HPA."""
    return {"type": "External", "external": {"metric": {"name": name}}}


CPU: Json = {"type": "Resource", "resource": {"name": "cpu"}}
PER_POD: Json = {"type": "Pods", "pods": {"metric": {"name": "app_active_task_count"}}}


@pytest.fixture
def kube_with_agents(kube: Cluster) -> Cluster:
    """Give a cluster with one agent of the Deployment `prod`."""
    one = raw_pod("prod-7f9c-x", labels=LABELS, metadata={"ownerReferences": OWNER})
    one["status"]["podIP"] = None
    kube.said[PODS] = (200, {"items": [one]})
    return kube


async def scaling(kube: Cluster, *hpas: Json, **sections: Any) -> Any:
    """Return what is said of the Deployment's scaling with these HPAs."""
    kube.said[HPAS] = (200, {"items": list(hpas)})
    return (await examined(settings(**sections), kube))[SCALING]


async def test_two_on_one_deployment(kube_with_agents: Cluster) -> None:
    """The vendor's HPA beside another one is a failure that names both and what each goes by."""
    found = await scaling(
        kube_with_agents, hpa("runner-hpa", PER_POD), hpa("prod-fleet", external()), hpa("db", CPU, target="db")
    )
    assert found.outcome is Outcome.FAILED
    assert "2 HorizontalPodAutoscalers conflict" in found.found
    assert "runner-hpa (by app_active_task_count) and prod-fleet (by matillion_fleet_demand_tasks)" in found.found


async def test_one_that_follows_this_exporter(kube_with_agents: Cluster) -> None:
    """One HPA on the demand is as it should be."""
    found = await scaling(kube_with_agents, hpa("prod-fleet", external()), **ON)
    assert (found.outcome, found.found) == (Outcome.OK, "prod-fleet scales it on matillion_fleet_demand_tasks")


async def test_one_that_follows_something_else(kube_with_agents: Cluster) -> None:
    """The API is served and nobody asks it: CPU says nothing of an agent's work."""
    found = await scaling(kube_with_agents, hpa("prod", CPU), **ON)
    assert found.outcome is Outcome.WARNING
    assert "on cpu, not on this exporter's metrics" in found.found
    assert (await scaling(kube_with_agents, hpa("prod", CPU))).outcome is Outcome.OK


async def test_keda(kube_with_agents: Cluster) -> None:
    """KEDA's own HPA goes by names KEDA makes up."""
    one = hpa("keda-hpa-prod", external("s0-metric-api"), labels={"scaledobject.keda.sh/name": "prod"})
    found = await scaling(kube_with_agents, one, **ON)
    assert found.outcome is Outcome.OK
    assert "(KEDA)" in found.found


async def test_one_that_stands_still(kube_with_agents: Cluster) -> None:
    """An HPA that gets no metric says why; so does this."""
    found = await scaling(kube_with_agents, hpa("prod", external(), ScalingActive="no external metrics"))
    assert found.outcome is Outcome.WARNING
    assert "Why: no external metrics" in found.found


async def test_nothing_scales(kube_with_agents: Cluster) -> None:
    """That is a matter of taste, unless the API for it is served."""
    assert (await scaling(kube_with_agents)).outcome is Outcome.OK
    assert (await scaling(kube_with_agents, **ON)).outcome is Outcome.WARNING


async def test_an_old_cluster(kube_with_agents: Cluster) -> None:
    """Before Kubernetes 1.23 there is no autoscaling/v2."""
    old = HPAS.replace("/v2/", "/v2beta2/")
    kube_with_agents.said[old] = (200, {"items": [hpa("a", CPU), hpa("b", CPU)]})
    del kube_with_agents.said[HPAS]
    assert (await examined(settings(), kube_with_agents))[SCALING].outcome is Outcome.FAILED


async def test_hpas_that_may_not_be_read(kube_with_agents: Cluster) -> None:
    """Where the exporter has no right to see autoscalers, a person with one is told to look."""
    kube_with_agents.refuse(HPAS, 403, "Forbidden")
    found = (await examined(settings(), kube_with_agents))[SUBJECT, "autoscalers in matillion"]
    assert found.outcome is Outcome.NOT_CHECKED
    assert "your own kubeconfig" in found.fix


# -- the external metrics API ------------------------------------------------------------------------------------------


async def test_the_api_is_available(kube: Cluster) -> None:
    """It is registered, answers through the API server, and serves this exporter's metrics."""
    kube.said[EXTERNAL] = (200, dict(api_resources(EXTERNAL_METRICS)))
    found = (await examined(settings(**ON), kube))[SUBJECT, "external metrics API"]
    assert found.outcome is Outcome.OK


async def test_the_api_belongs_to_another_service(kube: Cluster) -> None:
    """KEDA registers the same API, and a cluster has it only once."""
    kube.said[EXTERNAL] = (200, {"kind": "APIResourceList", "resources": [{"name": "externalmetrics"}]})
    found = (await examined(settings(**ON), kube))[SUBJECT, "external metrics API"]
    assert found.outcome is Outcome.FAILED
    assert "KEDA" in found.fix


async def test_the_api_is_not_registered(kube: Cluster) -> None:
    """Then no HPA can ask it."""
    found = (await examined(settings(**ON), kube))[SUBJECT, "external metrics API"]
    assert found.outcome is Outcome.FAILED
    assert "v1beta1.external.metrics.k8s.io is not registered" in found.found


async def test_the_api_is_not_available(kube: Cluster) -> None:
    """The reason stands in the APIService, for who may read it; to the others it is said where it stands."""
    kube.refuse(EXTERNAL, 503, "ServiceUnavailable")
    kube.refuse(API_SERVICE, 403, "Forbidden")
    found = (await examined(settings(**ON), kube))[SUBJECT, "external metrics API"]
    assert found.outcome is Outcome.FAILED
    assert "kubectl get apiservice v1beta1.external.metrics.k8s.io" in found.fix
    condition = {"type": "Available", "status": "False", "reason": "FailedDiscoveryCheck", "message": "x509: unknown"}
    kube.said[API_SERVICE] = (200, {"status": {"conditions": [condition]}})
    found = (await examined(settings(**ON), kube))[SUBJECT, "external metrics API"]
    assert "FailedDiscoveryCheck: x509: unknown" in found.found


async def test_the_front_proxy(kube: Cluster) -> None:
    """By what the API server is recognised, if that may be read and makes sense."""
    data = {
        "requestheader-client-ca-file": Authority("front-proxy").pem.decode(),
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
    }
    kube.said[FRONT_PROXY] = (200, {"kind": "ConfigMap", "data": data})
    found = (await examined(settings(**ON), kube))[SUBJECT, "front proxy"]
    assert found.outcome is Outcome.OK
    assert "front-proxy-client" in found.found
    kube.said[FRONT_PROXY] = (200, {"kind": "ConfigMap", "data": {}})
    found = (await examined(settings(**ON), kube))[SUBJECT, "front proxy"]
    assert found.outcome is Outcome.FAILED
    assert "aggregation layer" in found.found
    kube.said[FRONT_PROXY] = (403, status(403, "Forbidden"))
    found = (await examined(settings(**ON), kube))[SUBJECT, "front proxy"]
    assert found.outcome is Outcome.FAILED
    assert "extension-apiserver-authentication-reader" in found.fix


async def test_it_is_disabled(kube: Cluster) -> None:
    """What is off is not looked at, and said to be off."""
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "external metrics API"].found == "external_metrics.enabled is false"
    assert (SUBJECT, "front proxy") not in seen
