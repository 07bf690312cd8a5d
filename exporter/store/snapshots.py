"""The latest snapshot of every agent, and the fleets they form.

The only state between discovery, which provides targets, the poller, which provides readings, and all readers of
fleets. No I/O; time comes from injected clocks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from exporter.fleet.capacity import aggregate
from exporter.fleet.losses import LATELY_SECONDS, run_ended
from exporter.fleet.model import (
    AgentSnapshot,
    Fleet,
    IgnoredPod,
    PodFacts,
    Reading,
    Since,
    Target,
    UsageSample,
)
from exporter.fleet.outlook import Outlook
from exporter.fleet.policy import Policy
from exporter.fleet.scaler import Scaler
from exporter.fleet.since import after_sample
from exporter.store.addresses import AddressBook
from exporter.store.departures import Departures
from exporter.store.gone_fleets import GoneFleet, forgotten, gone_fleets, remembered
from exporter.store.group import Group
from exporter.store.readings import after_scrape, same_run
from exporter.store.restarts import FleetKey, RestartCounter
from exporter.store.scalers import KnownScalers
from exporter.store.sources import Sources
from exporter.store.start_times import AgentStart, StartTimes

Clock = Callable[[], float]


class SnapshotStore:
    """Latest `AgentSnapshot` per agent; takes targets from discovery, and computes the `Fleet`s that readers request.

    A source owns only the targets it delivered. Each of its calls that changes them also counts as `synced`.
    """

    def __init__(self, policy: Policy, *, monotonic: Clock, wall: Clock, heard_at: Clock | None = None) -> None:
        """Take the clocks; `heard_at` returns the earliest instant at which what is read now may have come here."""
        self._policy = policy
        self._monotonic = monotonic
        self._wall = wall
        self._heard_at = heard_at or monotonic
        self._synced = Sources()
        self._sources: dict[str, str] = {}
        self._keys: dict[str, FleetKey] = {}
        self._groups: dict[FleetKey, Group] = {}
        self._restarts = RestartCounter()
        self._scalers = KnownScalers()
        self._addresses = AddressBook()
        self._start_times = StartTimes()
        self._ignored: dict[str, tuple[IgnoredPod, ...]] = {}
        self._first_round: set[str] | None = None
        self._looked_through_at: float | None = None
        """When fleets without agents were last forgotten; None after a change."""
        self.departures = Departures(policy, since=wall())
        self.membership_changed: Callable[[], None] = lambda: None
        """Called after targets were added or removed; the poller sets it."""

    # -- discovery's side --------------------------------------------------------------------------------------------

    def expect(self, sources: Iterable[str]) -> None:
        """Announce sources before they deliver: the store is complete once each has delivered."""
        self._synced.expect(sources)

    def replace(self, source: str, targets: Iterable[Target], finished: Mapping[str, PodFacts] = {}) -> None:
        """Make `targets` the whole membership of `source`; `finished` is how the others ended, as far as known."""
        needed = {target.uid: target for target in targets}
        self.departures.finished_before(finished)
        # What is missing was last known to exist when the source was current.
        known_at = self._synced.at(source, self._monotonic())
        for uid in [uid for uid, owner in self._sources.items() if owner == source and uid not in needed]:
            self._gone(uid, finished.get(uid), known_at)
        for target in needed.values():
            self._take(source, target, known_at)
        self.synced(source)
        self.membership_changed()

    def upsert(self, source: str, target: Target) -> None:
        """Add one target of `source`, or take its newer facts."""
        known = target.uid in self._keys
        self._take(source, target, self._monotonic())
        self.synced(source)
        if not known:
            self.membership_changed()

    def remove(self, source: str, uid: str, last: PodFacts | None = None) -> None:
        """Forget one target of `source`.

        `last` is the final state of a pod that ended; None without a pod, or if it exists and is no agent any more.
        """
        if self._sources.get(uid) == source:
            if last is not None:
                self._gone(uid, last, self._monotonic())
            else:
                self.departures.forget(uid)
                self._forget(uid)
            self.membership_changed()
        self.synced(source)

    def set_ignored(self, source: str, pods: tuple[IgnoredPod, ...]) -> None:
        """Set all pods of `source` that match the selector but are not agents."""
        self._ignored[source] = pods

    def synced(self, source: str) -> None:
        """Record that the membership of `source` is current."""
        self._synced.synced(source, self._heard_at())
        if self._first_round is None and not self._synced.missing():
            unread = [uid for uid in self._keys if (one := self._snapshot(uid)) and one.scrape_seconds is None]
            self._first_round = {uid for uid in unread if self.scrape_target(uid) is not None}

    def _take(self, source: str, target: Target, known_at: float) -> None:
        uid, key, now = target.uid, (target.namespace, target.fleet), self._monotonic()
        before = self._snapshot(uid)
        if before is None:
            snapshot = AgentSnapshot(target=target, since=Since(known=now))
        elif before.target == target and self._sources[uid] == source:
            return
        else:
            snapshot = self._moved_on(before, target, known_at)
            if self._keys[uid] != key:
                self._leave(uid)
        self._restarts.see(target, made_unseen=lambda created: self._made_unseen(source, created))
        self._start_times.see(target, now, new=before is None)
        self._sources[uid] = source
        self._keys[uid] = key
        group = self._groups.setdefault(key, Group())
        group.put(snapshot, source)
        self._looked_through_at = None
        self.departures.see(snapshot, now, group.newest)
        self._settle(self._addresses.claim(target))
        if target.address is None:
            self._attempted(uid)

    def _made_unseen(self, source: str, created_time: float | None) -> bool:
        """Whether a pod was created since its source last synced, so that all its restarts count."""
        if created_time is None or not self._synced.known(source):
            return False
        now = self._monotonic()
        return self._wall() - created_time <= now - self._synced.at(source, now)

    def _settle(self, uids: Iterable[str]) -> None:
        """Update which of the targets with one address responds there."""
        for uid in uids:
            snapshot, displaced_by = self._snapshot(uid), self._addresses.displaced_by(uid)
            if snapshot is not None and snapshot.displaced_by != displaced_by:
                self._amend(replace(snapshot, displaced_by=displaced_by))
                self._groups[self._keys[uid]].fleet = None
                self._attempted(uid)

    def _moved_on(self, before: AgentSnapshot, target: Target, known_at: float) -> AgentSnapshot:
        """Return a snapshot updated with its pod's current facts.

        Once the container has ended, its reading no longer applies, and its tasks are lost.
        """
        facts = target.facts
        if facts is None or not run_ended(before.target.facts, facts):
            return replace(before, target=target)
        self.departures.container_ended(before, facts, known_at=known_at, wall_now=self._wall())
        since = Since(known=before.since.known)
        return replace(before, target=target, reading=None, read_at=None, read_time=None, url=None, since=since)

    def _gone(self, uid: str, last: PodFacts | None, known_at: float) -> None:
        """Forget an agent whose pod ended."""
        before = self._snapshot(uid)
        if before is not None:
            self.departures.pod_gone(before, last, known_at=known_at, wall_now=self._wall())
        self._forget(uid, remembered=before is not None and before.target.facts is not None)

    def _forget(self, uid: str, *, remembered: bool = False) -> None:
        self._leave(uid, remembered=remembered)
        self._settle(self._addresses.drop(uid))
        del self._sources[uid]
        self._restarts.forget(uid)
        self._start_times.forget(uid)
        self._attempted(uid)

    def _leave(self, uid: str, *, remembered: bool = False) -> None:
        """Take an agent out of its fleet. A fleet that served is remembered when its last pod ends."""
        key = self._keys.pop(uid)
        group = self._groups[key]
        group.take_out(uid)
        self._looked_through_at = None
        if not group.snapshots:
            if remembered and group.served:
                group.empty_since, group.lasting = self._monotonic(), None
            else:
                del self._groups[key]

    # -- the poller's side --------------------------------------------------------------------------------------------

    def uids(self) -> Iterable[str]:
        """Return the UIDs of all agents."""
        return self._keys.keys()

    def target(self, uid: str) -> Target | None:
        """Return an agent's target; None when it is gone."""
        snapshot = self._snapshot(uid)
        return snapshot.target if snapshot is not None else None

    def scrape_target(self, uid: str) -> Target | None:
        """Return an agent's target to scrape; None if it is gone, has no address, or another agent responds there."""
        snapshot = self._snapshot(uid)
        if snapshot is None or snapshot.target.address is None or snapshot.displaced_by is not None:
            return None
        return snapshot.target

    def scraped(self, target: Target, reading: Reading, *, url: str, seconds: float) -> None:
        """Store a valid reading of `target`, from a scrape that took `seconds` and ends now.

        If the agent was removed or moved meanwhile, it is unknown which agent responded: the reading is ignored.
        """
        before = self._attempt(target)
        if before is not None:
            now, wall_now = self._monotonic(), self._wall()
            self._start_times.heard(before.target, now, wall_now)
            self._put(after_scrape(before, reading, self._policy, url=url, seconds=seconds, now=now, wall_now=wall_now))

    def failed(self, target: Target, error: str, *, seconds: float) -> bool:
        """Record a failed scrape of `target`; the last valid reading stays, and ages.

        Returns whether this is a change: the previous scrape succeeded, or failed differently.
        """
        before = self._attempt(target)
        if before is None:
            return False
        self._put(replace(before, error=error, scrape_seconds=seconds))
        return before.error != error

    def _attempt(self, scraped: Target) -> AgentSnapshot | None:
        """Return the snapshot that a scrape updates; None if another agent now responds at its address."""
        before = self._snapshot(scraped.uid)
        if before is None or before.displaced_by is not None:
            return None
        return before if same_run(scraped, before.target) else None

    def _put(self, snapshot: AgentSnapshot) -> None:
        self._amend(snapshot)
        self._attempted(snapshot.target.uid)

    def _attempted(self, uid: str) -> None:
        if self._first_round:
            self._first_round.discard(uid)
            if not self._first_round:
                # Readiness promises a complete round, so results computed during it are discarded.
                for group in self._groups.values():
                    group.fleet = None

    def _snapshot(self, uid: str) -> AgentSnapshot | None:
        key = self._keys.get(uid)
        return self._groups[key].snapshots[uid] if key is not None else None

    # -- what watches the pods' health --------------------------------------------------------------------------------

    def usage_sampled(self, uid: str, sample: UsageSample) -> None:
        """Store the latest measurement of an agent's memory and CPU; ignored if the agent is gone."""
        snapshot = self._snapshot(uid)
        if snapshot is not None and snapshot.usage != sample:
            sampled = replace(snapshot, usage=sample)
            self._amend(replace(sampled, since=after_sample(sampled, self._monotonic())))

    def task_failures_counted(self, uid: str, failures: int | None) -> None:
        """Store the number of failed tasks in an agent's log so far; None when it is no longer followed."""
        snapshot = self._snapshot(uid)
        if snapshot is not None and snapshot.task_failures != failures:
            self._amend(replace(snapshot, task_failures=failures))

    def scalers_seen(self, namespace: str | None, scalers: tuple[Scaler, ...]) -> None:
        """Store all current autoscalers of a namespace (None: of the cluster)."""
        if self._scalers.seen(namespace, scalers, self._heard_at()):
            self._looked_through_at = None
            for key, group in self._groups.items():
                group.new_readings |= namespace in (None, key[0])

    # -- the forecast's side ------------------------------------------------------------------------------------------

    def expects(self, key: FleetKey, outlook: Outlook) -> None:
        """Store what a fleet's past says about the demand that is coming; ignored if the fleet is gone."""
        group = self._groups.get(key)
        if group is not None:
            group.outlook = outlook
            group.fleet = None

    def _amend(self, snapshot: AgentSnapshot) -> None:
        uid = snapshot.target.uid
        group = self._groups[self._keys[uid]]
        group.snapshots[uid] = snapshot
        group.new_readings = True

    # -- the readers' side --------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the current instant on the monotonic clock of all snapshots."""
        return self._monotonic()

    def wall_now(self) -> float:
        """Return the current Unix time."""
        return self._wall()

    def fleets(self) -> Sequence[Fleet]:
        """Return every fleet as of now, by namespace and name; for a while also those that have no agents any more."""
        now = self._monotonic()
        self._forget_fleets(now)
        return [self._fleet(key, now) for key in self.fleet_keys()]

    def fleet(self, key: FleetKey) -> Fleet | None:
        """Return one of `fleets`, without computing the others; None if there is none of this namespace and name."""
        now = self._monotonic()
        self._forget_fleets(now)
        return self._fleet(key, now) if key in self._groups else None

    def fleet_keys(self) -> Sequence[FleetKey]:
        """Return the namespace and name of every fleet, in the order of `fleets`; nothing is computed for it."""
        return sorted(self._groups)

    def _forget_fleets(self, now: float) -> None:
        """Forget fleets without agents. Many autoscalers ask at once: nothing changes by time alone within a second."""
        if self._looked_through_at is None or now >= self._looked_through_at + 1.0:
            for key in forgotten(self._groups, lambda key: self._scalers_of(key, now), now):
                del self._groups[key]
            self._looked_through_at = now

    def _fleet(self, key: FleetKey, now: float) -> Fleet:
        group = self._groups[key]
        if group.fleet is None or group.due(now):
            wall_now = self._wall()
            sources = [self._sources[uid] for uid in group.snapshots] or [group.source]
            fleet = aggregate(
                *key,
                group.snapshots.values(),
                self._policy,
                now,
                wall_now=wall_now,
                sync_age=self._synced.age_of(sources, now),
                restarts=self._restarts.of(key),
                tasks_lost=self.departures.lost(key),
                tasks_lost_lately=self.departures.lost_since(key, wall_now - LATELY_SECONDS),
                start_seconds=self._start_times.usual(key),
                starts=self._start_times.of(key),
                scalers=self._scalers_of(key, now),
                queue_alike=group.queue_scope.sample(group.queues(), now),
                scale_in_since=group.scale_in_since,
                before=group.lasting,
                outlook=group.outlook,
            )
            group.computed(fleet, self._monotonic() - now)
            return fleet
        return group.fleet

    def _scalers_of(self, key: FleetKey, now: float) -> tuple[Scaler, ...] | None:
        return self._scalers.of(key[0], self._groups[key].owners(), now - self._policy.max_sync_age)

    def gone_fleets(self) -> Sequence[GoneFleet]:
        """Return what is known of the fleets without agents."""
        return gone_fleets(self._groups, self._wall() - self._monotonic())

    def remember(self, fleets: Iterable[GoneFleet]) -> None:
        """Take what another process knew of fleets without agents, once all sources have synced."""
        for key, group in remembered(fleets, self._wall() - self._monotonic()):
            if key not in self._groups and self._synced.known(group.source):
                self._groups[key] = group
                self._looked_through_at = None

    def starts(self, key: FleetKey) -> Sequence[AgentStart]:
        """Return the latest starts of a fleet's agents that were seen by this process, oldest first."""
        return self._start_times.latest(key)

    def ignored_pods(self) -> Sequence[IgnoredPod]:
        """Return the pods that match the selector but are not agents, sorted by name."""
        return sorted(
            (pod for pods in self._ignored.values() for pod in pods), key=lambda pod: (pod.namespace, pod.pod)
        )

    def targets(self) -> int:
        """Return the number of known agents."""
        return len(self._keys)

    def sync_age(self) -> float | None:
        """Return the seconds since the least recently synced source; None until all have synced."""
        return self._synced.age(self._monotonic())

    def in_sync(self) -> bool:
        """Return whether every source is current: then a fleet that is not here has no agents."""
        age = self.sync_age()
        return age is not None and age <= self._policy.max_sync_age

    def not_ready_reason(self) -> str | None:
        """Return what is missing until figures are complete; None after the first full round."""
        if missing := self._synced.missing():
            return f"not synced yet: {', '.join(sorted(missing))}"
        if self._first_round:
            return f"first scrape round: {len(self._first_round)} agents left"
        return None
