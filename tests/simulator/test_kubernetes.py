"""The cluster that the agents seem to run in, as the exporter's own discovery meets it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter.config import KubernetesSettings
from exporter.discovery.pod_facts import owner_name
from exporter.discovery.pods import PodDiscovery
from exporter.discovery.scalers import ScalerDiscovery
from exporter.fleet.model import PodFacts, Target
from exporter.fleet.scaler import Condition, Scaler
from exporter.kube.client import KubeClient
from exporter.podhealth.pod_metrics import PodMemory, SamplingPace
from exporter.simulation.node_autoscaler import EVICTION_GRACE_SECONDS
from exporter.simulation.nodes import POD_GC_SECONDS, UNREACHABLE_SECONDS
from exporter.simulation.pod import GRACE_SECONDS
from exporter.simulator.collection import KEPT_EVENTS
from exporter.simulator.fleet import NAMESPACE, PodAddresses
from exporter.simulator.kubernetes import SimulatedKubernetes, SimulatedScaler
from exporter.simulator.scenario import HOUR, MINUTE, Fault, Incident, Scenario, steady
from exporter.simulator.simulated_agent import MEMORY_LIMIT, Phase, SimulatedAgent
from exporter.simulator.simulation import FleetPlan, Simulation
from exporter.simulator.stage import SPEC
from exporter.simulator.vitals import CURRENT
from tests.fakes.followed_agents import FollowedAgents
from tests.fakes.kube_recorders import RecordingSink
from tests.waiting import eventually

_NO_METRIC = "FailedGetExternalMetric"
SOURCE = f"kubernetes/{NAMESPACE}"


class World:
    """A simulated fleet in its cluster, and what discovery makes of it."""

    def __init__(self, *incidents: Incident, long_share: float) -> None:
        scenario = Scenario(
            name="test",
            summary="",
            load=steady(0.3),
            cycle=1000 * HOUR,
            incidents=incidents,
            long_share=long_share,
        )
        self.simulation = Simulation([FleetPlan("production", (CURRENT, CURRENT), CURRENT)], scenario, seed=1)
        self.sink = RecordingSink()
        self.memory = FollowedAgents()
        layout = PodAddresses()
        self.scaler: SimulatedScaler | None = None
        self.cluster = SimulatedKubernetes(
            lambda: self.simulation.agents,
            layout.place,
            NAMESPACE,
            lambda: self.simulation.now,
            speed=10.0,
            scalers=lambda: filter(None, [self.scaler]),
        )
        self.scalers: tuple[Scaler, ...] | None = None

    async def run(self, kubeconfig: Path) -> None:
        """Let the cluster live, and discover it, until cancelled."""
        settings = KubernetesSettings(namespaces=(NAMESPACE,))
        async with await KubeClient.connect({"KUBECONFIG": str(kubeconfig)}) as client, asyncio.TaskGroup() as group:
            discovery = PodDiscovery(settings, client, self.sink, on_restart=self.sink.restarts.append)
            memory = PodMemory(settings, client, self.memory, pace=SamplingPace(interval=0.1))
            scalers = ScalerDiscovery(settings, client, self, on_restart=self.sink.restarts.append)
            for part in (self.cluster.run(), discovery.run(), memory.run(), scalers.run()):
                group.create_task(part)

    def scalers_seen(self, _namespace: str | None, scalers: tuple[Scaler, ...]) -> None:
        """Take down what scales the fleets."""
        self.scalers = scalers

    def struck(self) -> SimulatedAgent:
        """Let time pass until an agent is in trouble; return it."""
        while not (struck := [agent for agent in self.simulation.agents if agent.troubled]):
            self.simulation.advance(self.simulation.now + 1)
        return struck[0]

    def target(self, agent: SimulatedAgent) -> Target | None:
        """Return an agent as it was discovered."""
        return self.sink.sources.get(SOURCE, {}).get(f"production-{agent.number}")

    def facts(self, agent: SimulatedAgent) -> PodFacts:
        """Return what its pod says."""
        target = self.target(agent)
        facts = target.facts if target is not None else None
        return facts if facts is not None else PodFacts()

    def memory_used(self, agent: SimulatedAgent) -> float:
        """Return its memory in use as last sampled, as a share of the limit."""
        if (target := self.target(agent)) is not None:
            self.memory.targets[target.uid] = target
        sample = self.memory.memory.get(f"production-{agent.number}")
        return sample.working_set_bytes / MEMORY_LIMIT if sample is not None else 0.0


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    """Start a world with these incidents."""
    running: list[tuple[World, asyncio.Task[None]]] = []

    async def start(*incidents: Incident, long_share: float = 0.0) -> World:
        world = World(*incidents, long_share=long_share)
        await world.cluster.__aenter__()
        world.cluster.write_kubeconfig(tmp_path / "kubeconfig")
        running.append((world, asyncio.create_task(world.run(tmp_path / "kubeconfig"), name="world")))
        await eventually(lambda: len(world.sink.pods(SOURCE)) == 2)
        return world

    yield start
    for world, task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await world.cluster.__aexit__(None, None, None)


async def test_agents_are_pods(live: Callable[..., Awaitable[World]]) -> None:
    """With the address they listen at, ready, in the fleet of their label; one that starts has no address yet."""
    world = await live()
    first = next(iter(world.simulation.agents))
    target = world.target(first)
    assert target is not None
    assert (target.pod, target.fleet, target.namespace, target.address) == (
        first.pod,
        "production",
        NAMESPACE,
        "127.20.0.1",
    )
    facts = world.facts(first)
    assert (facts.ready, facts.restarts, facts.memory_limit_bytes) == (True, 0, MEMORY_LIMIT)
    world.simulation.scale("production", 3)
    await eventually(lambda: len(world.sink.pods(SOURCE)) == 3)
    newest = list(world.simulation.agents)[-1]
    assert (world.facts(newest).waiting_reason, world.facts(newest).ready) == ("ContainerCreating", False)
    world.simulation.advance(MINUTE)
    await eventually(lambda: world.facts(newest).ready)
    assert world.sink.restarts == []


@pytest.mark.slow
async def test_crash_loop_is_one(live: Callable[..., Awaitable[World]]) -> None:
    """The container is held back, its restarts count, and once it is over the agent runs."""
    world = await live(Incident(at=5.0, trouble=Fault.CRASH_LOOP, lasts=4 * MINUTE))
    victim = world.struck()
    await eventually(lambda: world.facts(victim).crash_looping)
    assert world.facts(victim).last_terminated_reason == "Error"
    assert victim.phase is Phase.STARTING
    world.simulation.advance(4 * MINUTE)
    await eventually(lambda: (world.facts(victim).restarts or 0) >= 3)
    world.simulation.advance(15 * MINUTE)
    await eventually(lambda: world.facts(victim).ready and not world.facts(victim).crash_looping)


@pytest.mark.slow
async def test_leak_fills_the_memory_until_it_is_killed(live: Callable[..., Awaitable[World]]) -> None:
    """The working set comes close to the limit; then the reason of the end says why."""
    world = await live(Incident(at=5.0, trouble=Fault.LEAK, lasts=10 * MINUTE))
    victim = world.struck()
    await eventually(lambda: 0.1 < world.memory_used(victim) < 0.6)
    world.simulation.advance(9.8 * MINUTE)
    await eventually(lambda: 0.9 < world.memory_used(victim) <= 1.0)
    world.simulation.advance(10.2 * MINUTE)
    await eventually(lambda: world.facts(victim).last_terminated_reason == "OOMKilled")
    world.simulation.advance(11 * MINUTE)
    await eventually(lambda: world.facts(victim).restarts == 1 and world.memory_used(victim) < 0.6)


async def test_deleted_pod_drains_and_goes(live: Callable[..., Awaitable[World]]) -> None:
    """It has its twelve hours, and is gone with its last task."""
    world = await live()
    world.simulation.scale("production", 1)
    drained = next(agent for agent in world.simulation.agents if agent.phase is Phase.DRAINING)
    await eventually(lambda: world.facts(drained).draining_time is not None)
    world.simulation.advance(2 * HOUR)
    await eventually(lambda: set(world.sink.pods(SOURCE)) == {next(iter(world.simulation.agents)).pod})


class PodWatch:
    """The pods' last states, as a watch delivers them."""

    def __init__(self) -> None:
        self.deleted: dict[str, Any] = {}

    async def follow(self, url: str) -> None:
        """Watch until cancelled."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?watch=true&resourceVersion=2"
        async with aiohttp.ClientSession(url) as session, session.get(path) as response:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "DELETED":
                    self.deleted[event["object"]["metadata"]["uid"]] = event["object"]


@pytest.fixture
async def watch(tmp_path: Path, live: Callable[..., Awaitable[World]]) -> AsyncIterator[Callable[..., PodWatch]]:
    """Start a watch on the pods of the live world."""
    tasks = []

    def start() -> PodWatch:
        followed = PodWatch()
        url = json.loads((tmp_path / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
        tasks.append(asyncio.create_task(followed.follow(url), name="pod watch"))
        return followed

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def reasons(pod: Any) -> dict[str, str]:
    """Return the reasons, or else the statuses, of a pod's conditions."""
    return {one["type"]: one.get("reason", one["status"]) for one in pod["status"]["conditions"]}


