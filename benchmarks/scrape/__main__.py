"""`python -m benchmarks.scrape`: measures, prints the table, and writes it into docs/benchmarks.md.

Exit 0 when every target is met, 1 when one is missed, 2 when it cannot be measured here.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.scrape import report
from benchmarks.scrape.agents import PROGRAMS, find, workspace
from benchmarks.scrape.processes import ProgramError
from benchmarks.scrape.stages import FULL, QUICK, compare, one_core

_DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_MET, _MISSED, _NOT_MEASURED = 0, 1, 2


def main() -> int:
    """Run the measurements and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrape", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes instead of seven; writes no document")
    plan = QUICK if parser.parse_args().quick else FULL
    try:
        for program in PROGRAMS:
            find(program)
        with workspace() as directory:
            compared = compare(directory, plan, _say)
            many = one_core(directory, plan, _say)
    except ProgramError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return _NOT_MEASURED
    except KeyboardInterrupt:
        return _NOT_MEASURED
    text, missed = report.text(compared, many, plan)
    print(f"\n{text}")
    if plan is FULL:
        report.write(text, _DOCUMENT)
        _say(f"written to docs/{_DOCUMENT.name}")
    for row in missed:
        print(
            f"benchmark: {row.what}: {row.ratio or row.exporter}, target {row.target}: {row.verdict}", file=sys.stderr
        )
    return _MISSED if missed else _MET


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
