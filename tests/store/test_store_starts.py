"""The starts of agents, from discovery and the poller to the fleet that all outlets read."""

from exporter.fleet.model import Fleet
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, WALL_NOW, make_facts, make_reading, make_starts, make_target

PODS = "pods"
BOOTING = make_facts(ready=False, created_time=WALL_NOW, started_time=None)


class Clocks:
    """A store whose two clocks move together."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.store = SnapshotStore(POLICY, monotonic=lambda: NOW + self.passed, wall=lambda: WALL_NOW + self.passed)

    def start(self, pod: str, seconds: float) -> None:
        """Create a pod now, and read its agent so many seconds later."""
        created = WALL_NOW + self.passed
        target = make_target(pod, facts=make_facts(ready=False, created_time=created, started_time=None))
        self.store.upsert(PODS, target)
        self.passed += seconds
        self.store.scraped(target, make_reading(), url="http://agent", seconds=0.1)

    def fleet(self) -> Fleet:
        """Return the only fleet, as of a second later: no computed one is left."""
        self.passed += 1.0
        [fleet] = self.store.fleets()
        return fleet


def test_a_start_is_in_the_fleet() -> None:
    """With its duration from the creation of the pod; zeros until then."""
    world = Clocks()
    world.store.upsert(PODS, make_target(facts=BOOTING))
    assert world.fleet().starts == make_starts([])
    world.start("agent-2", 45)
    assert world.fleet().starts == make_starts([45])
    assert [start.seconds for start in world.store.starts(("matillion", "etl"))] == [45]


def test_a_fleet_that_returns_has_its_starts() -> None:
    """A nightly scale-in to nothing is no reset of the counters."""
    world = Clocks()
    world.start("agent-1", 45)
    world.start("agent-2", 180)
    world.fleet()
    world.store.replace(PODS, [])
    assert world.fleet().agents == ()
    world.passed += 30 * 3600
    assert world.store.fleets() == []
    world.start("agent-3", 60)
    assert world.fleet().starts == make_starts([45, 180, 60])


def test_a_fleet_of_static_targets_has_none() -> None:
    """Nothing says when they were created."""
    world = Clocks()
    world.store.upsert(PODS, make_target())
    assert world.fleet().starts is None
