"""Writes every generated file of the documentation and the chart: `python -m docs.build`; with `--check` only compares.

The prose around generated tables is written by hand and left alone. Exit 1 when a file is out of step and `--check` is
given.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from docs import build_chart, build_cloudwatch, build_configuration, build_metrics

PAGES = (build_cloudwatch, build_configuration, build_metrics, build_chart)


def rendered(text: str, begin: str, end: str, lines: Sequence[str]) -> str:
    """Return a page with `lines` between its two marks. Raises ValueError when it lacks them."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page must contain the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n" + "\n".join(lines).strip("\n") + f"\n\n{end}{after}"


def wanted() -> dict[Path, str]:
    """Return what every generated file should hold."""
    pages = {
        page.PAGE: rendered(page.PAGE.read_text(encoding="utf-8"), page.BEGIN, page.END, list(page.tables()))
        for page in PAGES
    }
    return pages | dict(build_chart.files())


def main(arguments: Sequence[str]) -> int:
    """Write the files, or say which are out of step."""
    check = "--check" in arguments
    out_of_step = [file.name for file in build_chart.surplus()]
    if not check:
        for file in list(build_chart.surplus()):
            file.unlink()
    for file, text in wanted().items():
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        out_of_step.append(file.name)
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    if out_of_step and check:
        sys.stderr.write(f"out of step, run `make docs`: {', '.join(out_of_step)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
