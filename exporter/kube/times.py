"""Times as Kubernetes writes them: instants in RFC 3339, durations as Go does. Pure."""

import re
from datetime import datetime

_LONGEST = 64
"""Longer than any duration Go writes; keeps a hostile one from costing time."""
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?(?:h|ms|m|s|us|µs|ns))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def unix_time(text: object) -> float | None:
    """Read an RFC 3339 time as Unix seconds; None where it is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def go_duration(text: object) -> float | None:
    """Read a duration as Go writes it (`15.262s`, `1m0s`) in seconds; None where it is not one."""
    if not isinstance(text, str) or len(text) > _LONGEST or _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
