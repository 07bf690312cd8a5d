"""Pod and node annotations on a real API server: its RBAC, its rules for a change, its ReplicaSet controller.

The pods are found by the real discovery, so that what is written is compared with what the watch brings back.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from exporter.config import KubernetesSettings
from exporter.discovery.pods import PodDiscovery
from exporter.fleet.policy import Policy
from exporter.fleet.protection import COST, KARPENTER, MARK, PROTECTION, AnnotationRules, Mark
from exporter.kube.client import KubeClient
from exporter.kube.election import SoleLeader
from exporter.publish.annotations import Pace, PodAnnotations
from exporter.publish.node_annotations import NodeAnnotations
from exporter.store.snapshots import SnapshotStore
from tests.factories import make_reading
from tests.fakes.background import background
from tests.fakes.control_plane import Admin, ControlPlane, Json
from tests.fakes.controller_manager import PROGRAM, available, controllers, create_deployment
from tests.fakes.kube_recorders import FAST
from tests.fakes.kubelet import FakeKubelet
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
QUICK = Pace(poll_every=0.1, between_writes=0.02, settle=0.5, cost_alone=1.0, first_retry=0.1, max_retry=0.5)
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
PATCH_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}
UNDERSTOOD_SINCE = (1, 22)
"""ReplicaSets heed the deletion cost by default since then; 1.21 has it behind a feature gate."""
ME = "monitoring/fleet-exporter"
COSTS = AnnotationRules(instance=ME, protection=None, idle_for=2.0, bucket=5)
PROTECT = replace(COSTS, protection=PROTECTION, bucket=None)
OFF = replace(COSTS, bucket=None)
MINE = {**PROTECTION, MARK: Mark(ME, PROTECTION).text}


class Agents:
    """The agents of a namespace, as discovered, with the tasks a test gives them."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.tasks: dict[str, float] = {}
        self.store = self.new_store()

    def new_store(self) -> SnapshotStore:
        """Return the empty store of a new process."""
        self.store = SnapshotStore(Policy(), monotonic=time.monotonic, wall=time.time)
        return self.store

    async def read(self) -> None:
        """Read every discovered agent that has tasks, ten times a second."""
        while True:
            for uid in list(self.store.uids()):
                target = self.store.target(uid)
                if target is not None and (tasks := self.tasks.get(target.pod)) is not None:
                    self.store.scraped(target, make_reading(tasks), url="http://agent", seconds=0.01)
            await asyncio.sleep(0.1)


@pytest.fixture
def agents(namespace: str) -> Agents:
    return Agents(namespace)


@pytest.fixture
async def kube(control_plane: ControlPlane, admin: Admin, namespace: str) -> AsyncIterator[KubeClient]:
    """Connect as a service account that may read pods."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "read-pods", [READ_PODS])
    kubeconfig = control_plane.kubeconfig_for_token(f"{namespace}-exporter", token)
    async with await KubeClient.connect({"KUBECONFIG": str(kubeconfig)}) as client:
        yield client


@asynccontextmanager
async def writing(
    agents: Agents, kube: KubeClient, rules: AnnotationRules = PROTECT, *, nodes: bool = False
) -> AsyncIterator[None]:
    """Run what a new process runs: discovery, readings, the writers."""
    store, leader = agents.new_store(), SoleLeader()
    settings = KubernetesSettings(namespaces=[agents.namespace])
    discovery = PodDiscovery(settings, kube, store, on_restart=lambda _reason: None, timing=FAST)
    store.expect(discovery.sources)
    parts = [discovery.run(), agents.read(), leader.run(PodAnnotations(rules, store, kube, leader, pace=QUICK).run)]
    if nodes:
        of_nodes = SoleLeader()
        writer = NodeAnnotations(rules, store, kube, of_nodes, poll_every=0.1, between=0.02, check_every=0.5)
        parts.append(of_nodes.run(writer.run))
    async with background(*parts):
        yield


async def metadata(admin: Admin, path: str) -> Json:
    found: Json = (await admin.call("GET", path))["metadata"]
    return found


def pod_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


async def annotations(admin: Admin, path: str) -> dict[str, str]:
    found: dict[str, str] = (await metadata(admin, path)).get("annotations", {})
    return found


async def becomes(read: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Wait until what is read is as wanted."""
    seen: object = None

    async def same() -> bool:
        nonlocal seen
        seen = await read()
        return seen == wanted

    await eventually(same, pause=0.1, what=lambda: f"{seen} instead of {wanted}")


