"""The one writer of pod annotations: deletion costs, and protection from disruption.

What a pod should carry is decided in `fleet.protection`, by what the watch says it carries. So no state is lost with a
leader, and what is right is not written again. All changes of a pod are one patch, with its UID, so that another pod
that has its name by now is left alone. The most urgent come first, all pods together at a bounded rate, by one replica
alone. Nothing that fails here concerns any other part.

A patch that does not last, because it is rejected or undone by another writer, is repeated at growing intervals. A
namespace that rejects everything delays no other.
"""

import asyncio
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog

from exporter.fleet.model import Target
from exporter.fleet.protection import AnnotationRules, Patch, pod_patch
from exporter.kube.api import KubeError, KubeWriter, Resource
from exporter.kube.election import Leadership
from exporter.retry import Backoff
from exporter.store import in_turn
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

PODS = Resource("", "v1", "pods")
MERGE_PATCH = "application/merge-patch+json"

POD_ERRORS = (404, 409, 422)
"""The object is gone, or another one has its name by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds that are no settings."""

    poll_every: float = 2.0
    """Pause when there is nothing to write. With a scrape interval of 5 s a busy pod is protected within 10 s."""
    between_writes: float = 0.2
    """Pause after each write, so that there are at most five a second however many agents change."""
    settle: float = 5.0
    """Time for the watch to show a write, before the same protection is written again; doubled with each repetition."""
    cost_alone: float = 60.0
    """Minimum time before a write for the deletion cost alone: Kubernetes warns against frequent updates of it."""
    max_settle: float = 600.0
    """Maximum time before the same patch is repeated."""
    timeout: float = 5.0
    """Maximum time for one write."""
    first_retry: float = 1.0
    """Pause of a namespace after a failure that is not the pod's own, doubled each time up to `max_retry`."""
    max_retry: float = 60.0


_ROUND = 5
"""Writes before it is looked again at what is most urgent: one second's."""
_CONTESTED_AFTER = 4
"""Repetitions after which a patch is said not to last."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """The last patch of one pod."""

    changes: Mapping[str, str | None]
    """Those of its protection; without any, that of its cost."""
    at: float
    repeated: int
    """How often it was written before, with the same result."""
    failed_in: str | None
    """The namespace, if the write failed for a reason that is not the pod's own."""


@dataclass(slots=True)
class _Namespace:
    """Whether a namespace takes writes."""

    trouble: Trouble
    backoff: Backoff
    closed_until: float = 0.0


