"""The latest snapshot of every agent, and the fleets they make.

The one place with state between discovery, which fills in the targets, the poller, which fills in the readings, and
everybody who reads fleets. No I/O; time comes from the clocks it is given.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from exporter.fleet.capacity import aggregate
from exporter.fleet.model import AgentSnapshot, Fleet, PassedOver, PodFacts, Reading, Scaler, Since, Target, UsageSample
from exporter.fleet.policy import Policy
from exporter.fleet.since import after_reading, after_sample
from exporter.store.addresses import AddressBook
from exporter.store.queue_scope import QueueScope
from exporter.store.restarts import FleetKey, RestartCounter
from exporter.store.scalers import KnownScalers
from exporter.store.start_times import StartTimes

Clock = Callable[[], float]

# With many agents every moment brings a new reading. A fleet is added up again at most this often for that, so that
# readers in a hurry cost no more than five times a second; what they see is at most this much older than what is known.
_RECOMPUTE_AFTER = 0.2
# Without a new reading a fleet still changes as readings grow old.
_RECOMPUTE_ANYWAY_AFTER = 1.0


@dataclass(slots=True)
class _Group:
    """The agents of one fleet, and the last `Fleet` made of them."""

    snapshots: dict[str, AgentSnapshot]
    new_readings: bool = False
    fleet: Fleet | None = None
    """None also when a target came, went or changed: that shows at once."""
    computed_at: float = 0.0
    queue_scope: QueueScope = field(default_factory=QueueScope)


class SnapshotStore:
    """Latest `AgentSnapshot` per agent; takes targets from discovery, and makes the `Fleet`s that readers ask for.

    A source owns the targets it delivered and no others. Each of its calls that changes them also counts as `synced`.
    """

    def __init__(self, policy: Policy, *, monotonic: Clock, wall: Clock) -> None:
        self._policy = policy
        self._monotonic = monotonic
        self._wall = wall
        self._expected: set[str] = set()
        self._synced_at: dict[str, float] = {}
        self._sources: dict[str, str] = {}
        self._keys: dict[str, FleetKey] = {}
        self._groups: dict[FleetKey, _Group] = {}
        self._restarts = RestartCounter()
        self._scalers = KnownScalers()
        self._addresses = AddressBook()
        self._start_times = StartTimes()
        self._passed_over: dict[str, tuple[PassedOver, ...]] = {}
        self._first_round: set[str] | None = None
        self.membership_changed: Callable[[], None] = lambda: None
        """Called after targets were added or removed; the poller sets it."""

    # -- discovery's side --------------------------------------------------------------------------------------------

    def expect(self, sources: Iterable[str]) -> None:
        """Announce sources before they deliver: nothing is complete until each has."""
        self._expected.update(sources)

    def replace(self, source: str, targets: Iterable[Target]) -> None:
        """Make `targets` the whole membership of `source`."""
        wanted = {target.uid: target for target in targets}
        for uid in [uid for uid, owner in self._sources.items() if owner == source and uid not in wanted]:
            self._forget(uid)
        for target in wanted.values():
            self._take(source, target)
        self.synced(source)
        self.membership_changed()

    def upsert(self, source: str, target: Target) -> None:
        """Add one target of `source`, or take its newer facts."""
        known = target.uid in self._keys
        self._take(source, target)
        self.synced(source)
        if not known:
            self.membership_changed()

    def remove(self, source: str, uid: str) -> None:
        """Forget one target of `source`."""
        if self._sources.get(uid) == source:
            self._forget(uid)
            self.membership_changed()
        self.synced(source)

    def passed_over(self, source: str, pods: tuple[PassedOver, ...]) -> None:
        """Take all pods of `source` that are found and are no agents."""
        self._passed_over[source] = pods

    def synced(self, source: str) -> None:
        """Take note that the membership of `source` was current just now."""
        self._synced_at[source] = self._monotonic()
        if self._first_round is None and not self._missing():
            self._first_round = {
                uid
                for group in self._groups.values()
                for uid, snapshot in group.snapshots.items()
                if snapshot.scrape_seconds is None and self.scrape_target(uid) is not None
            }

    def _take(self, source: str, target: Target) -> None:
        uid, key = target.uid, (target.namespace, target.fleet)
        before = self._snapshot(uid)
        if before is None:
            now = self._monotonic()
            snapshot = AgentSnapshot(target=target, since=Since(known=now))
            self._start_times.see(target, now)
        elif before.target == target and self._sources[uid] == source:
            return
        else:
            snapshot = _moved_on(before, target)
            self._leave(uid)
        self._restarts.see(target, made_unseen=lambda created: self._made_unseen(source, created))
        self._sources[uid] = source
        self._keys[uid] = key
        group = self._groups.setdefault(key, _Group({}))
        group.snapshots[uid] = snapshot
        group.fleet = None
        self._settle(self._addresses.claim(target))
        if target.address is None:
            self._attempted(uid)

    def _made_unseen(self, source: str, created_time: float | None) -> bool:
        """Whether a pod was made since its source was last seen, so that all its restarts are news."""
        synced_at = self._synced_at.get(source)
        if synced_at is None or created_time is None:
            return False
        return self._wall() - created_time <= self._monotonic() - synced_at

    def _settle(self, uids: Iterable[str]) -> None:
        """Say of targets with one address which of them answers there."""
        for uid in uids:
            snapshot, displaced_by = self._snapshot(uid), self._addresses.displaced_by(uid)
            if snapshot is not None and snapshot.displaced_by != displaced_by:
                self._amend(replace(snapshot, displaced_by=displaced_by))
                self._groups[self._keys[uid]].fleet = None
                self._attempted(uid)

    def _forget(self, uid: str) -> None:
        self._leave(uid)
        self._settle(self._addresses.drop(uid))
        del self._sources[uid]
        self._restarts.forget(uid)
        self._start_times.forget(uid)
        self._attempted(uid)

    def _leave(self, uid: str) -> None:
        key = self._keys.pop(uid)
        group = self._groups[key]
        del group.snapshots[uid]
        group.fleet = None
        if not group.snapshots:
            del self._groups[key]

    # -- the poller's side --------------------------------------------------------------------------------------------

    def uids(self) -> Iterable[str]:
        """Return the agents there are to scrape."""
        return self._keys.keys()

    def target(self, uid: str) -> Target | None:
        """Return where an agent is; None when it is gone."""
        snapshot = self._snapshot(uid)
        return snapshot.target if snapshot is not None else None

    def scrape_target(self, uid: str) -> Target | None:
        """Return where to scrape an agent; None when it is gone, has no address yet, or another one answers there."""
        snapshot = self._snapshot(uid)
        if snapshot is None or snapshot.target.address is None or snapshot.displaced_by is not None:
            return None
        return snapshot.target

    def scraped(self, target: Target, reading: Reading, *, url: str, seconds: float) -> None:
        """Take a good reading of `target`, complete just now.

        If the agent went away or moved meanwhile, nobody knows who it was that answered: the reading is passed over.
        """
        before = self._attempt(target)
        if before is not None:
            now = self._monotonic()
            self._start_times.heard(before.target, now)
            # `replace` would take twice as long, and this is done for each scrape.
            self._put(
                AgentSnapshot(
                    target=before.target,
                    reading=reading,
                    read_at=now,
                    read_time=self._wall(),
                    url=url,
                    scrape_seconds=seconds,
                    usage=before.usage,
                    task_failures=before.task_failures,
                    since=after_reading(before, reading, self._policy, now),
                )
            )

    def failed(self, target: Target, error: str, *, seconds: float) -> bool:
        """Take note of a failed attempt on `target`; the last good reading stays, and grows old.

        Returns whether this is news: the attempt before succeeded, or failed in another way.
        """
        before = self._attempt(target)
        if before is None:
            return False
        self._put(replace(before, error=error, scrape_seconds=seconds))
        return before.error != error

    def _attempt(self, scraped: Target) -> AgentSnapshot | None:
        """Return the snapshot an attempt adds to; None if another agent answers by now where it was made."""
        before = self._snapshot(scraped.uid)
        if before is None or before.displaced_by is not None:
            return None
        now = before.target
        return before if (now.address, now.endpoint) == (scraped.address, scraped.endpoint) else None

    def _put(self, snapshot: AgentSnapshot) -> None:
        self._amend(snapshot)
        self._attempted(snapshot.target.uid)

    def _attempted(self, uid: str) -> None:
        if self._first_round:
            self._first_round.discard(uid)
            if not self._first_round:
                # Ready promises the whole round, so what was added up in the midst of it is not shown any more.
                for group in self._groups.values():
                    group.fleet = None

    def _snapshot(self, uid: str) -> AgentSnapshot | None:
        key = self._keys.get(uid)
        return self._groups[key].snapshots[uid] if key is not None else None

    # -- what watches the pods' health --------------------------------------------------------------------------------

    def usage_sampled(self, uid: str, sample: UsageSample) -> None:
        """Take the latest measurement of an agent's memory and CPU; of an agent that is gone it is passed over."""
        snapshot = self._snapshot(uid)
        if snapshot is not None and snapshot.usage != sample:
            sampled = replace(snapshot, usage=sample)
            self._amend(replace(sampled, since=after_sample(sampled, self._monotonic())))

    def task_failures_counted(self, uid: str, failures: int | None) -> None:
        """Take how many failed tasks an agent's log told of so far; None when nobody follows it any more."""
        snapshot = self._snapshot(uid)
        if snapshot is not None and snapshot.task_failures != failures:
            self._amend(replace(snapshot, task_failures=failures))

    def scalers_seen(self, namespace: str | None, scalers: tuple[Scaler, ...]) -> None:
        """Take all scalers of a namespace (None: of the cluster) as they are just now."""
        if self._scalers.seen(namespace, scalers, self._monotonic()):
            for key, group in self._groups.items():
                group.new_readings |= namespace in (None, key[0])

    def _amend(self, snapshot: AgentSnapshot) -> None:
        uid = snapshot.target.uid
        group = self._groups[self._keys[uid]]
        group.snapshots[uid] = snapshot
        group.new_readings = True

    # -- the readers' side --------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the instant, on the clock of every age in a snapshot."""
        return self._monotonic()

    def wall_now(self) -> float:
        """Return the present in Unix time."""
        return self._wall()

    def fleets(self) -> Sequence[Fleet]:
        """Return every fleet as of now, by namespace and name."""
        now = self._monotonic()
        return [self._fleet(key, now) for key in sorted(self._groups)]

    def _fleet(self, key: FleetKey, now: float) -> Fleet:
        group = self._groups[key]
        due = group.computed_at + (_RECOMPUTE_AFTER if group.new_readings else _RECOMPUTE_ANYWAY_AFTER)
        if group.fleet is None or now >= due:
            sync_age = now - min(self._synced_at[self._sources[uid]] for uid in group.snapshots)
            group.fleet = aggregate(
                *key,
                group.snapshots.values(),
                self._policy,
                now,
                sync_age=sync_age,
                restarts=self._restarts.of(key),
                start_seconds=self._start_times.usual(key),
                scalers=self._scalers.of(key[0], group.snapshots.values(), now - self._policy.max_sync_age),
                queue_alike=group.queue_scope.look(_queues(group.snapshots.values()), now),
            )
            group.computed_at = now
            group.new_readings = False
        return group.fleet

    def passed_over_pods(self) -> Sequence[PassedOver]:
        """Return the pods that discovery finds and that are no agents, in order of their names."""
        return sorted(
            (pod for pods in self._passed_over.values() for pod in pods), key=lambda pod: (pod.namespace, pod.pod)
        )

    def targets(self) -> int:
        """Return how many agents are known."""
        return len(self._keys)

    def sync_age(self) -> float | None:
        """Return the age of the oldest source's view in seconds; None while a source has not synced yet."""
        if self._missing() or not self._synced_at:
            return None
        return self._monotonic() - min(self._synced_at.values())

    def not_ready_reason(self) -> str | None:
        """Return what is still missing before figures can be complete; None from the first full round on."""
        if missing := self._missing():
            return f"not synced yet: {', '.join(sorted(missing))}"
        if self._first_round:
            return f"first scrape round: {len(self._first_round)} agents left"
        return None

    def _missing(self) -> set[str]:
        return self._expected - self._synced_at.keys()


def _moved_on(before: AgentSnapshot, target: Target) -> AgentSnapshot:
    """Return a snapshot with what Kubernetes says of its pod by now.

    A reading from before the container began anew is of one that is dead, and what it ran is lost.
    """
    if _restarted(before.target.facts, target.facts):
        since = Since(known=before.since.known)
        return replace(before, target=target, reading=None, read_at=None, read_time=None, url=None, since=since)
    return replace(before, target=target)


def _restarted(before: PodFacts | None, after: PodFacts | None) -> bool:
    """Whether the agent's container has begun another life. Both views are Kubernetes', so no clocks are compared."""
    if before is None or after is None or before.restarts is None or after.restarts is None:
        return False
    return after.restarts > before.restarts


def _queues(snapshots: Iterable[AgentSnapshot]) -> Sequence[float]:
    return [
        snapshot.reading.tasks_queued
        for snapshot in snapshots
        if snapshot.reading is not None and snapshot.reading.tasks_queued is not None
    ]