async def reaches(admin: Admin, namespace: str, wanted: dict[str, dict[str, str]]) -> None:
    """Wait until the pods carry exactly these annotations."""

    async def read() -> object:
        return {pod: await annotations(admin, pod_path(namespace, pod)) for pod in wanted}

    await becomes(read, wanted)


async def annotate(admin: Admin, path: str, changes: dict[str, str | None]) -> None:
    """Set annotations as another writer does."""
    await admin.call("PATCH", path, {"metadata": {"annotations": changes}}, "application/merge-patch+json")


async def created(admin: Admin, agents: Agents, **tasks: float) -> None:
    """Make pods with agents that have so many tasks."""
    for pod, count in tasks.items():
        await admin.create_pod(agents.namespace, pod, labels=LABELS)
        # One address each: of two pods with one address only the newer is read.
        await admin.run_pod(agents.namespace, pod, f"10.0.0.{len(agents.tasks) + 1}")
        agents.tasks[pod] = count


# -- protection --------------------------------------------------------------------------------------------------------


def protected(agents: Agents) -> dict[str | None, bool]:
    """Return what the exporter itself knows of its pods' protection."""
    targets = [agent.snapshot.target for fleet in agents.store.fleets() for agent in fleet.agents]
    return {target.pod: target.facts.protected for target in targets if target.facts}


async def test_protection_appears_and_goes(admin: Admin, namespace: str, agents: Agents, kube: KubeClient) -> None:
    """Pods with work carry the annotations, draining ones too; after `idle_for` without work they do not."""
    await created(admin, agents, idle=0, busy=3, leaving=2)
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    await admin.delete_pod(namespace, "leaving")
    async with writing(agents, kube):
        await reaches(admin, namespace, {"idle": {}, "busy": MINE, "leaving": MINE})
        # What the API server shows, the watch of the exporter has a little later.
        await eventually(lambda: protected(agents) == {"idle": False, "busy": True, "leaving": True})
        agents.tasks |= {"idle": 1, "busy": 0, "leaving": 0}
        await reaches(admin, namespace, {"idle": MINE, "busy": {}, "leaving": {}})
    assert (await metadata(admin, pod_path(namespace, "busy")))["labels"] == LABELS, "nothing else is changed"


