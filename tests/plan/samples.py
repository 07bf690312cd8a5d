"""Pasts of a fleet for tests: days with work that comes by the clock."""

from collections.abc import Callable

from exporter.plan.series import Series

MIDNIGHT = 1_780_272_000.0
"""2026-06-01 00:00 UTC, a Monday."""
STEP = 300
DAY_STEPS = 86400 // STEP


def nightly(days: float, *, base: int = 8, peak: int = 160, hour: int = 2, minutes: int = 40) -> Series:
    """Return days with one batch each."""

    def demand(step: int) -> int:
        minute = step % DAY_STEPS * STEP // 60
        return peak if hour * 60 <= minute < hour * 60 + minutes else base

    return series(days, demand)


def series(days: float, demand: Callable[[int], int]) -> Series:
    """Return days of which each step has the demand of its number."""
    return Series(MIDNIGHT, STEP, [demand(step) for step in range(int(days * DAY_STEPS))])
