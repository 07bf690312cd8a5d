"""The store against the simplest thing that could do its work: one dictionary, and `aggregate` anew each time."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exporter.fleet.capacity import aggregate
from exporter.fleet.model import AgentSnapshot, Lasting, Since, Target, UsageSample
from exporter.fleet.since import after_reading, after_sample
from exporter.store.snapshots import SnapshotStore
from exporter.store.start_times import MAX_START_SECONDS
from tests.factories import NOW, POLICY, WALL_NOW, make_facts, make_reading, make_starts

SOURCES = ("pods in a", "pods in b", "static targets")
sources = st.sampled_from(SOURCES)
uids = st.sampled_from([f"uid-{number}" for number in range(3)])
targets = st.builds(
    Target,
    uid=uids,
    namespace=st.sampled_from(["n1", "n2"]),
    fleet=st.sampled_from(["f1", "f2"]),
    pod=st.sampled_from(["p1", "p2"]),
    address=st.sampled_from([None, "10.0.0.1", "10.0.0.2"]),
    facts=st.sampled_from(
        [
            None,
            make_facts(started_time=WALL_NOW - 60),
            make_facts(draining_time=WALL_NOW),
            make_facts(ready=False),
            make_facts(ready=False, started_time=None),
        ]
    ),
)


class StoreMachine(RuleBasedStateMachine):
    """Targets of several sources come, go and move; scrapes end when they like; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.store = SnapshotStore(POLICY, monotonic=lambda: self.now, wall=lambda: WALL_NOW)
        self.known: dict[str, tuple[str, AgentSnapshot]] = {}
        self.synced_at: dict[str, float] = {}
        self.under_way: list[Target] = []
        self.told: set[str] = set()
        self.arrived: dict[str, int] = {}
        self.arrivals = 0
        self.begun: dict[str, float] = {}
        self.from_creation: set[str] = set()
        self.took: dict[tuple[str, str], list[float]] = {}
        self.starts: dict[tuple[str, str], list[float]] = {}
        self.pods_seen_in: set[tuple[str, str]] = set()
        self.store.membership_changed = self._told

    def _told(self) -> None:
        self.told = set(self.store.uids())

    @initialize()
    def expect(self) -> None:
        self.store.expect(SOURCES)

    def _take(self, source: str, target: Target) -> None:
        _, snapshot = self.known.get(target.uid, ("", AgentSnapshot(target=target, since=Since(known=self.now))))
        if target.uid not in self.known and target.facts is not None and not target.facts.ready:
            self.begun[target.uid] = self.now
            self.from_creation.discard(target.uid)
            if target.facts.started_time is None:
                self.from_creation.add(target.uid)
        if target.uid not in self.known or snapshot.target.address != target.address:
            self.arrivals += 1
            self.arrived[target.uid] = self.arrivals
        self.known[target.uid] = (source, replace(snapshot, target=target))
        if target.facts is not None:
            self.pods_seen_in.add((target.namespace, target.fleet))

    def _winner(self, address: str | None) -> str | None:
        """Return the target that answers at an address: the one made last, then the one that came last."""

        def order(uid: str) -> tuple[float, int]:
            facts = self.known[uid][1].target.facts
            created = facts.created_time if facts is not None else None
            return (-1.0 if created is None else created, self.arrived[uid])

        claims = [uid for uid, (_, known) in self.known.items() if address and known.target.address == address]
        return max(claims, key=order, default=None)

    def _as_seen(self, uid: str) -> AgentSnapshot:
        snapshot = self.known[uid][1]
        winner = self._winner(snapshot.target.address)
        if winner in (None, uid):
            return snapshot
        there = self.known[winner][1].target
        return replace(snapshot, displaced_by=f"{there.namespace}/{there.pod}")

    @rule(source=sources, delivered=st.lists(targets, max_size=5))
    def replace_all(self, source: str, delivered: list[Target]) -> None:
        self.store.replace(source, iter(delivered))
        kept = {target.uid for target in delivered}
        for uid, (owner, _) in self.known.items():
            if owner == source and uid not in kept:
                self.begun.pop(uid, None)
        self.known = {uid: known for uid, known in self.known.items() if known[0] != source or uid in kept}
        for target in {target.uid: target for target in delivered}.values():
            self._take(source, target)
        self.synced_at[source] = self.now

    @rule(source=sources, found=targets)
    def upsert(self, source: str, found: Target) -> None:
        self.store.upsert(source, found)
        self._take(source, found)
        self.synced_at[source] = self.now

    @rule(source=sources, uid=uids)
    def remove(self, source: str, uid: str) -> None:
        self.store.remove(source, uid)
        if uid in self.known and self.known[uid][0] == source:
            del self.known[uid]
            self.begun.pop(uid, None)
        self.synced_at[source] = self.now

    @rule(source=sources)
    def confirm(self, source: str) -> None:
        self.store.synced(source)
        self.synced_at[source] = self.now

    @rule(uid=uids)
    def begin_scrape(self, uid: str) -> None:
        target = self.store.target(uid)
        assert (target is None) == (uid not in self.known)
        if target is not None and target.address is not None:
            self.under_way.append(target)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), good=st.booleans(), tasks=st.integers(0, 30))
    def end_scrape(self, data: st.DataObject, good: bool, tasks: int) -> None:
        target = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        fields: dict[str, Any] = {"scrape_seconds": 0.5, "error": None if good else "HTTP 500"}
        if good:
            reading = make_reading(float(tasks))
            self.store.scraped(target, reading, url="http://agent", seconds=0.5)
            asked = {"read_at": self.now - 0.5, "read_time": WALL_NOW - 0.5}
            fields |= {"reading": reading, "url": "http://agent", **asked}
        else:
            self.store.failed(target, "HTTP 500", seconds=0.5)
        if target.uid in self.known and self.known[target.uid][1].target.address == target.address:
            source, snapshot = self.known[target.uid]
            if good and self._winner(target.address) == target.uid and target.uid in self.begun:
                key = (snapshot.target.namespace, snapshot.target.fleet)
                waited = self.now - self.begun.pop(target.uid)
                self.took.setdefault(key, []).append(waited)
                # The wall clock stands still here, an hour after the pods' creation.
                if target.uid in self.from_creation and waited <= MAX_START_SECONDS:
                    self.starts.setdefault(key, []).append(max(waited, 3660.0))
            if good:
                fields["since"] = after_reading(snapshot, reading, POLICY, self.now - 0.5)
            after = replace(snapshot, **fields)
            if self._winner(target.address) == target.uid:
                self.known[target.uid] = (source, after)

    @rule(uid=uids, failures=st.sampled_from([None, 0, 3]), megabytes=st.integers(1, 3))
    def hear_of_the_pod(self, uid: str, failures: int | None, megabytes: int) -> None:
        sample = UsageSample(working_set_bytes=megabytes * 1e6, taken_time=WALL_NOW, good_until=self.now + 60)
        self.store.usage_sampled(uid, sample)
        self.store.task_failures_counted(uid, failures)
        if uid in self.known:
            source, snapshot = self.known[uid]
            sampled = replace(snapshot, usage=sample, task_failures=failures)
            if snapshot.usage != sample:
                sampled = replace(sampled, since=after_sample(sampled, self.now))
            self.known[uid] = (source, sampled)

    @rule(seconds=st.sampled_from([0.3, 5.0, 40.0, 700.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sample(self) -> None:
        """Make what is cached old or new in between."""
        self.store.fleets()

    @invariant()
    def fleets_are_what_the_members_add_up_to(self) -> None:
        self.now += 1.0  # the most a cached fleet may be behind
        groups: dict[tuple[str, str], list[str]] = {}
        for uid, (_, snapshot) in self.known.items():
            groups.setdefault((snapshot.target.namespace, snapshot.target.fleet), []).append(uid)
        # What lasts depends on when the fleets were computed; it has tests of its own (test_lasting, test_store).
        # Fleets that are remembered without agents have their own as well (test_gone_fleets).
        expected = [
            aggregate(
                *key,
                [self._as_seen(uid) for uid in members],
                POLICY,
                self.now,
                wall_now=WALL_NOW,
                sync_age=self.now - min(self.synced_at[self.known[uid][0]] for uid in members),
                restarts=0 if key in self.pods_seen_in else None,
                # Which tasks are lost has properties of its own (test_departures).
                tasks_lost=self.store.departures.lost(key),
                tasks_lost_lately=self.store.departures.lost_since(key, 0.0),
                start_seconds=max(self.took.get(key, ()), default=None),
                starts=make_starts(self.starts.get(key, ())) if key in self.pods_seen_in else None,
            )
            for key, members in sorted(groups.items())
        ]
        found = [fleet for fleet in self.store.fleets() if fleet.agents]
        assert [replace(fleet, lasting=Lasting()) for fleet in found] == [
            replace(fleet, lasting=Lasting()) for fleet in expected
        ]

    @invariant()
    def the_poller_knows_who_is_there(self) -> None:
        assert self.told == set(self.known)
        assert self.store.targets() == len(self.known)

    @invariant()
    def readiness_waits_for_members_only(self) -> None:
        missing = set(SOURCES) - self.synced_at.keys()
        assert (self.store.sync_age() is None) == bool(missing)
        waiting = self.store._first_round or set()
        assert waiting <= {
            uid
            for uid, (_, known) in self.known.items()
            if known.scrape_seconds is None and self._winner(known.target.address) == uid
        }
        assert (self.store.not_ready_reason() is None) == (not missing and not waiting)

    def teardown(self) -> None:
        for source in SOURCES:
            self.store.replace(source, [])
        for target in self.under_way:
            self.store.scraped(target, make_reading(), url="http://agent", seconds=0.5)
        agents = [group.snapshots for group in self.store._groups.values() if group.snapshots]
        leftovers = (self.store._sources, self.store._keys, agents, self.store._first_round)
        assert not any(leftovers)
        assert self.store.not_ready_reason() is None


TestStore = pytest.mark.slow(StoreMachine.TestCase)
TestStore.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
