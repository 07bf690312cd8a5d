"""Lengths of time as a person writes them (`250ms`, `5s`, `1h30m`) and as programs use them (seconds).

Pure; knows nothing of settings.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal

MAX_SECONDS = 3650 * 86400.0
"""Ten years: far above any setting that makes sense, far below what a timer or a date overflows at."""

_UNITS = {"d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,18})?"
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit}(?![a-z]))?" for unit in _UNITS))


def parse_duration(given: object) -> float:
    """Return the seconds of a duration: numbers with the units d, h, m, s and ms, largest unit first.

    A bare number is seconds. Raises ValueError, whose message states what is wrong, on anything else.
    """
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ValueError("")
    if isinstance(given, str):
        seconds = _parse_text(given)
    elif given < 0:
        raise ValueError("it must not be negative")
    elif 0 <= given <= MAX_SECONDS:
        seconds = float(given)
    else:
        seconds = math.inf
    if seconds > MAX_SECONDS:
        raise ValueError(f"the longest is {format_duration(MAX_SECONDS)}")
    return seconds


def _parse_text(given: str) -> float:
    text = given.strip()
    if re.fullmatch(_NUMBER, text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError("it must not be negative" if text.startswith("-") else "")
    return float(sum(Decimal(number) * _UNITS[unit] for unit, number in match.groupdict().items() if number))


def format_duration(seconds: float) -> str:
    """Write seconds so that `parse_duration` reads exactly the same number back; days only when they come out whole."""
    rest = Decimal(repr(float(seconds)))
    if rest and rest % _UNITS["d"] == 0 and rest > _UNITS["d"] * 14:
        return f"{rest // _UNITS['d']}d"
    parts = []
    for unit in ("h", "m", "s"):
        whole = rest // _UNITS[unit]
        rest -= whole * _UNITS[unit]
        if whole:
            parts.append(f"{int(whole)}{unit}")
    if rest:
        parts.append(f"{(rest / _UNITS['ms']).normalize():f}ms")
    return "".join(parts) or "0s"


@dataclass(frozen=True, slots=True)
class LeadTime:
    """How far ahead to look: a number of seconds, or as long as new agents take, as measured."""

    seconds: float | None
    """None for `auto`."""

    def __str__(self) -> str:
        """Write it as `parse_lead_time` reads it."""
        return "auto" if self.seconds is None else format_duration(self.seconds)


MAX_LEAD_TIME = 6 * 3600.0
"""Far above what a node, an image and a start take."""


def parse_lead_time(text: str) -> LeadTime:
    """Read `auto` or a duration of at most MAX_LEAD_TIME. Raises ValueError with what is wrong."""
    if text == "auto":
        return LeadTime(None)
    seconds = parse_duration(text)
    if seconds > MAX_LEAD_TIME:
        raise ValueError(f"the longest is {format_duration(MAX_LEAD_TIME)}")
    return LeadTime(seconds)
