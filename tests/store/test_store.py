"""The store: who is a member, what is known of each, what that adds up to, and when it is complete."""

import pytest

from exporter.fleet.model import AgentState, Dialect, Since
from exporter.fleet.policy import Policy, ScaleInPolicy
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, WALL_NOW, make_facts, make_memory, make_reading, make_target
from tests.store.keeping import KUBE, STATIC, Clock, read


def active(store: SnapshotStore) -> list[float | None]:
    return [fleet.tasks_active for fleet in store.fleets()]


# -- readings ----------------------------------------------------------------------------------------------------------


def test_a_reading_is_kept_with_its_instant_and_its_date(store: SnapshotStore) -> None:
    """What a page said, when it was asked for, where, and how long it took."""
    target = make_target()
    store.replace(KUBE, [target])
    read(store, target)
    snapshot = store.fleets()[0].agents[0].snapshot
    assert (snapshot.read_at, snapshot.read_time, snapshot.scrape_seconds) == (NOW - 0.01, WALL_NOW - 0.01, 0.01)
    assert (snapshot.url, snapshot.error) == ("http://agent/metrics", None)


def test_a_failure_keeps_the_last_reading_and_lets_it_grow_old(store: SnapshotStore, clock: Clock) -> None:
    """The number stays what it was, and counts until `stale_after`."""
    target = make_target()
    store.replace(KUBE, [target])
    read(store, target)
    clock.now += 10
    store.failed(target, "connection refused", seconds=0.5)
    snapshot = store.fleets()[0].agents[0].snapshot
    assert (snapshot.error, snapshot.scrape_seconds, snapshot.read_at) == ("connection refused", 0.5, NOW - 0.01)
    assert active(store) == [12.0]
    clock.now += POLICY.stale_after
    assert store.fleets()[0].states[AgentState.UNREACHABLE] == 1
    read(store, target)
    clock.now += 1
    assert store.fleets()[0].agents[0].snapshot.error is None


def test_a_page_that_waited_is_as_old_as_its_request(store: SnapshotStore, clock: Clock) -> None:
    """It came while the process was stopped, and counts no longer than if it had been read then."""
    target = make_target()
    store.replace(KUBE, [target])
    store.scraped(target, make_reading(12), url="http://agent", seconds=POLICY.stale_after + 5)
    (fleet,) = store.fleets()
    assert (fleet.states[AgentState.UNREACHABLE], fleet.read_age, fleet.demand_tasks) == (1, None, None)
    clock.now += 1
    store.scraped(target, make_reading(12), url="http://agent", seconds=POLICY.stale_after - 5)
    assert [fleet.read_age for fleet in store.fleets()] == [POLICY.stale_after - 5]


def test_what_is_heard_after_a_stall_may_be_from_before() -> None:
    """An event that waited in its socket does not confirm that the list of agents is current."""
    heard_at = NOW - 20.0
    store = SnapshotStore(POLICY, monotonic=lambda: NOW, wall=lambda: WALL_NOW, heard_at=lambda: heard_at)
    store.replace(KUBE, [make_target()])
    assert (store.sync_age(), store.fleets()[0].sync_age) == (20.0, 20.0)
    heard_at = NOW
    store.synced(KUBE)
    assert store.sync_age() == 0.0


def test_a_failure_is_news_once(store: SnapshotStore) -> None:
    """So that a log line is written per change, not per scrape."""
    target = make_target()
    store.replace(KUBE, [target])
    assert store.failed(target, "connection refused", seconds=0.1)
    assert not store.failed(target, "connection refused", seconds=0.2)
    assert store.failed(target, "HTTP 500", seconds=0.1)
    read(store, target)
    assert store.failed(target, "HTTP 500", seconds=0.1)


def test_what_comes_late_for_an_agent_that_is_gone_is_dropped(store: SnapshotStore) -> None:
    """A scrape under way when the pod went does not bring it back."""
    target = make_target()
    store.replace(KUBE, [target])
    store.remove(KUBE, target.uid)
    read(store, target)
    assert not store.failed(target, "connection refused", seconds=0.1)
    assert (store.fleets(), store.targets()) == ([], 0)


def test_what_comes_from_an_address_the_agent_left_is_dropped(store: SnapshotStore) -> None:
    """Another pod may have that address by now, and the page be its own."""
    before = make_target(address="10.0.3.7")
    store.replace(KUBE, [before])
    store.upsert(KUBE, make_target(address="10.0.3.8"))
    read(store, before, 99.0)
    assert not store.failed(before, "connection refused", seconds=0.1)
    assert store.fleets()[0].agents[0].snapshot.scrape_seconds is None


