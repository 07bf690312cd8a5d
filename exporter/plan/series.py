"""The past that is planned from: a fleet's demand at regular times, with gaps where it is unknown.

Pure, and it must not know where the past was read.
"""

import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.forecast.history import GAP, SLOT_SECONDS, History
from exporter.plan.errors import PlanError

DAY = 86400.0
MAX_DAYS = 62
"""Longer pasts are cut to their last days: the forecast looks at most so far back, but for the ends of months."""
MIN_KNOWN = 0.8
"""Share of the time for which demand must be known, as for a forecast."""


@dataclass(frozen=True, slots=True)
class Series:
    """Demand in tasks: the highest of each step."""

    begin: float
    """Unix seconds at which the first step begins."""
    step: int
    """Seconds from one value to the next: a divisor of SLOT_SECONDS, or that itself."""
    values: Sequence[int]
    """GAP where it is unknown."""

    @property
    def end(self) -> float:
        """Unix seconds at which the last step ends."""
        return self.begin + self.step * len(self.values)

    @property
    def days(self) -> float:
        """How many days it covers, gaps included."""
        return (self.end - self.begin) / DAY

    @property
    def known(self) -> float:
        """Share of the time for which it is known, 0 to 1."""
        return sum(value != GAP for value in self.values) / len(self.values)

    def part(self, begin: float, end: float) -> "Series":
        """Return the steps that begin from `begin` on and before `end`."""
        first = max(0, -int((self.begin - begin) // self.step))
        last = max(first, -int((self.begin - end) // self.step))
        return Series(self.begin + first * self.step, self.step, self.values[first:last])

    def history(self) -> History:
        """Return it as the forecast takes it."""
        history = History()
        for at, value in self.points():
            history.record(at, value)
        return history

    def points(self) -> Iterator[tuple[float, int]]:
        """Yield the known values with the times at which their steps begin."""
        return ((self.begin + index * self.step, value) for index, value in enumerate(self.values) if value != GAP)

    def bridged(self) -> Sequence[int]:
        """Return the values with each gap at the lower of the values beside it: no work comes in it, none is late."""
        values = array("i", self.values)
        index = 0
        while index < len(values):
            if values[index] != GAP:
                index += 1
                continue
            after = index
            while after < len(values) and values[after] == GAP:
                after += 1
            beside = [values[place] for place in (index - 1, after) if 0 <= place < len(values)]
            values[index:after] = array("i", [min(beside, default=0)]) * (after - index)
            index = after
        return values

    def middle(self, zone: ZoneInfo) -> float:
        """Return the local midnight next to the middle: where what is learned from ends, and what is scored begins."""
        middle = datetime.fromtimestamp((self.begin + self.end) / 2 + DAY / 2, zone)
        midnight = middle.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        return midnight - midnight % self.step


def usable(series: Series, min_days: int) -> Series:
    """Return the last MAX_DAYS of it. Raises PlanError if that is too little to plan from."""
    if series.end - series.begin > MAX_DAYS * DAY:
        series = series.part(series.end - MAX_DAYS * DAY, series.end)
    if series.days < min_days:
        raise PlanError(
            f"the past covers {series.days:.1f} days, and a plan needs at least {min_days}: half of them "
            "to learn from, half to be scored; two weeks or more are better"
        )
    if series.known < MIN_KNOWN:
        raise PlanError(
            f"demand is known for {series.known:.0%} of the {series.days:.0f} days only, and a plan needs "
            f"{MIN_KNOWN:.0%}"
        )
    if not any(value > 0 for value in series.values):
        raise PlanError("the demand is 0 all the time: there is nothing to plan for")
    return series


def gathered(readings: Sequence[tuple[float, float]]) -> Series:
    """Return readings (Unix seconds, tasks; in the order of time) as a series of steps, each their highest.

    A reading stands for the time to the next, as far as that is no longer than usual: the median of the distances.
    Raises PlanError if these are too far apart, or if there are fewer than two.
    """
    if len(readings) < 2:  # noqa: PLR2004 - from one there is no distance
        raise PlanError("there are fewer than two readings of demand: nothing can be planned from them")
    distances = sorted(after[0] - before[0] for before, after in itertools.pairwise(readings))
    usual = distances[len(distances) // 2]
    if usual > MAX_DISTANCE:
        raise PlanError(
            f"the readings are {usual / 60:.0f} minutes apart, and a fleet starts agents within minutes: "
            f"export the demand every {SLOT_SECONDS // 60} minutes, as the maximum of that time"
        )
    step = FINE_STEP if usual <= FINE_STEP else SLOT_SECONDS
    reach = max(1, round(usual / step))
    last = readings[-1][0] - readings[-1][0] % step
    # A longer past is cut: what no plan looks at needs no memory either.
    begin = max(readings[0][0] - readings[0][0] % step, last - MAX_DAYS * DAY)
    values = array("i", [GAP]) * (int((last - begin) // step) + reach)
    for at, demand in readings:
        place = int((at - begin) // step)
        for index in range(place, place + reach):
            if index >= 0:
                values[index] = max(values[index], round(demand))
    return Series(begin, step, values)


FINE_STEP = 60
"""Seconds of a step where readings come each minute or faster."""
MAX_DISTANCE = 900.0
"""Seconds between readings above which a wave's beginning is anyone's guess."""
