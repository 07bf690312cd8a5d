"""Agents that go away, and the tasks lost with them.

A counter per fleet and reason that starts at 0 with the process, and a bounded record of the latest departures. An
agent's reading is used up when its container ends, so nothing is counted twice: neither a container that ends before
its pod does, nor one that ends again. What an earlier process read last can be compared once with what this process saw
first: `missed`. Independent of where pods and readings come from.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from exporter.fleet.departure import Departure, LossReason
from exporter.fleet.last_reading import LastReading
from exporter.fleet.losses import last_tasks, loss_reason, run_ended, tasks_at_end
from exporter.fleet.model import AgentSnapshot, PodFacts
from exporter.fleet.policy import Policy
from exporter.store.restarts import FleetKey

KEPT = 1000
"""Departures kept of the ended ones, the latest: some days of a fleet that scales by a hundred agents a day."""


@dataclass(frozen=True, slots=True)
class Missed:
    """An agent that ended after its last reading by an earlier process, and before this process saw it."""

    reading: LastReading
    last: PodFacts | None
    """What Kubernetes said of its pod later; None if it was gone."""
    gone: bool
    """Whether no pod was left to run on."""


class Departures:
    """Counts lost tasks, and records how agents left."""

    def __init__(self, policy: Policy, *, since: float) -> None:
        """Start to record at the Unix time `since`."""
        self.since = since
        """Since when the record is complete (Unix time): from its start, or from the first departure kept."""
        self._stale_after = policy.stale_after
        self._lost: dict[FleetKey, dict[LossReason, float]] = {}
        """Of every fleet that ever had a pod in Kubernetes: a fleet without pods keeps its count."""
        self._draining: dict[str, Departure] = {}
        self._ended: deque[Departure] = deque()
        self._first: dict[str, PodFacts] | None = None
        """Each pod as this process first saw it; None if nothing is to be compared with it."""
        self._finished: dict[str, PodFacts] = {}
        """Pods that had ended before this process read them, while `_first` is kept."""
        self.total_lost = 0.0
        """All tasks lost so far: it changes with each loss."""

    def see(self, snapshot: AgentSnapshot, now: float, newest: tuple[float, str] | None) -> None:
        """Take an agent's current state: from its first pod on a fleet has a count, and a deletion begins a departure.

        `newest` is the creation time and the template of the newest pod its fleet ever had.
        """
        target, facts = snapshot.target, snapshot.target.facts
        if facts is None:
            return
        self._lost.setdefault((target.namespace, target.fleet), dict.fromkeys(LossReason, 0.0))
        if self._first is not None:
            self._first.setdefault(target.uid, facts)
        if facts.draining_time is None or target.uid in self._draining:
            return
        self._draining[target.uid] = replace(
            _departure(snapshot),
            requested_time=facts.draining_time,
            replaced=facts.template != newest[1] if newest is not None and facts.template is not None else None,
            tasks_at_request=last_tasks(snapshot, self._stale_after, now),
        )

    def container_ended(self, before: AgentSnapshot, last: PodFacts, *, known_at: float, wall_now: float) -> None:
        """Count the tasks of a container that ended; the pod may stay, and its container may start again."""
        if before.reading is None:
            self._ended_unread(before, last, gone=False)
            return
        reason = loss_reason(before, last, wall_now)
        lost = self._count(before, reason, known_at)
        draining = self._draining.get(before.target.uid)
        if draining is not None:
            self._draining[before.target.uid] = _with_loss(draining, lost, reason)
        elif lost:
            self._end(replace(_with_loss(_departure(before), lost, reason), ended_time=wall_now))

    def pod_gone(self, before: AgentSnapshot, last: PodFacts | None, *, known_at: float, wall_now: float) -> None:
        """Count the tasks of a pod that is gone; `last` is its final state, None if it went away unobserved.

        A pod that exists on, but is no longer selected, lost nothing.
        """
        if before.target.facts is None:
            return
        if before.reading is None:
            self._ended_unread(before, last, gone=True)
        departure = self._draining.pop(before.target.uid, None) or _departure(before)
        if departure.tasks_lost is None or before.reading is not None:
            reason = loss_reason(before, last, wall_now)
            departure = _with_loss(departure, self._count(before, reason, known_at), reason)
        if departure.requested_time is not None or departure.tasks_lost:
            self._end(replace(departure, ended_time=wall_now))

    def forget(self, uid: str) -> None:
        """Drop what is known of a pod that is no longer selected."""
        self._draining.pop(uid, None)

    # -- what an earlier process read last ----------------------------------------------------------------------------

    def expect_earlier_readings(self) -> None:
        """Keep how each pod was first seen, until `missed` compares it. To be called before any pod is seen."""
        self._first = {}

    def finished_before(self, finished: Mapping[str, PodFacts]) -> None:
        """Take how pods ended that are still listed although they run no more, by UID."""
        if self._first is not None:
            self._finished.update(finished)

    def missed(self, readings: Iterable[LastReading]) -> Sequence[Missed]:
        """Return the agents that ended unseen after an earlier process read them. Counts nothing yet.

        To be called once, when all pods are known.
        """
        first, finished = self._first or {}, self._finished
        self._first, self._finished = None, {}
        found = []
        for reading in readings:
            seen = first.get(reading.uid)
            if seen is None:
                found.append(Missed(reading, finished.get(reading.uid), gone=True))
            elif run_ended(reading.snapshot(seen, 0.0).target.facts, seen):
                found.append(Missed(reading, seen, gone=False))
        return found

    def count_missed(self, missed: Missed, *, now: float, wall_now: float) -> None:
        """Count the tasks of an agent that ended unseen.

        Of one that was draining and is gone, it is not known whether it ended cleanly: that is on record, and counts
        nothing. `now` is the monotonic instant.
        """
        before = missed.reading.snapshot(missed.last, now)
        if not missed.gone and missed.last is not None:
            self.container_ended(before, missed.last, known_at=now, wall_now=wall_now)
        elif missed.last is None and missed.reading.draining_time is not None:
            departure = replace(_departure(before), requested_time=missed.reading.draining_time)
            self._end(replace(departure, ended_time=wall_now))
        else:
            self.pod_gone(before, missed.last, known_at=now, wall_now=wall_now)

    def _ended_unread(self, before: AgentSnapshot, last: PodFacts | None, *, gone: bool) -> None:
        """Take a run that was never read here: its end is compared as if it had come before the pod was first seen."""
        uid, facts = before.target.uid, before.target.facts
        first = self._first.get(uid) if self._first is not None else None
        if self._first is None or first is None or facts is None or first.ended_container != facts.ended_container:
            return
        if not gone and last is not None:
            self._first[uid] = last
            return
        del self._first[uid]
        if last is not None:
            self._finished[uid] = last

    # -- what there is -------------------------------------------------------------------------------------------------

    def lost(self, key: FleetKey) -> Mapping[LossReason, float] | None:
        """Return the tasks lost in a fleet so far, by reason; None if it never had a Kubernetes pod."""
        return self._lost.get(key)

    def lost_since(self, key: FleetKey, since: float) -> float:
        """Return the tasks of a fleet that were lost since the Unix time `since`, as far as the record reaches back."""
        recent = takewhile(lambda departure: (departure.ended_time or 0.0) >= since, reversed(self._ended))
        return sum((one.tasks_lost or 0.0) for one in recent if (one.namespace, one.fleet) == key)

    def latest(self) -> Sequence[Departure]:
        """Return the departures: those that ended, oldest first, then those that drain."""
        return (*self._ended, *self._draining.values())

    def _count(self, before: AgentSnapshot, reason: LossReason | None, known_at: float) -> float | None:
        lost = tasks_at_end(before, reason, self._stale_after, known_at)
        if lost and reason is not None:
            key = (before.target.namespace, before.target.fleet)
            # A new mapping: the fleets that were handed out are frozen.
            counts = self._lost.get(key, dict.fromkeys(LossReason, 0.0))
            self._lost[key] = counts | {reason: counts[reason] + lost}
            self.total_lost += lost
        return lost

    def _end(self, departure: Departure) -> None:
        self._ended.append(departure)
        if len(self._ended) > KEPT:
            self.since = self._ended.popleft().ended_time or self.since


def _with_loss(departure: Departure, lost: float | None, reason: LossReason | None) -> Departure:
    """Return the departure with the tasks of one more run of its container."""
    tasks = departure.tasks_lost if lost is None else lost + (departure.tasks_lost or 0.0)
    return replace(departure, tasks_lost=tasks, reason=reason or departure.reason)


def _departure(snapshot: AgentSnapshot) -> Departure:
    target = snapshot.target
    return Departure(
        uid=target.uid,
        namespace=target.namespace,
        fleet=target.fleet,
        pod=target.pod,
        node=target.facts.node if target.facts is not None else None,
    )
