"""The ways that are compared: what each of them makes of the demand."""

from collections.abc import Callable
from copy import deepcopy
from math import inf

from exporter.forecast.forecaster import Forecast, Forecaster
from exporter.forecast.history import SLOT_SECONDS, History
from exporter.forecast.local_days import local_slot
from exporter.simulation.hpa import SYNC_SECONDS
from exporter.simulation.months import ZONE, Month
from exporter.simulation.pod import TASKS_PER_AGENT
from exporter.simulation.replay import TARGET, Signal


def following(_now: float, demand: int) -> float:
    """Follow the demand, waiting tasks included."""
    return float(demand)


def fixed(tasks: float) -> Signal:
    """Hold agents for so many tasks all the time."""
    return lambda _now, _demand: tasks


def cron(month: Month, start_seconds: float, factor: float = 1.0) -> Signal:
    """Hold what the generator plans between now and when a pod that is asked for now is up, multiplied."""

    def wish(now: float, demand: int) -> float:
        planned = 0.0
        for ahead in (0.0, start_seconds + SYNC_SECONDS):
            day, slot = local_slot(now + ahead, ZONE)
            planned = max(planned, month.cron(day, slot * SLOT_SECONDS / 3600))
        return max(float(demand), factor * planned)

    return wish


def ahead(past: History, start_seconds: float, quantile: float = 0.75) -> Signal:
    """Follow what is higher, the demand or the forecast, which learns from what this way itself brings about."""
    history = deepcopy(past)
    forecaster = usual(quantile)
    lead_time = start_seconds + SYNC_SECONDS

    def wish(now: float, demand: int) -> float:
        history.record(now, demand)
        found = forecaster.expected(history, now, lead_time)
        return max(float(demand), float(found.tasks)) if isinstance(found, Forecast) else float(demand)

    return wish


def usual(quantile: float = 0.75) -> Forecaster:
    """Return a forecaster with the default settings."""
    return Forecaster(ZONE, quantile=quantile, min_days=3, days=28, headroom=TASKS_PER_AGENT / TARGET)


def planned(forecast: Callable[[int], float], start_seconds: float, factor: float = 1.0) -> Signal:
    """Follow what is higher, the demand or a forecast by slot, multiplied."""

    def wish(now: float, demand: int) -> float:
        slots = range(int(now // SLOT_SECONDS), int((now + start_seconds + SYNC_SECONDS) // SLOT_SECONDS) + 1)
        return max(float(demand), *(factor * forecast(slot) for slot in slots), -inf)

    return wish
