"""The whole way: pods of a real API server, agents on real sockets, a real exporter process, and what it says."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import CURRENT, LEGACY, Behaviour, Image
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.simulated_agent import agent_at_work
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
QUICK = {"scrape": {"interval": "300ms", "timeout": "300ms"}, "capacity": {"stale_after": "3s", "forget_after": "1h"}}


def host(number: int) -> str:
    """Return an address of this run alone."""
    return f"127.41.{os.getpid() % 256}.{number}"


class Agents:
    """Fake agents that can be told what to say."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._servers: dict[int, AgentServer] = {}

    async def start(self, number: int, image: Image, tasks: int) -> SimulatedAgent:
        """Start an agent that listens like a pod."""
        agent = agent_at_work(number, "prod", f"prod-{number}", image, tasks=tasks)
        server = self._servers[number] = AgentServer(agent, Place(host(number)), clock=lambda: 100.0)
        await server.follow()
        self._stack.push_async_callback(server.close)
        return agent

    async def silence(self, number: int, agent: SimulatedAgent) -> None:
        """Let an agent close its ports."""
        agent.behaviour = Behaviour.CLOSED
        await self._servers[number].follow()


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    async with AsyncExitStack() as stack:
        yield Agents(stack)


@pytest.fixture
async def running(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> AsyncIterator[Exporter]:
    """Run the exporter as a service account that may list and watch pods of one namespace, and nothing else."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "exporter", [READ_PODS])
    kubeconfig = control_plane.kubeconfig_for_token(f"{namespace}-exporter", token)
    settings = {"discovery": {"kubernetes": {"namespaces": [namespace]}}} | QUICK
    async with exporter(tmp_path, settings, {"KUBECONFIG": str(kubeconfig)}) as process:
        yield process


async def answered(running: Exporter, path: str, expected: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the answer at `path` as soon as it is as expected."""
    status, answer = 0, {}
    async with asyncio.timeout(PATIENCE):
        while not expected(status, answer):
            await asyncio.sleep(0.05)
            status, answer = await running.get(path)
    return answer


async def sees(running: Exporter, namespace: str, expected: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the fleet as JSON as soon as it is as expected."""
    path = f"/api/v1/fleets/{namespace}/prod"
    return await answered(running, path, lambda status, fleet: status == 200 and expected(fleet))


@pytest.fixture
async def two_agents(running: Exporter, admin: Admin, namespace: str, agents: Agents) -> SimulatedAgent:
    """Run a pod with a current agent, 12 tasks, and one with a legacy agent, 20 tasks. Returns the first."""
    await running.ready()
    current = await agents.start(1, CURRENT, tasks=12)
    await agents.start(2, LEGACY, tasks=20)
    for number in (1, 2):
        await admin.create_pod(namespace, f"prod-{number}", labels=LABELS)
        await admin.run_pod(namespace, f"prod-{number}", host(number))
    await sees(running, namespace, lambda fleet: fleet["tasks_active"] == 32)
    return current


async def test_an_unknown_fleet_is_not_zero(running: Exporter, namespace: str) -> None:
    """Before there is a pod there is no fleet: 404, not a demand of nought."""
    await running.ready()
    status, answer = await running.get(f"/api/v1/fleets/{namespace}/prod/demand")
    assert status == 404
    assert "value" not in answer


async def test_from_pods_to_demand(running: Exporter, namespace: str, two_agents: SimulatedAgent) -> None:
    """Agents of both dialects add up, on the JSON and on /metrics, and a change of their work is seen."""
    fleet = await sees(running, namespace, lambda fleet: fleet["tasks_active"] == 32)
    assert (fleet["capacity_tasks"], fleet["free_slots"], fleet["agents_saturated"]) == (40, 8, 1)
    assert (fleet["demand_tasks"], fleet["desired_agents"], fleet["trusted"]) == (32, 2, True)
    assert await running.get(f"/api/v1/fleets/{namespace}/prod/demand") == (
        200,
        {"value": 32.0, "target": 16, "coverage": 1.0, "age_seconds": pytest.approx(1.5, abs=1.5)},
    )
    _, page = await running.get("/metrics")
    series = {
        (sample.name, sample.labels.get("pod")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("namespace") == namespace
    }
    assert series["matillion_fleet_agent_tasks_active", "prod-1"] == 12
    assert series["matillion_fleet_agent_memory_limit_bytes", "prod-2"] == 4 * 1024**3
    assert ("matillion_fleet_agent_tasks_queued", "prod-1") in series
    assert ("matillion_fleet_agent_tasks_queued", "prod-2") not in series, "a legacy agent reports no queue"
    [(service, own_namespace)] = re.findall(r'_page_info\{url="http://([\w-]+)\.([\w-]+)\.svc:', page)
    _, runbook = await running.get(f"/runbooks/MatillionFleetSaturated?namespace={namespace}&fleet=prod")
    assert f"kubectl -n {own_namespace} port-forward service/{service} 9850:web" in runbook
    assert f"<b>{namespace}</b>" in runbook
    two_agents.limited = 18
    await sees(running, namespace, lambda fleet: fleet["tasks_active"] == 38)


async def test_silence_and_the_end_of_a_pod(
    running: Exporter, admin: Admin, namespace: str, agents: Agents, two_agents: SimulatedAgent
) -> None:
    """What falls silent keeps its demand, what drains gives none, what is gone leaves nothing, and the log says it."""
    # The log looks every other second: what came and went in between is not told.
    await running.says("agent is serving", "prod-2")
    await agents.silence(1, two_agents)
    fleet = await sees(running, namespace, lambda fleet: fleet["agents"]["unreachable"] == 1)
    assert (fleet["held_tasks"], fleet["demand_tasks"]) == (12, 32), "what cannot be seen does not shrink the demand"
    await admin.delete_pod(namespace, "prod-2")
    fleet = await sees(running, namespace, lambda fleet: fleet["tasks_draining"] == 20)
    assert (fleet["tasks_draining"], fleet["capacity_tasks"]) == (20, 0)
    assert (fleet["tasks_active"], fleet["trusted"]) == (None, False)
    status, answer = await running.get(f"/api/v1/fleets/{namespace}/prod/demand")
    assert status == 503
    assert "only 0 of 1 agents respond" in answer["error"]
    await admin.delete_pod(namespace, "prod-2", grace_seconds=0)
    await sees(running, namespace, lambda fleet: fleet["agents"]["draining"] == 0)
    _, page = await running.get("/metrics")
    assert 'pod="prod-2"' not in page
    await running.says("agent is gone", "prod-2")
    running.process.terminate()
    code, log = await running.end()
    assert code == 0
    events = [(line["event"], line.get("pod")) for line in log]
    assert events.count(("agent is unreachable", "prod-1")) == 1, "one line per change of state"
    assert events.count(("agent is gone", "prod-2")) == 1


async def test_the_api_server_goes_and_comes_back(
    running: Exporter, control_plane: ControlPlane, admin: Admin, namespace: str, agents: Agents
) -> None:
    """While the API server is down the agents stay in sight and scraped; afterwards changes are seen again."""
    await running.ready()
    agent = await agents.start(3, CURRENT, tasks=5)
    await admin.create_pod(namespace, "prod-3", labels=LABELS)
    await admin.run_pod(namespace, "prod-3", host(3))
    await sees(running, namespace, lambda fleet: fleet.get("tasks_active") == 5)
    control_plane.stop_api_server()
    try:
        agent.limited = 9
        fleet = await sees(running, namespace, lambda fleet: fleet["tasks_active"] == 9)
        assert fleet["trusted"] is True, "discovery may be max_sync_age old"
    finally:
        control_plane.start_api_server()
    await admin.delete_pod(namespace, "prod-3", grace_seconds=0)
    await sees(running, namespace, lambda fleet: fleet["agents"]["total"] == 0)
    status, answer = await running.get(f"/api/v1/fleets/{namespace}/prod/demand")
    assert (status, "it has no agents" in answer["error"]) == (503, True), "a fleet that is gone has no demand of 0"
    _, page = await running.get("/metrics")
    restarts = [line for line in page.splitlines() if line.startswith("matillion_fleet_exporter_watch_restarts_total")]
    assert sum(float(line.split()[-1]) for line in restarts) >= 1
