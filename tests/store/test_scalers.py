"""Which scalers are a fleet's, and for how long that counts as known."""

from exporter.fleet.model import Target
from exporter.fleet.scaler import Scaler
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, WALL_NOW, make_facts, make_scaler, make_target

PODS = "pods"


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Stored:
    """A store on a clock of its own."""

    def __init__(self, *targets: Target) -> None:
        self.clock = Clock()
        self.store = SnapshotStore(POLICY, monotonic=self.clock, wall=lambda: WALL_NOW)
        self.store.replace(PODS, targets)

    def names(self) -> list[list[str] | None]:
        """Return the names of each fleet's scalers."""
        return [None if one.scalers is None else [s.name for s in one.scalers] for one in self.store.fleets()]


def pod(name: str, workload: str | None = "prod", **fields: object) -> Target:
    return make_target(name, facts=make_facts(workload=workload), **fields)


def hpa(name: str, target: str = "prod", **fields: object) -> Scaler:
    return make_scaler(name, target=target, **fields)


def test_a_fleets_scalers_are_those_of_its_deployments() -> None:
    """All of them, of every Deployment that owns a pod; no others."""
    here = Stored(pod("a"), pod("b", "prod-2"), pod("c", "other", fleet="other"))
    found = (
        hpa("z"),
        hpa("y", "prod-2"),
        hpa("x"),
        hpa("elsewhere", namespace="elsewhere"),
        hpa("set", target_kind="StatefulSet.apps"),
        hpa("strange", target_kind="Deployment.example.com"),
    )
    here.store.scalers_seen("matillion", found)
    assert here.names() == [["x", "z", "y"], []]


def test_nothing_is_known_before_anybody_looked() -> None:
    """That is not the same as that nothing scales it."""
    here = Stored(pod("a"))
    assert here.names() == [None]
    here.store.scalers_seen("elsewhere", ())
    assert here.names() == [None]
    here.store.scalers_seen("matillion", ())
    here.clock.now += 0.3
    assert here.names() == [[]]


def test_a_fleet_whose_workload_is_not_known_has_no_known_scaler() -> None:
    """A static target, or a pod that nothing owns."""
    here = Stored(pod("a", None), make_target("b", fleet="static"))
    here.store.scalers_seen(None, (hpa("x"),))
    assert here.names() == [None, None]


def test_a_change_shows_at_once_and_the_whole_cluster_counts() -> None:
    """Where all namespaces are read as one."""
    here = Stored(pod("a"))
    here.store.scalers_seen(None, (hpa("x"),))
    assert here.names() == [["x"]]
    here.store.scalers_seen(None, (hpa("x"), hpa("y")))
    here.clock.now += 0.3
    assert here.names() == [["x", "y"]]


def test_what_is_not_confirmed_is_not_known_any_more() -> None:
    """Like the list of agents, after `max_sync_age`; a word that nothing changed confirms it."""
    here = Stored(pod("a"))
    here.store.scalers_seen("matillion", (hpa("x"),))
    here.clock.now += POLICY.max_sync_age - 1
    here.store.scalers_seen("matillion", (hpa("x"),))
    here.clock.now += POLICY.max_sync_age - 1
    assert here.names() == [["x"]]
    here.clock.now += 2
    assert here.names() == [None]
