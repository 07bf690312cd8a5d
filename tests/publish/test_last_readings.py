"""The notes of last readings: when they are written, what the next process makes of them, and what goes wrong.

In virtual time. The stores are real; the API server keeps one object by the rules of versions.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.fleet.last_reading import LastReading
from exporter.fleet.policy import Policy
from exporter.kube.config_maps import CONFIG_MAPS
from exporter.publish.last_readings import MAX_BYTES, LastReadings, Note, note_text
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, WALL_NOW, make_facts, make_reading, make_target
from tests.fakes.background import background
from tests.fakes.leadership import Leader
from tests.fakes.lease_api import LeaseServer, Line, LineFault

PLACE = CONFIG_MAPS.within("monitoring").named("fleet-exporter-readings")
SCOPE = "agents in matillion"
SHOWN = 35.0
"""Seconds after which a leader has counted what was missed."""


class Replica(Leader):
    """An exporter: its store, which reads all agents each second, and its notes."""

    def __init__(self, world: "World", *, leads: bool = True, scope: str = SCOPE) -> None:
        super().__init__(leads)
        self.world = world
        self.line = Line(world.server)
        self.store = SnapshotStore(Policy(), monotonic=world.now, wall=world.wall)
        self.store.expect(["kubernetes"])
        self.notes = LastReadings(Policy(), self.store, self.line, self, place=PLACE, scope=scope)

    async def watch(self) -> None:
        while True:
            pods = self.world.pods
            self.store.replace("kubernetes", [make_target(pod, address=pod, facts=make_facts()) for pod in pods])
            for uid in list(self.store.uids()):
                target = self.store.target(uid)
                assert target is not None
                self.store.scraped(target, make_reading(pods[target.pod]), url="http://agent", seconds=0.01)
            await asyncio.sleep(1.0)

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[None]:
        """Do the leader's work."""
        async with background(self.notes.run()):
            yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all but the leader's work."""
        async with background(self.watch(), self.notes.read_first()):
            await asyncio.sleep(1.5)
            yield

    @property
    def lost(self) -> float:
        return self.store.departures.total_lost


class World:
    """Pods with tasks, and an API server."""

    def __init__(self) -> None:
        self.server = LeaseServer()
        self.pods: dict[str, float] = {"a": 7, "b": 3, "idle": 0}

    def now(self) -> float:
        return NOW + asyncio.get_running_loop().time()

    def wall(self) -> float:
        return WALL_NOW + asyncio.get_running_loop().time()

    @property
    def note(self) -> dict[str, float]:
        """The noted tasks by pod."""
        assert self.server.lease is not None
        note = Note.from_text(self.server.lease["data"]["readings"])
        return {one.pod: one.tasks for one in note.readings}

    async def noted(self, seconds: float = 2.0) -> None:
        """Let an exporter run, and end in order."""
        replica = Replica(self)
        async with replica.running(), replica.lead():
            await asyncio.sleep(seconds)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def started(world: World) -> Replica:
    return Replica(world)


pytestmark = pytest.mark.looptime


async def test_agents_with_tasks_are_noted_every_fifteen_seconds(world: World, started: Replica) -> None:
    async with started.running(), started.lead():
        await asyncio.sleep(61)
    assert world.note == {"a": 7, "b": 3}
    writes = [round(at) for at, method in started.line.requests if method in ("POST", "PUT")]
    assert len(writes) == 6, "five in a minute, and the last one"
    assert [method for _, method in started.line.requests][:3] == ["GET", "GET", "POST"]


async def test_nothing_is_written_while_no_agent_has_tasks(world: World, started: Replica) -> None:
    """But for the first note, by which a leader shows that it was there."""
    world.pods = {"idle": 0}
    async with started.running(), started.lead():
        await asyncio.sleep(61)
        world.pods = {"idle": 2}
        await asyncio.sleep(16)
        assert world.note == {"idle": 2}
        world.pods = {"idle": 0}
        await asyncio.sleep(61)
    assert world.note == {}
    assert [method for _, method in started.line.requests] == ["GET", "GET", "POST", "PUT", "PUT"]


async def test_a_loss_is_noted_within_a_second(world: World, started: Replica) -> None:
    async with started.running(), started.lead():
        await asyncio.sleep(2)
        assert world.note == {"a": 7, "b": 3}
        del world.pods["a"]
        await asyncio.sleep(1.0 + 0.6)
        assert world.note == {"b": 3}
        assert started.lost == 7


async def test_the_last_note_is_written_at_the_end(world: World, started: Replica) -> None:
    async with started.running(), started.lead():
        await asyncio.sleep(2)
        world.pods["a"] = 9
        await asyncio.sleep(2)
        assert world.note["a"] == 7
        started.leads = False
    assert world.note["a"] == 9, "it was the leader until then"


