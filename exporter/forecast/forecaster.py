"""The forecast of one fleet, and whether it has earned to be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from operator import add
from zoneinfo import ZoneInfo

from exporter.forecast.history import EPOCH, SLOT_SECONDS, SLOTS, History, known
from exporter.forecast.like_days import COUNTED_ON, KINDS, MIN_KNOWN, MONTH_END, Days, Kind, LikeDays
from exporter.forecast.local_days import days_to_month_end, local_slot, local_slots
from exporter.forecast.replay import Replay

SCORED_DAYS = 7
"""Days that forecasts are judged by, and ways of finding like days: each weekday once."""
FADING = 0.8
"""Weight of a day's score against that of the day after it: half after three days."""
LATE_PRICE = 5.0
"""Slots of one task's capacity that it may cost to spare one task the wait: 25 minutes."""
MIN_SKILL = 0.3
ADDED_WEIGHT = 2.0
"""How much a share of agent-hours added counts against a share of waiting avoided."""
MOST_ADDED = 0.08
"""Share of agent-hours that may be added, by replay, by counting on fewer free slots. A fleet holds agents for longer
than the replay's ten minutes: 8% there are up to 12% of what it spends."""
_THRIFTIEST = 0
MONTH_END_DAYS = 3


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected."""

    tasks: int
    """Demand to have agents for within the lead time; 0 where none rises so much that following it would be late."""
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
class _Choice:
    """How a fleet's days are forecast."""

    kind: Kind
    thrift: int
    """How much is counted on: which of COUNTED_ON."""


@dataclass(frozen=True, slots=True)
class _Profile:
    """One day ahead, slot by slot."""

    like_days: str
    prepared: Sequence[int]
    expected: Sequence[int | None]