def test_newer_facts_do_not_lose_the_reading(store: SnapshotStore) -> None:
    """A pod's status changes often; what its agent said stays."""
    target = make_target(facts=make_facts())
    store.replace(KUBE, [target])
    read(store, target)
    store.upsert(KUBE, make_target(facts=make_facts(draining_time=WALL_NOW)))
    (fleet,) = store.fleets()
    assert (fleet.tasks_draining, fleet.states[AgentState.DRAINING]) == (12.0, 1)


def test_a_reading_taken_before_newer_facts_goes_with_them(store: SnapshotStore) -> None:
    """Facts that arrive during a scrape are not overwritten by those it began with."""
    before, after = make_target(facts=make_facts()), make_target(facts=make_facts(restarts=3))
    store.replace(KUBE, [before])
    store.upsert(KUBE, after)
    read(store, before)
    assert store.fleets()[0].agents[0].snapshot.target is after


def test_a_reading_of_a_container_that_ended_is_none(store: SnapshotStore) -> None:
    """Its successor has not been read: what the dead one ran is lost, not held."""
    store.replace(KUBE, [make_target(facts=make_facts())])
    read(store, make_target(facts=make_facts()))
    store.upsert(KUBE, make_target(facts=make_facts(restarts=1, ready=False)))
    (fleet,) = store.fleets()
    assert (fleet.tasks_active, fleet.states[AgentState.STARTING]) == (0.0, 1)
    (agent,) = fleet.agents
    assert (agent.snapshot.reading, agent.snapshot.read_at, agent.snapshot.since) == (None, None, Since(known=NOW))


def test_facts_without_a_count_of_restarts_end_no_reading(store: SnapshotStore) -> None:
    """No container has been made yet, or nobody says."""
    store.replace(KUBE, [make_target(facts=make_facts(restarts=None))])
    read(store, make_target(facts=make_facts(restarts=None)))
    store.upsert(KUBE, make_target(facts=make_facts(restarts=3)))
    store.upsert(KUBE, make_target(facts=None))
    assert active(store) == [12.0]


def test_it_is_known_since_when_an_agent_has_been_full(store: SnapshotStore, clock: Clock) -> None:
    """Four readings of twenty tasks, and that queue is reckoned with."""
    target = make_target()
    store.replace(KUBE, [target])
    for _ in range(4):
        clock.now += 5
        store.scraped(target, make_reading(20.0, dialect=Dialect.LEGACY), url="http://agent", seconds=0.01)
        clock.now += 0.2
    assert store.fleets()[0].unseen_queue_tasks == 12.0


def test_a_sample_dates_the_pressure_on_an_agent(store: SnapshotStore, clock: Clock) -> None:
    """CPU at the limit for fifteen seconds: its slots are not free."""
    facts = make_facts(cpu_limit_cores=1.0)
    store.replace(KUBE, [make_target(facts=facts)])
    read(store, make_target(facts=facts))
    store.usage_sampled(make_target().uid, make_memory(cpu_cores=0.95))
    clock.now += 16
    assert (store.fleets()[0].agents_refusing, store.fleets()[0].free_slots) == (1, 0.0)


def test_queues_that_are_always_alike_are_remarked(store: SnapshotStore, clock: Clock) -> None:
    """Two agents say the same for two minutes."""
    targets = [make_target(f"a{i}", address=f"127.0.10.{i}") for i in range(2)]
    store.replace(KUBE, targets)
    for number in range(25):
        clock.now += 5
        for target in targets:
            store.scraped(target, make_reading(20.0, tasks_queued=number + 1.0), url="http://agent", seconds=0.01)
        fleet = store.fleets()[0]
    assert fleet.queue_alike


def test_a_scale_in_is_held_from_when_it_was_first_seen(clock: Clock) -> None:
    """The store remembers it over computations and changes of the membership, and forgets it once it has ended."""
    policy = Policy(scale_in=ScaleInPolicy(max_tasks=4, patience=60.0))
    store = SnapshotStore(policy, monotonic=clock, wall=lambda: WALL_NOW)
    targets = [make_target(f"a{i}", address=f"127.0.10.{i}") for i in range(3)]
    store.replace(KUBE, targets)
    held = []
    for passed in (0, 40, 40, 40, 40):
        clock.now += passed
        load = 16.0 if len(held) == 3 else 5.0
        for target in targets:
            read(store, target, load)
        held.append(store.fleets()[0].scale_in.held_tasks)
        store.upsert(KUBE, make_target("draining", facts=make_facts(draining_time=1.0), address=None))
    assert held == [33.0, 33.0, 0.0, 0.0, 33.0]


