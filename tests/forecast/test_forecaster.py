"""The forecast: what it expects of patterns, and when it is withheld."""

import random
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from exporter.forecast.forecaster import Forecaster, Withheld
from exporter.forecast.history import SLOTS, History
from exporter.forecast.like_days import MONTH_END, Days, LikeDays
from tests.forecast.generated import HEADROOM, MONDAY, UTC_ZONE, before, forecaster, instant, nightly, recorded, tasks

BERLIN = ZoneInfo("Europe/Berlin")
BATCH = 100
"""What 100 tasks ask for in a fleet that can afford not to count on its free slots."""


def withheld(history: History, now: float) -> str:
    """Return why there is no forecast."""
    found = forecaster().expected(history, now, 180.0)
    assert isinstance(found, Withheld)
    return found.reason


def test_a_nightly_batch_is_expected_within_the_lead_time() -> None:
    """Agents are asked for before the batch, not earlier than needed, and not once demand itself asks for them."""
    history, ours = recorded(nightly, before(MONDAY, 28)), forecaster()
    at = [tasks(ours.expected(history, instant(MONDAY, 2) + shift, 180.0)) for shift in (-481, -480, 0, 599, 600)]
    assert at == [0, BATCH, BATCH, BATCH, 0]


def test_a_lead_time_reaches_into_tomorrow() -> None:
    """A batch at midnight is expected the evening before."""
    history = recorded(lambda _day, hour: 100.0 if hour < 1 else 10.0, before(MONDAY, 28))
    assert tasks(forecaster().expected(history, instant(MONDAY, 23.95) + 100, 180.0)) == BATCH


@pytest.mark.parametrize("change", [date(2026, 3, 29), date(2026, 10, 25)])
def test_the_local_clock_decides_through_a_clock_change(change: date) -> None:
    """The day after a clock change, a batch comes at the same time of the local clock."""
    history = recorded(lambda _day, hour: 100.0 if 6 <= hour < 7 else 10.0, before(change, 28), BERLIN)
    ours = forecaster(BERLIN)
    hours = [tasks(ours.expected(history, instant(change, hour, BERLIN), 60.0)) for hour in (5, 6, 7)]
    assert hours == [0, BATCH, 0]


def test_weekends_are_found() -> None:
    """A batch of weekdays is expected on Monday and Friday, and not on Saturday."""
    history = recorded(lambda day, hour: nightly(day, hour) if day.weekday() < 5 else 10.0, before(MONDAY, 28))
    assert tasks(forecaster().expected(history, instant(MONDAY, 2), 60.0)) == BATCH
    saturday = MONDAY - timedelta(days=2)
    assert tasks(forecaster().expected(history, instant(saturday, 2), 60.0)) == 0


def test_a_weekday_of_its_own_is_found() -> None:
    """A batch of Mondays is expected on Monday alone."""
    history = recorded(lambda day, hour: nightly(day, hour) if day.weekday() == 0 else 10.0, before(MONDAY, 28))
    assert tasks(forecaster().expected(history, instant(MONDAY, 2), 60.0)) == BATCH


def test_month_ends_are_found() -> None:
    """A batch of the last day of each month is expected on the third one, although other days have another."""

    def pattern(day: date, hour: float) -> float:
        last = (day + timedelta(days=1)).day == 1
        return 300.0 if last and 20 <= hour < 21 else nightly(day, hour)

    last = MONDAY + timedelta(days=1)
    history, ours = recorded(pattern, before(last, 70)), forecaster()
    found = ours.expected(history, instant(last, 20), 60.0)
    assert tasks(found) == 300
    assert not isinstance(found, Withheld)
    assert found.like_days == MONTH_END.name
    assert tasks(ours.expected(history, instant(last, 2), 60.0)) == BATCH


def test_month_ends_like_other_days_are_not_set_apart() -> None:
    """Without a pattern of its own, a month end is forecast from more days than two."""
    found = forecaster().expected(recorded(nightly, before(MONDAY, 70)), instant(MONDAY, 2), 60.0)
    assert not isinstance(found, Withheld)
    assert found.like_days != MONTH_END.name


@pytest.mark.parametrize("broken", [0.0, None, 500.0], ids=["holiday", "outage", "flood"])
@pytest.mark.parametrize("age", [1, 2, 5])
def test_a_day_that_broke_the_pattern_does_not_poison_the_next(broken: float | None, age: int) -> None:
    """After a holiday, an outage or a flood the nightly batch is expected as ever."""
    odd = MONDAY - timedelta(days=age)
    history = recorded(lambda day, hour: broken if day == odd else nightly(day, hour), before(MONDAY, 28))
    ours = forecaster()
    assert tasks(ours.expected(history, instant(MONDAY, 2), 60.0)) == BATCH
    assert tasks(ours.expected(history, instant(MONDAY, 12), 60.0)) == 0


