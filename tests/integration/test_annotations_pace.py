"""The pace of the annotations and a change of the leader, on a real API server with the real election."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from exporter.config import KubernetesSettings, LeaderElectionSettings
from exporter.discovery.pods import PodDiscovery
from exporter.kube.api import Resource
from exporter.kube.client import KubeClient
from exporter.kube.election import LeaderElection
from exporter.publish.annotations import Pace, PodAnnotations
from tests.fakes.background import background
from tests.fakes.control_plane import Admin, ControlPlane, Json
from tests.fakes.kube_recorders import FAST
from tests.integration.test_annotations import MINE, PROTECT, Agents, created
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PODS = 60
"""They take 12 s at the real pace."""
QUICK_LEASE = LeaderElectionSettings(lease_duration=3.0, renew_deadline=2.0, retry_period=0.5)


class Counting:
    """A client that counts the writes to each pod."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self.writes = Counter[str]()

    async def send(self, method: str, resource: Resource, body: Json, **options: Any) -> Json:
        """Write as the client does."""
        self.writes[resource.name or ""] += 1
        return await self._kube.send(method, resource, body, **options)


@asynccontextmanager
async def replica(agents: Agents, kube: KubeClient, pods: Counting, name: str) -> AsyncIterator[LeaderElection]:
    """Run a process of the exporter: its view of the pods, its part in the election, the writer at its real pace."""
    own = Agents(agents.namespace)
    own.tasks = agents.tasks
    lease = QUICK_LEASE.model_copy(update={"lease_name": agents.namespace})
    election = LeaderElection(lease, kube, agents.namespace, name, fit=lambda: True)
    settings = KubernetesSettings(namespaces=[agents.namespace])
    discovery = PodDiscovery(settings, kube, own.store, on_restart=lambda _reason: None, timing=FAST)
    own.store.expect(discovery.sources)
    writer = PodAnnotations(PROTECT, own.store, pods, election)
    async with background(discovery.run(), own.read(), election.run(writer.run)):
        yield election


async def test_a_busy_fleet_within_the_pace_and_over_a_leader_change(
    control_plane: ControlPlane, admin: Admin, namespace: str
) -> None:
    """Every pod is patched once, never faster than five a second, also if the leader ends while it writes."""
    agents = Agents(namespace)
    for number in range(PODS):
        await created(admin, agents, **{f"busy-{number:03}": 7})

    async def protected(at_least: int) -> bool:
        listed = await admin.call("GET", f"/api/v1/namespaces/{namespace}/pods")
        carried = (pod["metadata"].get("annotations", {}) for pod in listed["items"])
        return sum(MINE.items() <= annotations.items() for annotations in carried) >= at_least

    async with await KubeClient.connect({"KUBECONFIG": str(control_plane.kubeconfig)}) as kube:
        counting, started = Counting(kube), time.monotonic()
        async with AsyncExitStack() as later:
            async with replica(agents, kube, counting, "first") as first:
                await eventually(first.is_leader)
                second = await later.enter_async_context(replica(agents, kube, counting, "second"))
                await eventually(lambda: protected(PODS // 3))
                by_first = counting.writes.total()
                assert not second.is_leader()
            await eventually(lambda: protected(PODS))
            took = time.monotonic() - started
    assert 0 < by_first < PODS
    assert counting.writes == Counter(agents.tasks.keys())
    # A lower bound: how long it takes on a busy machine is no matter of the pace.
    assert took >= (PODS - 2) * Pace().between_writes
