"""The past of fleets through restarts and leader changes: whole exporters on a real API server, or with a file."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from exporter.history.stored_fleet import name
from exporter.simulator.agent import AgentServer, Place
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.simulated_agent import agent_at_work
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}

_numbers = count(1)


class World:
    """One agent, whose tasks a test sets, and exporters that see it."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.folder = folder
        self.namespace = namespace
        self.environment: dict[str, str] = {}
        number = next(_numbers)
        self.agent = agent_at_work(number, "prod", "one", tasks=12)
        self.host = f"127.95.{os.getpid() % 256}.{number}"

    @asynccontextmanager
    async def exporter(self, **sections: Any) -> AsyncIterator[Exporter]:
        folder = self.folder / str(next(_numbers))
        folder.mkdir()
        settings: dict[str, Any] = {
            "discovery": {"kubernetes": {"namespaces": [self.namespace]}},
            "scrape": {"interval": "500ms", "timeout": "400ms"},
            "scalers": {"enabled": False},
            "leader_election": {"lease_name": self.namespace, "retry_period": "500ms"},
            "forecast": {"enabled": True},
        }
        async with exporter(folder, settings | sections, self.environment) as process:
            await process.ready()
            yield process

    async def past(self, process: Exporter) -> list[int]:
        """Return the known demand that an exporter has of the past, oldest first."""
        status, answer = await process.get(f"/api/v1/fleets/{self.namespace}/prod/past")
        return [value for value in answer["demand_tasks"] if value is not None] if status == 200 else []

    async def has(self, process: Exporter, tasks: int) -> None:
        """Wait until an exporter's past has this demand last."""
        found: list[int] = []

        async def so() -> bool:
            found[:] = await self.past(process)
            return found[-1:] == [tasks]

        await eventually(so, pause=0.2, what=lambda: f"{found} does not end with {tasks}")

    async def sees(self, process: Exporter, tasks: int) -> None:
        """Wait until an exporter shows this demand, and has sampled it."""
        shown = 0

        async def so() -> bool:
            nonlocal shown
            _, answer = await process.get(f"/api/v1/fleets/{self.namespace}/prod/demand")
            shown = shown + 1 if answer.get("value") == tasks else 0
            # It samples every 5 s.
            return shown > 15

        await eventually(so, pause=0.4)


@pytest.fixture
async def world(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, namespace)
    world.environment = {"KUBECONFIG": str(control_plane.kubeconfig)}
    async with AsyncExitStack() as stack:
        server = AgentServer(world.agent, Place(world.host), clock=lambda: 100.0)
        await server.follow()
        stack.push_async_callback(server.close)
        await admin.create_pod(namespace, "one", labels=LABELS)
        await admin.run_pod(namespace, "one", world.host)
        yield world


async def leads(process: Exporter) -> bool:
    return "\nmatillion_fleet_exporter_leader 1.0" in (await process.get("/metrics"))[1]


async def stop(process: Exporter) -> list[dict[str, Any]]:
    """End a process in order; return its log."""
    process.process.terminate()
    code, log = await process.end()
    assert code == 0, log
    return log


async def test_restarts_and_changes_of_the_leader(world: World, admin: Admin) -> None:
    """Both replicas have the same past; one that is stopped stores what it recorded, one that is killed is replaced."""
    async with world.exporter() as first, world.exporter() as second:
        leader, standby = (first, second) if await leads(first) else (second, first)
        await world.has(leader, 12)
        await world.has(standby, 12)
        assert await world.past(leader) == await world.past(standby)

        world.agent.limited = 15
        await world.sees(leader, 15)
        log = await stop(leader)
        assert not [line for line in log if line["level"] in ("warning", "error", "critical")]
        await world.has(standby, 15)
        await eventually(lambda: leads(standby))

        async with world.exporter() as third:
            await world.has(third, 15)
            world.agent.limited = 19
            await world.sees(standby, 19)
            await world.sees(third, 19)
            standby.process.kill()
            await standby.process.communicate()
            await eventually(lambda: leads(third))
            await world.has(third, 19)
            await stop(third)

    found = await admin.call("GET", f"/api/v1/namespaces/default/configmaps/{name(world.namespace, key(world))}")
    # By their dates; the slots of a day without any demand, which may come before and behind, are dashes.
    days = " ".join(text for _, text in sorted(found["data"].items()))
    assert [slot for slot in days.split() if not slot.startswith("-")][-1].startswith("19")
    async with world.exporter() as last:
        await world.has(last, 19)


def key(world: World) -> tuple[str, str]:
    return world.namespace, "prod"


async def test_without_kubernetes(world: World, tmp_path: Path) -> None:
    """The same by a file."""
    target = {"address": world.host, "fleet": "prod", "namespace": world.namespace}
    sections = {
        "discovery": {"static": {"targets": [target]}},
        "forecast": {"enabled": True, "path": str(tmp_path / "history.json")},
    }
    async with world.exporter(**sections) as first:
        await world.sees(first, 12)
        await stop(first)
    async with world.exporter(**sections) as second:
        await world.has(second, 12)
        log = await stop(second)
    assert not [line for line in log if line["level"] in ("warning", "error", "critical")]
