"""Generated files that are kept in the repository: written where they are not as they should be, or only compared."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@dataclass(frozen=True, slots=True)
class Block:
    """What is generated of a page that is written by hand otherwise: the lines between two marks."""

    page: Path
    begin: str
    end: str
    lines: Callable[[], Iterable[str]]


def rendered(text: str, begin: str, end: str, lines: Sequence[str]) -> str:
    """Return a page with `lines` between its two marks. Raises ValueError when it lacks them."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page must contain the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n" + "\n".join(lines).strip("\n") + f"\n\n{end}{after}"


def bring_in_step(wanted: Mapping[Path, str], *, check: bool, command: str, surplus: Iterable[Path] = ()) -> int:
    """Write what is not as wanted, and delete what is no longer; return 0.

    With `check` nothing is touched: what is out of step is named beside the `command` that mends it, and 1 is returned.
    """
    obsolete = list(surplus)
    differing = [file for file, text in wanted.items() if not _holds(file, text)]
    if not check:
        for file in obsolete:
            file.unlink()
        for file in differing:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file], encoding="utf-8")
    elif obsolete or differing:
        names = ", ".join(file.name for file in (*obsolete, *differing))
        sys.stderr.write(f"out of step, run `{command}`: {names}\n")
        return 1
    return 0


def _holds(file: Path, text: str) -> bool:
    return file.exists() and file.read_text(encoding="utf-8") == text
