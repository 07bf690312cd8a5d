"""Days by the clock on the wall of a time zone, through its clock changes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.forecast.history import SLOT_SECONDS, SLOTS, History
from exporter.forecast.replay import rises

SATURDAY = 5
"""As `date.weekday` counts; Sunday is 6."""


def local_slot(at: float, zone: ZoneInfo) -> tuple[date, int]:
    """Return the local date and the slot of the day of a time in Unix seconds."""
    return _of_day(datetime.fromtimestamp(at, zone))


def local_slots(at: float, zone: ZoneInfo) -> Sequence[tuple[date, int]]:
    """Return the local date and slot of a time in Unix seconds, and those that the clock left out an hour before it.

    What is scheduled in the hour that a clock change leaves out runs in the one after it: 02:30 is 03:30 there.
    """
    local, earlier = (datetime.fromtimestamp(time, zone).replace(tzinfo=None) for time in (at, at - 3600))
    set_forward = local - earlier - timedelta(hours=1)
    scheduled = local - set_forward
    # A time that does not exist is taken as if the clock had not been changed: then it is the same instant.
    same = set_forward > timedelta() and scheduled.replace(tzinfo=zone).timestamp() == at
    return [_of_day(local), _of_day(scheduled)] if same else [_of_day(local)]


def first_slot(day: date, zone: ZoneInfo) -> int:
    """Return the number of the slot (Unix seconds divided by SLOT_SECONDS) with which a local day begins."""
    return _slot(datetime(day.year, day.month, day.day, tzinfo=zone))


def local_day(history: History, day: date, zone: ZoneInfo) -> array[int]:
    """Return the demand in each slot of a local day.

    An hour that comes twice is taken the first time. One that is left out takes the values of the hour after it.
    """
    first, end = first_slot(day, zone), first_slot(day + timedelta(days=1), zone)
    return _by_the_clock(history.slots(first, end - first), day, zone)


def local_rises(history: History, day: date, zone: ZoneInfo, headroom: float) -> array[int]:
    """Return the demand in those slots of a local day in which it rises too fast to be followed (`replay.rises`)."""
    first, end = first_slot(day, zone), first_slot(day + timedelta(days=1), zone)
    return _by_the_clock(rises(history.slots(first - 1, end - first + 1), headroom)[1:], day, zone)


def days_to_month_end(day: date) -> int:
    """Return how many days of its month are left after a day: 0 on the last."""
    return ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - day).days - 1


def _of_day(local: datetime) -> tuple[date, int]:
    return local.date(), (local.hour * 3600 + local.minute * 60) // SLOT_SECONDS


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
