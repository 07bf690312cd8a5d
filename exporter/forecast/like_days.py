"""Which days of the past are like a day, and what they expect of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from exporter.forecast.history import GAP, SLOTS, History, known
from exporter.forecast.local_days import SATURDAY, days_to_month_end, local_day, local_rises
from exporter.forecast.replay import Replay, replay

MIN_LIKE_DAYS = 2
MIN_KNOWN = 0.8
"""Share of the slots of a day that must be known for it to be a like day."""
MONTH_END_REACH = 100
"""Days in which the ends of three months are found."""
COUNTED_ON = (0.8, 0.4, 0.0)
"""Shares of the slots that the target leaves free (4 of 20) in which expected tasks find room, the thriftiest first.
Never all of them, since some days bring more than the quantile."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of finding like days."""

    name: str
    alike: Callable[[date, date], bool]
    depth: int
    """How many of the latest like days are looked at."""


@dataclass(frozen=True, slots=True)
class LikeDays:
    """The days that one day is forecast from: none where there are too few."""

    name: str
    days: Sequence[date]


def _any_day(_one: date, _other: date) -> bool:
    return True


def _same_part_of_week(one: date, other: date) -> bool:
    return (one.weekday() >= SATURDAY) == (other.weekday() >= SATURDAY)


def _same_weekday(one: date, other: date) -> bool:
    return one.weekday() == other.weekday()


def _same_distance_to_month_end(one: date, other: date) -> bool:
    return days_to_month_end(one) == days_to_month_end(other)


# Of equal ones the first is chosen: the one that a single odd day moves least.
KINDS = (
    Kind("the last 14 days", _any_day, 14),
    Kind("the last 10 days of the same kind, weekdays or weekends", _same_part_of_week, 10),
    Kind("the last 3 days of the same kind, weekdays or weekends", _same_part_of_week, 3),
    Kind("the same weekday of the last weeks", _same_weekday, 3),
    Kind("the last 2 days", _any_day, 2),
)
MONTH_END = Kind("the same day counted from the month's end", _same_distance_to_month_end, 3)


class Days:
    """The days of a history by the local clock, cached: those that are over do not change."""

    def __init__(self, zone: ZoneInfo, quantile: float, reach: int, headroom: float) -> None:
        """Take the time zone, which of the values of like days to expect, and how many days back they are found.

        `headroom` is the slots that agents have for each task they are asked for.
        """
        self._zone, self._quantile, self._reach, self._headroom = zone, quantile, reach, headroom
        self._demand: dict[date, array[int]] = {}
        self._rises: dict[date, Sequence[tuple[int, int]]] = {}

    def forget(self, before: date) -> None:
        """Drop what is cached of earlier days."""
        self._demand = {day: values for day, values in self._demand.items() if day >= before}
        self._rises = {day: values for day, values in self._rises.items() if day >= before}

    def demand(self, history: History, day: date) -> array[int]:
        """Return the demand in each slot of a day."""
        if day not in self._demand:
            self._demand[day] = local_day(history, day, self._zone)
        return self._demand[day]

    def like(self, history: History, kind: Kind, day: date, today: date) -> LikeDays:
        """Return the days before `today` that are like `day`."""
        found = []
        for age in range(1, (MONTH_END_REACH if kind is MONTH_END else self._reach) + 1):
            other = today - timedelta(days=age)
            if kind.alike(day, other) and self.demand(history, other).count(GAP) <= (1 - MIN_KNOWN) * SLOTS:
                found.append(other)
                if len(found) == kind.depth:
                    break
        return LikeDays(kind.name, found if len(found) >= MIN_LIKE_DAYS else ())

    def expected(self, history: History, like: LikeDays) -> Sequence[int | None]:
        """Return the demand that like days expect in each slot; None where none of them knows it."""
        if not like.days:
            return [None] * SLOTS
        slots = [known(slot) for slot in zip(*(self.demand(history, day) for day in like.days), strict=True)]
        return [self._ranked(slot, 0) if slot else None for slot in slots]

    def prepared(self, history: History, like: LikeDays, counted_on: float) -> Sequence[int]:
        """Return the demand that is to be asked for before each slot begins, so that the rises find free slots.

        Each like day counts three times: as it was, and as if its rises came a slot earlier and later.
        """
        return self._asked_for(self._risen(history, like), counted_on)

    def replayed(self, history: History, day: date, like: LikeDays) -> Sequence[Replay]:
        """Return what these like days would have brought on a day, for each of COUNTED_ON."""
        risen, demand = self._risen(history, like), self.demand(history, day)
        before = self.demand(history, day - timedelta(days=1))[-1]
        return [replay(demand, self._asked_for(risen, share), before, self._headroom) for share in COUNTED_ON]

    def _risen(self, history: History, like: LikeDays) -> Mapping[int, int]:
        """Return the demand that is expected in the slots that rise, on these like days or within a slot of it."""
        rises: dict[int, list[int]] = {}
        for day in like.days:
            for slot, value in self._rises_of(history, day):
                for shift in (-1, 0, 1):
                    rises.setdefault((slot + shift) % SLOTS, []).append(value)
        return {slot: self._ranked(known(values), 3 * len(like.days) - len(values)) for slot, values in rises.items()}

    def _asked_for(self, risen: Mapping[int, int], counted_on: float) -> Sequence[int]:
        found, tasks_for_each = array("i", _NOTHING), 1 + counted_on * (self._headroom - 1)
        for slot, value in risen.items():
            found[slot] = ceil(value / tasks_for_each)
        return found

    def _rises_of(self, history: History, day: date) -> Sequence[tuple[int, int]]:
        """Return the slots of a day that rise, or are unknown, with their values."""
        if day not in self._rises:
            rises = local_rises(history, day, self._zone, self._headroom)
            self._rises[day] = [(slot, value) for slot, value in enumerate(rises) if value]
        return self._rises[day]

    def _ranked(self, values: Sequence[int], zeros: int) -> int:
        """Return the quantile of these values and so many zeros, as one of them; 0 without any."""
        rank = ceil(self._quantile * (len(values) + zeros)) - 1 - zeros
        return sorted(values)[rank] if 0 <= rank < len(values) else 0


_NOTHING = array("i", [0]) * SLOTS
