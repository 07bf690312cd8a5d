"""The Deployments of the fleets: their names, the autoscalers on them, and who sets their replicas."""

import json

import pytest

from exporter.doctor.check import Outcome
from exporter.doctor.replicas import LAST_APPLIED
from exporter.doctor.workloads import vendor_deployment
from tests.doctor.cluster import HPAS, PODS, Cluster, Json, examined, settings
from tests.fakes.kube_hpas import raw_hpa
from tests.fakes.kube_pods import raw_pod

DEPLOYMENT = "/apis/apps/v1/namespaces/matillion/deployments/{}"
KEDA = "/apis/keda.sh/v1alpha1"
SCALED = f"{KEDA}/namespaces/matillion/scaledobjects"
VENDORS = "etl-matillion-runner-app"
NAMED = ("autoscaling", "Deployment of matillion/etl")
REPLICAS = ("autoscaling", f"replicas of matillion/{VENDORS}")


def agent(name: str = "a-0", deployment: str = VENDORS, **labels: str) -> Json:
    """Make an agent of a Deployment that nobody asks."""
    given = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "etl"} | labels
    owner = [{"controller": True, "kind": "ReplicaSet", "name": f"{deployment}-7f9c"}]
    pod = raw_pod(name, labels=given | {"pod-template-hash": "7f9c"}, metadata={"ownerReferences": owner})
    pod["status"]["podIP"] = None
    return pod


def deployment(*managers: tuple[str, str, bool], annotations: Json | None = None) -> Json:
    """Make a Deployment of 8; each manager has its operation, and owns the replicas or only the template."""
    fields = {True: {"f:spec": {"f:replicas": {}}}, False: {"f:spec": {"f:template": {}}}}
    managed = [{"manager": name, "operation": how, "fieldsV1": fields[owns]} for name, how, owns in managers]
    return {"metadata": {"managedFields": managed, "annotations": annotations or {}}, "spec": {"replicas": 8}}


@pytest.fixture
def agents(kube: Cluster) -> Cluster:
    """Give a cluster with one agent of the vendor's chart."""
    kube.said[PODS] = (200, {"items": [agent()]})
    return kube


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "chart", "name"),
    [
        ("etl", "matillion-runner", "etl-matillion-runner-app"),
        ("matillion-runner", "matillion-runner", "matillion-runner-app"),
        ("eu-matillion-runner-2", "matillion-runner", "eu-matillion-runner-2-app"),
        ("matillion-runner", "matillion-agent", "matillion-runner-matillion-agent-app"),
        ("r" * 52, "matillion-runner", f"{'r' * 52}-matillion-app"),
    ],
)
def test_the_vendors_names(release: str, chart: str, name: str) -> None:
    """As the vendor's charts make them, cut at 63 characters."""
    assert vendor_deployment(release, chart) == name


async def test_the_name_that_the_chart_finds_by_itself(agents: Cluster) -> None:
    """The vendor's name need not be written down."""
    found = (await examined(settings(), agents))[NAMED]
    assert found.outcome is Outcome.OK
    assert found.found == (
        f"it is {VENDORS}, as named by the vendor's chart: autoscaling.fleets[] finds it by that name"
    )


async def test_the_older_charts_name(kube: Cluster) -> None:
    """It takes the chart's name."""
    one = agent(deployment="etl-matillion-agent-app", **{"app.kubernetes.io/name": "matillion-agent"})
    kube.said[PODS] = (200, {"items": [one]})
    assert (await examined(settings(), kube))[NAMED].found.endswith("by that name with chart: matillion-agent")


async def test_any_other_name(kube: Cluster) -> None:
    """It has to be written down."""
    kube.said[PODS] = (200, {"items": [agent(deployment="workers")]})
    found = (await examined(settings(), kube))[NAMED]
    assert found.found == "it is workers: set autoscaling.fleets[].deployment to that in the chart's values"


async def test_two_deployments_in_a_fleet(kube: Cluster) -> None:
    """A scaler sets the replicas of one, and would count the other's tasks."""
    kube.said[PODS] = (200, {"items": [agent(), agent("b-0", "workers")]})
    found = (await examined(settings(), kube))[NAMED]
    assert found.outcome is Outcome.WARNING
    assert "belong to 2: etl-matillion-runner-app, workers" in found.found