async def test_a_drained_pods_last_state_says_how_it_ended(
    live: Callable[..., Awaitable[World]], watch: Callable[..., PodWatch]
) -> None:
    """A JVM that ends by itself after SIGTERM has exit code 143."""
    world, followed = await live(), watch()
    world.simulation.scale("production", 1)
    drained = next(agent for agent in world.simulation.agents if agent.phase is Phase.DRAINING)
    world.simulation.advance(2 * HOUR)
    await eventually(lambda: f"production-{drained.number}" in followed.deleted)
    status = followed.deleted[f"production-{drained.number}"]["status"]
    [container] = status["containerStatuses"]
    assert container["state"]["terminated"].items() >= {"reason": "Error", "exitCode": 143}.items()
    assert (status["phase"], reasons({"status": status})) == ("Failed", {"Ready": "False"})


async def test_an_evicted_pod_is_killed_when_its_short_grace_is_over(
    live: Callable[..., Awaitable[World]], watch: Callable[..., PodWatch]
) -> None:
    """Ten minutes of the fleet's are one of the clock; the last state has SIGKILL's exit code."""
    world, followed = await live(Incident(at=5.0, trouble=Fault.NODE_REMOVED), long_share=0.9), watch()
    world.simulation.advance(5.0)
    evicted = next(agent for agent in world.simulation.agents if agent.phase is Phase.DRAINING)
    pod = world.cluster.pod(evicted)
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 60
    assert pod["spec"]["terminationGracePeriodSeconds"] == GRACE_SECONDS / 10
    assert pod["spec"]["nodeName"] == evicted.node.name
    assert reasons(pod) == {"Ready": "True", "DisruptionTarget": "EvictionByEvictionAPI"}
    await eventually(lambda: world.facts(evicted).draining_time is not None)
    world.simulation.advance(5.0 + EVICTION_GRACE_SECONDS)
    await eventually(lambda: f"production-{evicted.number}" in followed.deleted)
    [container] = followed.deleted[f"production-{evicted.number}"]["status"]["containerStatuses"]
    assert container["state"]["terminated"].items() >= {"reason": "Error", "exitCode": 137}.items()