# -- membership --------------------------------------------------------------------------------------------------------


def test_a_source_replaces_its_own_targets_only(store: SnapshotStore) -> None:
    """A static file that was emptied removes no pods."""
    pod, other = make_target("pod"), make_target("static", fleet="demo")
    store.replace(KUBE, [pod])
    store.replace(STATIC, [other])
    store.replace(STATIC, [])
    assert list(store.uids()) == [pod.uid]
    store.remove(STATIC, pod.uid)
    assert list(store.uids()) == [pod.uid]


def test_an_agent_that_changes_fleet_takes_its_reading_along(store: SnapshotStore) -> None:
    """A pod may be relabelled; its old fleet goes with its last agent."""
    target = make_target()
    store.replace(KUBE, [target])
    read(store, target)
    store.upsert(KUBE, make_target(fleet="other"))
    assert [(fleet.name, fleet.tasks_active) for fleet in store.fleets()] == [("other", 12.0)]


def test_a_pod_replaced_under_its_name_is_another_agent(store: SnapshotStore) -> None:
    """The UID tells them apart: nothing is inherited."""
    target = make_target()
    store.replace(KUBE, [target])
    read(store, target)
    store.replace(KUBE, [make_target(uid="another")])
    assert store.fleets()[0].agents[0].snapshot.reading is None


def test_the_scraper_is_notified_when_agents_come_and_go(store: SnapshotStore) -> None:
    """And not when only their facts change."""
    told: list[int] = []
    store.membership_changed = lambda: told.append(store.targets())
    store.replace(KUBE, [make_target("a")])
    store.upsert(KUBE, make_target("b"))
    store.upsert(KUBE, make_target("b", facts=make_facts()))
    store.remove(KUBE, "uid-a")
    store.remove(KUBE, "uid-a")
    assert told == [1, 2, 1]


# -- the cached fleets -------------------------------------------------------------------------------------------------


def test_new_readings_show_five_times_a_second_at_most(store: SnapshotStore, clock: Clock) -> None:
    """Adding up a thousand agents for each of two hundred readings a second would be all the exporter does."""
    target = make_target()
    store.replace(KUBE, [target])
    read(store, target, tasks=11.0)
    first = store.fleets()[0]
    read(store, target)
    clock.now += 0.1
    assert store.fleets()[0] is first
    clock.now += 0.11
    assert active(store) == [12.0]


def test_without_news_a_fleet_grows_old_by_the_second(store: SnapshotStore, clock: Clock) -> None:
    """Ages and what follows from them are never more than a second behind."""
    store.replace(KUBE, [make_target()])
    first = store.fleets()[0]
    clock.now += 0.9
    assert store.fleets()[0] is first
    clock.now += 0.2
    assert store.fleets()[0].sync_age == pytest.approx(1.1)


def test_a_change_of_membership_or_facts_shows_at_once(store: SnapshotStore) -> None:
    """A pod that is gone is in no answer any more."""
    store.replace(KUBE, [make_target("a"), make_target("b")])
    assert len(store.fleets()[0].agents) == 2
    store.remove(KUBE, "uid-a")
    assert len(store.fleets()[0].agents) == 1
    store.upsert(KUBE, make_target("b", facts=make_facts(draining_time=WALL_NOW)))
    assert store.fleets()[0].states[AgentState.DRAINING] == 1
    store.upsert(KUBE, make_target("c"))
    assert len(store.fleets()[0].agents) == 2


# -- sync ages ---------------------------------------------------------------------------------------------------------


def test_a_fleet_is_as_current_as_the_oldest_source_it_has_agents_of(store: SnapshotStore, clock: Clock) -> None:
    """A source that hangs makes its own fleets untrusted, and no others."""
    store.replace(KUBE, [make_target("a")])
    store.replace(STATIC, [make_target("b", fleet="demo")])
    clock.now += 100
    store.synced(STATIC)
    clock.now += 100
    etl, demo = sorted(store.fleets(), key=lambda fleet: fleet.name, reverse=True)
    assert (etl.sync_age, demo.sync_age) == (200.0, 100.0)
    assert "200 s old" in (etl.untrusted_reason or "")
    assert store.sync_age() == 200.0
    store.upsert(STATIC, make_target("c"))
    clock.now += 1.0
    assert {fleet.name: fleet.sync_age for fleet in store.fleets()} == {"etl": 201.0, "demo": 1.0}


