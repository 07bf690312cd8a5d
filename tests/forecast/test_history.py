"""The past of a fleet: maxima by slot, gaps, and what is forgotten."""

from array import array
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from exporter.forecast import local_days
from exporter.forecast.history import GAP, SLOTS, History, kept_days
from exporter.forecast.local_days import days_to_month_end, local_day, local_slot, local_slots
from exporter.forecast.replay import rises
from tests.forecast.generated import HEADROOM, MONDAY, UTC_ZONE, before, instant, nightly, recorded

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = MONDAY.replace(month=3, day=29)
AUTUMN = MONDAY.replace(month=10, day=25)


def test_slots_hold_the_maximum_and_gaps() -> None:
    """The highest demand of five minutes counts, in whole tasks, and what was not recorded is a gap."""
    history = History()
    for at, demand in ((0.0, 3.0), (299.9, 7.8), (299.95, 5.0), (900.0, 0.0)):
        history.record(at, demand)
    assert list(history.slots(-1, 5)) == [GAP, 7, GAP, GAP, 0]
    assert history.highest() == 7


@pytest.mark.parametrize("demand", [-1.0, float("nan")])
def test_an_impossible_demand_is_refused(demand: float) -> None:
    """What is no demand does not become one."""
    with pytest.raises(ValueError, match="impossible"):
        History().record(0.0, demand)


def test_days_are_merged_by_their_maxima() -> None:
    """A day without any demand known is none."""
    history = History()
    history.merge_day(5, [GAP] * SLOTS)
    assert history.days() == []
    history.merge_day(5, [GAP, 2, 3] + [GAP] * (SLOTS - 3))
    history.merge_day(5, [0, 4, 1] + [GAP] * (SLOTS - 3))
    assert list(history.slots(5 * SLOTS, 4)) == [0, 4, 3, GAP]


@pytest.mark.parametrize("values", [[], [0] * (SLOTS + 1), [GAP - 1] + [0] * (SLOTS - 1)])
def test_what_is_no_day_is_not_merged(values: list[int]) -> None:
    """It is of another length, or has an impossible demand."""
    with pytest.raises(ValueError, match="not the slots of a day"):
        History().merge_day(5, values)


def test_an_empty_history_has_no_highest() -> None:
    """Without any demand there is no maximum, and no zero."""
    assert History().highest() is None


def test_the_known_slots_begin_and_end_with_a_known_one() -> None:
    """Gaps are between them, not around them; an empty history has none."""
    history = History()
    assert history.known_slots() == (0, array("i"))
    for at in (86400.0 * 3 + 600, 86400.0 * 4):
        history.record(at, 5.0)
    first, values = history.known_slots()
    assert first == 3 * SLOTS + 2
    assert list(values) == [5, *[GAP] * (SLOTS - 3), 5]


def test_the_digest_of_the_past_changes_with_the_past_alone() -> None:
    """What comes after the given slot is not part of it; a correction before it is."""
    history = recorded(nightly, before(MONDAY, 3))
    at = local_days.first_slot(MONDAY, UTC_ZONE)
    digest = history.digest(at)
    assert recorded(nightly, before(MONDAY, 3)).digest(at) == digest
    history.record(instant(MONDAY), 400.0)
    assert history.digest(at) == digest
    history.record(instant(MONDAY) - 1, 400.0)
    assert history.digest(at) != digest
    assert History().digest(at) == History().digest(at)


