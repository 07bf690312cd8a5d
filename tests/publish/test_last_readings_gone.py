"""Fleets without agents in the notes of the leader: a restart of the exporter does not forget them."""

import asyncio
import json
from dataclasses import astuple

import pytest

from exporter.publish.last_readings import Note, note_text
from exporter.store.gone_fleets import REMEMBERED_SECONDS, GoneFleet
from tests.factories import WALL_NOW
from tests.publish.test_last_readings import Replica, World

GONE = GoneFleet("matillion", "etl", "kubernetes", ("etl-prod",), True, WALL_NOW)


@pytest.fixture
def world() -> World:
    return World()


def known(replica: Replica) -> list[tuple[str, int]]:
    """Return the fleets and how many agents each has."""
    return [(fleet.name, len(fleet.agents)) for fleet in replica.store.fleets()]


async def rested(world: World) -> None:
    """Let an exporter see a fleet serve and lose its last pod, and end."""
    replica = Replica(world)
    async with replica.running(), replica.lead():
        replica.store.fleets()
        world.pods = {}
        await asyncio.sleep(20.0)
        assert known(replica) == [("etl", 0)]


@pytest.mark.slow
@pytest.mark.looptime
async def test_a_fleet_without_agents_outlives_the_exporter(world: World) -> None:
    """However long ago the note was written, within its day; the readings in it are of no use by then."""
    await rested(world)
    await asyncio.sleep(8 * 3600)
    successor = Replica(world)
    async with successor.running():
        assert known(successor) == [("etl", 0)]
        await asyncio.sleep(REMEMBERED_SECONDS - 8 * 3600)
        assert known(successor) == []


@pytest.mark.looptime
async def test_a_fleet_that_has_agents_again_is_no_longer_gone(world: World) -> None:
    """What this process sees counts."""
    await rested(world)
    world.pods = {"a": 7.0}
    successor = Replica(world)
    async with successor.running():
        assert known(successor) == [("etl", 1)]


@pytest.mark.looptime
async def test_of_other_discovery_settings_nothing_is_taken(world: World) -> None:
    """Nor of a source that this exporter does not have."""
    await rested(world)
    other = Replica(world, scope="others in matillion")
    async with other.running():
        assert known(other) == []
    note = json.loads(world.server.lease["data"]["readings"])  # type: ignore[index]  # it was written
    note["gone"][0][2] = "pods in another namespace"
    world.server.lease["data"]["readings"] = json.dumps(note)  # type: ignore[index]
    successor = Replica(world)
    async with successor.running():
        assert known(successor) == []


def test_a_note_is_read_as_it_was_written() -> None:
    """One of an earlier version has none."""
    text, _ = note_text(WALL_NOW, "scope", (), [GONE])
    assert Note.from_text(text).gone == [GONE]
    older = {name: value for name, value in json.loads(text).items() if name != "gone"}
    assert Note.from_text(json.dumps(older)).gone == []


@pytest.mark.parametrize(
    "gone",
    [
        ["etl"],
        ["n", "f", "s", [1], True, 1.0],
        ["n", "f", "s", [], 1, 1.0],
        ["n", "f", "s", [], True, float("nan")],
        ["n", "\ud800", "s", [], True, 1.0],
    ],
)
def test_an_entry_that_is_no_fleet_costs_itself(gone: object) -> None:
    """Somebody may have edited it; the others are read."""
    note = Note.from_text(json.dumps({"time": 1, "scope": "s", "agents": [], "gone": [gone, astuple(GONE)]}))
    assert (note.gone, note.left_out) == ([GONE], 1)


def test_anything_else_is_no_note() -> None:
    """Fleets are a list."""
    with pytest.raises(ValueError, match="not an object"):
        Note.from_text(json.dumps({"time": 1, "scope": "s", "agents": [], "gone": "etl"}))
