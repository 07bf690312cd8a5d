"""Tasks lost while no exporter ran, on a real API server: exporter processes, agents on sockets, a CloudWatch.

There is no kubelet: the test writes what one reports.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from exporter.publish.last_readings import Note
from exporter.simulator.agent import AgentServer, Place
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.simulated_agent import agent_at_work
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
DAY_GRACE = 43_200
TASKS = 12.0

_numbers = count(1)


class World:
    """A namespace with agents, and what exporters need to publish about it."""

    def __init__(self, admin: Admin, namespace: str, folder: Path, cloudwatch: FakeCloudWatch) -> None:
        self.admin = admin
        self.namespace = namespace
        self.folder = folder
        self.cloudwatch = cloudwatch
        self.environment: dict[str, str] = {}
        self._agents: dict[str, AgentServer] = {}
        self._stack = AsyncExitStack()

    async def close(self) -> None:
        await self._stack.aclose()

    async def agent(self, pod: str) -> None:
        """Run a pod with an agent that works on 12 tasks."""
        number = next(_numbers)
        agent = agent_at_work(number, "prod", pod, tasks=int(TASKS))
        host = f"127.93.{os.getpid() % 256}.{number}"
        server = self._agents[pod] = AgentServer(agent, Place(host), clock=lambda: 100.0)
        await server.follow()
        self._stack.push_async_callback(server.close)
        await self.admin.create_pod(self.namespace, pod, labels=LABELS)
        await self.admin.run_pod(self.namespace, pod, host)

    async def delete(self, pod: str, grace: int = 0) -> None:
        """Delete a pod; with a grace of 0 its agent ends at once."""
        if grace == 0:
            await self._agents[pod].close()
        await self.admin.delete_pod(self.namespace, pod, grace_seconds=grace)

    async def ends(self, pod: str, reason: str, exit_code: int) -> None:
        """Let the container of an agent end, and not start again."""
        await self._agents[pod].close()
        ended = {"terminated": {"reason": reason, "exitCode": exit_code, "finishedAt": "2024-01-02T00:00:00Z"}}
        agent = {
            "name": "agent", "ready": False, "restartCount": 0, "image": "agent:1", "imageID": "", "state": ended
        }  # fmt: skip
        await self.admin.set_status(self.namespace, pod, {"phase": "Running", "containerStatuses": [agent]})

    @asynccontextmanager
    async def exporter(self) -> AsyncIterator[Exporter]:
        """Run an exporter that publishes every second."""
        folder = self.folder / str(next(_numbers))
        folder.mkdir()
        settings: dict[str, Any] = {
            "cluster": "prod",
            "discovery": {"kubernetes": {"namespaces": [self.namespace]}},
            "scrape": {"interval": "500ms", "timeout": "400ms"},
            "scalers": {"enabled": False},
            "leader_election": {"lease_name": self.namespace, "retry_period": "500ms"},
            "cloudwatch": {
                "enabled": True,
                "region": "eu-west-1",
                "endpoint_url": self.cloudwatch.url,
                "interval": "1s",
                "storage_resolution": 1,
                "metrics": ["TasksLost"],
                "spool": {"path": str(folder / "spool.db")},
            },
        }
        async with exporter(folder, settings, CREDENTIALS | self.environment) as process:
            await process.ready()
            yield process

    async def noted(self, *pods: str) -> None:
        """Wait until the notes are of these pods."""
        path = f"/api/v1/namespaces/default/configmaps/{self.namespace}-readings"

        async def so() -> bool:
            try:
                note = Note.from_text((await self.admin.call("GET", path))["data"]["readings"])
            except Exception as error:
                if "404" not in str(error):
                    raise
                return False
            return {one.pod for one in note.readings if one.tasks == TASKS} == set(pods)

        await eventually(so, pause=0.1)

    async def published(self, tasks: float) -> None:
        """Wait until CloudWatch has got so many lost tasks in all."""
        await eventually(lambda: self.lost >= tasks, what=lambda: f"{self.lost} instead of {tasks}")
        assert self.lost == tasks

    @property
    def lost(self) -> float:
        """All lost tasks that CloudWatch was sent."""
        return sum(datum.values[0] for datum in self.cloudwatch.of("TasksLost"))


@pytest.fixture
async def world(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with FakeCloudWatch(time.time) as cloudwatch:
        world = World(admin, namespace, tmp_path, cloudwatch)
        world.environment = {"KUBECONFIG": str(control_plane.kubeconfig)}
        await world.agent("stays")
        yield world
        await world.close()


async def lost(process: Exporter) -> dict[str, float]:
    """Return the tasks lost by a replica's count, by the reasons that have any."""
    _, page = await process.get("/metrics")
    lines = [line for line in page.splitlines() if line.startswith("matillion_fleet_tasks_lost_total{")]
    found = {line.split('reason="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}
    return {reason: tasks for reason, tasks in found.items() if tasks}


async def leads(process: Exporter) -> bool:
    return "\nmatillion_fleet_exporter_leader 1.0" in (await process.get("/metrics"))[1]


async def stop(process: Exporter) -> list[dict[str, Any]]:
    """End a process in order; return its log."""
    process.process.terminate()
    code, log = await process.end()
    assert code == 0, log
    return log


async def test_what_is_lost_while_no_exporter_runs(world: World) -> None:
    """One pod deleted by force, one killed, one that drained away, one that ends cleanly; then two replicas start.

    CloudWatch gets each loss once, also when the leader changes afterwards.
    """
    gone = ("vanishes", "is-killed", "drains-away", "ends")
    for pod in gone:
        await world.agent(pod)
    for pod in ("drains-away", "ends"):
        await world.delete(pod, DAY_GRACE)
    async with world.exporter() as first:
        await world.noted("stays", *gone)
        await world.published(0)
        log = await stop(first)
    assert not [line for line in log if line["level"] in ("error", "critical")]

    await world.delete("vanishes")
    await world.ends("is-killed", "OOMKilled", 137)
    await world.delete("drains-away")
    await world.ends("ends", "Error", 143)

    missed = {"Deleted": TASKS, "OOMKilled": TASKS}
    async with world.exporter() as second, world.exporter() as third:
        leader, standby = (second, third) if await leads(second) else (third, second)
        await eventually(lambda: leads(leader))

        async def counted() -> bool:
            return await lost(leader) == missed

        await eventually(counted, pause=0.2)
        await world.published(2 * TASKS)
        assert await lost(standby) == {}, "the leader counts"
        _, answer = await leader.get("/api/v1/departures")
        records = {one["pod"]: one["tasks_lost"] for one in answer["departures"]}
        assert records == {"vanishes": TASKS, "is-killed": TASKS, "drains-away": None, "ends": 0.0}

        await world.agent("goes")
        await world.noted("stays", "goes")
        await world.delete("goes")
        await world.published(3 * TASKS)
        await world.noted("stays")
        leader.process.kill()
        await leader.process.communicate()
        await eventually(lambda: leads(standby))
        published = len(world.cloudwatch.taken)
        await eventually(lambda: len(world.cloudwatch.taken) > published + 3)
        assert world.lost == 3 * TASKS
        assert await lost(standby) == {"Deleted": TASKS}


async def test_without_the_permission(control_plane: ControlPlane, world: World) -> None:
    """The log names what to grant, once; all else works."""
    token = await world.admin.service_account_token(world.namespace, "exporter")
    await world.admin.grant(world.namespace, "exporter", "pods", [READ_PODS])
    lease = f"lease-of-{world.namespace}"
    await world.admin.grant("default", "exporter", lease, [LEASES], account_namespace=world.namespace)
    world.environment = {"KUBECONFIG": str(control_plane.kubeconfig_for_token(f"{world.namespace}-exporter", token))}
    async with world.exporter() as process:
        await eventually(lambda: leads(process))
        await world.agent("goes")
        await world.published(0)
        await eventually(lambda: seen(process, 2))
        await world.delete("goes")
        await world.published(TASKS)
        log = await stop(process)
    [line] = [line for line in log if line["event"].startswith("last readings cannot be read or written")]
    assert "configmaps" in line["fix"]


async def seen(process: Exporter, agents: int) -> bool:
    """Return whether so many agents have been read."""
    _, answer = await process.get("/api/v1/agents?state=serving")
    return len(answer["agents"]) == agents
