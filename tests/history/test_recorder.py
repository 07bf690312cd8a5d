"""What is recorded of the demand, and what is kept of it until it is stored."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from exporter.fleet.policy import Policy
from exporter.forecast.forecaster import Forecast, Forecaster
from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History
from exporter.forecast.local_days import SATURDAY
from exporter.history.encoding import Decoded, decode, updated
from exporter.history.recorder import ASLEEP_SECONDS, Pace, Recorder, make_room
from exporter.store.snapshots import SnapshotStore
from tests.factories import WALL_NOW, make_facts, make_reading, make_target

ETL = ("matillion", "etl")
START = WALL_NOW
"""The start of five minutes."""


class World:
    """A store whose agents are read when a test says so."""

    def __init__(self, max_fleets: int = 100) -> None:
        self.time = START
        self.store = SnapshotStore(Policy(), monotonic=lambda: self.time - START, wall=lambda: self.time)
        self.store.expect(["kubernetes"])
        self.recorder = Recorder(self.store, days=28, max_fleets=max_fleets)

    def demand(self, at: float, *fleets: str, tasks: float = 0, **demands: float) -> None:
        """Let the fleets have this demand at `at` seconds after START, and record it."""
        self.time = START + at
        targets = {
            fleet: make_target(fleet, fleet=fleet, address=fleet, facts=make_facts()) for fleet in (*fleets, *demands)
        }
        self.store.replace("kubernetes", targets.values())
        for fleet, target in targets.items():
            self.store.scraped(target, make_reading(demands.get(fleet, tasks)), url="http://agent", seconds=0.01)
        self.recorder.sample()

    def stored(self, at: float) -> Decoded:
        """Return what a replica with the same demand would have stored by then."""
        return stored(self.recorder.addition(ETL), at)

    def recorded(self, fleet: tuple[str, str] = ETL) -> dict[int, int]:
        """Return what is recorded, by number of five minutes since START."""
        history = self.recorder.addition(fleet)
        first = int(START // SLOT_SECONDS)
        found = history.slots(first, SLOTS)
        return {slot: value for slot, value in enumerate(found) if value >= 0}


def stored(history: History, at: float) -> Decoded:
    now = START + at
    return decode(updated({}, history, [], now=now, days=28), now, 28)


@pytest.fixture
def world() -> World:
    return World()


def test_the_maximum_of_five_minutes(world: World) -> None:
    """Of each fleet, in whole tasks."""
    for at, tasks in ((0, 3), (5, 9.5), (295, 4), (300, 2)):
        world.demand(at, etl=tasks, other=1)
    assert world.recorded() == {0: 9, 1: 2}
    assert world.recorded(("matillion", "other")) == {0: 1, 1: 1}
    assert world.recorder.unsaved() == (ETL, ("matillion", "other"))


def test_untrusted_demand_is_a_gap(world: World) -> None:
    """As where no agent answers; a demand of zero is none."""
    world.demand(0, etl=3)
    world.time = START + 3600
    world.store.synced("kubernetes")
    world.recorder.sample()
    assert world.recorded() == {0: 3}
    world.demand(7200, etl=0)
    assert world.recorded() == {0: 3, 24: 0}


def test_a_fleet_that_sleeps_has_no_demand(world: World) -> None:
    """Without pods it is 0, as long as discovery is current; after a long weekend, or once forgotten, it is gone."""
    world.demand(0, etl=3, other=1)
    world.demand(300, other=1)
    assert world.recorded() == {0: 3, 1: 0}
    world.time = START + 3600
    world.recorder.sample()
    assert world.recorded() == {0: 3, 1: 0}, "the list of pods is an hour old"
    world.demand(7200, other=1)
    assert world.recorded() == {0: 3, 1: 0, 24: 0}
    world.recorder.forget(ETL)
    world.demand(7500, other=1)
    assert world.recorded() == {}
    world.demand(7800, etl=2)
    world.demand(7800 + ASLEEP_SECONDS, other=1)
    world.demand(8400 + ASLEEP_SECONDS, other=1)
    last = int(START + 7800 + ASLEEP_SECONDS) // 300
    assert list(world.recorder.addition(ETL).slots(last, 3)) == [0, GAP, GAP]


def test_a_fleet_that_sleeps_gives_way(world: World) -> None:
    """Where there are too many, those that are there come first."""
    small = World(max_fleets=1)
    small.demand(0, etl=3)
    small.demand(300, other=1)
    assert small.recorder.unsaved() == (("matillion", "other"),)


@pytest.mark.slow
def test_a_fleet_that_sleeps_is_forecast(world: World) -> None:
    """Asleep at night and over the weekend, it is expected in the morning; nothing is withheld for gaps."""
    zone = ZoneInfo("UTC")
    for slot in range(12 * SLOTS):
        at = datetime.fromtimestamp(START + slot * SLOT_SECONDS, zone)
        awake = {"etl": 40.0} if at.weekday() < SATURDAY and 6 <= at.hour < 20 else {}
        world.demand(slot * float(SLOT_SECONDS), **awake, other=1)
    past = world.recorder.addition(ETL)
    ours = Forecaster(zone, quantile=0.75, min_days=3, days=28, headroom=1.25)
    found = [ours.expected(past, datetime(2026, 1, 13, hour, 58, tzinfo=zone).timestamp(), 180.0) for hour in (4, 5)]
    assert [one.tasks for one in found if isinstance(one, Forecast)] == [0, 40], found


def test_nothing_is_recorded_before_all_is_known(world: World) -> None:
    """A store that has not read all agents yet would show too little demand."""
    world.store.expect(["static"])
    world.demand(0, etl=3)
    assert world.recorder.unsaved() == ()
    world.store.synced("static")
    world.recorder.sample()
    assert world.recorded() == {0: 3}


def test_an_impossible_demand_is_a_gap(world: World) -> None:
    """An agent may report anything."""
    world.demand(0, etl=1e300, other=2)
    assert world.recorder.unsaved() == (("matillion", "other"),)


def test_what_is_stored_is_forgotten(world: World) -> None:
    """And what comes after that is not."""
    world.demand(0, etl=3)
    world.demand(300, etl=5)
    world.recorder.saved(ETL, world.stored(310))
    assert world.recorder.unsaved() == ()
    world.demand(320, etl=5)
    world.demand(600, etl=1)
    world.recorder.saved(("matillion", "unheard-of"), Decoded())
    assert world.recorded() == {1: 5, 2: 1}


def test_the_last_five_minutes_may_not_be_stored_whole(world: World) -> None:
    """What is higher there is kept; of earlier ones, the stored value counts, and their gaps are filled."""
    theirs = History()
    for at, tasks in ((300, 2), (900, 2), (1200, 2)):
        theirs.record(START + at, tasks)
    for at in (300, 600, 900, 1200):
        world.demand(at, etl=8)
    world.recorder.saved(ETL, stored(theirs, 1250))
    assert world.recorded() == {2: 8, 4: 8}


def test_a_fleet_can_be_forgotten(world: World) -> None:
    """As when what is stored of it was deleted on purpose."""
    world.demand(0, etl=3)
    world.recorder.forget(ETL)
    world.recorder.forget(ETL)
    assert world.recorded() == {}


def test_days_that_are_too_old_are_forgotten(world: World) -> None:
    """So memory is bounded, however long nothing can be stored; a clock that was wrong leaves nothing behind."""
    world.demand(0, etl=3)
    world.demand(40 * 86400, etl=4)
    assert len(world.recorder.addition(ETL).days()) == 2, "the day of a month's end"
    world.demand(150 * 86400, etl=4)
    assert len(world.recorder.addition(ETL).days()) == 1
    world.demand(10 * 86400, etl=4)
    assert world.recorder.addition(ETL).days() == [int(START // 86400) + 10]


def test_too_many_fleets() -> None:
    """Fleets that are gone give way; what is too much has no past, which is logged once."""
    world = World(max_fleets=2)
    world.demand(0, "a", "b")
    world.demand(5, "b", "c")
    assert world.recorder.unsaved() == (("matillion", "b"), ("matillion", "c"))
    with capture_logs() as log:
        world.demand(10, "a", "b", "c")
        world.demand(15, "a", "b", "c")
    assert world.recorder.unsaved() == (("matillion", "b"), ("matillion", "c"))
    assert [(line["event"], line["left_out"]) for line in log] == [("some fleets have no past: there are too many", 1)]


A, B, C, D = (("n", letter) for letter in "abcd")


@pytest.mark.parametrize(
    ("known_until", "unsaved", "present", "obsolete", "admitted"),
    [
        ({}, [A, B], {A, B}, [], [A, B]),
        ({A: 9, B: 0, C: 3}, [A], {A}, [B], [A]),
        ({A: 9, B: 5, C: 3}, [A, D], {A, D}, [C], [A, D]),
        ({A: 9, B: 5, C: 3}, [D], {A, B, C, D}, [], []),
        ({A: 0, B: 0, C: 0}, [], {A, B, C}, [], []),
        ({A: 9, B: 5, C: 3}, [C, D], {D}, [B], [C, D]),
        ({A: 9, B: 5, C: 3, D: 1}, [], {A}, [D], []),
        ({}, [A, B, C, D], {A, B, C, D}, [], [A, B, C]),
    ],
)
def test_room_for_three_fleets(
    known_until: dict[tuple[str, str], float],
    unsaved: list[tuple[str, str]],
    present: set[tuple[str, str]],
    obsolete: list[tuple[str, str]],
    admitted: list[tuple[str, str]],
) -> None:
    """The longest gone gives way; what is there, or has something to be stored, never does."""
    assert make_room(known_until, unsaved, present, 3) == (obsolete, admitted)


def test_additions_are_due_by_the_clock() -> None:
    """Every quarter of an hour, so that no day of any time zone ends in between."""
    assert Pace().until_next_write(START) == 900
    assert Pace().until_next_write(START + 899.5) == 0.5
