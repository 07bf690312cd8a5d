"""KEDA: ScaledObjects that shrink a fleet nobody can see, and a KEDA that is too old for what they say."""

from typing import Any

import pytest

from exporter.doctor.check import Finding, Outcome
from tests.doctor.cluster import DEPLOYMENTS, HPAS, PODS, Cluster, Json, examined, settings
from tests.fakes.kube_pods import raw_pod

API = "/apis/keda.sh/v1alpha1"
SCALED_OBJECTS = f"{API}/namespaces/matillion/scaledobjects"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaledobjects.keda.sh"
SUBJECT = "autoscaling"
PROD = "ScaledObject matillion/prod-fleet"
IN_NAMESPACE = "KEDA in matillion"

WITHHELD: Json = {"ignoreNullValues": "false"}
HOLDS: Json = {"failureThreshold": 20, "replicas": 4, "behavior": "currentReplicasIfHigher"}


def cloudwatch(**metadata: str) -> Json:
    """Make a trigger that asks CloudWatch."""
    return {"type": "aws-cloudwatch", "metadata": {"metricName": "DemandTasks", **metadata}}


METRICS_API: Json = {"type": "metrics-api", "metadata": {"valueLocation": "value"}}


def scaled_object(*triggers: Json, name: str = "prod-fleet", target: str = "prod", **spec: Any) -> Json:
    """Make a ScaledObject."""
    return {
        "metadata": {"name": name, "namespace": "matillion"},
        "spec": {"scaleTargetRef": {"name": target}, "triggers": list(triggers), **spec},
    }


