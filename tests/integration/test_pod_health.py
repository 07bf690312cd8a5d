"""Pods through whole lives on a real API server: what their health is at each turn, and what is said of it.

Status is written as a kubelet would; logs and memory come through the API server from small servers behind it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config import KubernetesSettings
from exporter.fleet.model import AgentState
from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import CURRENT, Behaviour
from tests.fakes.background import background
from tests.fakes.container_logs import ContainerLogs
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.node_services import TLS_GOODBYE_SECONDS, Kubelet, MetricsServer
from tests.integration.observed_pods import Observed
from tests.waiting import eventually

pytestmark = pytest.mark.slow

AGENT = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
FAILED = "ERROR task failed"
GRANTED = "matillion_fleet_agent_drain_grace_seconds"
STARTS = "matillion_fleet_agent_start_seconds"
DEADLINE = "matillion_fleet_agent_drain_deadline_timestamp_seconds"


@pytest.fixture
async def observe() -> AsyncIterator[Callable[[str, Path], Observed]]:
    """Start to observe a namespace."""
    async with background() as run:

        def start(namespace: str, kubeconfig: Path) -> Observed:
            observed = Observed(namespace, kubeconfig)
            run(observed.run())
            return observed

        yield start
    await asyncio.sleep(TLS_GOODBYE_SECONDS)


@pytest.fixture
async def kubelet(control_plane: ControlPlane, admin: Admin) -> AsyncIterator[Kubelet]:
    async with Kubelet().running(control_plane, admin) as node:
        yield node


def when(ago: float = 0.0) -> str:
    """Write a time as Kubernetes does."""
    return datetime.fromtimestamp(time.time() - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def line(text: str = FAILED) -> tuple[int, str]:
    return (time.time_ns(), text)


def container(state: dict[str, Any], *, restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the status of the agent's container."""
    made = {"name": "agent", "image": "agent:1", "imageID": "", "ready": "running" in state, "restartCount": restarts}
    return {"containerStatuses": [{**made, "state": state, "lastState": last or {}}]}


def oom_killed(ago: float) -> dict[str, Any]:
    ended = {"reason": "OOMKilled", "exitCode": 137, "startedAt": when(ago + 60), "finishedAt": when(ago)}
    return {"terminated": ended}


def agent_at(address: str) -> tuple[SimulatedAgent, AgentServer]:
    """Make an agent that listens at an address, with 12 tasks."""
    agent = SimulatedAgent(number=0, fleet="prod", pod="agent-1", image=CURRENT, limited=12)
    return agent, AgentServer(agent, Place(address), time.monotonic)


