"""Writes every generated file of docs and chart: `python -m tools.build`; with `--check` only compares.

The prose around generated tables is written by hand and left alone. Exit 1 when a file is out of step and `--check` is
given.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tools import build_chart, build_cloudwatch, build_configuration, build_http, build_metrics, build_scaling
from tools.generated import Block, bring_in_step, rendered

PAGES = (build_configuration, build_metrics, build_scaling, build_chart)
"""Those with one block; the others have several."""


def wanted() -> dict[Path, str]:
    """Return what every generated file should hold."""
    pages: dict[Path, str] = {}
    single = (Block(page.PAGE, page.BEGIN, page.END, page.tables) for page in PAGES)
    for block in (*single, *build_cloudwatch.blocks(), *build_http.blocks()):
        text = pages.get(block.page) or block.page.read_text(encoding="utf-8")
        pages[block.page] = rendered(text, block.begin, block.end, list(block.lines()))
    return pages | dict(build_chart.files())


def main(arguments: Sequence[str]) -> int:
    """Write the files, or say which are out of step."""
    return bring_in_step(wanted(), check="--check" in arguments, command="make docs", surplus=build_chart.surplus())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
