"""One address, one agent: of several live targets with one address and port the youngest is who answers there."""

from exporter.fleet.model import AgentState, Dialect, Endpoint, Fleet, Target
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, WALL_NOW, make_facts, make_reading, make_target

PODS, OTHER, STATIC = "kubernetes/matillion", "kubernetes/other", "static targets"


def new_store() -> SnapshotStore:
    return SnapshotStore(POLICY, monotonic=lambda: NOW, wall=lambda: WALL_NOW)


def pod(name: str, *, age: float, address: str | None = "10.0.3.7", **fields: object) -> Target:
    return make_target(name, address=address, facts=make_facts(created_time=WALL_NOW - age), **fields)


def read(store: SnapshotStore, target: Target, tasks: float = 12.0) -> None:
    store.scraped(target, make_reading(tasks), url="http://agent", seconds=0.01)


def states(fleet: Fleet) -> dict[str, AgentState]:
    return {agent.snapshot.target.pod: agent.state for agent in fleet.agents}


OLD, YOUNG = pod("old", age=7200), pod("young", age=60)


def test_two_live_pods_with_one_address_are_counted_once() -> None:
    """The old one is on a dead node: its pod is still there, its address answers as another."""
    store = new_store()
    store.replace(PODS, [YOUNG, OLD])
    assert (store.scrape_target(OLD.uid), store.scrape_target(YOUNG.uid)) == (None, YOUNG)
    assert store.not_ready_reason() == "first scrape round: 1 agents left"
    read(store, OLD)
    read(store, YOUNG)
    (fleet,) = store.fleets()
    assert states(fleet) == {"old": AgentState.UNREACHABLE, "young": AgentState.SERVING}
    assert (fleet.tasks_active, fleet.capacity_tasks) == (12.0, 20)
    assert fleet.agents[0].snapshot.displaced_by == "matillion/young"


def test_it_shows_when_the_younger_one_appears_and_when_it_goes() -> None:
    """What the older one said last is still its last word, but it is not heard any more."""
    store = new_store()
    store.replace(PODS, [OLD])
    read(store, OLD, 9.0)
    assert states(store.fleets()[0]) == {"old": AgentState.SERVING}
    store.upsert(PODS, YOUNG)
    assert not store.failed(OLD, "connection refused", seconds=0.1), "it was not asked"
    assert states(store.fleets()[0]) == {"old": AgentState.UNREACHABLE, "young": AgentState.STARTING} | {
        "young": AgentState.UNREACHABLE
    }
    assert store.fleets()[0].held_tasks == 25.0
    store.remove(PODS, YOUNG.uid)
    assert states(store.fleets()[0]) == {"old": AgentState.SERVING}
    assert store.scrape_target(OLD.uid) == OLD


def test_across_fleets_namespaces_and_sources() -> None:
    """An address is one in the whole cluster; what Kubernetes dates is younger than what nothing dates."""
    store = new_store()
    elsewhere = pod("young", age=60, namespace="other", fleet="x")
    listed = make_target("listed", address="10.0.3.7", fleet="by hand")
    store.replace(PODS, [OLD])
    store.replace(OTHER, [elsewhere])
    store.replace(STATIC, [listed])
    assert [store.scrape_target(target.uid) for target in (OLD, elsewhere, listed)] == [None, elsewhere, None]
    store.replace(OTHER, [])
    assert [store.scrape_target(target.uid) for target in (OLD, listed)] == [OLD, None]


def test_a_pod_that_moves_frees_its_address() -> None:
    """It got another one, or lost it."""
    store = new_store()
    store.replace(PODS, [OLD, YOUNG])
    store.upsert(PODS, pod("young", age=60, address="10.0.3.8"))
    assert store.scrape_target(OLD.uid) == OLD
    store.upsert(PODS, YOUNG)
    assert store.scrape_target(OLD.uid) is None
    store.upsert(PODS, pod("young", age=60, address=None))
    assert store.scrape_target(OLD.uid) == OLD


def test_other_ports_of_one_address_are_other_agents() -> None:
    """Agents listed by hand may share a machine; one without a port may be any of them."""

    def listed(name: str, port: int | None) -> Target:
        endpoint = None if port is None else Endpoint(Dialect.OTEL, port, "/metrics")
        return make_target(name, address="10.0.3.7", endpoint=endpoint)

    one, two, again, plain = listed("one", 9001), listed("two", 9002), listed("again", 9001), listed("plain", None)
    store = new_store()
    store.replace(STATIC, [one, two])
    assert (store.scrape_target(one.uid), store.scrape_target(two.uid)) == (one, two)
    store.replace(STATIC, [one, two, again])
    assert [store.scrape_target(target.uid) for target in (one, two, again)] == [None, two, again]
    store.replace(STATIC, [one, two, plain])
    assert [store.scrape_target(target.uid) for target in (one, two, plain)] == [None, None, plain]
