"""What is wrong with a configuration, as shown to a person: every problem at once, one line each.

Nothing given is shown without passing `shown`, which keeps credentials out.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

Path = tuple[str | int, ...]
"""Where a setting is: keys, and positions in lists."""

_MAX_SHOWN_LENGTH = 80
_MAX_MESSAGE_LENGTH = 1000
"""Characters. The longest message of our own lists the keys of a section, 300; libraries' may quote the file."""
_MAX_SHOWN_PROBLEMS = 200
"""More than anyone reads; a list of targets that is another list has one for each."""
_CREDENTIALS = re.compile(r"(?<![^\s/\"])[^\s/\"]+@")
"""A search begins where a word does, so that its time is linear in the text."""
_SIMPLE_KEY = re.compile(rf"[A-Za-z0-9_.-]{{1,{_MAX_SHOWN_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Without a path it concerns the file as a whole."""

    path: Path
    message: str
    origin: str | None = None
    """The environment variable the setting came from."""
    line: int | None = None
    """Where the setting is in its file, counted from 1; None if it is not there."""

    def __str__(self) -> str:
        """Return the line for a person."""
        at = "" if self.line is None else f"line {self.line}"
        place = _cut(self.origin or dotted(self.path), _MAX_MESSAGE_LENGTH)
        return ": ".join(part for part in (at, place, _cut(self.message, _MAX_MESSAGE_LENGTH)) if part)


class ConfigError(ValueError):
    """The configuration cannot be used. Its text is the whole report, one problem a line after a heading."""

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(subject, self.problems)

    def __str__(self) -> str:
        """Return the report; a single problem is one line, and of very many the first are shown."""
        if len(self.problems) == 1:
            return f"{self.subject}: {self.problems[0]}"
        more = len(self.problems) - _MAX_SHOWN_PROBLEMS
        rest = [f"and {more} more"] if more > 0 else []
        lines = [*map(str, self.problems[:_MAX_SHOWN_PROBLEMS]), *rest]
        return "\n  ".join([f"{self.subject}: {len(self.problems)} problems", *lines])


def placed(problems: Iterable[Problem], lines: Mapping[Path, int]) -> list[Problem]:
    """Return the problems with their lines and in the order of the file; those of other places come last.

    `lines` has the line of each path in the file. What is not there belongs to the innermost section that is.
    """
    found = [one if one.origin or not one.path else replace(one, line=_line(one.path, lines)) for one in problems]
    return sorted(found, key=lambda one: (one.line is None and bool(one.path or one.origin), one.line or 0))


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    return next((lines[part] for length in range(len(path), 0, -1) if (part := path[:length]) in lines), None)


def dotted(path: Path) -> str:
    """Write a path as `discovery.static.targets[2].address`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _SIMPLE_KEY.fullmatch(part) else shown(part)
            text += f".{key}" if text else key
    return text


def shown(value: object) -> str:
    """Write what was given as it would stand in the file: on one line, cut to a readable length, credentials masked."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    text = _CREDENTIALS.sub("***@", str(value)) if isinstance(value, str) else value
    return _cut(json.dumps(text, ensure_ascii=False, default=str), _MAX_SHOWN_LENGTH)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
