"""Histories with a pattern, for the tests of the forecast."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.fleet.policy import Policy
from exporter.forecast.forecaster import Forecast, Forecaster, Withheld
from exporter.forecast.history import SLOT_SECONDS, History

UTC_ZONE = ZoneInfo("UTC")
HEADROOM = Policy().headroom
MONDAY = date(2026, 6, 29)
"""The day after the histories, unless a test says otherwise."""

Pattern = Callable[[date, float], float | None]
"""Demand by local day and hour; None is a gap."""


def instant(day: date, hour: float = 0.0, zone: ZoneInfo = UTC_ZONE) -> float:
    """Return the Unix seconds of an hour of a local day."""
    return datetime(day.year, day.month, day.day, int(hour), round(hour % 1 * 60), tzinfo=zone).timestamp()


def recorded(pattern: Pattern, days: Iterable[date], zone: ZoneInfo = UTC_ZONE) -> History:
    """Return a history of these days."""
    history = History()
    for day in days:
        begin, end = instant(day, zone=zone), instant(day + timedelta(days=1), zone=zone)
        for slot in range(int(end - begin) // SLOT_SECONDS):
            at = begin + slot * SLOT_SECONDS
            local = datetime.fromtimestamp(at, zone)
            demand = pattern(day, local.hour + local.minute / 60)
            if demand is not None:
                history.record(at, demand)
    return history


def before(day: date, count: int) -> list[date]:
    """Return the days before one, oldest first."""
    return [day - timedelta(days=age) for age in range(count, 0, -1)]


def nightly(_day: date, hour: float) -> float:
    """Return the demand of a batch from 02:00 to 03:00, and of a little work all day."""
    return 100.0 if 2 <= hour < 3 else 10.0


def forecaster(zone: ZoneInfo = UTC_ZONE, quantile: float = 0.75, headroom: float = HEADROOM) -> Forecaster:
    """Return one with the default settings."""
    return Forecaster(zone, quantile=quantile, min_days=3, days=28, headroom=headroom)


def tasks(found: Forecast | Withheld) -> int:
    """Return the tasks of a forecast that is expected to be there."""
    assert isinstance(found, Forecast), found
    return found.tasks
