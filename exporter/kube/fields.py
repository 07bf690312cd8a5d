"""Fields of raw objects: their value, or an empty one. Pure, and total.

Kubernetes' objects come from outside: an invalid field counts as unknown, never as an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]

HIGHEST_PORT = 65_535
MAX_COUNT = 2**63 - 1
"""Kubernetes' numbers are int64 at most. A larger one could not be computed with: no float holds it."""


def mapping(value: object) -> Json:
    """Return a mapping; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """Return a list; an empty one for anything else."""
    return value if isinstance(value, list) else ()


def mappings(value: object) -> Iterator[Json]:
    """Return the mappings in a list; none where there is no list."""
    return (entry for entry in sequence(value) if isinstance(entry, Mapping))


def text(value: object) -> str | None:
    """Return non-empty text, else None."""
    return value if isinstance(value, str) and value else None


def line(value: object, max_length: int) -> str:
    """Return text as one line of at most `max_length` characters; empty for anything else."""
    if not isinstance(value, str):
        return ""
    words = "".join(sign if sign.isprintable() else " " for sign in value[: 2 * max_length]).split()
    joined = " ".join(words)
    return joined if len(joined) <= max_length else f"{joined[: max_length - 1]}…"


def count(value: object) -> int | None:
    """Return a whole number from 0 to `MAX_COUNT`."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else None


def port(value: object) -> int | None:
    """Return the number of a port."""
    number = count(value)
    return number if number is not None and 1 <= number <= HIGHEST_PORT else None


def port_in_text(value: object) -> int | None:
    """Return a port number given as text, as in annotations and environments."""
    digits = isinstance(value, str) and len(value) <= len(str(HIGHEST_PORT)) and value.isascii() and value.isdecimal()
    return port(int(value)) if digits and isinstance(value, str) else None


def named(entries: object, name: object) -> Json:
    """Return the first mapping of a list with this `name`; an empty one if there is none."""
    return next((entry for entry in mappings(entries) if name and entry.get("name") == name), {})


def condition(status: Json, kind: str) -> Json:
    """Return the condition of this type in an object's status; an empty mapping if there is none."""
    return next((entry for entry in mappings(status.get("conditions")) if entry.get("type") == kind), {})
