"""What a test of the store needs: sources, a clock, and readings."""

from exporter.fleet.model import Target
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, make_reading

KUBE, STATIC = "pods in matillion", "static targets"


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def read(store: SnapshotStore, target: Target, tasks: float = 12.0) -> None:
    store.scraped(target, make_reading(tasks), url="http://agent/metrics", seconds=0.01)
