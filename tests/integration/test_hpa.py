"""A real Horizontal Pod Autoscaler scales a real Deployment by the external metrics API, through real RBAC."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.fleet.health import Word, health
from exporter.fleet.model import Dialect, Endpoint, Fleet
from exporter.fleet.scaler import Scaler
from exporter.fleet.scaler_remarks import scaler_remarks
from exporter.simulator.vitals import Behaviour
from tests.fakes.aggregation_layer import (
    Running,
    external_metrics,
    installed,
    let_the_hpa_read,
    registered,
    replica,
)
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.controller_manager import PROGRAM, available, controllers, create_deployment, replicas
from tests.fakes.kubelet import FakeKubelet
from tests.fakes.relay import network, service
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
SYNCS = 2.5
"""Seconds in which the autoscaler, looking three times a second, would long have acted if it were going to."""
ENOUGH = 5
"""Good answers after which the autoscaler has surely heard the next one, too."""


@pytest.fixture
async def running(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> AsyncIterator[Running]:
    """Run controllers and API, with all they need."""
    if not available(control_plane):
        pytest.skip(f"KUBEBUILDER_ASSETS has no {PROGRAM}")
    await let_the_hpa_read(admin, f"{namespace}-hpa-reads-external-metrics")
    async with (
        external_metrics(control_plane, admin, namespace, tmp_path) as api,
        registered(admin, namespace, api),
        controllers(control_plane),
    ):
        yield api


class Scaled:
    """A Deployment under an autoscaler, as a test looks at it."""

    def __init__(self, admin: Admin, namespace: str, kubelet: FakeKubelet) -> None:
        self._admin = admin
        self._namespace = namespace
        self.kubelet = kubelet

    async def replicas(self) -> int:
        """Return the replicas asked for."""
        return await replicas(self._admin, self._namespace, "agents")

    async def reaches(self, count: int, seconds: float = 60) -> None:
        """Wait until so many are asked for and run, and no others serve."""

        async def there() -> bool:
            return await self.replicas() == count == len(self.kubelet.serving)

        await eventually(there, seconds)

    async def stays(self, count: int, *, seconds: float = SYNCS) -> None:
        """Check that nothing changes for a number of looks."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            assert await self.replicas() == count
            await asyncio.sleep(0.2)

    async def condition(self, kind: str) -> dict[str, Any]:
        """Return a condition of the autoscaler."""
        path = await self._admin.collection("horizontalpodautoscalers", self._namespace)
        found = await self._admin.call("GET", f"{path}/agents")
        conditions = found.get("status", {}).get("conditions") or []
        return next((entry for entry in conditions if entry["type"] == kind), {})

    async def says(self, kind: str, status: str, reason: str) -> dict[str, Any]:
        """Wait until the autoscaler says so of itself; return the condition."""

        async def said() -> bool:
            found = await self.condition(kind)
            return (found.get("status"), found.get("reason")) == (status, reason)

        await eventually(said)
        return await self.condition(kind)


def autoscaler(least: int, most: int) -> dict[str, Any]:
    """Make the HPA of docs/scaling.md, without the minutes of patience that a test cannot wait for."""
    metric = {
        "metric": {
            "name": "matillion_fleet_demand_tasks",
            "selector": {"matchLabels": {"fleet": "prod"}},
        },
        "target": {"type": "AverageValue", "averageValue": "16"},
    }
    at_once = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 100, "periodSeconds": 1}]}
    return {
        "metadata": {"name": "agents"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "agents"},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "External", "external": metric}],
            "behavior": {"scaleUp": at_once, "scaleDown": at_once},
        },
    }


@pytest.fixture
async def scaled(running: Running, admin: Admin, namespace: str) -> AsyncIterator[Scaled]:
    """Give two agents with 12 tasks each, and an autoscaler for 2 to 8 of them."""
    async with two_agents(admin, namespace) as deployment:
        yield deployment


@asynccontextmanager
async def two_agents(admin: Admin, namespace: str, ports: Sequence[int] = (8080, 9464)) -> AsyncIterator[Scaled]:
    """Run them for as long as the context lasts; they declare these ports."""
    await create_deployment(admin, namespace, "agents", 2, LABELS, ports=ports)
    async with FakeKubelet(admin, namespace, tasks=12) as kubelet:
        path = await admin.collection("horizontalpodautoscalers", namespace)
        await admin.call("POST", path, autoscaler(2, 8))
        try:
            deployment = Scaled(admin, namespace, kubelet)
            await deployment.reaches(2)
            await deployment.says("ScalingActive", "True", "ValidMetricFound")
            yield deployment
        finally:
            # The control plane is every test's: an autoscaler that stayed would go on asking, be refused, and with each
            # refusal end the connection that the next test's questions take.
            await admin.call("DELETE", path)


