"""`python -m benchmarks.scaling`: simulates every way of scaling and writes the tables; `--check` only compares.

Seeded, so that the same code gives the same tables. Exit 1 when a page is out of step and `--check` is given.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.scaling.table import BEGIN, END, full, results, short
from docs.build import rendered

_ROOT = Path(__file__).parents[2]


def pages() -> Mapping[Path, str]:
    """Return the table that each page holds."""
    found = results()
    return {_ROOT / "docs" / "scaling.md": full(found), _ROOT / "README.md": short(found)}


def main(arguments: Sequence[str], tables: Callable[[], Mapping[Path, str]] = pages) -> int:
    """Write the tables, or say which pages are out of step."""
    out_of_step = []
    for page, table in tables().items():
        text = page.read_text(encoding="utf-8")
        wanted = rendered(text, BEGIN, END, [table])
        if text == wanted:
            continue
        out_of_step.append(page.name)
        if "--check" not in arguments:
            page.write_text(wanted, encoding="utf-8")
    if out_of_step and "--check" in arguments:
        sys.stderr.write(f"out of step, run `python -m benchmarks.scaling`: {', '.join(out_of_step)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
