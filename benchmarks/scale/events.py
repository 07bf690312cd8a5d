"""A burst of pod events: CPU per event, how it grows with the burst, and for how long the event loop is held.

The bytes of a list and a watch go through the real reflector, discovery, store and poller; only the connection is a
script in memory.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from benchmarks.scale.growth import Growth
from benchmarks.silent_agents import SilentAgents
from exporter.config import KubernetesSettings, ScrapeSettings
from exporter.discovery.pods import PodDiscovery
from exporter.fleet.policy import Policy
from exporter.kube.api import Json, Query, Resource
from exporter.scrape.poller import Poller
from exporter.store.snapshots import SnapshotStore
from tests.fakes.background import background
from tests.fakes.kube_api import event
from tests.fakes.kube_pods import raw_pod
from tests.waiting import eventually

BURSTS = (625, 1250, 2500, 5000)
"""Events."""
MOST_MILLISECONDS = 50.0
"""For which a burst may hold the event loop."""
_ROUNDS = 3
_FLEETS = {"of 100 fleets": 100, "of one fleet": 1}
_DRAINING = {"resourceVersion": "2", "deletionTimestamp": "2024-03-01T10:00:00Z", "deletionGracePeriodSeconds": 43_200}
_T = TypeVar("_T")
_Burst = Coroutine[None, None, tuple[float, float]]


class _Script:
    """A connection to an API server that lists pods and then sends a burst of events, once it is told to."""

    def __init__(self, pods: Sequence[Json], events: Iterable[bytes]) -> None:
        self._pods = pods
        self._events = events
        self.burst = asyncio.Event()

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = 30.0) -> Json:
        """Answer a list."""
        return {"metadata": {"resourceVersion": "1"}, "items": self._pods}

    @asynccontextmanager
    async def stream(
        self,
        resource: Resource,
        query: Query = (),
        *,
        idle_timeout: float,
        total_timeout: float | None = None,
        keep: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Answer a watch."""
        yield self._lines()

    async def _lines(self) -> AsyncIterator[bytes]:
        await self.burst.wait()
        for line in self._events:
            yield line
        await asyncio.Event().wait()


def _pod(number: int, fleets: int) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "matillion-agent", "app.kubernetes.io/instance": f"fleet-{number % fleets}"}
    address = {"podIP": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}
    return raw_pod(f"agent-{number}", labels=labels, status=address)


async def _burst(pods: Sequence[Json], events: Sequence[bytes], after: int) -> tuple[float, float]:
    """Return the seconds of CPU that the events take, and the longest turn of the loop in them."""
    script = _Script(pods, events)
    store = SnapshotStore(Policy(), monotonic=time.monotonic, wall=time.time)
    discovery = PodDiscovery(KubernetesSettings(), script, store, on_restart=lambda _: None)
    silent = SilentAgents()
    phases = random.Random(1)  # noqa: S311 - it spreads scrapes over time
    poller = Poller(ScrapeSettings(interval=300.0), store, silent, silent, monotonic=time.monotonic, phases=phases)
    async with background(poller.run()), background(discovery.run()):
        await eventually(lambda: store.targets() == len(pods))
        store.fleets()
        begin, longest = time.process_time(), 0.0
        script.burst.set()
        last = begin
        while store.targets() != after:
            await asyncio.sleep(0)
            now = time.process_time()
            longest, last = max(longest, now - last), now
        store.fleets()
        return time.process_time() - begin, longest


def _appear(count: int, fleets: int) -> _Burst:
    return _burst([], [event("ADDED", _pod(number, fleets)) for number in range(count)], count)


def _drain(count: int, fleets: int) -> _Burst:
    pods = [_pod(number, fleets) for number in range(count)]
    draining = [pod | {"metadata": pod["metadata"] | _DRAINING} for pod in pods]
    ready = len(pods) + 1
    return _burst(pods, [*(event("MODIFIED", pod) for pod in draining), event("ADDED", _pod(count, fleets))], ready)


def _vanish(count: int, fleets: int) -> _Burst:
    pods = [_pod(number, fleets) for number in range(count)]
    return _burst(pods, [event("DELETED", pod | {"metadata": pod["metadata"] | _DRAINING}) for pod in pods], 0)


def measure() -> list[tuple[Growth, float]]:
    """Measure bursts of pods that appear, and of pods that vanish; with each the longest turn of the loop in ms."""
    found = []
    for kind, make in (("appear", _appear), ("are deleted", _drain), ("vanish", _vanish)):
        for where, fleets in _FLEETS.items():
            costs, longest = {}, 0.0
            for count in BURSTS:
                rounds = [asyncio.run(make(count, fleets)) for _ in range(_ROUNDS)]
                costs[count], longest = min(rounds)[0], min(turn for _, turn in rounds)
            found.append((Growth.of(f"{max(BURSTS):,} pods {where} {kind}", costs), longest * 1e3))
    return found
