"""The forecast of one fleet, and whether it has earned to be used."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from math import ceil
from operator import add
from zoneinfo import ZoneInfo

from exporter.forecast.history import EPOCH, GAP, SLOT_SECONDS, SLOTS, History, known
from exporter.forecast.local_days import days_to_month_end, local_day, local_slot
from exporter.forecast.replay import Replay, replay

SCORED_DAYS = 7
"""Days that the ways of finding like days are judged by: each weekday once."""
FADING = 0.8
"""Weight of a day's score against that of the day after it: half after three days."""
LATE_PRICE = 10.0
"""Slots of one task's capacity that it may cost to spare one task the wait: 50 minutes."""
MIN_LIKE_DAYS = 2
MIN_KNOWN = 0.8
"""Share of the slots of the scored days that must be known. A like day with less is left out."""
MIN_SKILL = 0.3
ADDED_WEIGHT = 2.0
"""How much a share of agent-hours added counts against a share of waiting avoided."""
MONTH_END_DAYS = 3
SATURDAY = 5
"""As `date.weekday` counts; Sunday is 6."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected."""

    tasks: int
    """Highest demand expected within the lead time."""
    skill: float
    """Share of late tasks avoided, less ADDED_WEIGHT × the share of agent-hours added, in the last SCORED_DAYS."""
    like_days: str
    """Which days it was taken from; for the reader."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why there is no forecast."""

    reason: str
    skill: float | None = None
    """As in Forecast; None where it is unknown."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of finding like days."""

    name: str
    alike: Callable[[date, date], bool]
    depth: int
    """How many of the latest like days are looked at."""
    width: int
    """Slots that jobs may come earlier or later."""


def _month_end(one: date, other: date) -> bool:
    return days_to_month_end(one) == days_to_month_end(other)


def _same_part_of_week(one: date, other: date) -> bool:
    return (one.weekday() >= SATURDAY) == (other.weekday() >= SATURDAY)


# Of equal ones the first is chosen: the one that a single odd day moves least.
_GROUPS: Sequence[tuple[str, Callable[[date, date], bool], int]] = (
    ("the last 14 days", lambda _one, _other: True, 14),
    (
        "the last 3 days of the same kind, weekdays or weekends",
        _same_part_of_week,
        3,
    ),
    (
        "the last 10 days of the same kind, weekdays or weekends",
        _same_part_of_week,
        10,
    ),
    ("the same weekday of the last weeks", lambda one, other: one.weekday() == other.weekday(), 3),
    ("the last 2 days", lambda _one, _other: True, 2),
)
KINDS = tuple(Kind(name, alike, depth, width) for name, alike, depth in _GROUPS for width in (0, 1, 2))
MONTH_END = Kind("the same day counted from the month's end", _month_end, 3, 1)


