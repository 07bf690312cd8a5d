"""Text for terminals: colors where supported, columns, lines as wide as the terminal.

Input may come from an untrusted server, so terminal escapes are removed. Independent of what is shown.
"""

import re
import shutil
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from math import ceil
from typing import TextIO

PLAIN_WIDTH = 110
"""Columns without a terminal: a log, or `kubectl exec` without `-t`."""
_NARROWEST = 40
_LONGEST_NUMBER = 5
_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, those that separate lines or change the direction of text, invisible ones, and what is no
character and cannot be written."""
_GAP = "  "
_BLOCKS, _SIGNS = ("█", "░"), ("#", "-")
_HEIGHTS, _SIGN_HEIGHTS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"


class Style(Enum):
    """The style of a text; the values are ANSI's "Select Graphic Rendition" parameters (ECMA-48, 8.3.117)."""

    HEADING = "1"
    FAINT = "2"
    GOOD = "32"
    BAD = "1;31"
    DOUBTFUL = "33"


class Paper:
    """The output: its width, and whether it supports colors."""

    def __init__(self, width: int, *, colours: bool, blocks: bool = True) -> None:
        self.width = max(width, _NARROWEST)
        self.colours = colours
        self._blocks = _BLOCKS if blocks else _SIGNS
        self._heights = _HEIGHTS if blocks else _SIGN_HEIGHTS
        self.ellipsis = "…" if blocks else ".."

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> "Paper":
        """Inspect a stream: colors only on a terminal, and not if disabled (no-color.org).

        `COLUMNS` sets the width, off a terminal too (POSIX, "Environment Variables").
        """
        blocks = _takes_blocks(stream)
        if not stream.isatty():
            return cls(_columns_of(environ) or PLAIN_WIDTH, colours=False, blocks=blocks)
        width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
        colours = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        return cls(width, colours=colours, blocks=blocks)

    def paint(self, text: str, style: Style | None) -> str:
        """Return the text in a style."""
        return text if style is None or not self.colours or not text else f"\x1b[{style.value}m{text}\x1b[0m"

    def bar(self, share: float, length: int) -> str:
        """Return a bar of so many characters, filled to a share; a share above 1 is a full bar."""
        filled = round(max(0.0, min(1.0, share)) * length)
        full, empty = self._blocks
        return full * filled + empty * (length - filled)

    def sparkline(self, values: Sequence[float | None], top: float) -> str:
        """Return a character for each value, as high as its share of `top`; `?` where it is unknown."""
        steps = len(self._heights) - 1
        return "".join(
            "?" if value is None else self._heights[max(0, min(steps, ceil(steps * value / top if top > 0 else 0)))]
            for value in values
        )

    def paragraph(self, text: str, indent: int) -> list[str]:
        """Return the text wrapped to fit an indent, which the first line lacks; only words longer than a line break."""
        room = max(self.width - indent, _NARROWEST // 2)
        # textwrap copies the rest of a long word, and of a long row of spaces, for each line that it makes of it.
        words = (word[at : at + room] for word in visible(text).split(" ") for at in range(0, len(word), room))
        lines = textwrap.wrap(" ".join(words), room, break_on_hyphens=False) or [""]
        return [lines[0], *(" " * indent + line for line in lines[1:])]


def _columns_of(environ: Mapping[str, str]) -> int:
    given = environ.get("COLUMNS", "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= _LONGEST_NUMBER else 0


def _takes_blocks(stream: TextIO) -> bool:
    try:
        "".join((*_BLOCKS, _HEIGHTS)).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def counted(number: int, thing: str) -> str:
    """Return a number of things: "1 agent", "2 agents"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def visible(text: str) -> str:
    """Return the text on one line, without characters that a terminal or a reader obeys."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " "))


def shortened(text: str, width: int, ellipsis: str = "…") -> str:
    """Return the text in at most `width` characters: names differ at their ends, so the middle is left out."""
    if len(text) <= width:
        return text
    room = max(0, width - len(ellipsis))
    return text[: room // 2] + ellipsis + text[len(text) - (room - room // 2) :]


def fitted(
    rows: Sequence[Sequence[str]], width: int, names: Sequence[int], least: int, ellipsis: str
) -> list[list[str]]:
    """Return the rows with the columns `names` shortened until a line fits the width, none below `least` characters.

    All other columns stay whole: a number that is cut is another number.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    surplus = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while surplus > 0:
        longest = max(names, key=lambda name: widths[name])
        if widths[longest] <= least:
            break
        widths[longest] -= 1
        surplus -= 1
    return [
        [shortened(cell, widths[at], ellipsis) if at in names else cell for at, cell in enumerate(row)] for row in rows
    ]


def widest(
    forms: Iterable[tuple[Sequence[Sequence[str]], int]], width: int, names: Collection[str], ellipsis: str
) -> list[list[str]]:
    """Return the first form of a table that fits the width, else the last; the widest form comes first.

    A form is rows, headings first, and the least number of characters to which the columns with the headings `names`
    may be shortened.
    """
    rows: list[list[str]] = []
    for form, least in forms:
        shorter = [at for at, heading in enumerate(form[0]) if heading in names]
        rows = fitted(form, width, shorter, least, ellipsis)
        if line_width(rows) <= width:
            break
    return rows


def line_width(rows: Sequence[Sequence[str]]) -> int:
    """Return how wide the lines are that `columns` makes of these rows."""
    return sum(max(map(len, column)) for column in zip(*rows, strict=True)) + len(_GAP) * (len(rows[0]) - 1)


def columns(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[list[str]]:
    """Return the cells of all rows padded to the width of their column, with a gap before all but the first.

    `right` lists the right-aligned columns. Padding comes before painting: color codes have no width.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = []
    for row in rows:
        cells = [
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(row, widths, right, strict=True)
        ]
        padded.append([cells[0], *(_GAP + cell for cell in cells[1:])])
    return padded