async def test_a_restart_writes_nothing_that_is_right(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """A new process, as a new leader, reads what the pods carry and leaves it as it is."""
    await created(admin, agents, busy=12)
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    rules = replace(PROTECT, bucket=5)
    async with writing(agents, kube, rules):
        await reaches(admin, namespace, {"busy": {**MINE, COST: "15"}})
    before = await metadata(admin, pod_path(namespace, "busy"))
    async with writing(agents, kube, rules):
        await eventually(lambda: agents.store.not_ready_reason() is None)
        await asyncio.sleep(2)
    assert await metadata(admin, pod_path(namespace, "busy")) == before
    agents.tasks["busy"] = 0
    async with writing(agents, kube, rules):
        await reaches(admin, namespace, {"busy": {COST: "0"}})


async def test_what_another_writer_sets_is_kept_and_what_it_removes_comes_back(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """An operator's value wins, before and after; an annotation that is missing is set again."""
    await created(admin, agents, busy=12)
    by_hand = {KARPENTER: "false", "example.org/note": "keep"}
    await annotate(admin, pod_path(namespace, "busy"), by_hand)
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    safe_to_evict = next(iter(PROTECTION))
    part = {safe_to_evict: "false"}
    marked = {**by_hand, **part, MARK: Mark(ME, part).text}
    async with writing(agents, kube):
        await reaches(admin, namespace, {"busy": marked})
        await annotate(admin, pod_path(namespace, "busy"), {safe_to_evict: None, MARK: None})
        await reaches(admin, namespace, {"busy": marked})
        await annotate(admin, pod_path(namespace, "busy"), {safe_to_evict: "true"})
        await reaches(admin, namespace, {"busy": {**by_hand, safe_to_evict: "true"}})
        await asyncio.sleep(1)
        agents.tasks["busy"] = 0
        await asyncio.sleep(3)
    assert await annotations(admin, pod_path(namespace, "busy")) == {**by_hand, safe_to_evict: "true"}


async def test_disabled_protection_removes_only_its_own(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """Whatever the agents do; what was set by hand or by another release stays."""
    await created(admin, agents, busy=12, hand=12, other=12, idle=0)
    theirs = {**PROTECTION, MARK: Mark("elsewhere/other", PROTECTION).text}
    await annotate(admin, pod_path(namespace, "hand"), dict(PROTECTION))
    await annotate(admin, pod_path(namespace, "other"), dict(theirs))
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    async with writing(agents, kube):
        await reaches(admin, namespace, {"busy": MINE})
    async with writing(agents, kube, OFF):
        await reaches(admin, namespace, {"busy": {}, "hand": dict(PROTECTION), "other": theirs, "idle": {}})
        await asyncio.sleep(1)
    await reaches(admin, namespace, {"busy": {}, "hand": dict(PROTECTION), "other": theirs, "idle": {}})


async def test_another_pod_of_the_same_name_is_left_alone(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """What was decided for a pod that is gone is not written to the one that has its name now."""
    await created(admin, agents, reused=20, other=5)
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    store, leader = agents.store, SoleLeader()
    settings = KubernetesSettings(namespaces=[namespace])
    discovery = PodDiscovery(settings, kube, store, on_restart=lambda _reason: None, timing=FAST)
    store.expect(discovery.sources)
    async with background(discovery.run()):
        await eventually(lambda: store.targets() == 2)
    # The watch is down from here on.
    await admin.delete_pod(namespace, "reused", grace_seconds=0)
    await admin.create_pod(namespace, "reused", labels=LABELS)
    with capture_logs() as logs:
        writer = PodAnnotations(PROTECT, store, kube, leader, pace=QUICK)
        async with background(agents.read(), leader.run(writer.run)):
            await reaches(admin, namespace, {"other": MINE})
            await asyncio.sleep(2)
    assert await annotations(admin, pod_path(namespace, "reused")) == {}
    assert not [entry for entry in logs if "annotations cannot be written" in entry["event"]]


async def test_a_missing_permission_is_logged_until_it_is_granted(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """Without permission one line says which is missing; once it is granted the pods are protected."""
    await created(admin, agents, busy=12, also=3)
    with capture_logs() as logs:
        async with writing(agents, kube):
            await eventually(lambda: any('verbs: ["patch"]' in entry.get("fix", "") for entry in logs))
            await asyncio.sleep(2)
            assert len([entry for entry in logs if "fix" in entry]) == 1
            await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
            await reaches(admin, namespace, {"busy": MINE, "also": MINE})
            await eventually(lambda: logs[-1]["event"] == "pod annotations can be written again")


# -- nodes -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def node(admin: Admin, name: str, given: dict[str, str]) -> AsyncIterator[str]:
    """Make a node with annotations; returns its path."""
    path = f"/api/v1/nodes/{name}"
    await admin.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "annotations": given}})
    try:
        yield path
    finally:
        await admin.call("DELETE", path)


async def until_node(admin: Admin, path: str, wanted: dict[str, str]) -> None:
    """Wait until a node carries these annotations, of those that matter here."""
    await becomes(lambda: of_node(admin, path), wanted)


async def of_node(admin: Admin, path: str) -> dict[str, str]:
    found = await annotations(admin, path)
    return {key: found[key] for key in (KARPENTER, MARK) if key in found}


async def test_nodes_of_draining_agents(
    control_plane: ControlPlane, admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """Marked while an agent with work drains there; of the marks that are left, only its own are removed."""
    marked = {KARPENTER: "true", MARK: Mark(ME, {KARPENTER: "true"}).text}
    theirs = {KARPENTER: "true", MARK: Mark("elsewhere/other", {KARPENTER: "true"}).text}
    await created(admin, agents, draining=3, serving=3)
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(node(admin, "node-1", {}))
        left = await stack.enter_async_context(node(admin, f"{namespace}-left", marked))
        by_hand = await stack.enter_async_context(node(admin, f"{namespace}-hand", {KARPENTER: "true"}))
        other = await stack.enter_async_context(node(admin, f"{namespace}-other", theirs))
        with capture_logs() as logs:
            async with writing(agents, kube, nodes=True):
                await eventually(lambda: any('resources: ["nodes"]' in entry.get("fix", "") for entry in logs))
                await grant_nodes(admin, namespace)
                await until_node(admin, left, {})
                assert await of_node(admin, own) == {}
                await admin.delete_pod(namespace, "draining")
                await until_node(admin, own, marked)
                await annotate(admin, own, {KARPENTER: None, MARK: None})
                await until_node(admin, own, marked)
        assert len([entry for entry in logs if "fix" in entry]) == 1
        async with writing(agents, kube, nodes=True):
            await eventually(lambda: agents.store.not_ready_reason() is None)
            await asyncio.sleep(1)
            assert await of_node(admin, own) == marked, "a new leader knows it by its mark"
            agents.tasks["draining"] = 0
            await until_node(admin, own, {})
            agents.tasks["draining"] = 1
            await until_node(admin, own, marked)
        async with writing(agents, kube, OFF, nodes=True):
            await until_node(admin, own, {})
        assert await of_node(admin, by_hand) == {KARPENTER: "true"}
        assert await of_node(admin, other) == theirs


async def grant_nodes(admin: Admin, namespace: str) -> None:
    """Give the exporter the chart's permissions on nodes."""
    rbac, name = "/apis/rbac.authorization.k8s.io/v1", f"{namespace}-nodes"
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch"]}
    await admin.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "exporter"}],
    }
    await admin.call("POST", f"{rbac}/clusterrolebindings", binding)