def test_a_time_that_was_never_seen_is_withheld() -> None:
    """Where every like day has a gap there is no forecast, with the reason; as far as a part is known, that counts."""
    history = recorded(lambda day, hour: None if 12 <= hour < 13 else nightly(day, hour), before(MONDAY, 28))
    ours = forecaster()
    found = ours.expected(history, instant(MONDAY, 12.5), 60.0)
    assert isinstance(found, Withheld)
    assert found.reason == "the demand at this time is not known of any day like this one"
    assert found.skill is not None
    assert tasks(ours.expected(history, instant(MONDAY, 12.95), 600.0)) == 0
    assert tasks(ours.expected(history, instant(MONDAY, 2), 60.0)) == BATCH
    assert list(ours.ahead(history, instant(MONDAY, 11.9), 5000.0))[:15] == [10, 10, *[None] * 12, 10]


def test_without_like_days_nothing_is_expected() -> None:
    """A day like none before, such as the first Saturday of a fleet, is unknown, and gets no agents ahead."""
    days, none = Days(UTC_ZONE, 0.75, 14, HEADROOM), LikeDays("none", ())
    assert list(days.prepared(History(), none, 0.0)) == [0] * SLOTS
    assert list(days.expected(History(), none)) == [None] * SLOTS


def test_a_job_that_the_clock_leaves_out_is_expected_an_hour_later() -> None:
    """On the day of the change a batch of 02:30 comes at 03:30, beside what comes then on all days; the next not."""

    def pattern(_day: date, hour: float) -> float:
        return 100.0 if 2.5 <= hour < 3 else 60.0 if 3.75 <= hour < 4 else 10.0

    change = date(2026, 3, 29)
    history, ours = recorded(pattern, before(change, 28), BERLIN), forecaster(BERLIN)
    at = [tasks(ours.expected(history, instant(change, hour, BERLIN), 0.0)) for hour in (1.5, 3, 3.5, 3.75, 4.5)]
    assert at == [0, 0, 100, 60, 0]
    ahead = list(ours.ahead(history, instant(change, 1.75, BERLIN), 2 * 3600.0))
    assert ahead == [*[10] * 9, *[100] * 6, *[10] * 10]
    history = recorded(pattern, [*before(change, 28), change], BERLIN)
    found = forecaster(BERLIN).expected(history, instant(change + timedelta(days=1), 3.5, BERLIN), 0.0)
    assert tasks(found) == 0


@pytest.mark.parametrize(
    ("headroom", "expected"),
    [(20 / 16, 84), (20 / 12, 66), (1.0, 100)],
)
def test_a_fleet_for_which_that_costs_much_counts_on_free_slots(headroom: float, expected: int) -> None:
    """Jobs of ten minutes each hour cost over 8%: 100 tasks find room with agents for 84, by the fleet's target."""
    history = recorded(lambda _day, hour: 100.0 if hour % 1 < 1 / 6 else 0.0, before(MONDAY, 28))
    assert tasks(forecaster(headroom=headroom).expected(history, instant(MONDAY, 12), 0.0)) == expected


def test_a_rise_is_one_by_the_target_of_the_fleet() -> None:
    """Agents that are filled to half take twice the tasks at once; those without a free slot, not one more."""
    history = recorded(lambda _day, hour: 19.0 if 12 <= hour < 13 else 10.0, before(MONDAY, 28))
    assert tasks(forecaster(headroom=1.0).expected(history, instant(MONDAY, 12), 0.0)) == 19
    assert isinstance(forecaster(headroom=2.0).expected(history, instant(MONDAY, 12), 0.0), Withheld)


def test_a_gap_in_one_like_day_leaves_the_others() -> None:
    """A batch that is unknown on some days is expected from those on which it is known."""
    unknown = before(MONDAY, 7)[::3]
    history = recorded(
        lambda day, hour: None if day in unknown and 2 <= hour < 2.5 else nightly(day, hour), before(MONDAY, 28)
    )
    assert tasks(forecaster().expected(history, instant(MONDAY, 2), 60.0)) == BATCH


def test_withheld_without_history() -> None:
    """The reason says how much there is and how much is needed."""
    assert withheld(History(), instant(MONDAY)) == "0 days of history, at least 3 are needed"
    assert withheld(recorded(nightly, before(MONDAY, 2)), instant(MONDAY, 2)).startswith("2 days of history")
    assert withheld(recorded(nightly, [MONDAY + timedelta(days=3)]), instant(MONDAY)).startswith("0 days")


def test_withheld_with_gaps() -> None:
    """A week that is known in part is no ground for a forecast."""
    history = recorded(lambda day, hour: None if hour > 16 else nightly(day, hour), before(MONDAY, 28))
    assert withheld(history, instant(MONDAY, 2)) == "demand is known for 67% of the last 7 days, 80% are needed"