# -- targets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unable", [True, False])
async def test_an_hpa_on_a_deployment_that_is_not_there(agents: Cluster, *, unable: bool) -> None:
    """A failure that names the right one, whether the HPA says so itself or the Deployment is looked for."""
    conditions = {"AbleToScale": ("False", "FailedGetScale")} if unable else {}
    one = raw_hpa("etl-fleet", target="etl-matillion-runner", conditions=conditions)
    agents.said[HPAS] = (200, {"items": [one, raw_hpa("db", "db_load", target="db")]})
    if unable:
        agents.refuse(DEPLOYMENT.format("etl-matillion-runner"), 403, "Forbidden")
    seen = await examined(settings(), agents)
    found = seen["autoscaling", "target of matillion/etl-fleet"]
    assert found.outcome is Outcome.FAILED
    assert found.found == (
        "the HPA etl-fleet targets the Deployment etl-matillion-runner, which does not exist; the agents' are "
        "etl-matillion-runner-app"
    )
    assert f"point it to {VENDORS}" in found.fix
    assert ("autoscaling", "target of matillion/db") not in seen


async def test_a_deployment_without_agents(agents: Cluster) -> None:
    """One that is there and has no pods just now is none of the doctor's; one that nobody may look for is said."""
    agents.said[HPAS] = (200, {"items": [raw_hpa("other-hpa", target="other")]})
    agents.said[DEPLOYMENT.format("other")] = (200, deployment())
    title = ("autoscaling", "target of matillion/other-hpa")
    assert title not in await examined(settings(), agents)
    agents.refuse(DEPLOYMENT.format("other"), 403, "Forbidden")
    found = (await examined(settings(), agents))[title]
    assert found.outcome is Outcome.NOT_CHECKED
    assert 'resources: ["deployments"], verbs: ["get"]' in found.fix


async def test_a_scaled_object_on_nothing(agents: Cluster) -> None:
    """KEDA makes no HPA for it, so nothing else shows it."""
    url = "http://exporter.matillion:9850/api/v1/fleets/matillion/etl/demand"
    ours = {"scaleTargetRef": {"name": "etl"}, "triggers": [{"type": "metrics-api", "metadata": {"url": url}}]}
    other = {"scaleTargetRef": {"name": "db"}, "triggers": [{"type": "cron"}]}
    items = [
        {"metadata": {"name": name, "namespace": "matillion"}, "spec": spec}
        for name, spec in (("etl-fleet", ours), ("db", other))
    ]
    agents.said[KEDA], agents.said[SCALED] = (200, {}), (200, {"items": items})
    seen = await examined(settings(), agents)
    found = seen["autoscaling", "target of matillion/etl-fleet"]
    assert found.outcome is Outcome.FAILED
    assert "the ScaledObject etl-fleet targets the Deployment etl, which does not exist" in found.found
    assert ("autoscaling", "target of matillion/db") not in seen
    agents.refuse(SCALED, 403, "Forbidden")
    assert ("autoscaling", "target of matillion/etl-fleet") not in await examined(settings(), agents)


async def test_no_agents_beside_a_lost_hpa(kube: Cluster) -> None:
    """Then there is no right name to give."""
    kube.said[HPAS] = (200, {"items": [raw_hpa("etl-fleet", target="etl")]})
    found = (await examined(settings(), kube))["autoscaling", "target of matillion/etl-fleet"]
    assert "no agents were found in that namespace" in found.found


# -- replicas ----------------------------------------------------------------------------------------------------------

APPLIED = {LAST_APPLIED: json.dumps({"spec": {"replicas": 2}})}
RELEASE = {"meta.helm.sh/release-name": "etl"}
HPA = ("kube-controller-manager", "Update", True)


