"""Checks on values that an earlier process wrote down and this one reads back: from a file, a note, an annotation.

What was written was sound, but disks fail, people edit ConfigMaps, and JSON as Python reads it has NaN, infinities,
whole numbers of any length and text that cannot be encoded. Each check is true only for what can be used without
further care. Pure, and total.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

LAST_TIME = 253_402_300_799
"""Unix time of the last second of the year 9999, beyond which no date can be written (datetime.MAXYEAR)."""
HIGHEST_COUNT = 2**53
"""Up to here every whole number is a float as well."""
_MAX_NAME_LENGTH = 253
"""Kubernetes' names are DNS subdomains (kubernetes.io, "Object Names and IDs"); label values are shorter."""


def read_json(text: str | bytes, decode: Callable[[str], object] | None = None) -> Any:
    """Return the value of a JSON text, read by `decode` if given. Raises ValueError, for a nesting too deep as well."""
    try:
        return json.loads(text) if decode is None else decode(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_number(value: object, lowest: float, highest: float) -> TypeGuard[float]:
    """Return whether it is a number within bounds, which must be finite. A boolean is none, nor is NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest


def is_count(value: object, lowest: int = 0) -> TypeGuard[int]:
    """Return whether it is a whole number of at least `lowest`."""
    return isinstance(value, int) and is_number(value, lowest, HIGHEST_COUNT)


def is_unix_time(value: object) -> TypeGuard[float]:
    """Return whether it is a time since 1970 that has a date."""
    return is_number(value, 0, LAST_TIME)


def are_names(values: Iterable[object]) -> bool:
    """Return whether all are names as Kubernetes' objects and labels have them: printable, and not too long."""
    return all(isinstance(one, str) and len(one) <= _MAX_NAME_LENGTH and one.isprintable() for one in values)