def test_withheld_without_a_pattern() -> None:
    """Batches at random times give no forecast, and the skill says so."""
    chance = random.Random(1)  # noqa: S311 - work without a pattern
    starts = {day: [chance.uniform(0, 24) for _ in range(6)] for day in before(MONDAY, 28)}
    history = recorded(
        lambda day, hour: 10.0 + 100 * sum(start <= hour < start + 0.5 for start in starts[day]), before(MONDAY, 28)
    )
    found = forecaster().expected(history, instant(MONDAY, 2), 60.0)
    assert isinstance(found, Withheld)
    assert found.skill is not None
    assert found.skill < 0.3
    assert "not have avoided enough waiting" in found.reason


def test_withheld_where_nothing_waits() -> None:
    """Steady work gains nothing by a forecast."""
    assert "skill 0.00" in withheld(recorded(lambda _day, _hour: 40.0, before(MONDAY, 28)), instant(MONDAY))


def test_a_pattern_that_moved_is_learned_within_three_days() -> None:
    """Three days after a batch moved by an hour it is expected at its new time."""
    moved = MONDAY - timedelta(days=3)
    history = recorded(
        lambda day, hour: nightly(day, hour - 1 if day >= moved else hour) if hour >= 1 else 10.0, before(MONDAY, 28)
    )
    assert tasks(forecaster().expected(history, instant(MONDAY, 3), 60.0)) == BATCH


@pytest.mark.slow
def test_what_is_kept_is_a_cache_alone() -> None:
    """Asked day by day with a history that is trimmed, it forecasts what a new one does: replicas agree."""
    history, ours = recorded(nightly, before(MONDAY, 28)), forecaster()
    for age in range(12):
        day = MONDAY + timedelta(days=age)
        for minute in (0, 120, 720):
            now = instant(day) + 60 * minute
            history.record(now, nightly(day, minute / 60))
            assert ours.expected(history, now, 60.0) == forecaster().expected(history, now, 60.0)
        for slot in range(288):
            history.record(instant(day) + 300 * slot, nightly(day, slot / 12))
        history.trim(instant(day), 28)


def test_a_batch_may_come_five_minutes_earlier_or_later() -> None:
    """Agents are there for a batch that comes somewhat earlier or later than on any day before."""
    history, ours = recorded(nightly, before(MONDAY, 28)), forecaster()
    assert [tasks(ours.expected(history, instant(MONDAY, 2) + shift, 0.0)) for shift in (-301, -300, 599, 600)] == [
        0,
        BATCH,
        BATCH,
        0,
    ]


def test_what_is_asked_for_ahead_of_steady_work_is_nothing() -> None:
    """By day, when nothing rises, the demand itself is early enough; it is expected all the same."""
    history, ours = recorded(nightly, before(MONDAY, 28)), forecaster()
    assert tasks(ours.expected(history, instant(MONDAY, 14), 180.0)) == 0
    assert list(ours.ahead(history, instant(MONDAY, 14), 0.0)) == [10]


@pytest.mark.parametrize("days", [7, 28, 90])
def test_a_trimmed_history_gives_the_same_forecast(days: int) -> None:
    """What a replica has forgotten by the settings plays no part, whatever the settings are."""
    chance = random.Random(3)  # noqa: S311 - work with some noise
    levels = {day: chance.uniform(60, 140) for day in before(MONDAY, 120)}
    history = recorded(lambda day, hour: levels[day] if 2 <= hour < 3 else 10.0, before(MONDAY, 120))
    found = []
    for _ in range(2):
        ours = Forecaster(UTC_ZONE, quantile=0.75, min_days=3, days=days, headroom=HEADROOM)
        found.append(ours.expected(history, instant(MONDAY, 2), 60.0))
        history.trim(instant(MONDAY), days)
    assert found[0] == found[1]
    assert tasks(found[0]) > 0


def test_the_coming_hours_are_expected_slot_by_slot() -> None:
    """The batch is seen coming, and its end, beginning with the slot of now; nothing is while it is withheld."""
    history = recorded(nightly, before(MONDAY, 28))
    ahead = forecaster().ahead(history, instant(MONDAY, 1.5) + 17, 2 * 3600.0)
    assert len(ahead) == 25
    assert list(ahead[:6]) == [10] * 6
    assert list(ahead[6:17]) == [100] * 11
    assert list(ahead[18:]) == [10] * 7
    late = forecaster().ahead(history, instant(MONDAY, 23.5), 4 * 3600.0)
    assert list(late[30:42]) == [100] * 12
    assert list(forecaster().ahead(History(), instant(MONDAY), 3600.0)) == []
