"""Types of options that several commands have, for argparse."""

import argparse
from collections.abc import Callable

_MAX_DIGITS = 18
"""Of a number without an upper limit: more than anything counted here has."""
_SHOWN = 80


def whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Return a type that reads a whole number in these bounds, both included; None for no upper bound."""
    bounds = f"{lowest} up" if highest is None else f"{lowest} to {highest}"
    digits = _MAX_DIGITS if highest is None else len(str(highest))

    def number(text: str) -> int:
        # Its length is looked at first: reading a number takes time with the square of it.
        if len(text) <= digits and text.isascii() and text.isdigit():
            found = int(text)
            if lowest <= found and (highest is None or found <= highest):
                return found
        raise argparse.ArgumentTypeError(f"it must be a whole number from {bounds}, not {text[:_SHOWN]!r}")

    return number
