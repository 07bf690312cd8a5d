"""What the store remembers from one fleet to the next."""

from exporter.fleet.health import Word, health
from exporter.fleet.model import Lasting
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, make_reading, make_target
from tests.store.keeping import KUBE, Clock


def test_a_queue_is_timed_from_its_first_task_to_its_last(store: SnapshotStore, clock: Clock) -> None:
    """Whatever its length, and from one computation of the fleet to the next."""
    target = make_target()
    store.replace(KUBE, [target])

    def waiting(tasks: float) -> tuple[Lasting, Word]:
        store.scraped(target, make_reading(12, tasks_queued=tasks), url="http://agent/metrics", seconds=0.01)
        store.synced(KUBE)
        clock.now += 1  # the most a cached fleet may be behind
        [fleet] = store.fleets()
        return fleet.lasting, health(fleet).word

    assert waiting(0) == (Lasting(), Word.OK)
    assert waiting(3) == (Lasting(queued=NOW + 2), Word.OK)
    clock.now = NOW + 1000
    assert waiting(1) == (Lasting(queued=NOW + 2), Word.DEGRADED)
    assert waiting(0) == (Lasting(), Word.OK)
