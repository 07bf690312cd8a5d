"""From the past of fleets to their outlooks in the store."""

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from exporter.config import ForecastSettings
from exporter.fleet.outlook import Outlook
from exporter.forecast.history import History
from exporter.history.forecasts import Forecasts, lead_time
from exporter.history.past import Past
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, make_reading, make_target
from tests.forecast.generated import MONDAY, Pattern, before, instant, nightly, recorded

KUBE = "pods in matillion"
ETL: FleetKey = ("matillion", "etl")


class Pasts:
    """A source with the pasts that a test gives it."""

    def __init__(self) -> None:
        self.known: dict[FleetKey, Past] = {}

    def past(self, fleet: FleetKey) -> Past | None:
        """Return what was given."""
        return self.known.get(fleet)

    async def run(self) -> None:
        """Nothing is to be read."""


class World:
    """A fleet of one agent with 12 tasks, its past, and a clock."""

    def __init__(self, *, starts: Sequence[float] = (), headroom: float = POLICY.headroom, **settings: object) -> None:
        self.wall = instant(MONDAY, 1.95)
        self.store = SnapshotStore(POLICY, monotonic=lambda: NOW + self.wall, wall=lambda: self.wall)
        self.source = Pasts()
        given = ForecastSettings.model_validate({"enabled": True} | settings)
        self.forecasts = Forecasts(
            given, self.source, self.store, headroom=headroom, starts=lambda _key: starts, scrape_interval=5.0
        )
        self.read()

    def read(self, fleet: str = "etl") -> None:
        """Let an agent of the fleet be read now."""
        target = make_target(fleet=fleet, uid=fleet)
        self.store.upsert(KUBE, target)
        self.store.scraped(target, make_reading(12), url="http://agent/metrics", seconds=0.01)

    def recorded(self, history: History, **given: object) -> None:
        """Give the fleet a past."""
        self.source.known[ETL] = Past(history, self.wall, **given)  # type: ignore[arg-type]

    async def outlook(self) -> Outlook:
        """Return the outlook of the fleet now."""
        self.read()
        await self.forecasts.look()
        (fleet,) = (fleet for fleet in self.store.fleets() if fleet.name == "etl")
        assert fleet.outlook is not None
        return fleet.outlook


BATCH = 100
"""What the 100 tasks of the nightly batch ask for ahead."""


def noon(day: date, hour: float) -> float:
    """Return the demand of a batch at noon instead of the night."""
    return nightly(day, (hour - 10) % 24)


async def test_a_fleet_gets_its_outlook() -> None:
    """The batch at 02:00 is in the demand ahead three minutes before it, and the next hours are shown."""
    world = World()
    world.recorded(recorded(nightly, before(MONDAY, 28)))
    outlook = await world.outlook()
    assert (outlook.tasks, outlook.reason, outlook.lead_time) == (BATCH, None, 180.0)
    assert outlook.skill is not None
    assert outlook.skill > 0.5
    assert outlook.past_read_time == world.wall
    assert outlook.start == instant(MONDAY, 1.95) - 120
    assert list(outlook.slots[:3]) == [10, 100, 100]
    assert len(outlook.slots) == 73
    (fleet,) = world.store.fleets()
    assert (fleet.demand_tasks, fleet.demand_ahead_tasks) == (12, BATCH)


async def test_a_fleet_asks_for_its_work_by_its_own_target() -> None:
    """Where agents are filled to half, agents for fewer of the expected tasks have room for all of them."""
    history = recorded(lambda _day, hour: 100.0 if hour % 1 < 1 / 6 else 0.0, before(MONDAY, 28))
    found = []
    for headroom in (20 / 16, 20 / 10):
        world = World(headroom=headroom)
        world.recorded(history)
        found.append((await world.outlook()).tasks)
    assert found == [84, 56]


async def test_the_time_ahead_is_shown_where_only_now_is_unknown() -> None:
    """The forecast is withheld in the hour that was never seen; what comes after it is known all the same."""
    world = World()
    world.wall = instant(MONDAY, 0.5)
    world.recorded(recorded(lambda day, hour: None if hour < 1 else nightly(day, hour), before(MONDAY, 28)))
    outlook = await world.outlook()
    assert (outlook.tasks, outlook.like_days) == (None, "")
    assert outlook.reason == "the demand at this time is not known of any day like this one"
    assert list(outlook.slots[:8]) == [*[None] * 6, 10, 10]


