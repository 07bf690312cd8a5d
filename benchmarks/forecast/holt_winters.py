"""Holt-Winters of statsmodels, which the extra `bench-forecast` installs: the library to be better than."""

import warnings
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History
from exporter.simulation.months import Month, clock

MERGED = 6
"""Slots merged to one value: a season of a week in slots of five minutes takes minutes to fit."""
LEARNED_DAYS = 28
QUANTILE = 0.75


def installed() -> bool:
    """Return whether statsmodels is there."""
    return find_spec("statsmodels") is not None


def holt_winters(month: Month, history: History) -> Callable[[int], float]:
    """Return the forecast by slot, fitted each midnight to the LEARNED_DAYS before.

    The season is the right one for each month, given by hand. The same quantile as ours, by that of its own residuals.
    """
    exponential: Any = import_module("statsmodels.tsa.holtwinters").ExponentialSmoothing
    expected: dict[int, float] = {}
    for offset in range(month.days):
        midnight = int(clock(month.first + timedelta(days=offset), 0) // SLOT_SECONDS)
        past = history.slots(midnight - LEARNED_DAYS * SLOTS, LEARNED_DAYS * SLOTS)
        values = [
            float(max(0 if value == GAP else value for value in past[i : i + MERGED]))
            for i in range(0, len(past), MERGED)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: the fit is used as it is
            model = exponential(
                values,
                seasonal="add",
                seasonal_periods=month.season * SLOTS // MERGED,
                initialization_method="heuristic",
            )
            fit = model.fit()
        rest = sorted(fit.resid)[int(QUANTILE * len(values))]
        for step, value in enumerate(fit.forecast(SLOTS // MERGED + 4)):
            for slot in range(MERGED):
                expected[midnight + step * MERGED + slot] = min(max(0.0, value + rest), max(values))
    return lambda slot: expected.get(slot, 0.0)
