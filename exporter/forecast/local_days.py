"""Days by the clock on the wall of a time zone, through its clock changes."""

from __future__ import annotations

from array import array
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.forecast.history import SLOT_SECONDS, SLOTS, History
from exporter.forecast.replay import rises

SATURDAY = 5
"""As `date.weekday` counts; Sunday is 6."""


def local_slot(at: float, zone: ZoneInfo) -> tuple[date, int]:
    """Return the local date and the slot of the day of a time in Unix seconds."""
    local = datetime.fromtimestamp(at, zone)
    return local.date(), (local.hour * 3600 + local.minute * 60) // SLOT_SECONDS


def first_slot(day: date, zone: ZoneInfo) -> int:
    """Return the number of the slot (Unix seconds divided by SLOT_SECONDS) with which a local day begins."""
    return _slot(datetime(day.year, day.month, day.day, tzinfo=zone))


def local_day(history: History, day: date, zone: ZoneInfo) -> array[int]:
    """Return the demand in each slot of a local day.

    An hour that comes twice is taken the first time. One that is left out takes the values of the hour after it.
    """
    first, end = first_slot(day, zone), first_slot(day + timedelta(days=1), zone)
    return _by_the_clock(history.slots(first, end - first), day, zone)


def local_rises(history: History, day: date, zone: ZoneInfo) -> array[int]:
    """Return the demand in those slots of a local day in which it rises too fast to be followed (`replay.rises`)."""
    first, end = first_slot(day, zone), first_slot(day + timedelta(days=1), zone)
    return _by_the_clock(rises(history.slots(first - 1, end - first + 1))[1:], day, zone)


def days_to_month_end(day: date) -> int:
    """Return how many days of its month are left after a day: 0 on the last."""
    return ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - day).days - 1


def _slot(local: datetime) -> int:
    return int(local.timestamp() // SLOT_SECONDS)


def _by_the_clock(values: array[int], day: date, zone: ZoneInfo) -> array[int]:
    """Return as many values as a usual day has slots, of one that may be longer or shorter."""
    if len(values) == SLOTS:
        return values
    first, found = first_slot(day, zone), array("i")
    for slot in range(SLOTS):
        hour, minute = divmod(slot * SLOT_SECONDS // 60, 60)
        found.append(values[_slot(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)) - first])
    return found
