"""What agents that answer leave in doubt: the legacy page where OpenTelemetry is declared, and one queue for all."""

import asyncio
import socket
from typing import Any

import pytest

from exporter.doctor.check import Outcome
from exporter.doctor.readings import alike
from exporter.fleet.model import AgentSnapshot, Dialect, PodFacts, Reading, Target
from exporter.simulator.vitals import LEGACY
from tests.doctor.cluster import PODS, POLICIES, Cluster, Json, examined, settings
from tests.doctor.conftest import Agents
from tests.fakes.hostile import silent_port
from tests.fakes.kube_pods import raw_pod
from tests.fakes.ports import free_port

QUICK: Json = {"scrape": {"interval": "2s", "timeout": "1s"}}
OTEL = ("agents", "OpenTelemetry of matillion/prod")
QUEUE = ("agents", "queue of matillion/prod")


def pod(name: str, address: str, otel_port: int = 9464) -> Json:
    """Make a pod as chart 0.6 does: it declares both pages."""
    ports = [{"containerPort": 8080, "name": "metrics"}, {"containerPort": otel_port, "name": "otel-metrics"}]
    container = {"name": "agent", "image": "a:1", "ports": ports}
    made = raw_pod(name, spec={"nodeName": "node-1", "containers": [container]})
    made["status"]["podIP"] = address
    return made


async def seen(kube: Cluster, *pods: Json, **sections: Any) -> Any:
    """Run the doctor in a pod beside these."""
    kube.said[PODS] = (200, {"items": list(pods)})
    return await examined(settings(**QUICK, **sections), kube, in_pod=True)


async def test_a_port_that_drops_packets(kube: Cluster, agent: Agents) -> None:
    """The policy is named, and since which of the vendor's charts it opens the port."""
    host = await agent(image=LEGACY)
    kube.said[POLICIES] = (200, {"items": [{"metadata": {"name": "etl-netpol"}, "spec": {"podSelector": {}}}]})
    with silent_port(host) as port:
        found = (await seen(kube, pod("prod-0", host, port)))[OTEL]
    assert found.outcome is Outcome.WARNING
    assert found.found == (
        f"1 of 1 agents declare OpenTelemetry (port {port}) but are read on their legacy page, which has no queue: "
        f"prod-0; no connection to prod-0:{port}"
    )
    assert "a NetworkPolicy of namespace matillion (etl-netpol)" in found.fix
    assert "networkPolicy.agents.enabled" in found.fix
    assert "opens only 8080 before chart 0.6" in found.fix


async def test_a_port_that_is_closed(kube: Cluster, agent: Agents) -> None:
    """It is the image then, not the network; agents that are read as they declare are not counted."""
    legacy, current = [await agent(image=LEGACY) for _ in range(4)], await agent()
    pods = [pod(f"prod-{number}", host, free_port()) for number, host in enumerate(legacy)]
    found = (await seen(kube, *pods, pod("prod-9", current)))[OTEL]
    assert found.found.startswith("4 of 5 agents declare OpenTelemetry")
    assert "prod-0, prod-1, prod-2 and 1 more; prod-0:" in found.found
    assert "is closed" in found.found
    assert "update it" in found.fix


async def test_a_port_with_something_else(kube: Cluster, agent: Agents) -> None:
    """It takes connections, and nobody says anything."""
    host = await agent(image=LEGACY)
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        found = (await seen(kube, pod("prod-0", host, port)))[OTEL]
    assert "accepts connections but serves no agent metrics in time" in found.found
    assert f"kubectl -n matillion port-forward pod/prod-0 {port}" in found.fix


async def test_agents_read_as_they_declare(kube: Cluster, agent: Agents) -> None:
    """There is nothing to say, and of a legacy agent that declares nothing else neither."""
    current, legacy = await agent(), await agent(image=LEGACY)
    plain = raw_pod("prod-1")
    plain["status"]["podIP"] = legacy
    report = await seen(kube, pod("prod-0", current), plain)
    assert OTEL not in report
    assert QUEUE not in report


@pytest.mark.slow
async def test_one_queue_for_all(kube: Cluster, agent: Agents) -> None:
    """Asked three times over, all agents report the same: it may be the fleet's."""
    hosts = [await agent(queued=12) for _ in range(3)]
    pods = [pod(f"prod-{number}", host) for number, host in enumerate(hosts)]
    found = (await seen(kube, *pods))[QUEUE]
    assert found.outcome is Outcome.WARNING
    assert found.found == (
        "all 3 agents that report a queue reported the same value each time (12, 12, 12, 1.5 s apart)"
    )
    assert "set capacity.queue to shared" in found.fix
    assert QUEUE not in await seen(kube, *pods, capacity={"queue": "shared"})


async def test_queues_that_differ_the_second_time(kube: Cluster, agent: Agents) -> None:
    """Alike once may be by chance."""
    hosts = [await agent(queued=12) for _ in range(2)]
    pods = [pod(f"prod-{number}", host) for number, host in enumerate(hosts)]

    async def shorten() -> None:
        await asyncio.sleep(1.0)
        agent.at[hosts[0]].queued = 11

    task = asyncio.create_task(shorten())
    report = await seen(kube, *pods)
    await task
    assert QUEUE not in report


def snapshot(queued: float | None, *, draining: bool = False) -> AgentSnapshot:
    """Make a reading of an agent with a queue."""
    facts = PodFacts(draining_time=1.0 if draining else None)
    target = Target(uid="u", namespace="n", fleet="f", pod="p", address="127.0.0.1", facts=facts)
    return AgentSnapshot(target=target, reading=Reading(dialect=Dialect.OTEL, tasks_active=1, tasks_queued=queued))


@pytest.mark.parametrize(
    ("snapshots", "figure"),
    [
        ([], None),
        ([snapshot(5)], None),
        ([snapshot(0), snapshot(0)], None),
        ([snapshot(5), snapshot(4)], None),
        ([snapshot(5), snapshot(None)], None),
        ([snapshot(5), snapshot(5)], 5),
        ([snapshot(5), snapshot(5), snapshot(None), snapshot(9, draining=True)], 5),
    ],
)
def test_alike(snapshots: list[AgentSnapshot], figure: float | None) -> None:
    """At least two that do not drain report a queue, all the same, and something waits."""
    assert alike(snapshots) == figure
