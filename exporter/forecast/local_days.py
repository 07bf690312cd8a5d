"""Days by the clock on the wall of a time zone, through its clock changes."""

from __future__ import annotations

from array import array
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History


def local_slot(at: float, zone: ZoneInfo) -> tuple[date, int]:
    """Return the local date and the slot of the day of a time in Unix seconds."""
    local = datetime.fromtimestamp(at, zone)
    return local.date(), (local.hour * 3600 + local.minute * 60) // SLOT_SECONDS


def first_slot(day: date, zone: ZoneInfo) -> int:
    """Return the number of the slot (Unix seconds divided by SLOT_SECONDS) with which a local day begins."""
    return _slot(datetime(day.year, day.month, day.day, tzinfo=zone))


def local_day(history: History, day: date, zone: ZoneInfo, width: int) -> array[int]:
    """Return the slots of a local day, each the maximum of itself and `width` neighbors on both sides.

    The day after is no neighbor, so that a day that is over does not change any more. An hour that comes twice is taken
    the first time. One that is left out takes the values of the hour after it.
    """
    first, end = first_slot(day, zone), first_slot(day + timedelta(days=1), zone)
    values = history.slots(first - width, end - first + width) + array("i", [GAP]) * width
    widened = _widened(values, width)
    if end - first == SLOTS:
        return widened
    found = array("i")
    for slot in range(SLOTS):
        hour, minute = divmod(slot * SLOT_SECONDS // 60, 60)
        start = _slot(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone))
        found.append(widened[start - first])
    return found


def days_to_month_end(day: date) -> int:
    """Return how many days of its month are left after a day: 0 on the last."""
    return ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - day).days - 1


def _slot(local: datetime) -> int:
    return int(local.timestamp() // SLOT_SECONDS)


def _widened(values: array[int], width: int) -> array[int]:
    if not width:
        return values
    return array("i", map(max, *(values[shift : len(values) - 2 * width + shift] for shift in range(2 * width + 1))))