async def test_pods_of_a_lost_node_are_collected(
    live: Callable[..., Awaitable[World]], watch: Callable[..., PodWatch]
) -> None:
    """Not ready after a while, then failed and deleted; nothing has seen their containers end."""
    world, followed = await live(Incident(at=5.0, trouble=Fault.NODE_LOST)), watch()
    world.simulation.advance(5.0)
    lost = next(agent for agent in world.simulation.agents if agent.phase is Phase.LOST)
    world.simulation.advance(5.0 + UNREACHABLE_SECONDS)
    await eventually(lambda: world.target(lost) is not None and not world.facts(lost).ready)
    world.simulation.advance(5.0 + POD_GC_SECONDS[1] + 1)
    await eventually(lambda: f"production-{lost.number}" in followed.deleted)
    pod = followed.deleted[f"production-{lost.number}"]
    assert reasons(pod) == {"Ready": "False", "DisruptionTarget": "DeletionByPodGC"}
    assert pod["status"]["phase"] == "Failed"
    assert "running" in pod["status"]["containerStatuses"][0]["state"]


async def test_what_scales_the_fleet_is_an_hpa(live: Callable[..., Awaitable[World]]) -> None:
    """Of the Deployment that owns its pods; before its first decision, at work, and without a demand."""
    world = await live()
    await eventually(lambda: world.scalers == ())
    world.scaler = SimulatedScaler("production", SPEC, replicas=2, desired=None, trouble=None)
    await eventually(lambda: world.scalers)
    assert world.scalers is not None
    [new] = world.scalers
    assert (new.target, new.min_agents, new.max_agents, new.current_agents) == ("production", 2, 12, 2)
    assert (new.desired_agents, new.active) == (None, None)
    world.scaler = SimulatedScaler("production", SPEC, replicas=2, desired=4, trouble=None)
    await eventually(lambda: world.scalers and world.scalers[0].desired_agents == 4)
    world.scaler = SimulatedScaler("production", SPEC, replicas=4, desired=4, trouble="HTTP 503")
    await eventually(lambda: world.scalers and world.scalers[0].active == Condition(False, _NO_METRIC, "HTTP 503"))
    assert owner_name(world.cluster.pod(next(iter(world.simulation.agents)))) == "production"


async def test_watch_from_too_long_ago_is_refused(live: Callable[..., Awaitable[World]], tmp_path: Path) -> None:
    """As a real API server does: 410, list anew."""
    world = await live()
    for number in range(KEPT_EVENTS):
        world.cluster.pods.notify("MODIFIED", {"metadata": {"uid": str(number)}})
    url = json.loads((tmp_path / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?watch=true&resourceVersion=2"
    async with aiohttp.ClientSession(url) as session, session.get(path) as response:
        event = json.loads(await response.content.readline())
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