async def test_the_next_process_counts_what_was_lost_in_between(world: World, started: Replica) -> None:
    """After Prometheus has had time to see the counter at 0; until then the note stays for a successor."""
    await world.noted()
    before = world.server.version
    del world.pods["a"]
    replica = Replica(world)
    async with replica.running(), replica.lead():
        await asyncio.sleep(25)
        assert (replica.lost, world.server.version) == (0, before)
        await asyncio.sleep(SHOWN - 25)
        assert (replica.lost, world.note) == (7, {"b": 3})
    third = Replica(world)
    async with third.running(), third.lead():
        await asyncio.sleep(SHOWN)
        assert third.lost == 0


async def test_of_two_replicas_the_first_leader_counts(world: World) -> None:
    """The other one does not when it leads later, since a leader was there."""
    await world.noted()
    del world.pods["a"]
    first, second = Replica(world), Replica(world)
    async with first.running(), second.running():
        async with first.lead():
            await asyncio.sleep(SHOWN)
        async with second.lead():
            await asyncio.sleep(SHOWN)
        assert (first.lost, second.lost) == (7, 0)


async def test_a_leader_that_ends_before_it_has_counted(world: World) -> None:
    """The next one does it."""
    await world.noted()
    del world.pods["a"]
    first, second = Replica(world), Replica(world)
    async with first.running(), second.running():
        async with first.lead():
            await asyncio.sleep(10)
        async with second.lead():
            await asyncio.sleep(SHOWN)
        assert (first.lost, second.lost) == (0, 7)


async def test_a_loss_while_it_waits_is_counted_with_what_was_missed(world: World) -> None:
    """Both are noted at once: a successor would count them again."""
    await world.noted()
    del world.pods["a"]
    replica = Replica(world)
    async with replica.running(), replica.lead():
        await asyncio.sleep(5)
        del world.pods["b"]
        await asyncio.sleep(1.6)
        assert (replica.lost, world.note) == (10, {})


async def test_a_standby_counts_nothing_of_what_it_missed_while_another_leads(world: World) -> None:
    """It leads right after a loss that both have seen."""
    first, second = Replica(world), Replica(world)
    async with first.running(), first.lead():
        await asyncio.sleep(2)
        async with second.running():
            del world.pods["a"]
            await asyncio.sleep(2)
            first.leads = False
            async with second.lead():
                await asyncio.sleep(SHOWN)
            assert (first.lost, second.lost) == (7, 7)


async def test_another_writer_comes_in_between(world: World, started: Replica) -> None:
    """The version does not match: it is read again, and what else is in it stays."""
    async with started.running(), started.lead():
        await asyncio.sleep(2)
        assert world.server.lease is not None
        world.server.version += 1
        world.server.lease["metadata"] |= {"resourceVersion": str(world.server.version), "labels": {"x": "y"}}
        world.server.lease["data"]["foreign"] = "kept"
        world.pods["a"] = 8
        with capture_logs() as log:
            await asyncio.sleep(16)
    assert (world.note["a"], world.server.lease["data"]["foreign"]) == (8, "kept")
    assert world.server.lease["metadata"]["labels"] == {"x": "y"}
    assert log == []


async def test_a_leader_that_was_replaced_overwrites_nothing(world: World) -> None:
    first, second = Replica(world), Replica(world)
    async with first.running(), second.running():
        async with first.lead():
            await asyncio.sleep(2)
            first.leads = False
            async with second.lead():
                await asyncio.sleep(2)
            written = world.server.version
        assert world.server.version == written


@pytest.mark.parametrize("fault", [LineFault.LOST, LineFault.CONFLICT, LineFault.ERROR])
async def test_a_write_that_fails_or_seems_to(world: World, fault: LineFault) -> None:
    """What was missed is counted once all the same."""
    await world.noted()
    del world.pods["a"]
    replica = Replica(world)
    faults = iter([fault])
    replica.line.fault = lambda method: next(faults, None) if method == "PUT" else None
    async with replica.running(), replica.lead():
        await asyncio.sleep(SHOWN + 15)
        assert (replica.lost, world.note) == (7, {"b": 3})


async def test_without_the_permission(world: World, started: Replica) -> None:
    """It is logged once what to grant, and all else goes on."""
    denied = True
    started.line.fault = lambda _method: LineFault.FORBIDDEN if denied else None
    with capture_logs() as log:
        async with started.running(), started.lead():
            await asyncio.sleep(60)
            denied = False
            await asyncio.sleep(10)
    assert [line["event"] for line in log] == [
        "last readings cannot be read or written; after a restart lost tasks are unknown; will retry",
        "last readings can be read and written again",
    ]
    assert 'resources: ["configmaps"], verbs: ["get", "create", "update"]' in log[0]["fix"]
    assert world.note == {"a": 7, "b": 3}


