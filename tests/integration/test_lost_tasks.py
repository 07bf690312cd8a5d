"""Whole lives of pods on a real API server, and the tasks that are counted as lost after each.

Two replicas watch the same pods. There is no kubelet: the test writes what one reports.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from exporter.config import KubernetesSettings
from exporter.discovery.pods import PodDiscovery
from exporter.fleet.departure import Departure
from exporter.fleet.policy import Policy
from exporter.kube.client import KubeClient
from exporter.store.snapshots import SnapshotStore
from tests.factories import make_reading
from tests.fakes.background import background
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.kube_recorders import FAST
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
DAY_GRACE = 43_200
STARTED = "2024-01-01T00:00:00Z"


class Replica:
    """The store of an exporter, which reads each agent ten times a second until it is silenced."""

    def __init__(self, tasks: dict[str, float]) -> None:
        self.store = SnapshotStore(Policy(), monotonic=time.monotonic, wall=time.time)
        self._tasks = tasks

    async def read(self) -> None:
        while True:
            for uid in list(self.store.uids()):
                target = self.store.target(uid)
                if target is not None and (tasks := self._tasks.get(target.pod)) is not None:
                    self.store.scraped(target, make_reading(tasks), url="http://agent", seconds=0.01)
            await asyncio.sleep(0.1)

    def sees(self, pod: str, tasks: float) -> bool:
        """Return whether an agent was read with so many tasks."""
        snapshots = [agent.snapshot for fleet in self.store.fleets() for agent in fleet.agents]
        return any(one.target.pod == pod and one.reading and one.reading.tasks_active == tasks for one in snapshots)

    def knows(self, pod: str) -> bool:
        """Return whether a pod is one of the agents."""
        return any(agent.snapshot.target.pod == pod for fleet in self.store.fleets() for agent in fleet.agents)

    @property
    def lost(self) -> dict[str, float]:
        """The tasks lost so far, by the reasons that have any."""
        [fleet] = self.store.fleets()
        return {reason.value: tasks for reason, tasks in (fleet.tasks_lost or {}).items() if tasks}

    @property
    def last(self) -> Departure:
        """The departure that ended last."""
        return [one for one in self.store.departures.latest() if one.ended_time is not None][-1]


class World:
    """A namespace with pods, and two replicas of the exporter that watch it."""

    def __init__(self, admin: Admin, namespace: str) -> None:
        self.admin = admin
        self.namespace = namespace
        self.tasks: dict[str, float] = {}
        self.replicas = [Replica(self.tasks), Replica(self.tasks)]

    async def start(self, pod: str, tasks: float = 7) -> None:
        """Run an agent until both replicas have read it."""
        await self.admin.create_pod(self.namespace, pod, labels=LABELS)
        await self.admin.run_pod(self.namespace, pod, "127.0.0.1")
        await self.work(pod, tasks)

    async def work(self, pod: str, tasks: float) -> None:
        """Let an agent run so many tasks, until both replicas have read that."""
        self.tasks[pod] = tasks
        await eventually(lambda: all(replica.sees(pod, tasks) for replica in self.replicas))

    async def ends(self, pod: str, reason: str, exit_code: int, /, *, restarts: int = 0, **status: Any) -> None:
        """Let the container of an agent end, and be started again if it has restarts."""
        self.tasks.pop(pod, None)
        ended = {"terminated": {"reason": reason, "exitCode": exit_code, "finishedAt": "2024-01-02T00:00:00Z"}}
        state = {"running": {"startedAt": STARTED}} if restarts else ended
        agent = {
            "name": "agent", "ready": bool(restarts), "restartCount": restarts, "image": "agent:1", "imageID": "",
            "state": state, "lastState": ended if restarts else {},
        }  # fmt: skip
        status = {"phase": "Running", "containerStatuses": [agent]} | status
        await self.admin.set_status(self.namespace, pod, status)

    async def delete(self, pod: str, grace: int) -> None:
        """Delete a pod; with a grace of 0 its agent ends at once."""
        if grace == 0:
            self.tasks.pop(pod, None)
        await self.admin.delete_pod(self.namespace, pod, grace_seconds=grace)

    async def drains(self, pod: str) -> None:
        """Wait until both replicas know of a deletion."""

        def draining(replica: Replica) -> bool:
            return any(one.pod == pod and one.ended_time is None for one in replica.store.departures.latest())

        await eventually(lambda: all(map(draining, self.replicas)))

    async def loses(self, lost: dict[str, float]) -> None:
        """Wait until both replicas have counted so many tasks."""
        await eventually(
            lambda: all(replica.lost == lost for replica in self.replicas),
            what=lambda: f"{[replica.lost for replica in self.replicas]} instead of {lost}",
        )

    async def forgets(self, pod: str) -> None:
        """Wait until a pod is no agent of either replica."""
        await eventually(lambda: not any(replica.knows(pod) for replica in self.replicas))


@pytest.fixture
async def world(control_plane: ControlPlane, admin: Admin, namespace: str) -> AsyncIterator[World]:
    """Watch a namespace in which one idle agent stays."""
    world = World(admin, namespace)
    async with background() as run, watching(control_plane) as client:
        for replica in world.replicas:
            settings = KubernetesSettings(namespaces=(namespace,))
            run(PodDiscovery(settings, client, replica.store, on_restart=lambda _: None, timing=FAST).run())
            run(replica.read())
        await world.start("stays", 0)
        yield world


@asynccontextmanager
async def watching(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    async with await KubeClient.connect({"KUBECONFIG": str(control_plane.kubeconfig)}) as client:
        yield client


async def test_an_oom_kill_and_the_crash_loop_after_it(world: World) -> None:
    """The container ends, waits and starts again; then its pod is deleted. One loss."""
    await world.start("a")
    await world.ends("a", "OOMKilled", 137)
    await world.loses({"OOMKilled": 7})
    await world.ends("a", "OOMKilled", 137, restarts=1)
    await world.delete("a", 0)
    await world.forgets("a")
    await world.loses({"OOMKilled": 7})


async def test_a_restart_that_shows_only_as_a_count(world: World) -> None:
    """The event of the end was missed; the next run is counted by itself."""
    await world.start("a")
    await world.ends("a", "Error", 1, restarts=1)
    await world.loses({"Error": 7})
    await world.work("a", 3)
    await world.ends("a", "Error", 1, restarts=2)
    await world.loses({"Error": 10})


async def test_an_eviction_by_the_kubelet(world: World) -> None:
    """The pod stays behind as Failed; its deletion later is no second loss."""
    await world.start("a")
    await world.ends("a", "Error", 137, phase="Failed", reason="Evicted", message="The node was low on memory.")
    await world.loses({"Evicted": 7})
    await world.delete("a", 0)
    await world.start("b", 1)
    await world.loses({"Evicted": 7})


async def test_a_forced_deletion(world: World) -> None:
    """The API server removes the pod at once, and its final version says that it was deleted."""
    await world.start("a")
    await world.delete("a", 0)
    await world.loses({"Deleted": 7})


async def test_a_clean_drain(world: World) -> None:
    """Deleted with 7 tasks, which finish; the agent ends by itself. Nothing is lost, and that is on record."""
    await world.start("a")
    await world.delete("a", DAY_GRACE)
    await world.drains("a")
    await world.work("a", 1)
    await world.ends("a", "Error", 143)
    await world.delete("a", 0)
    await world.forgets("a")
    await world.loses({})
    for replica in world.replicas:
        assert (replica.last.pod, replica.last.tasks_at_request, replica.last.tasks_lost) == ("a", 7, 0)
        assert replica.last.reason is None


async def test_a_drain_that_is_evicted_with_ten_minutes_and_killed(world: World) -> None:
    """As a node autoscaler does it."""
    await world.start("a")
    await world.delete("a", DAY_GRACE)
    await world.drains("a")
    await world.admin.evict_pod(world.namespace, "a", grace_seconds=600)
    await world.work("a", 4)
    await world.ends("a", "Error", 137)
    await world.loses({"GraceExceeded": 4})
    await world.delete("a", 0)
    await world.forgets("a")
    await world.loses({"GraceExceeded": 4})


async def test_a_node_that_is_gone(world: World) -> None:
    """No container ever reports its end; the pod collector deletes the pod and says why."""
    await world.start("a")
    world.tasks.pop("a")
    gone = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
    await world.admin.set_status(world.namespace, "a", {"conditions": [gone]})
    await world.delete("a", 0)
    await world.loses({"NodeLost": 7})


async def test_a_pod_whose_labels_change(world: World) -> None:
    """It is DELETED for a watch with a selector, and runs on: nothing is lost."""
    await world.start("a")
    await world.admin.label_pod(world.namespace, "a", {"app.kubernetes.io/name": "something-else"})
    await world.forgets("a")
    await world.loses({})


async def test_pods_that_vanish_while_the_api_server_is_away(control_plane: ControlPlane, world: World) -> None:
    """The next list shows that one is missing and that another has restarted: both are counted, once."""
    await world.start("vanishes", 5)
    await world.start("restarts", 4)
    control_plane.stop_api_server()
    try:
        world.tasks.clear()
    finally:
        control_plane.start_api_server()
    await world.delete("vanishes", 0)
    await world.ends("restarts", "OOMKilled", 137, restarts=1)
    await world.loses({"Deleted": 5, "OOMKilled": 4})