def operator(image: str, **labels: str) -> Json:
    """Make the Deployment of KEDA's operator."""
    containers = [{"name": "keda-operator", "image": image}]
    return {
        "metadata": {"name": "keda-operator", "labels": labels},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def crd(label: str | None, *, behavior: bool = False) -> Json:
    """Make the CRD of ScaledObjects, as far as it tells a version."""
    fallback: Json = {"replicas": {"type": "integer"}} | ({"behavior": {"type": "string"}} if behavior else {})
    schema = {"properties": {"spec": {"properties": {"fallback": {"properties": fallback}}}}}
    return {
        "metadata": {"labels": {} if label is None else {"app.kubernetes.io/version": label}},
        "spec": {"versions": [{"name": "v1alpha1", "schema": {"openAPIV3Schema": schema}}]},
    }


class Keda:
    """A cluster in which KEDA may scale the one agent, of the Deployment `prod`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        owner = {"controller": True, "kind": "ReplicaSet", "name": "prod-7f9c"}
        labels = {"app.kubernetes.io/instance": "prod", "pod-template-hash": "7f9c"}
        agent = raw_pod("prod-7f9c-x", labels=labels, metadata={"ownerReferences": [owner]})
        agent["status"]["podIP"] = None
        cluster.said |= {
            PODS: (200, {"items": [agent]}),
            API: (200, {"kind": "APIResourceList", "resources": [{"name": "scaledobjects"}]}),
            SCALED_OBJECTS: (200, {"items": []}),
        }
        cluster.refuse(DEPLOYMENTS, 403, "Forbidden")
        cluster.refuse(CRD, 403, "Forbidden")

    def runs(self, *operators: Json) -> None:
        """Let the operator be seen."""
        self.cluster.said[DEPLOYMENTS] = (200, {"items": list(operators)})

    def has(self, definition: Json) -> None:
        """Let the CRD be seen."""
        self.cluster.said[CRD] = (200, definition)

    async def look(self, *scaled: Json, name: str = PROD) -> Finding:
        """Return what is found of these ScaledObjects."""
        self.cluster.said[SCALED_OBJECTS] = (200, {"items": list(scaled)})
        return await self.find(name)

    async def find(self, name: str) -> Finding:
        """Return what is found by a name."""
        return (await examined(settings(), self.cluster))[SUBJECT, name]


@pytest.fixture
def keda(kube: Cluster) -> Keda:
    return Keda(kube)


# -- what ScaledObjects say --------------------------------------------------------------------------------------------


async def test_the_charts_own(keda: Keda) -> None:
    """To ask the exporter takes no version, so nobody has to see one."""
    found = await keda.look(scaled_object(METRICS_API))
    assert (found.outcome, found.found) == (Outcome.OK, "without data it keeps the size of prod")


@pytest.mark.parametrize("written", ["false", "False", "f", "0"])
async def test_missing_data_that_is_an_error(keda: Keda, written: str) -> None:
    """KEDA reads false as Go does."""
    keda.runs(operator("ghcr.io/kedacore/keda:2.16.1"))
    found = await keda.look(scaled_object(cloudwatch(ignoreNullValues=written)))
    assert (found.outcome, found.found) == (Outcome.OK, "without data it keeps the size of prod (KEDA 2.16)")


@pytest.mark.parametrize("metadata", [{}, {"ignoreNullValues": "true"}, {"ignoreNullValues": "no"}], ids=str)
async def test_missing_data_that_is_no_work(keda: Keda, metadata: Json) -> None:
    """KEDA's default shrinks a fleet; that one trigger of two is right does not help."""
    keda.runs(operator("ghcr.io/kedacore/keda:2.19.0"))
    found = await keda.look(scaled_object(cloudwatch(**WITHHELD), cloudwatch(**metadata)))
    assert found.outcome is Outcome.FAILED
    assert "treats missing CloudWatch data as minMetricValue" in found.found
    assert found.fix == 'set ignoreNullValues: "false" in the trigger (KEDA 2.16 or later; documentation: scaling)'


@pytest.mark.parametrize("behavior", [{}, {"behavior": "static"}, {"behavior": "currentReplicasIfLower"}], ids=str)
async def test_a_fallback_that_shrinks(keda: Keda, behavior: Json) -> None:
    """One without a behavior is what a CRD of before 2.17 leaves of ours; it is wrong in any version."""
    fallback = {"failureThreshold": 20, "replicas": 2, **behavior}
    found = await keda.look(scaled_object(METRICS_API, fallback=fallback))
    assert found.outcome is Outcome.FAILED
    assert found.found == "its fallback sets a fleet of any size to 2 agents when the exporter cannot see it"
    assert "remove the fallback" in found.fix
    assert "set its behavior to currentReplicasIfHigher" in found.fix


@pytest.mark.parametrize("behavior", ["currentReplicasIfHigher", "currentReplicas"])
async def test_a_fallback_that_holds(keda: Keda, behavior: str) -> None:
    """From 2.17 on; an older operator beside newer CRDs does not know it."""
    one = scaled_object(METRICS_API, fallback=HOLDS | {"behavior": behavior})
    keda.runs(operator("ghcr.io/kedacore/keda:2.17.0"))
    assert (await keda.look(one)).outcome is Outcome.OK
    keda.runs(operator("ghcr.io/kedacore/keda:2.16.1"))
    found = await keda.look(one)
    assert found.outcome is Outcome.FAILED
    assert "KEDA 2.16 does not support a fallback's behavior" in found.found
    assert "upgrade KEDA to 2.17 or later, its CRDs too; or scale on metrics-api without a fallback" in found.fix


async def test_everything_at_once(keda: Keda) -> None:
    """Each fault is named, and each fix."""
    keda.runs(operator("ghcr.io/kedacore/keda:2.15.1"))
    found = await keda.look(scaled_object(cloudwatch(), fallback={"failureThreshold": 3, "replicas": "many"}))
    assert found.outcome is Outcome.FAILED
    for part in (
        "as minMetricValue",
        "sets a fleet of any size to its replicas",
        "KEDA 2.15 does not support ignoreNull",
    ):
        assert part in found.found
    assert "upgrade KEDA to 2.16 or later" in found.fix


async def test_others_are_none_of_its_business(keda: Keda) -> None:
    """A ScaledObject on another Deployment may do as it likes."""
    found = await keda.look(scaled_object(cloudwatch(), target="database"), name=IN_NAMESPACE)
    assert (found.outcome, found.found) == (Outcome.OK, "no ScaledObject scales the agents")


async def test_objects_that_make_no_sense(keda: Keda) -> None:
    """They are not the agents'; a fallback that is no mapping is one that holds nothing."""
    found = await keda.look({}, {"metadata": 1, "spec": []}, scaled_object(METRICS_API, fallback="none"))
    assert found.outcome is Outcome.FAILED


# -- which KEDA --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "old"),
    [
        ("ghcr.io/kedacore/keda:2.15.1", True),
        ("registry.test:5000/mirror/keda:v2.9.0@sha256:0123", True),
        ("ghcr.io/kedacore/keda:2.16.0-eks-1", False),
        ("ghcr.io/kedacore/keda:3.0.0", False),
    ],
)
async def test_what_runs_decides(keda: Keda, image: str, old: bool) -> None:
    """The image's tag goes before the CRD, which may have been upgraded alone."""
    keda.runs(operator(image, **{"app.kubernetes.io/version": "1.0"}))
    keda.has(crd("2.17.0", behavior=True))
    found = await keda.look(scaled_object(cloudwatch(**WITHHELD)))
    assert found.outcome is (Outcome.FAILED if old else Outcome.OK)
    [query] = [one for one in keda.cluster.queries(DEPLOYMENTS) if "labelSelector" in one]
    assert query == {"labelSelector": "app.kubernetes.io/name=keda-operator"}