# -- deletion cost -----------------------------------------------------------------------------------------------------


async def test_a_cost_is_written_when_its_bucket_changes(
    admin: Admin, namespace: str, agents: Agents, kube: KubeClient
) -> None:
    """A pod is changed once at first and once when its bucket changes; an idle one that never had work is not."""
    await created(admin, agents, idle=0, busy=12)
    await admin.grant(namespace, "exporter", "patch-pods", [PATCH_PODS])
    async with writing(agents, kube, COSTS):
        await reaches(admin, namespace, {"idle": {}, "busy": {COST: "15"}})
        first = (await metadata(admin, pod_path(namespace, "busy")))["resourceVersion"]
        for tasks in (11, 15, 13):
            agents.tasks["busy"] = tasks
            await asyncio.sleep(0.5)
        assert (await metadata(admin, pod_path(namespace, "busy")))["resourceVersion"] == first
        agents.tasks["busy"] = 2
        await reaches(admin, namespace, {"idle": {}, "busy": {COST: "2"}})


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
    async with (
        controllers(control_plane),
        FakeKubelet(admin, namespace) as kubelet,
        writing(agents, kube, replace(PROTECT, bucket=5)),
    ):
        await eventually(lambda: len(kubelet.serving) == 5)
        names = [running.name for running in kubelet.serving]
        agents.tasks = {name: 10 if number in {1, 3} else 0 for number, name in enumerate(names)}
        await reaches(
            admin, namespace, {name: {**MINE, COST: "10"} if tasks else {} for name, tasks in agents.tasks.items()}
        )
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/agents/scale"
        await admin.call("PATCH", path, {"spec": {"replicas": 2}}, "application/merge-patch+json")
        await eventually(lambda: len(kubelet.serving) == 2)
        assert [running.name for running in kubelet.serving] == [names[1], names[3]]
