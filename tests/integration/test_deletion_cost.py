"""Deletion costs on a real API server: its RBAC, its rules for a change, its ReplicaSet controller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from exporter.config.settings import DeletionCostSettings
from exporter.fleet.model import Fleet
from exporter.kube.client import KubeClient
from exporter.kube.election import SoleLeader
from exporter.publish.deletion_cost import ANNOTATION, DeletionCost, Pace
from tests.factories import NOW, make_facts, make_fleet, make_snapshot
from tests.fakes.background import background
from tests.fakes.control_plane import Admin, ControlPlane, Json
from tests.fakes.controller_manager import PROGRAM, available, controllers, create_deployment
from tests.fakes.kubelet import FakeKubelet
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
QUICK = Pace(poll_every=0.1, between_writes=0.02, per_pod=1.0, first_retry=0.1, max_retry=0.5)
PATCH_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}
UNDERSTOOD_SINCE = (1, 22)
"""ReplicaSets heed the annotation by default since then; 1.21 has it behind a feature gate."""


class Agents:
    """The agents of a namespace with the tasks a test gives them."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.tasks: dict[str, float] = {}
        self.uids: dict[str, str] = {}

    def fleets(self) -> list[Fleet]:
        """Return one fleet, all of it read just now."""
        snapshots = [
            make_snapshot(
                pod, uid=self.uids[pod], namespace=self.namespace, tasks_active=tasks, age=0.0, facts=make_facts()
            )
            for pod, tasks in self.tasks.items()
        ]
        return [make_fleet(snapshots, namespace=self.namespace)] if snapshots else []

    def now(self) -> float:
        """Return the instant."""
        return NOW + asyncio.get_running_loop().time()

    def not_ready_reason(self) -> str | None:
        """Return that all is known."""
        return None


@pytest.fixture
def agents(namespace: str) -> Agents:
    return Agents(namespace)


@pytest.fixture
async def kube(control_plane: ControlPlane, admin: Admin, namespace: str) -> AsyncIterator[KubeClient]:
    """Connect as a service account without any rights yet."""
    token = await admin.service_account_token(namespace, "exporter")
    kubeconfig = control_plane.kubeconfig_for_token(f"{namespace}-exporter", token)
    async with await KubeClient.connect({"KUBECONFIG": str(kubeconfig)}) as client:
        yield client


@asynccontextmanager
async def writing(agents: Agents, kube: KubeClient) -> AsyncIterator[None]:
    leader = SoleLeader()
    part = DeletionCost(DeletionCostSettings(enabled=True), agents, kube, leader, pace=QUICK)
    async with background(leader.run(part.run)):
        yield


async def pod(admin: Admin, namespace: str, name: str) -> Json:
    """Return a pod's metadata."""
    metadata: Json = (await admin.call("GET", f"/api/v1/namespaces/{namespace}/pods/{name}"))["metadata"]
    return metadata


async def cost(admin: Admin, namespace: str, name: str) -> str | None:
    found: str | None = (await pod(admin, namespace, name)).get("annotations", {}).get(ANNOTATION)
    return found


async def reaches(admin: Admin, namespace: str, costs: dict[str, str]) -> None:
    """Wait until the pods have these costs."""
    async with asyncio.timeout(PATIENCE):
        while {name: await cost(admin, namespace, name) for name in costs} != costs:  # noqa: ASYNC110 — another writes
            await asyncio.sleep(0.1)


