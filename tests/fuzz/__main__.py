"""Fuzzes all targets, one after the other: `make fuzz ARGS="--seconds 3600"`.

What it finds is left in `build/fuzz`, with the traceback on standard error. It becomes a file of the corpus, where each
test run tries it again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer (default: another one each time)")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where texts are kept from run to run")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)} (default: all)")
    given = parser.parse_args()
    chosen = given.targets or list(TARGETS)
    if unknown := set(chosen) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    found = []
    for name in chosen:
        try:
            done = fuzz(name, given.keep / name, seconds=max(1, given.seconds // len(chosen)), seed=given.seed)
        except subprocess.CalledProcessError as error:
            found.append(name)
            sys.stderr.write(f"{name}: FOUND\n{error.stderr}\n")
        else:
            sys.stdout.write(f"{name}: {done.runs} runs, {done.features} features\n")
            sys.stdout.flush()
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