@dataclass(slots=True)
class Life:
    """A pod, and the hands of everybody who has a part in its life."""

    observed: Observed
    admin: Admin
    namespace: str
    address: str
    log: ContainerLogs
    metrics: MetricsServer
    agent: SimulatedAgent
    server: AgentServer

    async def report(self, status: dict[str, Any], **pod: Any) -> None:
        """Write the pod's status."""
        await self.admin.set_status(self.namespace, "agent-1", {**status, **pod})

    async def listen(self) -> None:
        """Let the agent answer."""
        self.agent.behaviour = Behaviour.ANSWERING
        await self.server.follow()

    def measure(self, memory: str) -> None:
        """Let the container use so much memory from now on."""
        self.metrics.used[self.namespace, "agent-1"] = memory
        self.metrics.taken = None

    async def come_up(self) -> None:
        """Create it, schedule it, start its container, answer, work, fail tasks, fill its memory."""
        observed = self.observed
        begun = time.time()
        await self.admin.create_pod(self.namespace, "agent-1", labels=AGENT, memory_limit="4Gi")
        await observed.says("starting: the pod has no IP address yet")
        assert observed.figure(STARTS + "_count") == 0
        facts = observed.facts()
        assert (facts.node, facts.image, facts.restarts) == ("node-1", "agent:1", None)
        assert facts.memory_limit_bytes == 4 * 1024**3
        assert facts.created_time == pytest.approx(time.time(), abs=30)
        await self.report(container({"waiting": {"reason": "ContainerCreating"}}), phase="Pending")
        await observed.says("starting: waiting: ContainerCreating")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": when()}
        running = {"phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}], "conditions": [ready]}
        await self.report(container({"running": {"startedAt": when(1)}}), **running)
        refused = f"connection refused on {self.address}:9464 and :8080"
        await observed.says("starting: Ready for ", f" s and was never scraped: {refused}")
        self.measure("3Gi")
        await self.listen()
        await observed.says("serving: serving 12 tasks")
        took = observed.figure(STARTS + "_sum")
        assert observed.figure(STARTS + "_count") == 1
        # Kubernetes has the creation in whole seconds.
        assert took is not None
        assert 0 < took <= time.time() - begun + 1
        await eventually(lambda: (observed.memory(), observed.failures()) == (3 * 1024**3, 0))
        self.log.write(line(), line("INFO all is well"), line())
        await eventually(lambda: observed.failures() == 2)
        self.measure("4000Mi")
        await observed.says("serving 12 tasks, memory at 98% of its limit")

    async def die_of_its_memory(self) -> None:
        """Let the kernel kill it: its last words are on the stream, and its memory is nobody's any more."""
        observed = self.observed
        self.metrics.taken = datetime.now(UTC)
        self.log.write(line())
        self.log.end()
        await self.server.close()
        await self.report(container(oom_killed(0)))
        await eventually(lambda: observed.memory() is None and observed.failures() == 3)
        assert observed.restarts == 0
        backoff = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
        await self.report(container(backoff, restarts=1, last=oom_killed(180)))
        await observed.says("unreachable: waiting: CrashLoopBackOff, last exit OOMKilled 3 min ago")
        assert observed.facts().crash_looping
        await eventually(lambda: observed.restarts == 1)

    async def come_back(self) -> None:
        """Start another container, which is not measured at first: the old measurement is not taken for its own."""
        observed = self.observed
        self.log.restart()
        await self.report(container({"running": {"startedAt": when(-1)}}, restarts=2, last=oom_killed(180)))
        await self.listen()
        await observed.says("serving: serving 12 tasks")
        await eventually(lambda: (observed.restarts, observed.facts().restarts) == (2, 2))
        assert observed.figure(STARTS + "_count") == 1, "a container that starts again is no start"
        assert observed.memory() is None
        self.metrics.taken = None
        await eventually(lambda: observed.memory() == 4000 * 1024**2)
        self.log.write(line())
        await eventually(lambda: observed.failures() == 4)
        assert observed.facts().last_terminated_reason == "OOMKilled"

    async def drain_and_go(self) -> None:
        """Delete it: it works on for as long as it is given, and is read on; then nothing of it is left."""
        observed = self.observed
        await self.admin.delete_pod(self.namespace, "agent-1")
        await observed.says("draining: draining since ", " UTC, 12 tasks left")
        assert observed.facts().draining_time == pytest.approx(time.time(), abs=30)
        self.log.write(line())
        await eventually(lambda: observed.failures() == 5)
        own, begun = "matillion_fleet_agent_grace_seconds", observed.facts().draining_time
        assert (observed.figure(own), observed.figure(GRANTED)) == (43_200, 43_200)
        await self.admin.evict_pod(self.namespace, "agent-1", grace_seconds=600)
        await observed.says("killed in 10 min with 12 tasks: ", "its grace period was cut from 12 h to 10 min")
        assert begun is not None
        assert (observed.figure(own), observed.figure(GRANTED)) == (43_200, 600)
        assert observed.figure(DEADLINE) == pytest.approx(begun + 600, abs=2), "it counts from the first deletion"
        await self.server.close()
        await self.admin.delete_pod(self.namespace, "agent-1", grace_seconds=0)
        await observed.says("gone")
        await eventually(lambda: not self.log.open_streams)


async def test_whole_life(
    control_plane: ControlPlane, admin: Admin, namespace: str, observe: Callable[..., Observed], kubelet: Kubelet
) -> None:
    """Created, running, killed for its memory, crash looping, up again, drained for hours, gone, replaced."""
    address = f"127.31.{int(namespace.rpartition('-')[2]) % 250}.1"
    metrics = MetricsServer()
    async with metrics.running(control_plane, admin, namespace):
        observed = observe(namespace, control_plane.kubeconfig)
        log = kubelet.log(namespace, "agent-1")
        life = Life(observed, admin, namespace, address, log, metrics, *agent_at(address))
        await life.come_up()
        await life.die_of_its_memory()
        await life.come_back()
        await life.drain_and_go()
        await admin.create_pod(namespace, "agent-1", labels=AGENT)
        await observed.says("starting: the pod has no IP address yet")
        assert (observed.memory(), observed.failures()) == (None, None), "its name is all it has of the other"
        assert (observed.facts().restarts, observed.facts().last_terminated_reason) == (None, None)
        assert observed.restarts == 2, "the fleet's count outlives the pod"


async def test_image_that_cannot_be_pulled_and_pod_without_a_node(
    control_plane: ControlPlane, admin: Admin, namespace: str, observe: Callable[..., Observed]
) -> None:
    """Kubernetes' own word for what is wrong is the reason."""
    observed = observe(namespace, control_plane.kubeconfig)
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    pulling = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    await admin.set_status(namespace, "agent-1", {"phase": "Pending", "podIP": "127.31.0.9", **container(pulling)})
    await observed.says("starting: waiting: ImagePullBackOff")
    await admin.create_pod(namespace, "agent-2", labels=AGENT)
    nowhere = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes available"}
    await admin.set_status(namespace, "agent-2", {"phase": "Pending", "conditions": [nowhere]})
    await observed.says("starting: waiting: Unschedulable", pod="agent-2")


async def test_unresponsive_agent_is_shown_with_duration_and_reason(
    control_plane: ControlPlane, admin: Admin, namespace: str, observe: Callable[..., Observed]
) -> None:
    """Both ports that were tried are named."""
    address = f"127.32.{int(namespace.rpartition('-')[2]) % 250}.1"
    observed = observe(namespace, control_plane.kubeconfig)
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    await admin.run_pod(namespace, "agent-1", address)
    agent, server = agent_at(address)
    agent.behaviour = Behaviour.ANSWERING
    await server.follow()
    await observed.says("serving: serving 12 tasks")
    await server.close()
    await observed.says("unreachable: not scraped for ", f" s: connection refused on {address}:9464 and :8080")


async def test_metrics_server_that_comes_goes_and_refuses(
    control_plane: ControlPlane, admin: Admin, namespace: str, observe: Callable[..., Observed]
) -> None:
    """Each change is said once; what was measured counts as long as its window allows."""
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    await admin.run_pod(namespace, "agent-1", "127.31.0.8")
    metrics = MetricsServer()
    metrics.used[namespace, "agent-1"] = "1Gi"
    with capture_logs() as said:

        def events() -> list[str]:
            return [line["event"] for line in said if "memory" in line["event"]]

        observed = observe(namespace, control_plane.kubeconfig)
        await eventually(lambda: events() == ["memory usage is unknown: the cluster has no metrics API"])
        async with metrics.running(control_plane, admin, namespace):
            # Until the API server has found it, it may say 503.
            await eventually(lambda: observed.memory() == 1024**3)
            await eventually(lambda: events()[-1] == "memory usage can be read again")
            assert set(metrics.selectors) == {KubernetesSettings().label_selector}
            before = len(events())
            metrics.refusing = True
            await eventually(lambda: len(events()) == before + 1)
            refused = [line for line in said if line["event"] == "memory usage cannot be read"][-1]
            assert 'apiGroups: ["metrics.k8s.io"], resources: ["pods"], verbs: ["list"]' in refused["fix"]
            metrics.refusing = False
            metrics.taken = datetime.fromtimestamp(time.time() - 86.0, UTC)
            await eventually(lambda: events()[-1] == "memory usage can be read again")
            assert observed.memory() == 1024**3
            await eventually(lambda: observed.memory() is None)
        await eventually(lambda: events()[-1] == "memory usage is unknown: the cluster has no metrics API")


async def test_permissions_are_named_until_they_are_granted(
    control_plane: ControlPlane, admin: Admin, namespace: str, observe: Callable[..., Observed], kubelet: Kubelet
) -> None:
    """A service account that may only see pods learns of the two rules it lacks; given them, all is known."""
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    await admin.run_pod(namespace, "agent-1", "127.31.0.7")
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(
        namespace, "exporter", "pods", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    )
    kubeconfig = control_plane.kubeconfig_for_token(f"health-{namespace}", token)
    metrics = MetricsServer()
    metrics.used[namespace, "agent-1"] = "1Gi"
    async with metrics.running(control_plane, admin, namespace):
        with capture_logs() as said:
            observed = observe(namespace, kubeconfig)
            await eventually(lambda: {line["event"] for line in said if "fix" in line} >= {
                "memory usage cannot be read", "no permission to read agents' logs"
            })  # fmt: skip
            await asyncio.sleep(1.0)
        fixes = [line["fix"] for line in said if line["event"] in {
            "memory usage cannot be read", "no permission to read agents' logs"
        }]  # fmt: skip
        assert sorted('resources: ["pods/log"], verbs: ["get"]' in fix for fix in fixes) == [False, True]
        assert sorted('["metrics.k8s.io"], resources: ["pods"], verbs: ["list"]' in fix for fix in fixes) == [
            False,
            True,
        ]
        assert (observed.memory(), observed.failures()) == (None, None)
        rules = [
            {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        ]
        await admin.grant(namespace, "exporter", "health", rules)
        await eventually(lambda: (observed.memory(), observed.failures()) == (1024**3, 0))


async def test_log_through_the_api_server_is_read_on_after_cuts_and_restarts(
    control_plane: ControlPlane, admin: Admin, namespace: str, observe: Callable[..., Observed], kubelet: Kubelet
) -> None:
    """The API server asks the kubelet from a whole second on, and passes its stream and its end on."""
    log = kubelet.log(namespace, "agent-1")
    log.write((time.time_ns() - 3600 * 10**9, FAILED))
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    await admin.run_pod(namespace, "agent-1", "127.31.0.6", ready_time=when(7200))
    observed = observe(namespace, control_plane.kubeconfig)
    await eventually(lambda: observed.failures() == 0)
    expected = 0
    for _ in range(6):
        log.write(line(), line())
        expected += 2
        await eventually(lambda: observed.failures() == expected)  # noqa: B023 - waited for within the round
        log.cut()
        log.write(line())
        expected += 1
    await eventually(lambda: observed.failures() == expected)
    assert all(query["sinceTime"].endswith("Z") and "." not in query["sinceTime"] for query in log.requests)
    log.write(line())
    log.restart()
    log.cut()
    log.write(line())
    alive = {"running": {"startedAt": when()}}
    await admin.set_status(namespace, "agent-1", container(alive, restarts=1, last=oom_killed(1)))
    await eventually(lambda: observed.failures() == expected + 2)
    await asyncio.sleep(0.5)
    assert observed.failures() == expected + 2
    assert AgentState.UNREACHABLE in observed.why(), "an agent that cannot be scraped has its log read all the same"
