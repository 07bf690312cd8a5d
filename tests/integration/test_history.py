"""Replicas that share the past of fleets in ConfigMaps, on a real API server: restarts, other leaders, other writers.

tests/integration/test_history_service.py has the same by whole exporters.
"""

import time

import pytest

from exporter.forecast.history import SLOT_SECONDS
from exporter.history.stored_fleet import FLEET, INSTANCE_LABEL, NAMESPACE
from tests.factories import WALL_NOW
from tests.integration.stored_pasts import DAY, ETL, KILLED, NEXT_DAY, QUARTER, World, world
from tests.waiting import eventually

__all__ = ["world"]

pytestmark = pytest.mark.slow


async def test_two_replicas_have_the_same_past(world: World) -> None:
    """What the leader stored, every 15 minutes; what a person finds with kubectl."""
    async with (await world.replica()).running() as leader, (await world.replica(leads=False)).running() as standby:
        await leader.has({0: 12})
        await standby.has({0: 12})
        world.demand["etl"] = 30
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        assert leader.past() == standby.past() == {0: 12}, "it is not stored yet"
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        world.skip(SLOT_SECONDS)
        await leader.has({0: 12, 1: 30, 2: 30})
        await standby.has({0: 12, 1: 30, 2: 30})
        assert (leader.api.writes, standby.api.writes) == (["POST", "PUT"], [])
        one, other = leader.history.past(ETL), standby.history.past(ETL)
        assert one is not None
        assert other is not None
        assert WALL_NOW + QUARTER <= one.read_time <= world.wall()
        assert WALL_NOW + QUARTER <= other.read_time <= world.wall()
    found = await world.admin.call("GET", world.path_of("etl"))
    assert found["data"][DAY] in {"-*30 12 30 30 -*255", "-*30 12 30*3 -*254"}
    metadata = found["metadata"]
    assert metadata["labels"] == {INSTANCE_LABEL: "exporter"}
    assert (metadata["annotations"][NAMESPACE], metadata["annotations"][FLEET]) == ETL
    assert metadata["name"].startswith("exporter-history-matillion-etl-")
    assert "It is forgotten when this is deleted." in metadata["annotations"]["kubernetes.io/description"]


async def test_a_restart_loses_nothing(world: World) -> None:
    """The last additions are made when the leader ends, within a second."""
    world.demand = {f"etl-{number}": number for number in range(10)}
    async with (await world.replica()).running() as first:
        await eventually(lambda: all(first.past(fleet) == {0: tasks} for fleet, tasks in world.demand.items()))
        world.demand |= {fleet: tasks + 1 for fleet, tasks in world.demand.items()}
        await first.fleets.seen()
        ended = time.monotonic()
    assert time.monotonic() - ended < 3
    async with (await world.replica(leads=False)).running() as second:
        await eventually(lambda: all(second.past(fleet) == {0: tasks} for fleet, tasks in world.demand.items()))


async def test_a_leader_that_is_killed(world: World) -> None:
    """The next one adds what it recorded itself since the last addition, and the higher of both is kept."""
    standby = await world.replica(leads=False)
    async with standby.running():
        async with (await world.replica(pace=KILLED)).running() as leader:
            await standby.has({0: 12})
            world.demand["etl"] = 40
            await leader.fleets.seen()
            await standby.fleets.seen()
            world.skip(SLOT_SECONDS)
            world.demand["etl"] = 3
            await leader.fleets.seen()
            await standby.fleets.seen()
        assert await world.stored() == {DAY: "-*30 12 -*257"}
        standby.leads = True
        async with standby.leading():
            await standby.has({0: 40, 1: 3})


async def test_a_change_by_another_client(world: World) -> None:
    """Between the look and the write: both are kept."""
    async with (await world.replica()).running() as leader:
        await leader.has({0: 12})

        async def meddle() -> None:
            await world.edit({DAY: "-*29 5 20 -*257", "note": "mine", NEXT_DAY: None})

        world.demand["etl"] = 15
        await leader.fleets.seen()
        leader.api.before_write = meddle
        world.skip(QUARTER)
        await leader.has({-1: 5, 0: 20})
        await leader.fleets.seen()
        world.skip(QUARTER)
        await leader.has({-1: 5, 0: 20, 3: 15})
        assert leader.api.writes[:3] == ["POST", "PUT", "PUT"]
    assert (await world.stored())["note"] == "mine"


async def test_two_that_create_it_at_once(world: World) -> None:
    """As where leaders change: the later one adds."""
    first, second = await world.replica(demand={"etl": 9.0}), await world.replica(demand={"etl": 4.0})

    async def be_faster() -> None:
        async with second.running():
            await second.has({0: 4})

    first.api.before_write = be_faster
    async with first.running():
        await first.has({0: 9})
        assert first.api.writes == ["POST", "PUT"]


async def test_a_deleted_config_map_is_forgotten(world: World) -> None:
    """By all replicas, with what they had not stored yet; it is made again."""
    async with (await world.replica()).running() as leader, (await world.replica(leads=False)).running() as standby:
        await standby.has({0: 12})
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        await world.admin.call("DELETE", world.path_of("etl"))
        await leader.has({})
        await standby.has({})
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        world.skip(SLOT_SECONDS)
        await leader.has({2: 12})
        await standby.has({2: 12})
        assert 0 not in leader.past()


async def test_two_exporters_in_one_namespace(world: World) -> None:
    """Each has its own past of the same fleet."""
    first, second = await world.replica(), await world.replica(lease_name="other", demand={"etl": 5.0})
    async with first.running(), second.running():
        await first.has({0: 12})
        await second.has({0: 5})
    assert await world.stored() == {DAY: "-*30 12 -*257"}
    assert await world.stored(lease_name="other") == {DAY: "-*30 5 -*257"}
