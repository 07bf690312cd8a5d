"""Does to the pods of a real API server what scheduler and kubelet do: binds them, runs an agent in each, ends them.

The agents listen on loopback addresses, one each, like pod IPs.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Self

from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import Behaviour
from tests.fakes.control_plane import Admin, Json
from tests.fakes.simulated_agent import agent_at_work

LOOK_EVERY = 0.2
_numbers = count(1)


def _address(number: int) -> str:
    """Return an address of this run alone."""
    return f"127.42.{os.getpid() % 256}.{number % 250 + 1}"


@dataclass(slots=True)
class RunningPod:
    """A pod and the agent in it."""

    name: str
    agent: SimulatedAgent
    server: AgentServer
    draining: bool = False


class FakeKubelet:
    """Runs the agents of one namespace for as long as the context lasts."""

    def __init__(self, admin: Admin, namespace: str, *, tasks: int = 0) -> None:
        """Run pods with so many tasks each at first; a pod that is deleted drains until `evict`."""
        self._admin = admin
        self._namespace = namespace
        self.tasks = tasks
        self.pods: dict[str, RunningPod] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="kubelet")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._stack.aclose()
        if not self._task.cancelled():
            self._task.result()

    @property
    def serving(self) -> list[RunningPod]:
        """The pods that were not asked to end, by name."""
        return sorted((pod for pod in self.pods.values() if not pod.draining), key=lambda pod: pod.name)

    @property
    def draining(self) -> list[RunningPod]:
        """The pods that were asked to end and still run."""
        return [pod for pod in self.pods.values() if pod.draining]

    def set_tasks(self, tasks: int, queued: int = 0) -> None:
        """Give every agent that is not draining, and every new one, so many tasks and so many in its queue."""
        self.tasks = tasks
        for pod in self.serving:
            pod.agent.limited, pod.agent.queued = tasks, queued

    async def behave(self, pod: RunningPod, behaviour: Behaviour) -> None:
        """Let the agent of a pod answer, hang or close its ports."""
        pod.agent.behaviour = behaviour
        await pod.server.follow()

    async def evict(self, pod: RunningPod) -> None:
        """End a pod that drains, as after its last task."""
        await self._admin.delete_pod(self._namespace, pod.name, grace_seconds=0)
        await pod.server.close()
        del self.pods[pod.name]

    async def pause(self) -> None:
        """Follow the pods no further; their agents go on."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            listed = await self._admin.call("GET", f"/api/v1/namespaces/{self._namespace}/pods")
            for pod in listed["items"]:
                await self._follow(pod)
            await asyncio.sleep(LOOK_EVERY)

    async def _follow(self, pod: Json) -> None:
        name, deleted = pod["metadata"]["name"], "deletionTimestamp" in pod["metadata"]
        known = self.pods.get(name)
        if known is not None:
            known.draining = deleted
        elif not deleted:
            await self._start(name, bound="nodeName" in pod["spec"])

    async def _start(self, name: str, *, bound: bool) -> None:
        number = next(_numbers)
        agent = agent_at_work(number, "prod", name, tasks=self.tasks)
        server = AgentServer(agent, Place(_address(number)), clock=lambda: 100.0)
        await server.follow()
        self._stack.push_async_callback(server.close)
        path = f"/api/v1/namespaces/{self._namespace}/pods/{name}"
        if not bound:
            binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "node-1"}}
            await self._admin.call("POST", f"{path}/binding", binding)
        ready_time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await self._admin.run_pod(self._namespace, name, _address(number), ready_time=ready_time)
        self.pods[name] = RunningPod(name, agent, server)
