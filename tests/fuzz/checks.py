"""What the targets have in common."""

from collections.abc import Callable
from typing import TypeVar

_Given = TypeVar("_Given")
_Read = TypeVar("_Read")


def or_none(read: Callable[[_Given], _Read], given: _Given) -> _Read | None:
    """Return what is read, None where it is refused with a ValueError."""
    try:
        return read(given)
    except ValueError:
        return None


def is_short(error: Exception, longest: int = 500) -> None:
    assert 0 < len(str(error)) < longest, error


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")
