"""Memory and CPU in use, as the cluster's metrics API (metrics.k8s.io, usually metrics-server) has them.

One list per namespace and interval, matched by pod and container: a limit is the container's own, so what sidecars use
does not count against it. Where the API is missing, neither is known, which is logged once. It must not know what the
samples are for; whether one still counts is decided by the readers.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog

from exporter.config import KubernetesSettings
from exporter.fleet.model import UsageSample
from exporter.kube.api import KubeError, KubeReader, Resource
from exporter.kube.fields import mapping, mappings
from exporter.kube.quantity import parse_quantity
from exporter.kube.times import go_duration, unix_time
from exporter.retry import Backoff
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

POD_METRICS = Resource("metrics.k8s.io", "v1beta1", "pods")

WINDOWS_KEPT = 2
"""A sample is replaced after about one window; the second allows for one that metrics-server missed."""
LAG_SECONDS = 60.0
"""On top of the windows: the kubelet's own measurements are up to 15 s old, and two machines' clocks differ."""
PODS_PER_TURN = 200
"""Pods read before other tasks get their turn: one or two milliseconds."""
MAX_WINDOW = 600.0
"""Longer windows, in seconds, count as this long. prometheus-adapter, which may stand in, has 300."""

_NOT_PERMITTED, _NOT_INSTALLED = 403, 404
_LASTING = (_NOT_PERMITTED, _NOT_INSTALLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPace:
    """How often they are asked for. All in seconds."""

    interval: float = 15.0
    """The resolution of metrics-server: more often would bring the same samples again."""
    max_pause: float = 300.0
    """Where it is not installed or not permitted the pauses double up to this: that rarely changes soon."""
    timeout: float = 10.0
    """For one list. It passes through the API server, which gives up after 60."""


class PodMemory:
    """Asks for the memory and CPU in use of every agent, for ever."""

    def __init__(
        self,
        settings: KubernetesSettings,
        client: KubeReader,
        store: SnapshotStore,
        *,
        pace: SamplingPace = SamplingPace(),
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take where the agents are, and where the samples go.

        `monotonic` must be the clock by which samples expire; `wall` gives Unix time.
        """
        self._namespaces: Sequence[str | None] = tuple(dict.fromkeys(settings.namespaces)) or (None,)
        self._query = [("labelSelector", settings.label_selector)]
        self._client = client
        self._store = store
        self._pace = pace
        self._monotonic = monotonic
        self._wall = wall

    async def run(self) -> None:
        """Sample until cancelled. No answer of the API server ends it."""
        async with asyncio.TaskGroup() as tasks:
            for namespace in self._namespaces:
                tasks.create_task(self._follow(namespace), name=f"memory in {namespace or 'the cluster'}")

    async def _follow(self, namespace: str | None) -> NoReturn:
        resource = POD_METRICS.within(namespace)
        backoff = Backoff(self._pace.interval * 2, self._pace.max_pause)
        where = namespace or "every namespace"
        trouble = Trouble(_log, "memory usage cannot be read", "memory usage can be read again", namespace=where)
        while True:
            try:
                await self._deliver(await self._list(resource))
            except KubeError as error:
                _report(trouble, error, resource)
                pause = self._pace.interval
                if error.status in _LASTING:
                    pause = max(pause, backoff.next())
            else:
                trouble.resolve()
                backoff.reset()
                pause = self._pace.interval
            await asyncio.sleep(pause)

    async def _list(self, resource: Resource) -> "dict[tuple[str, str], PodUsage]":
        page = await self._client.get(resource, self._query, timeout=self._pace.timeout)
        items = page.get("items")
        if not isinstance(items, list):
            raise KubeError(f"The response to a list of {resource} is not a list.")
        by_pod: dict[tuple[str, str], PodUsage] = {}
        for begin in range(0, len(items), PODS_PER_TURN):
            by_pod |= {(usage.namespace, usage.pod): usage for usage in usages(items[begin : begin + PODS_PER_TURN])}
            await asyncio.sleep(0)
        return by_pod

    async def _deliver(self, by_pod: "Mapping[tuple[str, str], PodUsage]") -> None:
        monotonic, wall = self._monotonic(), self._wall()
        for number, uid in enumerate(tuple(self._store.uids())):
            if number % PODS_PER_TURN == 0:
                await asyncio.sleep(0)
            target = self._store.target(uid)
            if target is None or target.facts is None or target.facts.container is None:
                continue
            usage = by_pod.get((target.namespace, target.pod))
            used = usage.containers.get(target.facts.container) if usage is not None else None
            if usage is not None and used is not None:
                age = max(0.0, wall - usage.taken_time)
                sample = UsageSample(
                    working_set_bytes=used.memory_bytes,
                    cpu_cores=used.cpu_cores,
                    taken_time=usage.taken_time,
                    good_until=monotonic - age + usage.good_seconds,
                )
                self._store.usage_sampled(uid, sample)


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What the metrics API reports of one container."""

    memory_bytes: float
    """Working set."""
    cpu_cores: float | None
    """Averaged over the pod's window; None where it was not measured. An agent with nothing to do uses next to 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUsage:
    """What the metrics API reports of one pod."""

    namespace: str
    pod: str
    taken_time: float
    """Unix time of the measurement."""
    window: float
    """Seconds between this measurement and the one before, over which CPU is averaged."""
    containers: Mapping[str, ContainerUsage]
    """By the container's name; without containers that have no memory measurement."""

    @property
    def good_seconds(self) -> float:
        """For how long after it was taken the measurement stands for the present."""
        return WINDOWS_KEPT * min(self.window, MAX_WINDOW) + LAG_SECONDS


def usages(items: Iterable[object]) -> Iterator[PodUsage]:
    """Yield what can be read of PodMetrics objects: one without a time or a window has no meaning for the present."""
    for item in items:
        pod = mapping(item)
        metadata = mapping(pod.get("metadata"))
        name, namespace = metadata.get("name"), metadata.get("namespace")
        taken_time, window = unix_time(pod.get("timestamp")), go_duration(pod.get("window"))
        if isinstance(name, str) and isinstance(namespace, str) and taken_time is not None and window is not None:
            yield PodUsage(
                namespace=namespace,
                pod=name,
                taken_time=taken_time,
                window=window,
                containers=dict(_usage(pod.get("containers"))),
            )


def _usage(containers: object) -> Iterator[tuple[str, ContainerUsage]]:
    for container in mappings(containers):
        name, usage = container.get("name"), mapping(container.get("usage"))
        memory, cpu = parse_quantity(usage.get("memory")), parse_quantity(usage.get("cpu"))
        # Nothing runs in no memory: a 0 is a container that was not measured. To use no CPU is possible.
        if isinstance(name, str) and memory is not None and memory > 0:
            yield name, ContainerUsage(memory, cpu if cpu is not None and cpu >= 0 else None)


def _report(trouble: Trouble, error: KubeError, resource: Resource) -> None:
    if error.status == _NOT_INSTALLED:
        fix = "install metrics-server; without it only the heap that agents report is known"
        event = "memory usage is unknown: the cluster has no metrics API"
        trouble.report(error.kind, event, logging.INFO, fix=fix)
    else:
        trouble.report(error.kind, **{"fix": "check metrics-server", **error.fields(resource.grant("list"))})