@pytest.mark.parametrize(
    ("raw", "who", "fix"),
    [
        (deployment(("helm", "Apply", True), HPA), "the next helm upgrade", "--set dpcAgent.replicas=8"),
        (deployment(("helm", "Update", False), HPA, annotations=RELEASE), "the next helm upgrade", "replicas=8"),
        (deployment(("argocd-controller", "Apply", True)), "Argo CD", "RespectIgnoreDifferences=true"),
        (deployment(("argocd-controller", "Update", False), HPA, annotations=APPLIED), "Argo CD", "ignoreDiff"),
        (deployment(("kustomize-controller", "Apply", True)), "Flux's kustomize-controller", "number, 8, into"),
        (deployment(("helm-controller", "Update", False), annotations=RELEASE), "Flux's helm-controller", "drift"),
        (deployment(("terraform-provider-helm_v2.17.0_x5", "Update", True), annotations=RELEASE), "Terraform", "read"),
        (deployment(("HashiCorp", "Update", True)), "Terraform", "same apply"),
        (deployment(("kubectl", "Update", True)), "kubectl", "by hand"),
        (deployment(("kubectl-client-side-apply", "Update", False), HPA, annotations=APPLIED), "kubectl", "by hand"),
        (deployment(("operator", "Update", True)), "operator", f"replicas of {VENDORS} alone"),
    ],
)
async def test_tools_that_would_reset_the_replicas(agents: Cluster, raw: Json, who: str, fix: str) -> None:
    """Whoever owns the number beside the HPA, or lost it to the HPA and has it in what it applies, is named."""
    agents.said[HPAS] = (200, {"items": [raw_hpa("etl-fleet", target=VENDORS)]})
    agents.said[DEPLOYMENT.format(VENDORS)] = (200, raw)
    found = (await examined(settings(), agents))[REPLICAS]
    assert found.outcome is Outcome.WARNING
    assert found.found == f"8 replicas, scaled by etl-fleet; {who} would reset them"
    assert fix in found.fix


@pytest.mark.parametrize("annotations", [{}, {LAST_APPLIED: "{"}, {LAST_APPLIED: '{"spec": {}}'}])
async def test_nothing_resets_the_replicas(agents: Cluster, annotations: Json) -> None:
    """What the HPA sets alone is as it should be."""
    agents.said[HPAS] = (200, {"items": [raw_hpa("etl-fleet", target=VENDORS)]})
    agents.said[DEPLOYMENT.format(VENDORS)] = (200, deployment(HPA, annotations=annotations))
    found = (await examined(settings(), agents))[REPLICAS]
    assert found.outcome is Outcome.OK
    assert "set by etl-fleet; nothing else" in found.found


async def test_without_an_autoscaler(agents: Cluster) -> None:
    """Then whoever sets them may; where nobody may say, that is said."""
    agents.said[DEPLOYMENT.format(VENDORS)] = (200, deployment(("helm", "Apply", True)))
    assert (await examined(settings(), agents))[REPLICAS].found == "8 replicas; no autoscaler"
    agents.refuse(HPAS, 403, "Forbidden")
    found = (await examined(settings(), agents))[REPLICAS]
    assert (found.outcome, found.found) == (Outcome.OK, "8 replicas; whether an autoscaler targets it is unknown")


async def test_a_deployment_that_may_not_be_read(agents: Cluster) -> None:
    """The exporter has no right to it: what to grant is said. What not owned by a Deployment is not looked at."""
    agents.refuse(DEPLOYMENT.format(VENDORS), 403, "Forbidden")
    found = (await examined(settings(), agents))[REPLICAS]
    assert found.outcome is Outcome.NOT_CHECKED
    assert 'resources: ["deployments"], verbs: ["get"]' in found.fix
    agents.refuse(DEPLOYMENT.format(VENDORS), 404, "NotFound")
    assert "not owned by a Deployment" in (await examined(settings(), agents))[REPLICAS].found


async def test_an_error_on_the_way(agents: Cluster) -> None:
    """It is a failure of the checks that needed the answer."""
    agents.refuse(DEPLOYMENT.format(VENDORS), 500, "InternalError")
    assert (await examined(settings(), agents))["autoscaling", "replicas"].outcome is Outcome.FAILED
    agents.refuse(HPAS, 500, "InternalError")
    assert (await examined(settings(), agents))["autoscaling", "Deployments"].outcome is Outcome.FAILED
