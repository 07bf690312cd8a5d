"""The doctor in a pod of a real cluster: with the exporter's rights, without them, and as an administrator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Settings
from exporter.doctor.check import Outcome
from exporter.doctor.command import examine
from exporter.doctor.keda import keda_version
from exporter.kube.client import KubeClient
from exporter.kube.election import LeaderElection
from tests.doctor.cluster import Seen, settings
from tests.fakes.aggregation_layer import API_SERVICE, GROUP, external_metrics, registered
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.kubelet import FakeKubelet
from tests.fakes.ports import free_port
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
AGENTS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "patch"]},
    {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["list"]},
]
LEASE = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
]
KEDA = [{"apiGroups": ["keda.sh"], "resources": ["scaledobjects"], "verbs": ["list"]}]
HPAS = {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]}
_numbers = count(1)


class Pod:
    """What the kubelet gives a pod: a service account's token, and where the API server is."""

    def __init__(self, plane: ControlPlane, folder: Path, namespace: str, token: str) -> None:
        self.folder = folder / f"account-{next(_numbers)}"
        self.folder.mkdir()
        (self.folder / "token").write_text(token)
        (self.folder / "namespace").write_text(namespace)
        (self.folder / "ca.crt").write_bytes(plane.ca.certificate_file.read_bytes())
        self.environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(plane.port)}

    async def examine(self, given: Settings) -> Seen:
        """Run the doctor in it."""
        return Seen(await examine(given, None, self.environ, self.folder))


async def as_admin(plane: ControlPlane, given: Settings) -> Seen:
    """Run the doctor on an administrator's machine."""
    return Seen(await examine(given, None, {"KUBECONFIG": str(plane.kubeconfig)}, Path("/nowhere")))


def watching(namespace: str, **sections: Any) -> Settings:
    """Return settings for the agents of a namespace."""
    return settings(
        discovery={"kubernetes": {"namespaces": [namespace]}},
        scrape={"interval": "2s", "timeout": "1s"},
        deletion_cost={"enabled": True},
        **sections,
    )


@asynccontextmanager
async def agents(admin: Admin, namespace: str) -> AsyncIterator[FakeKubelet]:
    """Run two agents in pods of their own."""
    async with FakeKubelet(admin, namespace, tasks=5) as kubelet:
        for number in range(2):
            await admin.create_pod(namespace, f"prod-{number}", labels=LABELS)
        await eventually(lambda: len(kubelet.pods) == 2, seconds=30)
        yield kubelet