class PodAnnotations:
    """Keeps the annotations of every agent's pod as they should be, as long as this process leads."""

    def __init__(
        self,
        rules: AnnotationRules,
        source: SnapshotStore,
        pods: KubeWriter,
        leadership: Leadership,
        *,
        pace: Pace = Pace(),
    ) -> None:
        self._rules = rules
        self._source = source
        self._pods = pods
        self._leadership = leadership
        self._pace = pace
        self._tried: dict[str, _Tried] = {}
        self._namespaces: dict[str, _Namespace] = {}
        self._contested = Trouble(
            _log, "a pod's annotations do not remain as written; another writer seems to change them"
        )

    async def run(self) -> None:
        """Write what must change until cancelled. No answer of the API server ends it. May be run again after that."""
        self._tried.clear()
        while True:
            if not await self._round():
                await asyncio.sleep(self._pace.poll_every)

    async def _round(self) -> int:
        """Write the most urgent patches; return how many there were."""
        if not self._leadership.is_leader():
            # The leader may write in the meantime.
            self._tried.clear()
            return 0
        if self._source.not_ready_reason() is not None:
            return 0
        await in_turn.compute(self._source)
        due = heapq.nlargest(_ROUND, self._due(), key=self._priority)
        for target, patch in due:
            if self._leadership.is_leader() and not self._closed(target.namespace):
                await self._write(target, patch)
                await asyncio.sleep(self._pace.between_writes)
        return len(due)

    def _priority(self, due: tuple[Target, Patch]) -> tuple[int, int, float]:
        target, patch = due
        tried = self._tried.get(target.uid)
        return patch.urgency, patch.cost_change, float("inf") if tried is None else -tried.at

    def _due(self) -> Iterator[tuple[Target, Patch]]:
        now = self._source.now()
        seen = set()
        for fleet in self._source.fleets():
            for agent in fleet.agents:
                target = agent.snapshot.target
                seen.add(target.uid)
                patch = pod_patch(agent, self._rules, now)
                if patch is not None and not self._closed(target.namespace) and not self._waits(target.uid, patch, now):
                    yield target, patch
        for uid in self._tried.keys() - seen:
            del self._tried[uid]

    def _closed(self, namespace: str) -> bool:
        known = self._namespaces.get(namespace)
        return known is not None and self._source.now() < known.closed_until

    def _waits(self, uid: str, patch: Patch, now: float) -> bool:
        tried = self._tried.get(uid)
        if tried is None:
            return False
        first = self._pace.settle if patch.protection else self._pace.cost_alone
        if (patch.protection or patch.annotations) == tried.changes:
            longest = self._pace.max_settle if tried.failed_in is None else self._pace.max_retry
            return now < tried.at + min(longest, first * 2.0**tried.repeated)
        return not patch.protection and now < tried.at + first

    async def _write(self, target: Target, patch: Patch) -> None:
        changes = patch.protection or patch.annotations
        namespace = self._namespaces.setdefault(target.namespace, self._new_namespace(target.namespace))
        pod = PODS.within(target.namespace).named(target.pod)
        body = {"metadata": {"uid": target.uid, "annotations": dict(patch.annotations)}}
        try:
            await self._pods.send("PATCH", pod, body, content_type=MERGE_PATCH, timeout=self._pace.timeout)
        except KubeError as error:
            if error.status in POD_ERRORS:
                self._record(target, changes)
                return
            self._record(target, changes, failed_in=target.namespace)
            namespace.trouble.report(error.kind, **error.fields(self._fix(pod, patch)))
            namespace.closed_until = self._source.now() + namespace.backoff.next()
            return
        namespace.backoff.reset()
        if self._record(target, changes) >= _CONTESTED_AFTER:
            self._contested.report(namespace=target.namespace, pod=target.pod, annotations=sorted(changes))
        # Not before: one pod that is always rejected would make it end and begin again for ever.
        if all(tried.failed_in != target.namespace for tried in self._tried.values()):
            namespace.trouble.resolve()

    def _record(self, target: Target, changes: Mapping[str, str | None], failed_in: str | None = None) -> int:
        """Record a write; return how often it was repeated."""
        before = self._tried.get(target.uid)
        again = before is not None and (before.changes, before.failed_in) == (changes, failed_in)
        repeated = before.repeated + 1 if before is not None and again else 0
        self._tried[target.uid] = _Tried(changes, self._source.now(), repeated, failed_in)
        return repeated

    def _new_namespace(self, namespace: str) -> _Namespace:
        event = "pod annotations cannot be written; will retry"
        if self._rules.protection is None and self._rules.bucket is None:
            event = "protection is disabled, but its annotations cannot be removed from pods; will retry"
        return _Namespace(
            Trouble(_log, event, "pod annotations can be written again", namespace=namespace),
            Backoff(self._pace.first_retry, self._pace.max_retry, jitter=0.0),
        )

    def _fix(self, pod: Resource, patch: Patch) -> str:
        """Return what to do without permission: to remove what is left, a command is enough."""
        grant = PODS.within(pod.namespace).grant("patch")
        if self._rules.protection is not None or self._rules.bucket is not None:
            return grant
        keys = " ".join(f"{key}-" for key in sorted(patch.annotations))
        return f"{grant}, or run: kubectl --namespace {pod.namespace} annotate pods --all {keys}"
