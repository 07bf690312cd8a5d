"""Which of CloudWatch's periods a datum belongs to, and how long to wait for the next one.

Time is cut into periods of one interval, counted from the Unix epoch, as CloudWatch does it: minutes begin at :00. A
datum carries the beginning of its period and not the instant it was made at. So it lies in that period whatever delays
the process, and there is one in each. It is made as soon as the period has begun, so that most of the period is left
for sending it.

Pure: the wall clock's reading is an argument.
"""

from math import floor

CLOCK_CORRECTION = 300.0
"""Seconds. A clock set back by less than this is waited for: the periods it passes again have their datums. One set
back further is taken at its word, and periods that were filled while it was wrong get a second datum."""


def period_of(now: float, interval: float) -> float:
    """Return the beginning of the period that `now` lies in, in Unix seconds."""
    return floor(now / interval) * interval


def wait(now: float, last: float | None, interval: float) -> float:
    """Return for how many seconds no datum is due; 0 if one is due now, for the period that `now` lies in.

    `last` is the beginning of the period that was last given a datum, None if there is none. A period that went by
    without one, because the process slept or the clock was put forward, is not made up for: its values are unknown.
    """
    if last is None or last - now > CLOCK_CORRECTION:
        return 0.0
    if period_of(now, interval) > last:
        return 0.0
    return period_of(last, interval) + interval - now
