"""A store, and the clock it goes by."""

import pytest

from exporter.store.snapshots import SnapshotStore
from tests.factories import POLICY, WALL_NOW
from tests.store.keeping import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> SnapshotStore:
    return SnapshotStore(POLICY, monotonic=clock, wall=lambda: WALL_NOW)
