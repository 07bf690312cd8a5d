"""Discovers agents among the pods of a cluster: one list + watch per namespace.

Combines `pod_facts`, which parses a pod, with `kube.watch`, and is independent of the use of the targets. A pod that
matches the selector but is not an agent is ignored: logged, listed, and not counted.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from exporter.config import DEFAULT_ENDPOINTS, KubernetesSettings
from exporter.discovery.ignored_pods import Found, IgnoredPods
from exporter.discovery.pod_facts import PodReader
from exporter.fleet.model import Endpoint, FinishedPod, PodFacts, Target
from exporter.fleet.protection import PROTECTION
from exporter.kube.api import Json, KubeReader, Resource
from exporter.kube.watch import Reflector, RestartReason, WatchTiming
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)

PODS = Resource(group="", version="v1", plural="pods")


class PodDiscovery:
    """Delivers the agents among the pods to a store, for ever.

    Each namespace is a source of its own: what fails in one leaves the others as they are.
    """

    def __init__(
        self,
        settings: KubernetesSettings,
        client: KubeReader,
        store: SnapshotStore,
        *,
        on_restart: Callable[[RestartReason], None],
        endpoints: Sequence[Endpoint] = DEFAULT_ENDPOINTS,
        protection: Mapping[str, str] = PROTECTION,
        own: Collection[str] = (),
        timing: WatchTiming | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Discover agents by `settings` and deliver them to `store`.

        `on_restart` is called whenever a watch is restarted. `endpoints` are tried for agents that declare none, best
        first. `protection` are the annotations that protect a pod from disruption. `own` are the addresses of this
        process' pod. `monotonic` must be the clock that the store uses; `wall` gives Unix time.
        """
        namespaces: Sequence[str | None] = tuple(dict.fromkeys(settings.namespaces)) or (None,)
        self._reflectors: dict[str, Reflector[Found]] = {}
        for namespace in namespaces:
            source = "kubernetes" if namespace is None else f"kubernetes/{namespace}"
            ready_instants = ReadyInstants(monotonic, wall)
            reader = PodReader(settings.fleet_label, endpoints, ready_instants, protection, own)
            others = IgnoredPods(source, settings.label_selector, store.set_ignored)
            pods = _NamespacePods(source, store, reader, ready_instants, others)
            self._reflectors[source] = Reflector(
                client,
                PODS.within(namespace),
                pods,
                read=pods.read,
                label_selector=settings.label_selector,
                on_restart=_interrupting(ready_instants, on_restart),
                timing=timing,
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that deliver to the store: each `kubernetes/<namespace>`, or `kubernetes` for a whole cluster."""
        return tuple(self._reflectors)

    async def run(self) -> None:
        """Follow the pods until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source, reflector in self._reflectors.items():
                tasks.create_task(reflector.run(), name=f"discovery {source}")


def _interrupting(
    instants: "ReadyInstants", on_restart: Callable[[RestartReason], None]
) -> Callable[[RestartReason], None]:
    """Return a hook that records that changes may be missed until the next list, and passes the reason on."""

    def restarted(reason: RestartReason) -> None:
        if reason is not RestartReason.ENDED:
            instants.interrupted()
        on_restart(reason)

    return restarted


class ReadyInstants:
    """Places the readiness of pods on the monotonic clock of this process.

    A pod that becomes Ready while it is watched did so when the event arrived: the time in its status is from another
    machine's clock, which may be wrong by more than `stale_after`. Only a pod that was Ready when it was first seen is
    dated by its own time, and so is one that became Ready during an interruption, but not before the interruption. A
    time in the future counts as now. Each change is placed once: if it were placed with each event, the instant would
    move with every step of the wall clock.
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._known: dict[str, tuple[float | None, float] | None] = {}
        """By UID: the pod's own time and the instant, None for a pod that is not Ready."""
        self._current_at: float | None = None
        self._watching = False

    def __call__(self, uid: str, ready: bool, transition: float | None) -> float | None:
        """Return the instant for a pod, None if it is not Ready; `transition` is its own Unix time (None: unknown)."""
        if not ready:
            self._known[uid] = None
            return None
        known = self._known.get(uid)
        if known is None or known[0] != transition:
            known = (transition, self._seen_now(transition, first_seen=uid not in self._known))
            self._known[uid] = known
        return known[1]

    def _seen_now(self, transition: float | None, *, first_seen: bool) -> float:
        now = self._monotonic()
        if self._watching and not first_seen:
            return now
        by_its_own_time = now if transition is None else now - max(0.0, self._wall() - transition)
        if self._watching or self._current_at is None:
            return by_its_own_time
        return max(by_its_own_time, self._current_at)

    def current(self) -> None:
        """Record that what is known of the pods is current now, and that changes will be observed."""
        self._watching = True
        self._current_at = self._monotonic()

    def interrupted(self) -> None:
        """Record that changes may be missed until all pods are listed again."""
        self._watching = False

    def keep_only(self, uids: Collection[str]) -> None:
        """Forget every pod but these."""
        self._known = {uid: known for uid, known in self._known.items() if uid in uids}

    def forget(self, uid: str) -> None:
        """Forget one pod."""
        self._known.pop(uid, None)


class _NamespacePods:
    """The handler of one source: raw pods in, targets out."""

    def __init__(
        self,
        source: str,
        store: SnapshotStore,
        reader: PodReader,
        ready_instants: ReadyInstants,
        others: IgnoredPods,
    ) -> None:
        self._source = source
        self._store = store
        self._reader = reader
        self._ready_instants = ready_instants
        self._unlabelled = Trouble(
            _log,
            "pod without the fleet label; its workload's name is used as the fleet",
            remembered=ONCE_EACH,
            fleet_label=reader.fleet_label,
        )
        self._others = others

    def read(self, pod: Json) -> Found:
        found = self._reader.read(pod)
        if isinstance(found, Target) and self._reader.fleet_label_of(pod) is None:
            fleet = (found.namespace, found.fleet)
            self._unlabelled.report(fleet, namespace=found.namespace, pod=found.pod, fleet=found.fleet)
        return found

    def replaced(self, items: Mapping[str, Found]) -> None:
        self._ready_instants.keep_only(items.keys())
        self._ready_instants.current()
        targets = [item for item in items.values() if isinstance(item, Target)]
        finished = {uid: item.facts for uid, item in items.items() if isinstance(item, FinishedPod)}
        self._store.replace(self._source, targets, finished)
        self._others.replace(items)

    def upserted(self, uid: str, item: Found) -> None:
        self._ready_instants.current()
        if isinstance(item, Target):
            self._store.upsert(self._source, item)
        else:
            self._store.remove(self._source, uid, item.facts if isinstance(item, FinishedPod) else None)
        self._others.put(uid, item)

    def deleted(self, uid: str, last: Found) -> None:
        self._ready_instants.current()
        self._ready_instants.forget(uid)
        self._store.remove(self._source, uid, _final(last))
        self._others.put(uid, None)

    def alive(self) -> None:
        self._ready_instants.current()
        self._store.synced(self._source)


def _final(last: Found) -> PodFacts | None:
    """Return the final state of a deleted pod; None for one that exists on but is no longer selected.

    The API server delivers both as DELETED. A deletion leaves its timestamp in the final version, even a forced one.
    """
    if isinstance(last, FinishedPod):
        return last.facts
    facts = last.facts if isinstance(last, Target) else None
    return facts if facts is not None and facts.draining_time is not None else None