async def test_in_the_exporters_pod(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """With the rights of the chart's roles all is well, and what those do not cover is not checked."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "agents", AGENTS)
    await admin.grant(namespace, "exporter", "lease", LEASE)
    pod = Pod(control_plane, tmp_path, namespace, token)
    given = watching(namespace)
    async with agents(admin, namespace), await KubeClient.connect(pod.environ, pod.folder) as kube:
        election = LeaderElection(given.leader_election, kube, namespace, "replica-1_x")
        leading = asyncio.create_task(election.run(asyncio.Event().wait), name="election")
        try:
            await eventually(election.is_leader, seconds=30)
            seen = await pod.examine(given)
        finally:
            leading.cancel()
            await asyncio.wait({leading})
    for name in (f"may find agents in {namespace}", f"may annotate agents in {namespace}", "may renew the Lease"):
        assert seen["Kubernetes", name].outcome is Outcome.OK, seen["Kubernetes", name]
    assert seen["Kubernetes", "Lease"].outcome is Outcome.OK
    assert "replica-1_x holds it and renews it" in seen["Kubernetes", "Lease"].found
    assert seen["Kubernetes", "memory in use"].outcome is Outcome.WARNING
    assert seen["agents", f"pods in {namespace}"].found == "2 pods in 1 fleet: prod (2)"
    assert "2 of 2 agents answer (2 otel), 2 connected, 10 tasks running" in seen["agents", f"{namespace}/prod"].found
    assert seen["autoscaling", f"autoscalers in {namespace}"].outcome is Outcome.NOT_CHECKED
    assert seen.report.good


async def test_without_rights(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """Nothing is granted: each right that is missing is named with its rule, and what remains is still looked at."""
    token = await admin.service_account_token(namespace, "exporter")
    seen = await Pod(control_plane, tmp_path, namespace, token).examine(watching(namespace))
    assert seen["Kubernetes", "API server"].outcome is Outcome.OK
    for name, rule in {
        f"may find agents in {namespace}": 'resources: ["pods"], verbs: ["list", "watch"]',
        f"may annotate agents in {namespace}": 'resources: ["pods"], verbs: ["patch"]',
        "may create the Lease": 'resources: ["leases"], verbs: ["create"]',
    }.items():
        assert seen["Kubernetes", name].outcome is Outcome.FAILED
        assert rule in seen["Kubernetes", name].fix
        assert namespace in seen["Kubernetes", name].fix
    assert seen["agents", f"pods in {namespace}"].outcome is Outcome.FAILED
    assert not seen.report.good


async def test_an_unknown_token(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """A token of another cluster is one failure."""
    seen = await Pod(control_plane, tmp_path, namespace, "not.a.token").examine(watching(namespace))
    assert seen["Kubernetes", "API server"].outcome is Outcome.FAILED
    assert "belongs to this cluster" in seen["Kubernetes", "API server"].found
    assert seen["Kubernetes", "permissions"].outcome is Outcome.NOT_CHECKED


async def test_two_autoscalers(control_plane: ControlPlane, admin: Admin, namespace: str) -> None:
    """An administrator's doctor finds the vendor's HPA beside another one on the same workload."""
    path = await admin.collection("horizontalpodautoscalers", namespace)
    for name in ("runner", "fleet"):
        external = {"metric": {"name": f"{name}_tasks"}, "target": {"type": "AverageValue", "averageValue": "16"}}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "prod"},
            "minReplicas": 2,
            "maxReplicas": 9,
            "metrics": [{"type": "External", "external": external}],
        }
        await admin.call("POST", path, {"metadata": {"name": name}, "spec": spec})
    async with agents(admin, namespace):
        await give_owner(admin, namespace)
        seen = await as_admin(control_plane, watching(namespace))
    found = seen["autoscaling", f"scaling of {namespace}/prod"]
    assert found.outcome is Outcome.FAILED
    assert "fleet (by fleet_tasks) and runner (by runner_tasks)" in found.found


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCALED_OBJECTS = "scaledobjects.keda.sh"


@asynccontextmanager
async def keda_crd(admin: Admin, version: str, *, behavior: bool) -> AsyncIterator[None]:
    """Serve the CRD of a KEDA, as far as it is looked at, and no object of it: this server falls over those."""
    fields = ("failureThreshold", "replicas", "behavior") if behavior else ("failureThreshold", "replicas")
    fallback = {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
    spec = {"type": "object", "properties": {"fallback": fallback}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    served = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "scaledobjects", "kind": "ScaledObject"}
    crd = {
        "metadata": {"name": SCALED_OBJECTS, "labels": {"app.kubernetes.io/version": version}},
        "spec": {"group": "keda.sh", "scope": "Namespaced", "names": names, "versions": [served]},
    }
    await admin.call("POST", CRDS, crd)
    try:
        yield
    finally:
        await admin.call("DELETE", f"{CRDS}/{SCALED_OBJECTS}")
        async with asyncio.timeout(PATIENCE):
            while True:  # it goes when its objects have gone
                if SCALED_OBJECTS not in {one["metadata"]["name"] for one in (await admin.call("GET", CRDS))["items"]}:
                    break
                await asyncio.sleep(0.2)


async def test_keda(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """Whether it is there shows without a right, what it scales in its HPA; for its own objects the right is named."""
    given, name = watching(namespace), ("autoscaling", f"KEDA in {namespace}")
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "agents", [*AGENTS, HPAS])
    pod = Pod(control_plane, tmp_path, namespace, token)
    external = {"metric": {"name": "s0-metric-api"}, "target": {"type": "AverageValue", "averageValue": "16"}}
    hpa = {
        "metadata": {"name": "keda-hpa-prod", "labels": {"scaledobject.keda.sh/name": "prod"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "prod"},
            "maxReplicas": 9,
            "metrics": [{"type": "External", "external": external}],
        },
    }
    async with agents(admin, namespace):
        await give_owner(admin, namespace)
        assert (await pod.examine(given))["autoscaling", "KEDA"].found == "it is not installed"
        async with keda_crd(admin, "2.17.0", behavior=True):
            async with asyncio.timeout(PATIENCE):
                while True:  # the API is there some time after its CRD
                    if name in (seen := await pod.examine(given)):
                        break
                    await asyncio.sleep(0.2)
            assert seen[name].found == "none of its HPAs scales the agents"
            path = await admin.collection("horizontalpodautoscalers", namespace)
            await admin.call("POST", path, hpa)
            unread = (await pod.examine(given))[name]
            assert unread.outcome is Outcome.NOT_CHECKED
            assert "it scales prod, and there is no permission to list its ScaledObjects" in unread.found
            assert 'apiGroups: ["keda.sh"], resources: ["scaledobjects"], verbs: ["list"]' in unread.fix
            await admin.grant(namespace, "exporter", "keda", KEDA)
            assert (await pod.examine(given))[name].found == "no ScaledObject scales the agents"


async def test_which_keda(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """The CRD of a real API server tells it, and the operator's Deployment before that; without a right, nothing."""
    token = await admin.service_account_token(namespace, "exporter")
    pod = Pod(control_plane, tmp_path, namespace, token)
    connection = KubeClient.connect({"KUBECONFIG": str(control_plane.kubeconfig)}, Path("/nowhere"))
    async with await connection as kube, await KubeClient.connect(pod.environ, pod.folder) as unprivileged:
        async with keda_crd(admin, "2.15.1", behavior=False):
            assert await keda_version(kube) == (2, 15)
            assert await keda_version(unprivileged) is None
            labels = {"app.kubernetes.io/name": "keda-operator"}
            template = {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "keda-operator", "image": "ghcr.io/kedacore/keda:2.16.1"}]},
            }
            operator = {
                "metadata": {"name": "keda-operator", "labels": labels},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            }
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
            await admin.call("POST", path, operator)
            assert await keda_version(kube) == (2, 16)
            await admin.call("DELETE", f"{path}/keda-operator")
        async with keda_crd(admin, "main", behavior=True):
            assert await keda_version(kube) == (2, 17)