def test_no_source_no_age(store: SnapshotStore) -> None:
    """An age of 0 would say that all is well."""
    assert store.sync_age() is None
    store.expect([KUBE, STATIC])
    store.synced(KUBE)
    assert store.sync_age() is None
    store.synced(STATIC)
    assert store.sync_age() == 0.0


# -- readiness ---------------------------------------------------------------------------------------------------------


def test_ready_once_every_source_delivered_and_every_agent_was_tried(store: SnapshotStore) -> None:
    """An agent that failed was tried too; the rest of the world must not wait for it."""
    first, second = make_target("a"), make_target("b", address="10.0.3.8")
    store.expect([STATIC, KUBE])
    assert store.not_ready_reason() == f"not synced yet: {KUBE}, {STATIC}"
    store.replace(KUBE, [first, second])
    assert store.not_ready_reason() == f"not synced yet: {STATIC}"
    store.synced(STATIC)
    assert store.not_ready_reason() == "first scrape round: 2 agents left"
    read(store, first)
    assert store.not_ready_reason() == "first scrape round: 1 agents left"
    store.failed(second, "connection refused", seconds=0.1)
    assert store.not_ready_reason() is None


def test_ready_stays_ready_when_agents_are_added(store: SnapshotStore) -> None:
    """A fleet that grows is no reason to take the exporter out of service."""
    store.replace(KUBE, [])
    assert store.not_ready_reason() is None
    store.upsert(KUBE, make_target())
    assert store.not_ready_reason() is None


@pytest.mark.parametrize("last", ["is read", "fails"])
def test_the_first_look_once_ready_shows_the_whole_first_round(store: SnapshotStore, last: str) -> None:
    """However lately the fleets were added up: the election and the history look at them before that."""
    first, second = make_target("a"), make_target("b", fleet="demo", address="10.0.3.8")
    store.replace(KUBE, [first, second])
    assert active(store) == [None, None]
    read(store, first)
    if last == "is read":
        read(store, second)
    else:
        store.failed(second, "connection refused", seconds=0.1)
    assert store.not_ready_reason() is None
    assert active(store) == [12.0 if last == "is read" else None, 12.0]
    read(store, first, tasks=13.0)
    assert active(store)[1] == 12.0, "from then on at most five times a second"


@pytest.mark.parametrize("how", ["gone", "without an address", "tried before"])
def test_readiness_waits_for_no_agent_that_cannot_be_tried(store: SnapshotStore, how: str) -> None:
    """Neither for one that is gone, nor for one that lost its address, nor for one that was tried already."""
    target = make_target()
    store.expect([KUBE, STATIC])
    store.replace(KUBE, [target, make_target("starting", address=None)])
    if how == "tried before":
        read(store, target)
    store.synced(STATIC)
    if how == "gone":
        store.remove(KUBE, target.uid)
    if how == "without an address":
        store.upsert(KUBE, make_target(address=None))
    assert store.not_ready_reason() is None


# -- the pods' health --------------------------------------------------------------------------------------------------


# -- one fleet of many -------------------------------------------------------------------------------------------------


def test_one_fleet_is_computed_without_the_others(store: SnapshotStore, clock: Clock) -> None:
    """A scaler asks for its own fleet: it gets what the list has, and no other fleet is computed for it."""
    targets = [make_target("a", fleet="one"), make_target("b", fleet="two", address="127.0.10.2")]
    store.replace(KUBE, targets)
    for target in targets:
        read(store, target)
    store.fleets()
    clock.now += 2
    for target in targets:
        read(store, target)
    asked = store.fleet(("matillion", "one"))
    assert asked is not None
    assert asked.now == clock.now
    clock.now += 0.1
    assert store.fleet(("matillion", "one")) is asked
    listed = store.fleets()
    assert listed[0] is asked
    assert listed[1].now == clock.now, "it was not computed before"
    assert store.fleet(("matillion", "three")) is None
    assert store.fleet(("other", "one")) is None


def test_one_fleet_that_is_forgotten_is_not_there(store: SnapshotStore, clock: Clock) -> None:
    """A fleet without agents and without an autoscaler is known for a day, however it is asked for."""
    target = make_target("a", facts=make_facts())
    store.replace(KUBE, [target])
    read(store, target)
    assert store.fleet(("matillion", "etl")) is not None
    store.replace(KUBE, [])
    gone = store.fleet(("matillion", "etl"))
    assert gone is not None
    assert not gone.agents
    clock.now += 25 * 3600
    assert store.fleet(("matillion", "etl")) is None
