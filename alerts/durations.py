"""Durations in words, for texts that people read."""

from alerts.settings import DAY, HOUR, MINUTE

_UNITS = (("day", DAY), ("hour", HOUR), ("minute", MINUTE))


def in_words(seconds: float) -> str:
    """Return a duration in its largest whole unit: `5 minutes`, `1 hour`, `90 minutes`, `45 seconds`."""
    unit, length = next(((unit, length) for unit, length in _UNITS if seconds % length == 0), ("second", 1.0))
    count = seconds / length
    return f"{count:g} {unit}{'' if count == 1 else 's'}"