@pytest.mark.parametrize(
    ("days", "reason"),
    [(None, "its past is not known yet"), (2, "2 days of history, at least 3 are needed")],
)
async def test_without_enough_past_it_is_withheld_with_the_reason(days: int | None, reason: str) -> None:
    """No number, and a sentence that states why; the demand ahead is the demand."""
    world = World()
    if days is not None:
        world.recorded(recorded(nightly, before(MONDAY, days)))
    outlook = await world.outlook()
    assert (outlook.tasks, outlook.reason, outlook.slots) == (None, reason, ())
    assert [fleet.demand_ahead_tasks for fleet in world.store.fleets()] == [12]


async def test_a_source_that_fails_leaves_the_last_past_with_its_age() -> None:
    """An hour later, nothing was read: the forecast goes on from what is known, and shows since when it is."""
    world = World()
    world.recorded(recorded(nightly, before(MONDAY, 28)))
    read_time = world.wall
    world.wall = instant(MONDAY + timedelta(days=1), 1.95)
    outlook = await world.outlook()
    assert (outlook.tasks, outlook.past_read_time) == (BATCH, read_time)


async def test_a_corrected_past_is_learned_again_the_same_day() -> None:
    """A source that brings the days before today later, or others, changes the forecast at once; today does not."""
    world = World()
    world.recorded(recorded(nightly, before(MONDAY, 2)))
    assert (await world.outlook()).tasks is None
    world.recorded(recorded(nightly, before(MONDAY, 28)))
    assert (await world.outlook()).tasks == BATCH
    today: Pattern = lambda day, hour: 400.0 if day == MONDAY else nightly(day, hour)  # noqa: E731
    world.recorded(recorded(today, [*before(MONDAY, 28), MONDAY]))
    assert (await world.outlook()).tasks == BATCH
    world.recorded(recorded(noon, before(MONDAY, 28)))
    assert (await world.outlook()).tasks == 0


async def test_two_replicas_with_one_past_say_the_same() -> None:
    """Neither when they started nor what they learned before makes a difference."""
    history = recorded(lambda day, hour: nightly(day, hour) + day.day % 5, before(MONDAY, 28))
    old, new = World(), World()
    old.recorded(recorded(noon, before(MONDAY, 28)))
    await old.outlook()
    for world in (old, new):
        world.recorded(history, start_seconds=(60.0, 80.0))
    assert await old.outlook() == await new.outlook()


async def test_a_fleet_that_is_gone_is_forgotten_and_may_come_back() -> None:
    """What was learned of it goes with it; with its pods it comes back from its past."""
    world = World()
    world.recorded(recorded(nightly, before(MONDAY, 28)))
    assert (await world.outlook()).tasks == BATCH
    world.store.remove(KUBE, "etl")
    await world.forecasts.look()
    assert world.store.fleets() == []
    assert (await world.outlook()).tasks == BATCH


async def test_the_time_zone_is_that_of_the_schedules() -> None:
    """A batch at 02:00 in New York is expected there, six hours later."""
    zone = ZoneInfo("America/New_York")
    world = World(timezone="America/New_York")
    world.recorded(recorded(nightly, before(MONDAY, 28), zone))
    assert (await world.outlook()).tasks == 0
    world.wall = instant(MONDAY, 1.95, zone)
    assert (await world.outlook()).tasks == BATCH


@pytest.mark.parametrize(
    ("setting", "starts", "expected"),
    [
        (240.0, [45.0] * 10, 240.0),
        (None, [], 180.0),
        (None, [float(seconds) for seconds in range(10, 110, 10)], 90 + 15 + 5),
        (None, [45.0], 45 + 15 + 5),
        (None, [86400.0], 1800.0),
    ],
)
def test_the_lead_time_is_what_nine_of_ten_starts_took(
    setting: float | None, starts: list[float], expected: float
) -> None:
    """A setting is taken as it is; otherwise the scaler's look and the scrape are added, up to half an hour."""
    assert lead_time(setting, starts, 5.0) == expected


async def test_starts_in_the_past_come_before_those_of_this_process() -> None:
    """Every replica has those, so all look equally far ahead; without them, this process' own count."""
    world = World(starts=[40.0])
    world.recorded(recorded(nightly, before(MONDAY, 28)))
    assert (await world.outlook()).lead_time == 60.0
    world.recorded(recorded(nightly, before(MONDAY, 28)), start_seconds=(100.0,))
    assert (await world.outlook()).lead_time == 120.0
