"""The regular expression that a person gives for lines of a log, run by RE2 in time linear in the line.

Python's own engine tries one way after the other: on a line of 16 KB, `ERROR .*[Tt]ask .* failed` can take it seconds,
during which nothing else runs. RE2 follows all ways at once. What that excludes, look-around and references to a group,
is refused with the reason and the place. Its syntax: https://github.com/google/re2/wiki/Syntax.
"""

import re

import re2

MAX_BYTES = 4096
"""Of an expression, in UTF-8."""
MAX_INSTRUCTIONS = 1000
"""Of the program that it becomes; those of the docs take 40. In the worst case each costs 5 ns per byte of the line:
80 ms for a line of 16 KiB."""
MAX_MEMORY_BYTES = 1024 * 1024
"""Of RE2's programs and automata. It takes a slower way, linear as well, where they do not fit."""

_REPEATED_FROM_0 = re.compile(r"(?<!\\)\{,[0-9]+\}")
"""RE2 takes it for plain text; to Python and grep it is a repetition."""
_NOT_SUPPORTED = {
    "(?=": "look-ahead",
    "(?!": "look-ahead",
    "(?<=": "look-behind",
    "(?<!": "look-behind",
    "(?>": "an atomic group",
    "(?(": "a condition",
    "(?P": "a reference to a group",
    "(?#": "a comment",
    "(?x": "the flag x",
    "*+": "a possessive repetition",
    "++": "a possessive repetition",
    "?+": "a possessive repetition",
}
"""By how it begins."""
_USE_INSTEAD = {r"\Z": r"\z", r"\u": r"\x{…}", r"\U": r"\x{…}", r"\N": r"\x{…}"}


class LinePattern:
    """A regular expression that is searched for in lines."""

    def __init__(self, text: str) -> None:
        """Take the expression. Raises ValueError with what is wrong, in words, and where."""
        if not text:
            raise ValueError("an empty one is found in every line")
        try:
            too_long = len(text.encode()) > MAX_BYTES
        except UnicodeEncodeError:
            raise ValueError("it is not Unicode text") from None
        if too_long:
            raise ValueError(f"it is longer than {MAX_BYTES} bytes")
        if (found := _REPEATED_FROM_0.search(text)) is not None:
            raise ValueError(_placed(f"write {{0{found[0][1:]} for {found[0]}", found.start()))
        options = re2.Options()
        options.max_mem = MAX_MEMORY_BYTES
        options.never_capture = True
        options.log_errors = False
        try:
            self._compiled = re2.compile(text, options)
        except re2.error as error:
            raise ValueError(_reason(text, error.args[0].decode(errors="replace"))) from None
        size = max(self._compiled.programsize, self._compiled.reverseprogramsize)
        if size > MAX_INSTRUCTIONS:
            raise ValueError(f"it is too large ({size} steps of {MAX_INSTRUCTIONS}); {_SMALLER}")

    def found_in(self, line: bytes) -> bool:
        """Return whether it is found in a line; bytes that are not UTF-8 are read as the replacement character."""
        text = line if line.isascii() else line.decode(errors="replace").encode()
        return self._compiled.search(text) is not None


_SMALLER = "use smaller numbers in repetitions, or fewer alternatives"


def _reason(text: str, said: str) -> str:
    """Return in words why RE2 refuses an expression; `said` is its message: a sentence, a colon, and the place."""
    what, _, part = said.partition(": ")
    start = next((start for start in _NOT_SUPPORTED if part.endswith(start)), "")
    if start:
        # A named group, which is supported, begins like a reference to one.
        what, part = f"{_NOT_SUPPORTED[start]} is not supported", "(?P=" if start == "(?P" else start
    elif part.startswith("\\") and part[1:].isdecimal():
        what = "a reference to a group is not supported"
    elif what == "invalid perl operator":
        what = f"{part} is not supported"
    elif part in _USE_INSTEAD:
        what = f"{part} is not supported; use {_USE_INSTEAD[part]}"
    elif what == "invalid repetition size":
        what = "the numbers of a repetition must ascend, and be at most 1000 with those around it"
    elif what.startswith("pattern too large"):
        what = f"it is too large; {_SMALLER}"
    return _placed(what, text.find(part) if part else -1)


def _placed(what: str, index: int) -> str:
    return what if index < 0 else f"at character {index + 1}: {what}"
