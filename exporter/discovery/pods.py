"""Finds agents among the pods of a cluster, and keeps them found: one list + watch for each namespace.

What a pod says is read in `pod_facts`, how a watch is kept up in `kube.watch`; this is where the two meet, and it must
not know who takes the targets.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from exporter.config import KubernetesSettings
from exporter.discovery.pod_facts import AGENT_PORTS, PodReader
from exporter.discovery.sink import TargetSink
from exporter.fleet.model import Target
from exporter.kube.api import Json, KubeReader, Resource
from exporter.kube.watch import Reflector, RestartReason, WatchTiming

_log = structlog.get_logger(__name__)

PODS = Resource(group="", version="v1", plural="pods")


class PodDiscovery:
    """Delivers the agents among the pods to a sink, for ever.

    Each namespace is a source of its own: what fails in one leaves the others as they are.
    """

    def __init__(
        self,
        settings: KubernetesSettings,
        client: KubeReader,
        sink: TargetSink,
        *,
        on_restart: Callable[[RestartReason], None],
        agent_ports: Sequence[int] = AGENT_PORTS,
        timing: WatchTiming | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take what to look for, where, and for whom.

        `on_restart` is called each time a watch has to be taken up again. `agent_ports` tell the agent's container from
        its sidecars, the best first. `monotonic` must be the clock by which targets are judged; `wall` gives Unix time.
        """
        namespaces: Sequence[str | None] = tuple(dict.fromkeys(settings.namespaces)) or (None,)
        self._reflectors: dict[str, Reflector[Target | None]] = {}
        for namespace in namespaces:
            source = "kubernetes" if namespace is None else f"kubernetes/{namespace}"
            ready_instants = ReadyInstants(monotonic, wall)
            reader = PodReader(settings.fleet_label, agent_ports, ready_instants)
            pods = _NamespacePods(source, sink, reader, ready_instants)
            self._reflectors[source] = Reflector(
                client,
                PODS.within(namespace),
                pods,
                read=pods.read,
                label_selector=settings.label_selector,
                on_restart=on_restart,
                timing=timing,
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that deliver to the sink: each `kubernetes/<namespace>`, or `kubernetes` for a whole cluster."""
        return tuple(self._reflectors)

    async def run(self) -> None:
        """Follow the pods until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source, reflector in self._reflectors.items():
                tasks.create_task(reflector.run(), name=f"discovery {source}")


class ReadyInstants:
    """Puts the wall-clock time at which a pod became Ready on the monotonic clock of this process.

    Done once for each change of a pod: done anew with each event, the instant would move with every step of the wall
    clock. A time in the future (another machine's clock) counts as now.
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._instants: dict[str, tuple[float | None, float]] = {}

    def __call__(self, uid: str, transition: float | None) -> float:
        """Return the instant for a pod whose Ready condition changed at Unix time `transition` (None: not said)."""
        known = self._instants.get(uid)
        if known is not None and known[0] == transition:
            return known[1]
        age = 0.0 if transition is None else max(0.0, self._wall() - transition)
        instant = self._monotonic() - age
        self._instants[uid] = (transition, instant)
        return instant

    def keep_only(self, uids: Collection[str]) -> None:
        """Forget every pod but these."""
        self._instants = {uid: instant for uid, instant in self._instants.items() if uid in uids}

    def forget(self, uid: str) -> None:
        """Forget one pod."""
        self._instants.pop(uid, None)


class _NamespacePods:
    """The handler of one source: raw pods in, targets out."""

    def __init__(self, source: str, sink: TargetSink, reader: PodReader, ready_instants: ReadyInstants) -> None:
        self._source = source
        self._sink = sink
        self._reader = reader
        self._ready_instants = ready_instants
        self._unlabelled: set[tuple[str, str]] = set()

    def read(self, pod: Json) -> Target | None:
        target = self._reader.target(pod)
        if target is not None and self._reader.fleet_label_of(pod) is None:
            self._say_unlabelled(target)
        return target

    def replaced(self, items: Mapping[str, Target | None]) -> None:
        self._ready_instants.keep_only(items.keys())
        self._sink.replace(self._source, [target for target in items.values() if target is not None])

    def upserted(self, uid: str, item: Target | None) -> None:
        if item is None:
            self._sink.remove(self._source, uid)
        else:
            self._sink.upsert(self._source, item)

    def deleted(self, uid: str) -> None:
        self._ready_instants.forget(uid)
        self._sink.remove(self._source, uid)

    def alive(self) -> None:
        self._sink.synced(self._source)

    def _say_unlabelled(self, target: Target) -> None:
        """Say once for each fleet that its name is a guess."""
        fleet = (target.namespace, target.fleet)
        if fleet not in self._unlabelled:
            self._unlabelled.add(fleet)
            _log.warning(
                "Pod without the fleet label; its workload's name is taken for the fleet",
                namespace=target.namespace,
                pod=target.pod,
                fleet=target.fleet,
                fleet_label=self._reader.fleet_label,
            )
