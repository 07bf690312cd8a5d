"""Draws the picture of the README: a night of a sample month, followed and ahead. `python -m tools.build_night`.

What `fleet-exporter plan` draws, as a file of its own. With `--check` it only compares.
"""

import sys
from collections.abc import Sequence

from exporter.plan.assumptions import Assumptions
from exporter.plan.charts import WIDTH, night_chart
from exporter.plan.comparison import compare
from exporter.plan.night import night
from exporter.plan.series import Series
from exporter.plan.style import STYLE
from exporter.simulation.months import SAMPLES, sample
from tools.generated import DOCS, bring_in_step

PICTURE = DOCS / "night.svg"
_STEP = 300
_DAYS = 14
"""The last of the month: half of them to learn from, half to draw the worst hours of."""
_TOP = 34
"""Height of the legend."""
_KEYS = (
    ("demand", "demand", 52),
    ("missing", "waits when demand is followed", 140),
    ("line following", "slots, following demand", 372),
    ("line ahead", "slots, ahead of it", 560),
)
"""Class, words, and where each stands."""


def picture() -> str:
    """Return the SVG, light or dark as the reader has it."""
    points = sample(SAMPLES["nightly"], "1")[-_DAYS * 86400 // _STEP :]
    plan = compare(Series(points[0][0], _STEP, [tasks for _, tasks in points]), Assumptions())
    chart = night_chart(night(plan), plan)
    height = int(chart.split('viewBox="0 0 ', 1)[1].split('"')[0].split()[1])
    legend = "".join(_key(kind, words, x) for kind, words, x in _KEYS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + _TOP}" '
        f'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{height + _TOP}" fill="var(--page)"/>{legend}'
        f'<svg y="{_TOP}" width="{WIDTH}" height="{height}"{chart.removeprefix("<svg")}</svg>\n'
    )


def _key(kind: str, words: str, x: int) -> str:
    if kind.startswith("line"):
        drawn = f'<path class="{kind}" d="M{x} 17h18"/>'
    else:
        drawn = f'<rect class="{kind}" x="{x}" y="11" width="18" height="11" rx="2"/>'
    return f'{drawn}<text x="{x + 25}" y="21">{words}</text>'


def main(arguments: Sequence[str]) -> int:
    """Write the picture, or say that it is out of step."""
    return bring_in_step({PICTURE: picture()}, check="--check" in arguments, command="make docs")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
