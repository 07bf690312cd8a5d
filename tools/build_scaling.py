"""Writes the table of docs/scaling.md from the table of figures."""

from collections.abc import Iterator

from exporter.fleet.outlets import Unit
from exporter.publish.external_metrics_values import EXTERNAL_METRICS
from tools.generated import DOCS

PAGE = DOCS / "scaling.md"
BEGIN = "<!-- This table is generated (make docs) from exporter/fleet/figures.py. -->"
END = "<!-- End of the generated table. -->"

_ALWAYS = "the fleet is not trusted"


def tables() -> Iterator[str]:
    """Yield the lines of the table."""
    yield from ("| metric | what it is | not known (503) while |", "| --- | --- | --- |")
    for name, figure in EXTERNAL_METRICS.items():
        percent = " In percent, of one fleet at a time." if figure.unit is Unit.RATIO else ""
        unknown = f"{_ALWAYS}, or {figure.unknown}" if figure.unknown not in ("", _ALWAYS) else _ALWAYS
        yield f"| `{name}` | {figure.help}{percent} | {unknown} |"
