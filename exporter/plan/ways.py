"""The ways to scale a fleet that are compared: what each of them learns from the past, and makes of the demand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from exporter.fleet.quantile import quantile
from exporter.forecast.forecaster import Forecast, Forecaster, Withheld
from exporter.forecast.history import GAP, SLOT_SECONDS, History
from exporter.forecast.local_days import SATURDAY
from exporter.plan.assumptions import Assumptions
from exporter.plan.series import Series
from exporter.simulation.hpa import SYNC_SECONDS
from exporter.simulation.replay import Signal

Metric = Callable[[float, float], float]
"""From the time and the demand in tasks to what the HPA is given, in tasks."""


def following(_now: float, demand: float) -> float:
    """Follow the demand, waiting tasks included."""
    return demand


def lead_seconds(given: Assumptions) -> float:
    """Return how far ahead is looked: an agent's start, and the HPA's look before it."""
    return given.start_seconds + SYNC_SECONDS


def in_units(metric: Metric, grain: int) -> Signal:
    """Return the metric for a replay whose units stand for `grain` tasks."""
    return lambda now, demand: metric(now, float(demand * grain)) / grain


class Ahead:
    """Follow the higher of the demand and the forecast, as the exporter would have made it at each time.

    The history is the demand as it was: the forecast looks at the days before today alone, and so needs no replay.
    """

    def __init__(self, history: History, given: Assumptions) -> None:
        self._history, self._lead = history, lead_seconds(given)
        self._forecaster = Forecaster(
            given.zone, quantile=given.quantile, min_days=given.min_days, days=given.days, headroom=given.headroom
        )
        self._expected: dict[tuple[int, int], Forecast | Withheld] = {}

    def __call__(self, now: float, demand: float) -> float:
        """Return the demand ahead."""
        found = self.expected(now)
        return max(demand, float(found.tasks)) if isinstance(found, Forecast) else demand

    def expected(self, now: float) -> Forecast | Withheld:
        """Return the forecast, or why it is withheld; asked for in the order of time at first."""
        key = (int(now // SLOT_SECONDS), int((now + self._lead) // SLOT_SECONDS))
        if key not in self._expected:
            self._expected[key] = self._forecaster.expected(self._history, now, self._lead)
        return self._expected[key]

    @property
    def withheld(self) -> float:
        """Share of the time that was asked for in which it was withheld, 0 to 1."""
        found = self._expected.values()
        return sum(isinstance(one, Withheld) for one in found) / len(found) if found else 0.0

    @property
    def reason(self) -> str:
        """The last reason for which it was withheld; empty if it never was."""
        reasons = [one.reason for one in self._expected.values() if isinstance(one, Withheld)]
        return reasons[-1] if reasons else ""


@dataclass(frozen=True, slots=True)
class Cron:
    """Hold so many agents in each hour, weekdays apart from weekends, besides following the demand.

    As KEDA's `cron` triggers beside one on the demand: the highest counts. Each begins as early as its agents start.
    """

    agents: Mapping[tuple[bool, int], int]
    """By weekend and local hour."""
    given: Assumptions

    @classmethod
    def written_for(cls, series: Series, given: Assumptions) -> "Cron":
        """Return what a person would write who looks at the first half: for each hour what most such days need."""
        highest: dict[tuple[bool, int], dict[object, int]] = {}
        for at, value in series.points():
            local = datetime.fromtimestamp(at, given.zone)
            days = highest.setdefault((local.weekday() >= SATURDAY, local.hour), {})
            days[local.date()] = max(days.get(local.date(), 0), value)
        return cls(
            {key: ceil(quantile(list(days.values()), given.quantile) / given.target) for key, days in highest.items()},
            given,
        )

    def __call__(self, now: float, demand: float) -> float:
        """Return the higher of the demand, and what the agents of the hour are for."""
        held = max(self._held(now), self._held(now + lead_seconds(self.given)))
        return max(demand, float(held * self.given.target))

    def _held(self, at: float) -> int:
        local = datetime.fromtimestamp(at, self.given.zone)
        return self.agents.get((local.weekday() >= SATURDAY, local.hour), 0)

    @property
    def blocks(self) -> int:
        """How many triggers it takes: runs of hours with the same number of agents, above the minimum."""
        count = 0
        for weekend in (False, True):
            before = self.given.least
            for hour in range(24):
                held = max(self.agents.get((weekend, hour), 0), self.given.least)
                count += held not in (before, self.given.least)
                before = held
        return count


def highest(series: Series) -> int:
    """Return the highest demand."""
    return max((value for value in series.values if value != GAP), default=0)