class Forecaster:
    """Makes the forecasts of one fleet.

    What it keeps between calls is a cache alone: a new one gives the same forecasts from the same history.
    """

    def __init__(self, zone: ZoneInfo, *, quantile: float, min_days: int, days: int, headroom: float) -> None:
        """Take the settings: `quantile` of like days, and how many days are needed and looked at.

        `headroom` is the slots that agents have for each task they are asked for: tasks per agent ÷ their target.
        """
        self._zone, self._min_days = zone, min_days
        self._scored = max(2, min(SCORED_DAYS, days // 4))
        # The first forecast that is judged was chosen by as many days before it, each with its like days.
        self._reach = days - 2 * self._scored
        self._days = Days(zone, quantile, self._reach, headroom)
        self._today = date.min
        self._scores: dict[date, Sequence[Sequence[Replay]]] = {}
        self._judged: dict[date, Replay] = {}
        self._chosen: dict[date, _Choice] = {}
        self._skill = 0.0
        self._withheld: Withheld | None = None
        self._profiles: dict[date, _Profile] = {}

    def expected(self, history: History, now: float, lead_time: float) -> Forecast | Withheld:
        """Return the demand expected from `now` (Unix seconds) to `lead_time` seconds after it, or why it is withheld.

        The days before today, in the time zone, must not change between calls. Today's demand plays no part.
        """
        withheld = self._learned(history, now)
        if withheld:
            return withheld
        slots = [(self._profile(history, day), slot) for slots in self._slots(now, lead_time) for day, slot in slots]
        if all(profile.expected[slot] is None for profile, slot in slots):
            return Withheld("the demand at this time is not known of any day like this one", self._skill)
        return Forecast(max(profile.prepared[slot] for profile, slot in slots), self._skill, slots[0][0].like_days)

    def ahead(self, history: History, now: float, seconds: float) -> Sequence[int | None]:
        """Return the demand expected in each slot from that of `now` to that of `now + seconds`; empty if withheld.

        None where no like day knows it.
        """
        if self._learned(history, now):
            return ()
        found = []
        for slots in self._slots(now, seconds):
            values = [self._profile(history, day).expected[slot] for day, slot in slots]
            found.append(max((value for value in values if value is not None), default=None))
        return found

    def _slots(self, now: float, seconds: float) -> Sequence[Sequence[tuple[date, int]]]:
        """Return the local days and slots (`local_slots`) of each slot that the time from `now` on touches."""
        numbers = range(int(now // SLOT_SECONDS), int((now + seconds) // SLOT_SECONDS) + 1)
        return [local_slots(number * SLOT_SECONDS, self._zone) for number in numbers]

    def _learned(self, history: History, now: float) -> Withheld | None:
        """Learn once a day, and return why there is no forecast that day."""
        today, _ = local_slot(now, self._zone)
        if today != self._today:
            self._today, self._profiles = today, {}
            self._withheld = self._too_little(history, today) or self._learn(history, today)
        return self._withheld

    def _profile(self, history: History, day: date) -> _Profile:
        """Return the forecast of today or a later day."""
        if day not in self._profiles:
            like = self._like(history, day, self._today)
            counted_on = COUNTED_ON[self._choice(history, self._today).thrift]
            self._profiles[day] = _Profile(
                like.name, self._days.prepared(history, like, counted_on), self._days.expected(history, like)
            )
        return self._profiles[day]

    def _too_little(self, history: History, today: date) -> Withheld | None:
        days = history.days()
        past = (today - EPOCH).days - days[0] if days else 0
        if past < self._min_days:
            return Withheld(f"{max(past, 0)} days of history, at least {self._min_days} are needed")
        lately = [self._days.demand(history, day) for day in _before(today, min(past, self._scored))]
        share = sum(len(known(day)) for day in lately) / (SLOTS * len(lately))
        if share < MIN_KNOWN:
            return Withheld(
                f"demand is known for {share:.0%} of the last {len(lately)} days, {MIN_KNOWN:.0%} are needed"
            )
        return None

    def _learn(self, history: History, today: date) -> Withheld | None:
        """Score what the forecasts of the last days would have brought, and return whether that is too little."""
        days = _before(today, self._scored)
        self._judged = {day: self._judged.get(day) or self._replayed(history, day) for day in days}
        oldest = days[-1]
        self._days.forget(oldest - timedelta(days=self._scored + self._reach + 1))
        self._scores = {day: scores for day, scores in self._scores.items() if day >= oldest}
        self._chosen = {day: chosen for day, chosen in self._chosen.items() if day >= oldest}
        judged = [one.weighted(FADING**age) for age, one in enumerate(self._judged.values())]
        # One day may break the pattern, by a holiday or a flood: that with the least gain is left out.
        judged.remove(min(judged, key=lambda one: one.gain(LATE_PRICE)))
        result: Replay = reduce(add, judged)
        self._skill = result.avoided - ADDED_WEIGHT * result.added
        if self._skill >= MIN_SKILL:
            return None
        reason = (
            f"in the last {self._scored} days it would not have avoided enough waiting for the agent-hours it would "
            f"have cost (skill {self._skill:.2f}, at least {MIN_SKILL})"
        )
        return Withheld(reason, self._skill)

    def _replayed(self, history: History, day: date) -> Replay:
        """Return what the forecast of a day that is over would have brought, by what was known at its beginning."""
        found = self._days.replayed(history, day, self._like(history, day, day))
        return found[self._choice(history, day).thrift]

    def _like(self, history: History, day: date, today: date) -> LikeDays:
        """Return the days that a day is forecast from, by what is known at the beginning of `today`."""
        usual = self._days.like(history, self._choice(history, today).kind, day, today)
        if days_to_month_end(day) < MONTH_END_DAYS:
            ends = self._days.like(history, MONTH_END, day, today)
            if self._served_by_each_other(history, ends, usual):
                return ends
        return usual

    def _choice(self, history: History, today: date) -> _Choice:
        """Return what would have served the last days best: the cheapest like days, and how much to count on.

        That is as little as adds MOST_ADDED at most: what is not counted on is there for a day that brings more.
        """
        if today not in self._chosen:
            days = _before(today, self._scored)
            for day in days:
                if day not in self._scores:
                    like = [self._days.like(history, kind, day, day) for kind in KINDS]
                    self._scores[day] = [self._days.replayed(history, day, one) for one in like]
            costs = [_cost(self._faded(days, kind, _THRIFTIEST)) for kind in range(len(KINDS))]
            kind = costs.index(min(costs))
            thrifts = range(len(COUNTED_ON))
            affordable = [thrift for thrift in thrifts if self._faded(days, kind, thrift).added <= MOST_ADDED]
            self._chosen[today] = _Choice(KINDS[kind], max(affordable, default=_THRIFTIEST))
        return self._chosen[today]

    def _faded(self, days: Sequence[date], kind: int, thrift: int) -> Replay:
        """Return what one way would have brought on these days, the latest first: recent ones count more."""
        return reduce(add, (self._scores[day][kind][thrift].weighted(FADING**age) for age, day in enumerate(days)))

    def _served_by_each_other(self, history: History, ends: LikeDays, usual: LikeDays) -> bool:
        """Return whether each of the last month ends would have been served better by the others than as usual."""
        gain = 0.0
        for day in ends.days:
            others = LikeDays(ends.name, [other for other in ends.days if other != day])
            gain += _cost(self._days.replayed(history, day, usual)[_THRIFTIEST])
            gain -= _cost(self._days.replayed(history, day, others)[_THRIFTIEST])
        return gain > 0


def _before(today: date, count: int) -> Sequence[date]:
    """Return the days before one, latest first."""
    return [today - timedelta(days=age) for age in range(1, count + 1)]


def _cost(result: Replay) -> float:
    """Return the cost of a forecast, in tasks × slots."""
    return LATE_PRICE * result.late_ahead + result.held_ahead