async def take_over_the_queue(scaled: Scaled, running: Running) -> None:
    """Let three new agents take over what waits at two old ones, until each runs 14 tasks.

    One agent changes at a time, and the next once that was read: agents are scraped one after the other, and tasks that
    move count twice until both are.
    """
    old = [pod for pod in scaled.kubelet.serving if pod.agent.queued]
    new = [pod for pod in scaled.kubelet.serving if not pod.agent.queued]
    scaled.kubelet.tasks = 14
    steps = [(new[0], 14), (old[0], 20), (new[1], 14), (old[1], 20), (new[2], 14), (old[0], 14), (old[1], 14)]
    for pod, tasks in steps:
        pod.agent.limited, pod.agent.queued = tasks, 0
        demand = sum(one.agent.limited + one.agent.queued for one in scaled.kubelet.serving)
        await eventually(lambda demand=demand: [fleet.demand_tasks for fleet in running.store.fleets()] == [demand])


async def test_the_fleet_follows_the_work_and_nothing_else(scaled: Scaled, running: Running) -> None:
    """Up with the work in one step, still while agents are out of sight, down when idle, blind to what drains."""
    kubelet = scaled.kubelet
    await scaled.stays(2)

    # 2 × (20 running + 14 queued) = 68 tasks, at 16 an agent: 5 agents. The new ones take over what was queued.
    kubelet.tasks = 0
    for pod in kubelet.serving:
        pod.agent.limited, pod.agent.queued = 20, 14
    await scaled.reaches(5)
    await take_over_the_queue(scaled, running)
    await scaled.stays(5)

    # One is silent: what it had is held. Then all are: there is no figure any more, and the autoscaler says so.
    await kubelet.behave(kubelet.serving[0], Behaviour.HUNG)
    await scaled.stays(5)
    for pod in kubelet.serving:
        await kubelet.behave(pod, Behaviour.CLOSED)
    condition = await scaled.says("ScalingActive", "False", "FailedGetExternalMetric")
    assert "not trusted" in condition["message"]
    await scaled.stays(5)

    for pod in kubelet.serving:
        await kubelet.behave(pod, Behaviour.ANSWERING)
    await scaled.says("ScalingActive", "True", "ValidMetricFound")
    await scaled.stays(5)

    # The work is done but for one task an agent: down to the least. The deleted pods have tasks that take for ever.
    kubelet.set_tasks(1)
    await scaled.reaches(2)
    assert len(kubelet.draining) == 3
    for pod in kubelet.draining:
        pod.agent.limited = 20
    await scaled.stays(2)

    # 40 tasks on the two that serve ask for three agents, however much the draining ones still have.
    kubelet.tasks = 0
    for pod in kubelet.serving:
        pod.agent.limited = 20
    await scaled.reaches(3)
    await scaled.stays(3)
    for pod in kubelet.draining:
        await kubelet.evict(pod)
    await scaled.stays(3)


async def test_lost_agents_are_replaced_and_a_lost_api_changes_nothing(
    scaled: Scaled, running: Running, admin: Admin, namespace: str
) -> None:
    """An agent that loses its connection is made up for by one more; without the API the autoscaler holds."""
    kubelet = scaled.kubelet
    kubelet.set_tasks(15)
    await scaled.stays(2)
    kubelet.tasks = 0
    kubelet.serving[0].agent.connected = False
    await scaled.reaches(3)
    await scaled.stays(3)
    await admin.call("DELETE", f"/api/v1/namespaces/{namespace}/services/{running.service}")
    kubelet.set_tasks(0)
    await scaled.says("ScalingActive", "False", "FailedGetExternalMetric")
    await scaled.stays(3)


async def test_the_exporter_knows_its_scaler(scaled: Scaled, running: Running, admin: Admin, namespace: str) -> None:
    """Bounds, decisions and conditions are the real controller's, and what stands in the fleet's way is said."""
    kubelet, hpas = scaled.kubelet, await admin.collection("horizontalpodautoscalers", namespace)

    def known() -> list[Scaler]:
        [fleet] = running.store.fleets()
        return list(fleet.scalers or ())

    def said() -> tuple[str, ...]:
        [fleet] = running.store.fleets()
        return tuple(scaler_remarks(fleet))

    def decided(replicas: int) -> bool:
        return [(one.current_agents, one.desired_agents) for one in known()] == [(replicas, replicas)]

    await eventually(lambda: decided(2))
    [scaler] = known()
    assert (scaler.name, scaler.target, scaler.min_agents, scaler.max_agents) == ("agents", "agents", 2, 8)
    assert scaler.metrics == ("matillion_fleet_demand_tasks",)
    assert [one and one.holds for one in (scaler.able, scaler.active)] == [True, True]
    assert said() == ()

    kubelet.tasks = 0
    for pod in kubelet.serving:
        pod.agent.limited = 20
    await eventually(lambda: decided(3))

    # It may not become as large as it wants: 60 tasks take four agents.
    await admin.call("PATCH", f"{hpas}/agents", {"spec": {"maxReplicas": 3}}, "application/merge-patch+json")
    await scaled.reaches(3)
    kubelet.set_tasks(20)
    await eventually(lambda: said() == ("desires 4 agents, but its HPA agents allows at most 3",))

    # What the vendor's chart brings along, beside it.
    vendors = autoscaler(2, 4) | {"metadata": {"name": "agents-hpa"}}
    vendors["spec"]["metrics"][0]["external"]["metric"] = {"name": "app_active_task_count"}
    await admin.call("POST", hpas, vendors)
    await eventually(lambda: any("disable the vendor's agents-hpa" in sentence for sentence in said()))
    await eventually(lambda: any("its HPA agents-hpa is not active" in sentence for sentence in said()))
    assert [(one.name, one.desired_agents) for one in known()] == [("agents", 3), ("agents-hpa", None)]
    await admin.call("DELETE", f"{hpas}/agents-hpa")
    await eventually(lambda: [one.name for one in known()] == ["agents"])


