"""The past of one fleet: the maximum of its demand in each five minutes, with gaps where it is unknown."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

SLOT_SECONDS = 300
"""As fine as a pod's start is long, and as coarse as keeps a day in about a kilobyte."""
SLOTS = 86400 // SLOT_SECONDS
"""Slots of a day."""
GAP = -1
"""In an array of slots: nothing is known."""
MONTHS_KEPT = 3
"""Ends of months that are kept beyond `days`: two to learn from, and one more to judge by."""
EPOCH = date(1970, 1, 1)


class History:
    """Maxima of demand by slot, one compact array for each day (UTC, so that clock changes do not move them)."""

    def __init__(self) -> None:
        self._days: dict[int, array[int]] = {}

    def record(self, at: float, demand: float) -> None:
        """Record the demand in tasks at `at` (Unix seconds), rounded down to whole tasks.

        Only trusted demand is recorded: everything else remains a gap. Raises ValueError for a negative demand.
        """
        if not demand >= 0:
            raise ValueError(f"a demand of {demand} tasks is impossible")
        day, slot = divmod(int(at // SLOT_SECONDS), SLOTS)
        values = self._days.setdefault(day, array("i", [GAP]) * SLOTS)
        values[slot] = max(values[slot], int(demand))

    def merge_day(self, day: int, values: Sequence[int]) -> None:
        """Record the higher demand in each slot of a day, by its number (since 1970, UTC).

        Raises ValueError unless there are SLOTS values of at least GAP.
        """
        if len(values) != SLOTS or min(values) < GAP:
            raise ValueError("not the slots of a day")
        before = self._days.get(day)
        if max(values) != GAP:
            self._days[day] = array("i", values if before is None else map(max, before, values))

    def slots(self, first: int, count: int) -> array[int]:
        """Return `count` slots from slot number `first` (Unix seconds divided by SLOT_SECONDS); GAP where unknown."""
        found = array("i")
        day, offset = divmod(first, SLOTS)
        while len(found) < offset + count:
            found += self._days.get(day, _UNKNOWN)
            day += 1
        return found[offset : offset + count]

    def known_slots(self) -> tuple[int, array[int]]:
        """Return the number of the first known slot and the values from there to the last known one; (0, []) if empty.

        Between them are gaps where nothing is known.
        """
        if not self._days:
            return 0, array("i")
        first = min(self._days) * SLOTS
        values = self.slots(first, max(self._days) * SLOTS + SLOTS - first)
        found = [index for index, value in enumerate(values) if value != GAP]
        return first + found[0], values[found[0] : found[-1] + 1]

    def highest(self) -> int | None:
        """Return the highest demand recorded; None without any."""
        return max((max(values) for values in self._days.values()), default=None)

    def days(self) -> Sequence[int]:
        """Return the numbers of the days (UTC, since 1970) of which something is known, in order."""
        return sorted(self._days)

    def digest(self, before: int) -> int:
        """Return a number that changes when what is known of the slots below number `before` does."""
        first = min(self._days, default=0) * SLOTS
        return hash((first, self.slots(first, max(0, before - first)).tobytes()))

    def with_slots(self, first: int, values: Sequence[int]) -> History:
        """Return a history in which the slots from number `first` are these values (GAP where unknown).

        This one is not changed; the two share the days that are the same.
        """
        changed = History()
        changed._days = dict(self._days)
        at = 0
        while at < len(values):
            day, slot = divmod(first + at, SLOTS)
            count = min(SLOTS - slot, len(values) - at)
            array_of_day = array("i", changed._days.get(day, _UNKNOWN))
            array_of_day[slot : slot + count] = array("i", values[at : at + count])
            changed._days[day] = array_of_day
            if array_of_day == _UNKNOWN:
                del changed._days[day]
            at += count
        return changed

    def trim(self, now: float, days: int) -> None:
        """Forget what is older than `days` and one, except the days around the ends of the last MONTHS_KEPT months.

        Also what is in the future. One more, as a local day begins up to 14 hours before that of UTC.
        """
        for day in [day for day in self._days if not is_kept(day, now, days)]:
            del self._days[day]


def is_kept(day: int, now: float, days: int) -> bool:
    """Return whether a day is kept by `History.trim`. Of the future only tomorrow is, as clocks differ a little."""
    today = int(now // 86400)
    if today - days - 1 <= day <= today + 1:
        return True
    return today - 31 * MONTHS_KEPT - 2 <= day < today and _around_month_end(EPOCH + timedelta(days=day))


def kept_days(now: float, days: int) -> Sequence[int]:
    """Return the numbers of the days (UTC, since 1970) up to `now` that `History.trim` does not forget, in order."""
    today = int(now // 86400)
    oldest = today - max(days + 1, 31 * MONTHS_KEPT + 2)
    return [day for day in range(oldest, today + 1) if is_kept(day, now, days)]


def known(values: Iterable[int]) -> list[int]:
    """Return the values that are no gaps."""
    return [value for value in values if value != GAP]


def _around_month_end(day: date) -> bool:
    """Return whether a day is within two days of one of the three last days of a month.

    A day of the local calendar touches two days of UTC, and its neighbors are looked at where jobs jitter.
    """
    return any((day + timedelta(days=shift)).day == 1 for shift in range(-1, 6))


_UNKNOWN = array("i", [GAP]) * SLOTS