async def test_writes_what_changes_with_no_right_but_to_patch(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """Each pod is changed once at first and once when its bucket changes; the API server counts the changes."""
    for name, tasks in (("idle", 0), ("busy", 12)):
        agents.uids[name] = await admin.create_pod(namespace, name, labels=LABELS)
        agents.tasks[name] = tasks
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    versions = {(await pod(admin, namespace, name))["resourceVersion"] for name in ("idle", "busy")}
    async with writing(agents, kube):
        await reaches(admin, namespace, {"idle": "0", "busy": "15"})
        after_first = {name: (await pod(admin, namespace, name))["resourceVersion"] for name in ("idle", "busy")}
        assert versions.isdisjoint(after_first.values())
        for tasks in (11, 15, 13):
            agents.tasks["busy"] = tasks
            await asyncio.sleep(0.5)
        unchanged = {name: (await pod(admin, namespace, name))["resourceVersion"] for name in ("idle", "busy")}
        assert unchanged == after_first, "within its bucket nothing is written"
        agents.tasks["busy"] = 20
        await reaches(admin, namespace, {"idle": "0", "busy": "20"})
    metadata = await pod(admin, namespace, "busy")
    assert metadata["labels"] == LABELS, "nothing else of the pod is touched"
    assert set(metadata["annotations"]) == {ANNOTATION}


async def test_a_new_leader_changes_nothing_that_is_right(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """A write of what is there already is no change to the API server, and wakes no watcher."""
    agents.uids["busy"] = await admin.create_pod(namespace, "busy", labels=LABELS)
    agents.tasks["busy"] = 12
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    async with writing(agents, kube):
        await reaches(admin, namespace, {"busy": "15"})
    before = (await pod(admin, namespace, "busy"))["resourceVersion"]
    async with writing(agents, kube):
        await asyncio.sleep(2)
    assert (await pod(admin, namespace, "busy"))["resourceVersion"] == before


async def test_another_pod_of_the_same_name_is_left_alone(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """What was known of a pod that is gone is not written to the one that has its name now."""
    agents.uids["agent-0"] = await admin.create_pod(namespace, "agent-0", labels=LABELS)
    await admin.delete_pod(namespace, "agent-0", grace_seconds=0)
    await admin.create_pod(namespace, "agent-0", labels=LABELS)
    agents.uids["other"] = await admin.create_pod(namespace, "other", labels=LABELS)
    agents.tasks.update({"agent-0": 20, "other": 5})
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    with capture_logs() as logs:
        async with writing(agents, kube):
            await reaches(admin, namespace, {"other": "5"})
            await asyncio.sleep(2)
    assert await cost(admin, namespace, "agent-0") is None
    assert not [entry for entry in logs if entry["log_level"] == "warning"]


async def test_a_missing_right_is_named_until_it_is_granted(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """Without the right the log says which; once it is granted the costs are written."""
    agents.uids["busy"] = await admin.create_pod(namespace, "busy", labels=LABELS)
    agents.tasks["busy"] = 12
    with capture_logs() as logs:
        async with writing(agents, kube):
            await eventually(lambda: any('verbs: ["patch"]' in entry.get("fix", "") for entry in logs))
            await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
            await reaches(admin, namespace, {"busy": "15"})


async def test_a_scale_down_takes_the_idle_first(
    control_plane: ControlPlane, admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """Of five agents the three without work go, whichever of them are older."""
    if not available(control_plane):
        pytest.skip(f"KUBEBUILDER_ASSETS has no {PROGRAM}")
    if control_plane.version < UNDERSTOOD_SINCE:
        pytest.skip("ReplicaSets heed pod-deletion-cost since Kubernetes 1.22; the control plane here is older")
    await create_deployment(admin, namespace, "agents", 5, LABELS)
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    async with controllers(control_plane), FakeKubelet(admin, namespace) as kubelet, writing(agents, kube):
        await eventually(lambda: len(kubelet.serving) == 5)
        names = [running.name for running in kubelet.serving]
        for number, name in enumerate(names):
            agents.uids[name] = (await pod(admin, namespace, name))["uid"]
            agents.tasks[name] = 10 if number in {1, 3} else 0
        await reaches(admin, namespace, {name: "10" if agents.tasks[name] else "0" for name in names})
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/agents/scale"
        await admin.call("PATCH", path, {"spec": {"replicas": 2}}, "application/merge-patch+json")
        await eventually(lambda: len(kubelet.serving) == 2)
        assert [running.name for running in kubelet.serving] == [names[1], names[3]]
