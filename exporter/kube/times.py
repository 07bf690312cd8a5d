"""Kubernetes' times: instants in RFC 3339, durations in Go's format. Pure."""

import re
from datetime import datetime

_MAX_LENGTH = 64
"""Longer than any duration that Go writes; bounds the cost of a hostile one."""
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?(?:h|ms|m|s|us|µs|ns))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def unix_time(text: object) -> float | None:
    """Parse an RFC 3339 time to Unix seconds; None if invalid."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def go_duration(text: object) -> float | None:
    """Parse a Go duration (`15.262s`, `1m0s`) to seconds; None if invalid."""
    if not isinstance(text, str) or len(text) > _MAX_LENGTH or _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