class Forecaster:
    """Makes the forecasts of one fleet.

    What it keeps between calls is a cache alone: a new one gives the same forecasts from the same history.
    """

    def __init__(self, zone: ZoneInfo, *, quantile: float, min_days: int, days: int) -> None:
        """Take the settings: `quantile` of like days, and how many days are needed and looked at."""
        self._zone, self._quantile, self._min_days = zone, quantile, min_days
        self._like_days = max(days - SCORED_DAYS, min_days)
        self._today: date | None = None
        self._days: dict[tuple[date, int], array[int]] = {}
        self._scores: dict[date, Sequence[Replay]] = {}
        self._skill = 0.0
        self._withheld: Withheld | None = None
        self._chosen = KINDS[0]
        self._profiles: dict[date, tuple[str, Sequence[int]]] = {}

    def expected(self, history: History, now: float, lead_time: float) -> Forecast | Withheld:
        """Return the demand expected from `now` (Unix seconds) to `lead_time` seconds after it, or why it is withheld.

        The days before today, in the time zone, must not change between calls. Today's demand plays no part.
        """
        withheld = self._learned(history, now)
        if withheld:
            return withheld
        name, tasks = self._profiles_of(history, now, lead_time)
        return Forecast(max(tasks), self._skill, name)

    def ahead(self, history: History, now: float, seconds: float) -> Sequence[int]:
        """Return the demand expected in each slot from that of `now` to that of `now + seconds`; empty if withheld."""
        return () if self._learned(history, now) else self._profiles_of(history, now, seconds)[1]

    def _learned(self, history: History, now: float) -> Withheld | None:
        """Learn once a day, and return why there is no forecast that day."""
        today, _ = local_slot(now, self._zone)
        if today != self._today:
            self._today, self._profiles = today, {}
            self._withheld = self._too_little(history, today) or self._learn(history, today)
        return self._withheld

    def _profiles_of(self, history: History, now: float, seconds: float) -> tuple[str, Sequence[int]]:
        """Return where the first slot's forecast comes from, and what is expected in each slot."""
        today, _ = local_slot(now, self._zone)
        name, tasks = "", []
        for at in range(int(now // SLOT_SECONDS), int((now + seconds) // SLOT_SECONDS) + 1):
            day, slot = local_slot(at * SLOT_SECONDS, self._zone)
            if day not in self._profiles:
                self._profiles[day] = self._planned(history, day, today)
            found, profile = self._profiles[day]
            name = name or found
            tasks.append(profile[slot])
        return name, tasks

    def _too_little(self, history: History, today: date) -> Withheld | None:
        days = history.days()
        past = (today - EPOCH).days - days[0] if days else 0
        if past < self._min_days:
            return Withheld(f"{max(past, 0)} days of history, at least {self._min_days} are needed")
        lately = [self._day(history, today - timedelta(days=age), 0) for age in range(1, min(past, SCORED_DAYS) + 1)]
        share = sum(len(known(day)) for day in lately) / (SLOTS * len(lately))
        if share < MIN_KNOWN:
            return Withheld(
                f"demand is known for {share:.0%} of the last {len(lately)} days, {MIN_KNOWN:.0%} are needed"
            )
        return None

    def _learn(self, history: History, today: date) -> Withheld | None:
        """Choose the kind of like days, score what it would have brought, and return whether that is too little."""
        scored = [today - timedelta(days=age) for age in range(1, SCORED_DAYS + 1)]
        self._scores = {day: self._scores.get(day) or self._score(history, day) for day in scored}
        oldest = today - timedelta(days=self._like_days + SCORED_DAYS + 1)
        self._days = {key: values for key, values in self._days.items() if key[0] >= oldest}
        costs = [
            [FADING**age * (LATE_PRICE * one.late_ahead + one.held_ahead) for age, one in enumerate(of_kind)]
            for of_kind in zip(*self._scores.values(), strict=True)
        ]
        totals = [sum(of_kind) for of_kind in costs]
        self._chosen = KINDS[totals.index(min(totals))]
        # A day does not choose what it is judged by: the others do.
        judged = []
        for age, scores in enumerate(self._scores.values()):
            others = [total - of_kind[age] for total, of_kind in zip(totals, costs, strict=True)]
            judged.append(scores[others.index(min(others))].weighted(FADING**age))
        # One day may break the pattern, by a holiday or a flood: that with the least gain is left out.
        judged.remove(min(judged, key=lambda one: one.gain(LATE_PRICE)))
        result: Replay = reduce(add, judged)
        self._skill = result.avoided - ADDED_WEIGHT * result.added
        if self._skill >= MIN_SKILL:
            return None
        reason = (
            f"in the last {SCORED_DAYS} days it would not have avoided enough waiting for the agent-hours it would "
            f"have cost (skill {self._skill:.2f}, at least {MIN_SKILL})"
        )
        return Withheld(reason, self._skill)

    def _score(self, history: History, day: date) -> Sequence[Replay]:
        demand = self._day(history, day, 0)
        before = self._day(history, day - timedelta(days=1), 0)[-1]
        return [replay(demand, self._profile(history, kind, day, day), before) for kind in KINDS]

    def _planned(self, history: History, day: date, today: date) -> tuple[str, Sequence[int]]:
        """Return where the forecast of a day comes from, and its slots."""
        usual = self._profile(history, self._chosen, day, today)
        if days_to_month_end(day) < MONTH_END_DAYS and self._month_ends_differ(history, usual, day, today):
            return MONTH_END.name, self._profile(history, MONTH_END, day, today)
        return self._chosen.name, usual

    def _month_ends_differ(self, history: History, usual: Sequence[int], day: date, today: date) -> bool:
        """Return whether the last month ends would have been served better by each other than by a usual day."""
        alike = self._alike(history, MONTH_END, day, today)
        if len(alike) < MIN_LIKE_DAYS:
            return False
        cost = {"usual": 0.0, "month end": 0.0}
        for one in alike:
            others = self._quantiles(history, [other for other in alike if other != one], MONTH_END.width)
            for name, profile in (("usual", usual), ("month end", others)):
                result = replay(self._day(history, one, 0), profile, self._day(history, one - timedelta(days=1), 0)[-1])
                cost[name] += LATE_PRICE * result.late_ahead + result.held_ahead
        return cost["month end"] < cost["usual"]

    def _profile(self, history: History, kind: Kind, day: date, today: date) -> Sequence[int]:
        """Return what a kind of like days before `today` expects for each slot of `day`: 0 without enough of them."""
        alike = self._alike(history, kind, day, today)
        return self._quantiles(history, alike, kind.width) if len(alike) >= MIN_LIKE_DAYS else _NOTHING

    def _alike(self, history: History, kind: Kind, day: date, today: date) -> list[date]:
        reach = 100 if kind is MONTH_END else self._like_days
        found = []
        for age in range(1, reach + 1):
            other = today - timedelta(days=age)
            if kind.alike(day, other) and len(known(self._day(history, other, 0))) >= MIN_KNOWN * SLOTS:
                found.append(other)
                if len(found) == kind.depth:
                    break
        return found

    def _quantiles(self, history: History, days: Sequence[date], width: int) -> Sequence[int]:
        columns = zip(*(self._day(history, day, width) for day in days), strict=True)
        rank = ceil(self._quantile * len(days)) - 1
        return _without_falls([_ranked(column, rank, self._quantile) for column in columns])

    def _day(self, history: History, day: date, width: int) -> array[int]:
        key = (day, width)
        if key not in self._days:
            self._days[key] = local_day(history, day, self._zone, width)
        return self._days[key]


def _without_falls(values: Sequence[int]) -> Sequence[int]:
    """Return the values without the last slot before each fall: a maximum that is over within the slot.

    The demand itself holds the agents until then, and a scaler holds them beyond it. A peak of one slot stays.
    """
    return array(
        "i",
        [
            values[0],
            *(
                after if before >= value > after else value
                for before, value, after in zip(values, values[1:], values[2:], strict=False)
            ),
            values[-1],
        ],
    )


def _ranked(column: Sequence[int], rank: int, quantile: float) -> int:
    """Return the quantile of the values that are known, as one of them; 0 if none is."""
    values = sorted(column)
    if values[0] == GAP:
        values = known(values)
        if not values:
            return 0
        rank = ceil(quantile * len(values)) - 1
    return values[rank]


_NOTHING = array("i", [0]) * SLOTS
