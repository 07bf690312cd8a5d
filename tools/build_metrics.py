"""Writes the tables of docs/metrics.md from the catalogue."""

from collections.abc import Iterable, Iterator
from typing import Any

from exporter.fleet import catalogue
from exporter.fleet.catalogue import Metric
from exporter.publish import instruments
from exporter.publish.instruments import Instrument
from tools.generated import DOCS

PAGE = DOCS / "metrics.md"
BEGIN = "<!-- The tables from here on are generated (make docs) from exporter/fleet/catalogue.py. -->"
END = "<!-- End of the generated tables. -->"


def tables() -> Iterator[str]:
    """Yield the lines of the tables."""
    yield from _section("Fleets", catalogue.PREFIX, catalogue.FLEET_LABELS, catalogue.FLEET_METRICS)
    yield from _section("Agents", catalogue.PREFIX, catalogue.AGENT_LABELS, catalogue.AGENT_METRICS)
    yield from _section("The exporter itself", instruments.EXPORTER_PREFIX, (), instruments.EXPORTER_METRICS)


def _section(
    title: str, prefix: str, labels: tuple[str, ...], rows: Iterable[Metric[Any] | Instrument]
) -> Iterator[str]:
    common = f"Every series has the labels {', '.join(f'`{label}`' for label in labels)}." if labels else ""
    yield from (f"## {title}", "", *((common, "") if common else ()))
    yield from ("| metric | type | further labels | meaning |", "| --- | --- | --- | --- |")
    for row in rows:
        own = ", ".join(f"`{label}`" for label in row.labels)
        yield f"| `{prefix}{row.name}` | {row.type} | {own} | {row.help} |"
    yield ""
