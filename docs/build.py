"""Writes every generated table of the documentation: `python -m docs.build`, or with `--check` only compares.

The prose around the tables is written by hand and left alone. Exit 1 when a page is out of step and `--check` is given.
"""

import sys
from collections.abc import Sequence

from docs import build_cloudwatch, build_configuration, build_metrics

PAGES = (build_cloudwatch, build_configuration, build_metrics)


def rendered(text: str, begin: str, end: str, lines: Sequence[str]) -> str:
    """Return a page with `lines` between its two marks. Raises ValueError when it lacks them."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page must contain the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n" + "\n".join(lines).strip("\n") + f"\n\n{end}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or say which are out of step."""
    out_of_step = []
    for page in PAGES:
        text = page.PAGE.read_text(encoding="utf-8")
        wanted = rendered(text, page.BEGIN, page.END, list(page.tables()))
        if text == wanted:
            continue
        out_of_step.append(page.PAGE.name)
        if "--check" not in arguments:
            page.PAGE.write_text(wanted, encoding="utf-8")
    if out_of_step and "--check" in arguments:
        sys.stderr.write(f"out of step, run `make docs`: {', '.join(out_of_step)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