async def test_an_api_server_that_is_away_at_the_start(world: World) -> None:
    """What was missed is found as soon as it can be read."""
    await world.noted()
    del world.pods["a"]
    replica = Replica(world)
    away = asyncio.get_running_loop().time() + 1.0
    replica.line.fault = lambda _: LineFault.REFUSED if asyncio.get_running_loop().time() < away else None
    async with background(replica.notes.read_first()):
        await asyncio.sleep(2)
        async with background(replica.watch()), replica.lead():
            await asyncio.sleep(SHOWN)
            assert replica.lost == 7


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("", None),
        ("no JSON", "notes of last readings are not valid; ignored"),
        ("[" * 100_000, "notes of last readings are not valid; ignored"),
        ('{"time": 1, "agents": []}', "notes of last readings are not valid; ignored"),
        (
            '{"time": NaN, "scope": "agents in matillion", "agents": []}',
            "notes of last readings are not valid; ignored",
        ),
        (
            '{"time": 1e999, "scope": "agents in matillion", "agents": []}',
            "notes of last readings are not valid; ignored",
        ),
        (
            '{"time": 1767236400, "scope": "agents in matillion", "agents": [[], ["a", 1]]}',
            "entries in notes of last readings are not valid; ignored",
        ),
        (None, "notes of last readings are of other discovery settings; ignored"),
    ],
)
async def test_notes_of_something_else(world: World, text: str | None, event: str | None) -> None:
    """They are ignored with one line, and replaced."""
    await world.noted()
    assert world.server.lease is not None
    if text is not None:
        world.server.lease["data"]["readings"] = text
    del world.pods["a"]
    replica = Replica(world, scope="agents in elsewhere" if text is None else SCOPE)
    with capture_logs() as log:
        async with replica.running(), replica.lead():
            await asyncio.sleep(SHOWN)
    assert (replica.lost, world.note) == (0, {"b": 3})
    assert [line["event"] for line in log] == ([event] if event else [])


async def test_notes_that_are_too_old(world: World) -> None:
    """What was lost since is unknown, and the log says since when; if no agent had tasks, nothing is said."""
    await world.noted()
    await asyncio.sleep(601)
    del world.pods["a"]
    replica = Replica(world)
    with capture_logs() as log:
        async with replica.running(), replica.lead():
            await asyncio.sleep(SHOWN)
            world.pods.clear()
            world.pods["idle"] = 0
            await asyncio.sleep(16)
    assert replica.lost == 3, "what it saw itself"
    [line] = log
    assert line["event"] == "whether tasks were lost while no exporter ran is unknown; the notes are too old"
    assert (line["since"], line["until"]) == ("2026-01-01T02:30:04+00:00", "2026-01-01T02:40:04+00:00")
    await asyncio.sleep(601)
    with capture_logs() as log:
        async with Replica(world).running():
            await asyncio.sleep(1)
    assert log == []


@pytest.mark.slow
async def test_a_fleet_too_large_for_one_note(world: World, started: Replica) -> None:
    """The agents with the most tasks are noted, and it is logged once that some are left out."""
    world.pods = {f"{'a-very-long-name-of-a-pod' * 9}-{n}": 1 + n % 20 for n in range(2000)}
    with capture_logs() as log:
        async with started.running(), started.lead():
            await asyncio.sleep(16)
    assert world.server.lease is not None
    assert len(json.dumps(world.server.lease)) < 1_000_000
    assert min(world.note.values()) > 1
    [line] = log
    assert line["event"] == "last readings of the agents with the fewest tasks do not fit; not noted"
    assert line["agents"] == 2000 - len(world.note) > 0


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=253)


@given(st.lists(st.tuples(NAMES, st.integers(1, 20)), max_size=9), st.text())
def test_what_is_written_can_be_read(agents: list[tuple[str, int]], scope: str) -> None:
    """The most tasks first; its size is that of its text, whatever the names."""
    readings = [
        LastReading(f"u{n}", "n", pod, pod, float(tasks), 1, 0, None, None) for n, (pod, tasks) in enumerate(agents)
    ]
    text, left_out = note_text(WALL_NOW, scope, readings)
    note = Note.from_text(text)
    assert (note.time, note.scope, left_out) == (WALL_NOW, scope, 0)
    assert sorted(note.readings, key=lambda one: one.uid) == readings
    assert [one.tasks for one in note.readings] == sorted((one.tasks for one in readings), reverse=True)
    assert text.isascii()


@given(st.integers(0, 1000), st.text("ü\N{PILE OF POO}a", min_size=100, max_size=200))
def test_no_note_is_larger_than_it_may_be(agents: int, name: str) -> None:
    one = LastReading("u", "n", name, name, 1.0, 1, 0, None, None)
    text, left_out = note_text(WALL_NOW, SCOPE, [replace(one, uid=f"u{n}") for n in range(agents)])
    assert len(text.encode()) <= MAX_BYTES
    assert len(Note.from_text(text).readings) == agents - left_out