NODE_POOLS = "nodepools.karpenter.sh"


@asynccontextmanager
async def karpenter(admin: Admin) -> AsyncIterator[None]:
    """Serve the CRD of NodePools, and no object of it: this server falls over those."""
    served = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    names = {"plural": "nodepools", "singular": "nodepool", "kind": "NodePool"}
    spec = {"group": "karpenter.sh", "scope": "Cluster", "names": names, "versions": [served]}
    await admin.call("POST", CRDS, {"metadata": {"name": NODE_POOLS}, "spec": spec})
    try:
        yield
    finally:
        await admin.call("DELETE", f"{CRDS}/{NODE_POOLS}")


async def test_node_autoscalers(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """An administrator's doctor reads the Cluster Autoscaler's flags; the exporter's says which permission it lacks."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "agents", AGENTS)
    pod, given = Pod(control_plane, tmp_path, namespace, token), watching(namespace)
    labels = {"app": "cluster-autoscaler"}
    container = {"name": "ca", "image": "cluster-autoscaler:v1.30.0", "command": ["./cluster-autoscaler", "--v=4"]}
    autoscaler = {
        "metadata": {"name": "cluster-autoscaler"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    name = ("agents", f"Cluster Autoscaler {namespace}/cluster-autoscaler")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    async with agents(admin, namespace):
        assert (await as_admin(control_plane, given))["agents", "Cluster Autoscaler"].found == "the cluster has none"
        await admin.call("POST", path, autoscaler)
        seen = await as_admin(control_plane, given)
        unread = (await pod.examine(given))["agents", "Cluster Autoscaler"]
        await admin.call("DELETE", f"{path}/cluster-autoscaler")
    assert seen["agents", "grace"].outcome is Outcome.OK
    assert seen[name].outcome is Outcome.WARNING
    assert "it ends agents 600 s" in seen[name].found
    assert "although their grace is 43200 s" in seen[name].found
    assert unread.outcome is Outcome.NOT_CHECKED
    assert 'resources: ["deployments"], verbs: ["list"]' in unread.fix


async def test_karpenter(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """NodePools are listed once their API is served; that it is there shows without any permission."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "agents", AGENTS)
    pod, given, name = Pod(control_plane, tmp_path, namespace, token), watching(namespace), ("agents", "Karpenter")
    assert name not in await pod.examine(given)
    async with karpenter(admin):
        async with asyncio.timeout(PATIENCE):
            while True:  # the API is there some time after its CRD
                if name in (seen := await pod.examine(given)):
                    break
                await asyncio.sleep(0.2)
        assert seen[name].outcome is Outcome.NOT_CHECKED
        assert 'apiGroups: ["karpenter.sh"], resources: ["nodepools"], verbs: ["list"]' in seen[name].fix
        assert name not in await as_admin(control_plane, given), "it may be read, and there is none"


async def test_agents_elsewhere(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """An administrator's doctor finds agents beyond the watched namespace, the exporter's own says where it looked."""
    other = f"{namespace}-other"
    await admin.create_namespace(other)
    container = {"name": "agent", "image": "a:1", "env": [{"name": "AGENT_ID", "value": "a-1"}]}
    pod = {"metadata": {"name": "own-0", "labels": LABELS}, "spec": {"containers": [container]}}
    await admin.call("POST", f"/api/v1/namespaces/{other}/pods", pod)
    seen = await as_admin(control_plane, watching(namespace))
    found = seen["agents", "not matched"]
    assert found.outcome is Outcome.WARNING
    assert f"{other}/own-0 (AGENT_ID)" in found.found
    assert f"namespaces: [{namespace}, " in found.fix
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "agents", AGENTS)
    seen = await Pod(control_plane, tmp_path, namespace, token).examine(watching(namespace))
    assert seen["agents", "not matched"].outcome is Outcome.OK
    assert f"elsewhere than in {namespace}" in seen["agents", "agents elsewhere"].found
    await admin.delete_pod(other, "own-0", grace_seconds=0)


async def test_a_namespace_without_a_profile(control_plane: ControlPlane, admin: Admin, namespace: str) -> None:
    """The exporter's pod that waits for ever is told from a person's machine."""
    pod = {
        "metadata": {"name": "exporter-0", "labels": {"app.kubernetes.io/name": "matillion-fleet-exporter"}},
        "spec": {"containers": [{"name": "exporter", "image": "e:1"}]},
    }
    await admin.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    message = "0/2 nodes are available: 2 node(s) had untolerated taint {eks.amazonaws.com/compute-type: fargate}."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    await admin.set_status(namespace, "exporter-0", {"phase": "Pending", "conditions": [condition]})
    found = (await as_admin(control_plane, watching(namespace)))["Kubernetes", f"nodes for the exporter in {namespace}"]
    assert found.outcome is Outcome.FAILED
    assert f"no Fargate profile selects them in namespace {namespace}" in found.found
    await admin.delete_pod(namespace, "exporter-0", grace_seconds=0)


async def give_owner(admin: Admin, namespace: str) -> None:
    """Let the pods belong to a Deployment's ReplicaSet, as its controller would."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "prod-abc", "uid": "u-1", "controller": True}
    metadata = {"ownerReferences": [owner], "labels": {"pod-template-hash": "abc"}}
    for number in range(2):
        pod = f"/api/v1/namespaces/{namespace}/pods/prod-{number}"
        await admin.call("PATCH", pod, {"metadata": metadata}, "application/merge-patch+json")


async def test_the_external_metrics_api(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """Through the real aggregation layer: not registered, then available, then out of reach with the reason why."""
    given = watching(namespace, external_metrics={"enabled": True, "cert_file": "/none", "key_file": "/none"})
    name = ("autoscaling", "external metrics API")
    async with external_metrics(control_plane, admin, namespace, tmp_path) as running:
        assert "is not registered" in (await as_admin(control_plane, given))[name].found
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/exporter"
        answer = await admin.call("POST", f"{account}/token", {"spec": {"expirationSeconds": 3600}})
        pod = Pod(control_plane, tmp_path, namespace, answer["status"]["token"])
        async with registered(admin, namespace, running):
            seen = await until(lambda: pod.examine(given), name, Outcome.OK)
            assert seen["autoscaling", "front proxy"].outcome is Outcome.OK
            assert "front-proxy-client" in seen["autoscaling", "front proxy"].found
            assert seen["Kubernetes", "may check a user's permissions"].outcome is Outcome.OK
            assert seen["Kubernetes", "may authenticate the API server"].outcome is Outcome.OK
    spec = {
        "group": GROUP, "version": "v1beta1", "insecureSkipTLSVerify": True,
        "service": {"name": "gone", "namespace": namespace, "port": free_port()},
        "groupPriorityMinimum": 100, "versionPriority": 100,
    }  # fmt: skip
    await admin.call("POST", API_SERVICE, {"metadata": {"name": f"v1beta1.{GROUP}"}, "spec": spec})
    try:
        seen = await until(
            lambda: as_admin(control_plane, given), name, Outcome.FAILED, "not available: ServiceNotFound"
        )
        assert "kubectl get apiservice" in seen[name].fix
    finally:
        await admin.call("DELETE", f"{API_SERVICE}/v1beta1.{GROUP}")


async def until(look: Any, name: tuple[str, str], outcome: Outcome, part: str = "") -> Seen:
    """Look until something is found: the aggregation layer takes seconds to notice."""
    async with asyncio.timeout(90):
        while True:
            seen: Seen = await look()
            if seen[name].outcome is outcome and part in seen[name].found:
                return seen
            await asyncio.sleep(0.5)