async def test_a_deployment_that_was_scaled_to_0_by_hand_is_down(
    scaled: Scaled, running: Running, admin: Admin, namespace: str
) -> None:
    """The HPA is switched off with it; the fleet stays known, with its zeros, until it is scaled up again."""
    path, merge = f"/apis/apps/v1/namespaces/{namespace}/deployments/agents", "application/merge-patch+json"

    def fleet() -> Fleet:
        [known] = running.store.fleets()
        return known

    scaled.kubelet.set_tasks(0)  # so that none is lost
    await eventually(lambda: fleet().tasks_active == 0 and health(fleet()).word is Word.OK)
    await admin.call("PATCH", path, {"spec": {"replicas": 0}}, merge)
    await eventually(lambda: len(scaled.kubelet.draining) == 2)
    for pod in scaled.kubelet.draining:
        await scaled.kubelet.evict(pod)
    await eventually(lambda: fleet().at_rest)
    assert (fleet().agents, fleet().capacity_tasks, fleet().demand_tasks) == ((), 0, 0.0)
    assert health(fleet()).word is Word.DOWN
    assert health(fleet()).problems == (
        "it has no agents: its Deployment agents is scaled to 0, which disables its HPA agents",
    )
    await admin.call("PATCH", path, {"spec": {"replicas": 2}}, merge)
    await scaled.reaches(2)
    await eventually(lambda: health(fleet()).word is Word.OK)


async def test_one_replica_that_sees_nothing_does_not_freeze_the_fleet(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """The replica that the API server holds a connection to loses sight of every agent: the other one is found."""
    if not available(control_plane):
        pytest.skip(f"KUBEBUILDER_ASSETS has no {PROGRAM}")
    await let_the_hpa_read(admin, f"{namespace}-hpa-reads-external-metrics")
    made = await installed(control_plane, admin, namespace, tmp_path)
    async with AsyncExitStack() as stack:
        # The way to the agents is by a port that only one exporter knows, and that its policy can shut.
        ways = [await stack.enter_async_context(network(9464).serving()) for _ in range(2)]
        blind, seeing = [
            await stack.enter_async_context(replica(made, [Endpoint(Dialect.OTEL, way.port, "/metrics")]))
            for way in ways
        ]
        await eventually(lambda: blind.server.ready and seeing.server.ready)
        # The second replica is there for new connections once the API server has had a refusal over that to the first.
        endpoints = [blind.port]
        front = await stack.enter_async_context(service(endpoints).serving())
        await stack.enter_async_context(registered(admin, namespace, blind, port=front.port))
        await stack.enter_async_context(controllers(control_plane))
        scaled = await stack.enter_async_context(two_agents(admin, namespace, ports=(8080,)))
        await scaled.stays(2)

        refusals = blind.counter.codes
        earlier = refusals.get(503, 0)
        ways[0].cut()
        await eventually(lambda: refusals.get(503, 0) > earlier)
        endpoints.append(seeing.port)
        scaled.kubelet.tasks = 0
        for pod in scaled.kubelet.serving:
            pod.agent.limited, pod.agent.queued = 20, 14
        await scaled.reaches(5)
        await scaled.says("ScalingActive", "True", "ValidMetricFound")
        assert [fleet.trusted for fleet in blind.store.fleets()] == [False]
        # The API server may make a new connection whenever it likes, and meet the one that cannot see again. That costs
        # a question: the next one has a new connection, so that good answers go on, and nothing moves.
        answers = seeing.counter.codes
        enough = answers[200] + ENOUGH
        while answers[200] < enough:
            await scaled.stays(5, seconds=1)
        await scaled.says("ScalingActive", "True", "ValidMetricFound")
