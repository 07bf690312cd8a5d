"""The store: what Kubernetes reports of the pods, beside the readings."""

from exporter.fleet.model import IgnoredPod, UsageSample
from exporter.store.snapshots import SnapshotStore
from tests.factories import WALL_NOW, make_facts, make_target
from tests.store.keeping import KUBE, STATIC, Clock, read


def sample(clock: Clock, megabytes: float = 900.0) -> UsageSample:
    return UsageSample(working_set_bytes=megabytes * 1e6, taken_time=WALL_NOW, good_until=clock.now + 60)


def test_memory_and_failures_stay_beside_the_readings(store: SnapshotStore, clock: Clock) -> None:
    """They come from elsewhere and at other times; neither a reading nor a failed scrape loses them."""
    target = make_target(facts=make_facts(started_time=WALL_NOW - 60))
    store.replace(KUBE, [target])
    store.usage_sampled(target.uid, sample(clock))
    store.task_failures_counted(target.uid, 3)
    for change in (lambda: read(store, target), lambda: store.failed(target, "connection refused", seconds=0.1)):
        change()
        clock.now += 1.0
        (agent,) = store.fleets()[0].agents
        assert (agent.memory_working_set_bytes, agent.snapshot.task_failures) == (9e8, 3)
    clock.now += 60.0
    assert store.fleets()[0].agents[0].memory_working_set_bytes is None


def test_what_is_heard_of_a_gone_pod_is_passed_over(store: SnapshotStore, clock: Clock) -> None:
    """A list or a line under way when the pod went does not bring it back."""
    store.usage_sampled("gone", sample(clock))
    store.task_failures_counted("gone", 3)
    assert store.fleets() == []


def restarts(store: SnapshotStore, clock: Clock) -> int | None:
    clock.now += 1.0
    return store.fleets()[0].restarts


def test_restarts_of_a_fleet_never_fall(store: SnapshotStore, clock: Clock) -> None:
    """What was restarted before our time does not count; what a pod added stays when it is replaced."""
    store.replace(KUBE, [make_target("a", facts=make_facts(restarts=5)), make_target("b", facts=make_facts())])
    assert restarts(store, clock) == 0
    store.upsert(KUBE, make_target("a", facts=make_facts(restarts=7)))
    assert restarts(store, clock) == 2
    store.upsert(KUBE, make_target("c", facts=make_facts(restarts=None, created_time=WALL_NOW)))
    store.remove(KUBE, "uid-a")
    assert restarts(store, clock) == 2
    store.upsert(KUBE, make_target("c", facts=make_facts(restarts=1, created_time=WALL_NOW)))
    assert restarts(store, clock) == 3
    store.replace(KUBE, [])
    store.upsert(KUBE, make_target("d", facts=make_facts()))
    assert restarts(store, clock) == 3


def test_restarts_before_the_first_list_are_not_counted(store: SnapshotStore, clock: Clock) -> None:
    """Not even of a pod that is from the future by this clock: the API server's may be ahead."""
    store.replace(KUBE, [make_target("a", facts=make_facts(restarts=4, created_time=WALL_NOW + 30))])
    assert restarts(store, clock) == 0


def test_restarts_of_a_pod_created_while_unwatched_are_counted(store: SnapshotStore, clock: Clock) -> None:
    """After an outage of the API server a new pod may have restarted already; an old one only came into sight."""
    store.replace(KUBE, [make_target("a", facts=make_facts())])
    clock.now += 600.0
    young, old = make_facts(restarts=4, created_time=WALL_NOW - 300), make_facts(restarts=9)
    store.replace(KUBE, [make_target("a", facts=make_facts()), make_target("b", facts=young)])
    assert restarts(store, clock) == 4
    store.upsert(KUBE, make_target("c", facts=old))
    assert restarts(store, clock) == 4


def test_restarts_are_known_with_kubernetes_only(store: SnapshotStore, clock: Clock) -> None:
    """Nobody counts them behind a static target."""
    store.replace(STATIC, [make_target()])
    assert restarts(store, clock) is None


def test_pods_passed_over_are_those_of_all_sources(store: SnapshotStore) -> None:
    """Each source tells all of its own; they count nowhere."""
    b, a, c = (IgnoredPod(namespace, "pod", "a reason") for namespace in ("b", "a", "c"))
    store.set_ignored("kubernetes/b", (b,))
    store.set_ignored("kubernetes", (c, a))
    assert store.ignored_pods() == [a, b, c]
    store.set_ignored("kubernetes", ())
    assert (store.ignored_pods(), store.targets(), store.fleets()) == ([b], 0, [])