def test_month_ends_are_kept_longer() -> None:
    """Days beyond the limit are forgotten, except around the ends of three months."""
    history = recorded(nightly, before(MONDAY, 150))
    history.trim(instant(MONDAY), 28)
    kept = [MONDAY - timedelta(days=age) for age in range(150, 0, -1)]
    kept = [day for day in kept if int(instant(day) // 86400) in history.days()]
    assert kept[0] == MONDAY.replace(month=3, day=27)
    assert kept[-29:] == before(MONDAY, 29)
    assert {day.month for day in kept[:-29]} == {3, 4, 5}
    assert all(day.day >= 25 or day.day <= 2 for day in kept[:-29])


def test_the_future_is_forgotten() -> None:
    """But for a day: clocks of two machines differ a little."""
    history = recorded(nightly, [MONDAY + timedelta(days=ahead) for ahead in range(4)])
    history.trim(instant(MONDAY), 28)
    assert len(history.days()) == 2


def test_a_day_is_that_of_the_local_clock() -> None:
    """A batch at 02:00 is in the same slots before and after both clock changes, and on the days of these."""
    for change in (SPRING, AUTUMN):
        history = recorded(nightly, [change + timedelta(days=shift) for shift in range(-2, 3)], BERLIN)
        for shift in (-1, 0, 1):
            day = local_day(history, change + timedelta(days=shift), BERLIN)
            assert len(day) == SLOTS
            if (change, shift) != (SPRING, 0):
                assert [slot for slot, value in enumerate(day) if value == 100] == list(range(24, 36))
            assert local_slot(instant(change + timedelta(days=shift), 12, BERLIN), BERLIN)[1] == 144


def test_what_the_clock_leaves_out_is_an_hour_later() -> None:
    """02:30 is left out in Berlin, so what is scheduled then runs at 03:30; in Lord Howe half an hour is left out."""
    for zone, day, skipped in (("Europe/Berlin", SPRING, 12), ("Australia/Lord_Howe", date(2026, 10, 4), 6)):
        named = ZoneInfo(zone)
        two = local_days.first_slot(day, named) + 24
        for slot in range(-14, 40):
            found = local_slots((two + slot) * 300.0, named)
            first = 24 + slot if slot < 0 else 24 + slot + skipped
            assert found == [(day, first), *([(day, 24 + slot)] if 0 <= slot < skipped else [])]


def test_rises_are_those_that_cannot_be_followed() -> None:
    """What a quarter more slots take is no rise, and neither is what comes after a gap; one at midnight is."""
    history = recorded(lambda day, hour: 8.0 if day < MONDAY else 10.0 + 5.0 * (hour >= 1), before(MONDAY, 1))
    for slot, demand in enumerate((10, 12, 12, None, 90, 113, 20, 40)):
        if demand is not None:
            history.record(instant(MONDAY) + 300 * slot, demand)
    assert list(local_days.local_rises(history, MONDAY, UTC_ZONE, HEADROOM))[:9] == [0, 0, 0, GAP, 90, 113, 0, 40, GAP]
    assert rises(array("i", [GAP, 50, 70]), HEADROOM) == array("i", [GAP, 0, 70])


def test_days_to_the_end_of_the_month() -> None:
    """The last day of a month is 0, through leap years and over the end of a year."""
    ends = [
        MONDAY.replace(month=6, day=30),
        MONDAY.replace(month=12, day=31),
        MONDAY.replace(year=2028, month=2, day=29),
    ]
    assert [days_to_month_end(day) for day in ends] == [0, 0, 0]
    assert days_to_month_end(MONDAY) == 1


def test_slots_are_replaced_in_a_new_history() -> None:
    """A stretch over several days is replaced, gaps included, and the history it came from does not change."""
    history = History().with_slots(SLOTS - 1, [1] * (SLOTS + 2))
    changed = history.with_slots(SLOTS - 1, [2, *[GAP] * SLOTS, 3])
    assert list(history.slots(SLOTS - 2, SLOTS + 4)) == [GAP, *[1] * (SLOTS + 2), GAP]
    assert list(changed.slots(SLOTS - 2, SLOTS + 4)) == [GAP, 2, *[GAP] * SLOTS, 3, GAP]
    assert list(changed.days()) == [0, 2]
    assert list(history.days()) == [0, 1, 2]


@pytest.mark.parametrize("days", [7, 28, 90])
def test_the_days_that_are_kept(days: int) -> None:
    """They are those that trimming leaves of a longer past, and today."""
    count = 150 * SLOTS
    history = History().with_slots(int(instant(MONDAY, 12) // 300) - count, [1] * count)
    history.trim(instant(MONDAY, 12), days)
    assert list(kept_days(instant(MONDAY, 12), days)) == list(history.days())
