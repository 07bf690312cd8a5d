"""Tells Kubernetes which agents have work, so that a scale-down takes the idle ones first.

Each pod's running tasks, rounded up to whole buckets, become its `controller.kubernetes.io/pod-deletion-cost`; a
ReplicaSet deletes the cheapest pods first (kubernetes.io, "ReplicaSet", stable form since Kubernetes 1.22; ignored
before). Kubernetes warns against frequent updates, so a pod is written to only when its bucket changes and not more
often than once a minute, all pods together at a bounded rate, and by one replica alone.

What was last written is remembered, not read: it takes no permission but to patch pods. A new leader thus writes to
every pod once; where the annotation is already right, the API server stores nothing. An agent that cannot be seen keeps
what it has. Nothing that goes wrong here concerns any other part.
"""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from exporter.config.settings import DeletionCostSettings
from exporter.fleet.model import AgentState, Target
from exporter.kube.api import KubeError, KubeWriter, Resource
from exporter.kube.election import Leadership
from exporter.retry import Backoff
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
PODS = Resource("", "v1", "pods")

_HIGHEST = 2**31 - 1
"""The annotation is a 32-bit number; one that is not makes Kubernetes refuse the pod's update."""
_POD_ERRORS = (404, 409, 422)
"""The pod is gone, or another one has its name by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds that are no settings."""

    poll_every: float = 5.0
    """Pause when there is nothing to write."""
    between_writes: float = 0.5
    """Pause after each write, so that there are at most two a second however many agents change."""
    per_pod: float = 60.0
    """Shortest time between two writes to the same pod."""
    timeout: float = 5.0
    """Longest time for one write."""
    first_retry: float = 1.0
    """Pause after a failure that is not the pod's own, doubled each time up to `max_retry`."""
    max_retry: float = 60.0


@dataclass(slots=True)
class _Written:
    """What is known of one pod's annotation."""

    cost: int | None
    """None where it is not known: another leader may have written before."""
    tried_at: float


@dataclass(frozen=True, slots=True)
class _Change:
    target: Target
    cost: int
    urgency: int


def deletion_cost(tasks: float, bucket: int) -> int:
    """Return what it costs to delete a pod that runs so many tasks: the tasks, rounded up to whole buckets.

    Rounded up, so that 0 is for idle pods alone.
    """
    # The least float there is becomes 0 when it is divided.
    buckets = max(math.ceil(tasks / bucket), int(tasks > 0))
    return min(_HIGHEST, buckets * bucket)


class DeletionCost:
    """Keeps the annotation of every agent's pod up to date, as long as this process leads."""

    def __init__(
        self,
        settings: DeletionCostSettings,
        source: SnapshotStore,
        pods: KubeWriter,
        leadership: Leadership,
        *,
        pace: Pace = Pace(),
    ) -> None:
        self._bucket = settings.bucket
        self._source = source
        self._pods = pods
        self._leadership = leadership
        self._pace = pace
        self._written: dict[str, _Written] = {}
        self._backoff = Backoff(pace.first_retry, pace.max_retry, jitter=0.0)
        self._trouble = Trouble(
            _log, "deletion costs cannot be written; will retry", "deletion costs can be written again"
        )

    async def run(self) -> None:
        """Write what has changed until cancelled. No answer of the API server ends it. May be run anew after that."""
        self._written.clear()
        while True:
            pause = await self._step()
            await asyncio.sleep(pause)

    async def _step(self) -> float:
        """Write to one pod if there is one to write to; return how many seconds to wait before the next."""
        if not self._leadership.is_leader():
            # Whoever leads meanwhile may write.
            self._written.clear()
            return self._pace.poll_every
        if self._source.not_ready_reason() is not None:
            return self._pace.poll_every
        change = max(self._due(), key=lambda due: due.urgency, default=None)
        if change is None:
            return self._pace.poll_every
        return await self._write(change)

    def _due(self) -> Iterator[_Change]:
        now = self._source.now()
        seen = set()
        for fleet in self._source.fleets():
            for agent in fleet.agents:
                target, reading = agent.snapshot.target, agent.snapshot.reading
                seen.add(target.uid)
                known = self._written.get(target.uid)
                waits = known is not None and now - known.tried_at < self._pace.per_pod
                if target.facts is None or agent.state is AgentState.DRAINING or not agent.fresh or waits:
                    continue
                if reading is None:
                    continue
                cost = deletion_cost(reading.tasks_active, self._bucket)
                before = known.cost if known is not None else None
                if cost != before:
                    # Without an annotation a pod costs 0.
                    yield _Change(target, cost, abs(cost - (before or 0)))
        for uid in self._written.keys() - seen:
            del self._written[uid]

    async def _write(self, change: _Change) -> float:
        target = change.target
        tried = self._written[target.uid] = _Written(None, self._source.now())
        pod = PODS.within(target.namespace).named(target.pod)
        # With the UID, another pod that has the name by now is left alone (409).
        metadata = {"uid": target.uid, "annotations": {ANNOTATION: str(change.cost)}}
        try:
            await self._pods.send(
                "PATCH",
                pod,
                {"metadata": metadata},
                content_type="application/merge-patch+json",
                timeout=self._pace.timeout,
            )
        except KubeError as error:
            if error.status in _POD_ERRORS:
                return self._pace.between_writes
            # The other pods come first now: it may be the fault of this one's namespace alone.
            self._trouble.report(error.kind, **error.fields(pod.grant("patch")))
            return self._backoff.next()
        tried.cost = change.cost
        self._trouble.resolve()
        self._backoff.reset()
        return self._pace.between_writes
