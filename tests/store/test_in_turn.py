"""All fleets are computed without the event loop being held for longer than one of them takes."""

import asyncio

from exporter.store import in_turn
from exporter.store.group import Group
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, WALL_NOW, make_fleet, make_reading, make_target


async def test_others_run_between_two_fleets() -> None:
    """And who reads all fleets next finds those that were computed."""
    store = SnapshotStore(POLICY, monotonic=lambda: NOW, wall=lambda: WALL_NOW)
    targets = [make_target(f"{fleet}-0", fleet=fleet, uid=fleet, address=fleet) for fleet in ("a", "b", "c")]
    store.replace("static", targets)
    early = asyncio.create_task(in_turn.compute(store))
    await asyncio.sleep(0)
    assert early.done(), "nobody reads fleets before all agents were asked once"
    for target in targets:
        store.scraped(target, make_reading(), url="http://agent", seconds=0.1)
    computing = asyncio.create_task(in_turn.compute(store))
    turns = 0
    while not computing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 3
    computed = [store.fleet(key) for key in store.fleet_keys()]
    assert all(one is other for one, other in zip(store.fleets(), computed, strict=True))


def test_a_fleet_that_takes_long_is_kept_for_longer() -> None:
    """Its agents are read all the time, and to compute it takes a twentieth of a core at most."""
    group = Group(new_readings=True)
    for seconds, kept in ((0.0, 0.2), (0.01, 0.2), (0.02, 0.4), (0.03, 0.6), (0.2, 1.0)):
        group.computed(make_fleet(), seconds)
        group.new_readings = True
        assert group.fleet is not None
        now = group.fleet.now
        assert (group.due(now + kept - 0.001), group.due(now + kept + 0.001)) == (False, True)
    group.computed(make_fleet(), 0.2)
    assert not group.due(group.computed_at + 0.999)
