"""What the doctor's tests share."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import CURRENT, Image
from tests.doctor.cluster import Cluster, cluster
from tests.fakes.simulated_agent import agent_at_work

_numbers = count(1)


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Serve a cluster that allows everything and has nothing in it."""
    async with cluster(tmp_path) as served:
        yield served


class Agents:
    """Fake agents on real sockets, each at an address of its own."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.at: dict[str, SimulatedAgent] = {}
        """By address."""

    async def __call__(
        self, *, tasks: int = 12, queued: int = 0, connected: bool = True, image: Image = CURRENT
    ) -> str:
        """Start one more and return its address."""
        number = next(_numbers)
        agent = agent_at_work(number, "prod", f"agent-{number}", image, tasks=tasks)
        agent.queued, agent.connected = queued, connected
        host = f"127.97.{os.getpid() % 256}.{number}"
        server = AgentServer(agent, Place(host), clock=lambda: 100.0)
        await server.follow()
        self._stack.push_async_callback(server.close)
        self.at[host] = agent
        return host


@pytest.fixture
async def agent() -> AsyncIterator[Agents]:
    """Start agents; each call returns the address of one more."""
    async with AsyncExitStack() as stack:
        yield Agents(stack)
