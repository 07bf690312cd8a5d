"""`python -m benchmarks.scaling`: updates the record of the simulation and the tables made from it.

It runs a sample of the trials, and all of them where that does not give the recorded values, or with `--all`. `--check`
changes nothing, and ends with exit code 1 where the record or a page is out of step. Seeded, so that the same code
gives the same tables.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.scaling import record
from benchmarks.scaling.record import Record
from benchmarks.scaling.table import END, begin, comparison, disruption, full, short
from tools.generated import bring_in_step, rendered

_ROOT = Path(__file__).parents[2]
_COMMAND = "python -m benchmarks.scaling"


def expected(found: Record) -> Mapping[Path, str]:
    """Return every page with its tables, and the record, as they should be."""
    files = {record.FILE: record.text(found)}
    pages = {
        "docs/scaling.md": full(found),
        "docs/comparison.md": comparison(found),
        "docs/disruption.md": disruption(found),
        "README.md": short(found),
    }
    for name, tables in pages.items():
        page = _ROOT / name
        text = page.read_text(encoding="utf-8")
        for title, table in tables.items():
            text = rendered(text, begin(title), END, [table])
        files[page] = text
    return files


def main(arguments: Sequence[str]) -> int:
    """Write what is out of date, or report it."""
    check = "--check" in arguments
    found = record.load()
    stale = list(record.TRIALS) if "--all" in arguments else record.deviations(found)
    if stale and check:
        sys.stderr.write(f"{len(stale)} trials no longer show what is recorded, run `{_COMMAND}`: {', '.join(stale)}\n")
        return 1
    return bring_in_step(expected(record.simulate() if stale else found), check=check, command=_COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