async def test_an_image_without_a_version(keda: Keda) -> None:
    """The Deployment's label says it then; of several operators the oldest counts."""
    pinned = operator("ghcr.io/kedacore/keda@sha256:0123", **{"app.kubernetes.io/version": "2.15.0"})
    keda.runs(operator("ghcr.io/kedacore/keda:2.18.0"), pinned)
    found = await keda.look(scaled_object(cloudwatch(**WITHHELD)))
    assert "KEDA 2.15 does not support ignoreNullValues" in found.found


@pytest.mark.parametrize(
    ("definition", "outcome"),
    [
        (crd("2.15.2"), Outcome.FAILED),
        (crd("2.16.0"), Outcome.OK),
        (crd("main", behavior=True), Outcome.OK),
        (crd(None, behavior=True), Outcome.OK),
        (crd(None), Outcome.NOT_CHECKED),
        ({"spec": {"versions": [{"schema": None}]}}, Outcome.NOT_CHECKED),
    ],
)
async def test_fields_of_the_crd(keda: Keda, definition: Json, outcome: Outcome) -> None:
    """Where the operator cannot be seen: the CRD's label, and that its schema has the behavior of a fallback."""
    keda.has(definition)
    assert (await keda.look(scaled_object(cloudwatch(**WITHHELD)))).outcome is outcome


async def test_an_unknown_version(keda: Keda) -> None:
    """It is not checked, and said which right is missing."""
    found = await keda.look(scaled_object(cloudwatch(**WITHHELD), fallback=HOLDS))
    assert found.outcome is Outcome.NOT_CHECKED
    assert "ignoreNullValues (KEDA 2.16) and a fallback's behavior (KEDA 2.17)" in found.found
    assert 'apiGroups: ["apiextensions.k8s.io"], resources: ["customresourcedefinitions"], verbs: ["get"]' in found.fix


# -- with the exporter's rights alone ----------------------------------------------------------------------------------


def hpa_of_kedas(target: str) -> Json:
    """Make the HPA that KEDA makes."""
    labels = {"scaledobject.keda.sh/name": "prod-fleet"}
    return {
        "metadata": {"name": f"keda-hpa-{target}", "namespace": "matillion", "labels": labels},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}},
    }


async def test_scaled_objects_that_may_not_be_read(keda: Keda) -> None:
    """KEDA's HPAs say whether that matters; if so, the right is named."""
    keda.cluster.refuse(SCALED_OBJECTS, 403, "Forbidden")
    keda.cluster.said[HPAS] = (200, {"items": [hpa_of_kedas("prod")]})
    found = await keda.find(IN_NAMESPACE)
    assert found.outcome is Outcome.NOT_CHECKED
    assert "it scales prod, and there is no permission to list its ScaledObjects" in found.found
    assert 'resources: ["scaledobjects"], verbs: ["list"]} to a Role in namespace \'matillion\'' in found.fix
    keda.cluster.said[HPAS] = (200, {"items": [hpa_of_kedas("database")]})
    assert (await keda.find(IN_NAMESPACE)).found == "none of its HPAs scales the agents"
    keda.cluster.refuse(HPAS, 403, "Forbidden")
    assert (await keda.find(IN_NAMESPACE)).outcome is Outcome.NOT_CHECKED


async def test_no_keda(kube: Cluster) -> None:
    """Where the API is not there, nothing more is asked, and no right is missed."""
    found = (await examined(settings(), kube))[SUBJECT, "KEDA"]
    assert (found.outcome, found.found) == (Outcome.OK, "it is not installed")
    assert not kube.queries(SCALED_OBJECTS)


async def test_no_kubernetes() -> None:
    """Without discovery there is nothing that KEDA could scale."""
    seen = await examined(settings(discovery={"kubernetes": {"enabled": False}}))
    assert (SUBJECT, "KEDA") not in seen


async def test_an_api_server_that_fails(keda: Keda) -> None:
    """That is a failure of the check, in the server's words."""
    keda.cluster.refuse(API, 500, "InternalError")
    found = await keda.find("KEDA")
    assert found.outcome is Outcome.FAILED
    assert "said the test" in found.found
