"""Writes the tables of docs/metrics.md: what is on `/metrics`, and where else each figure is, or why it is not."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exporter.fleet.agent_figures import AGENT_FAMILIES, AGENT_FIGURES
from exporter.fleet.figures import FLEET_FAMILIES, FLEET_FIGURES, FLEET_HISTOGRAMS, SCALER_FIGURES
from exporter.fleet.outlets import AGENT_LABELS, FLEET_LABELS, PREFIX, CloudWatch, Figure, Row, Without
from exporter.publish import instruments
from tools.generated import DOCS

PAGE = DOCS / "metrics.md"
BEGIN = "<!-- What follows is generated (make docs) from exporter/fleet/figures.py and agent_figures.py. -->"
END = "<!-- End of the generated tables. -->"

_Line = tuple[str, str, Sequence[str], str]
"""Name, type, further labels, meaning."""


def tables() -> Iterator[str]:
    """Yield the lines of the tables."""
    fleets: tuple[Row[Any], ...] = (*FLEET_FAMILIES, *FLEET_HISTOGRAMS, *FLEET_FIGURES, *SCALER_FIGURES)
    yield from _section("Fleets", FLEET_LABELS, _rows(fleets))
    yield from _section("Agents", AGENT_LABELS, _rows((*AGENT_FAMILIES, *AGENT_FIGURES)))
    prefix = instruments.EXPORTER_PREFIX
    own = ((prefix + one.name, one.type, one.labels, one.help) for one in instruments.EXPORTER_METRICS)
    yield from _section("The exporter itself", (), own)
    yield from _outlets()


def _rows(rows: Iterable[Row[Any]]) -> Iterator[_Line]:
    return ((row.metric_name, row.type, row.labels, row.explained("Absent")) for row in rows if row.metrics is True)


def _section(title: str, labels: tuple[str, ...], rows: Iterable[_Line]) -> Iterator[str]:
    common = f"Every series has the labels {', '.join(f'`{label}`' for label in labels)}." if labels else ""
    yield from (f"## {title}", "", *((common, "") if common else ()))
    yield from ("| metric | type | further labels | meaning |", "| --- | --- | --- | --- |")
    for name, kind, own_labels, meaning in rows:
        own = ", ".join(f"`{label}`" for label in own_labels)
        yield f"| `{name}` | {kind} | {own} | {meaning} |"
    yield ""


def _outlets() -> Iterator[str]:
    yield from ("## Where else a figure is", "")
    yield "By its name there (a series' without the prefix), or *why it is not*. The figure's own name is its JSON key."
    yield from (
        "",
        "| figure | `/metrics` | CloudWatch | external metrics | history |",
        "| --- | --- | --- | --- | --- |",
    )
    for fleet_figure in FLEET_FIGURES:
        external, history = fleet_figure.external, fleet_figure.history
        cells = (
            *_first_cells(fleet_figure),
            _cell(fleet_figure.external_name if external is True else external),
            "yes" if history is True else _cell(history),
        )
        yield f"| {' | '.join(cells)} |"
    for title, figures in (("an agent", AGENT_FIGURES), ("what scales a fleet", SCALER_FIGURES)):
        yield from ("", f"Of {title}:", "", "| figure | `/metrics` | CloudWatch |", "| --- | --- | --- |")
        yield from (f"| {' | '.join(_first_cells(figure))} |" for figure in figures)


def _first_cells(figure: Figure[Any]) -> tuple[str, str, str]:
    cloudwatch = figure.cloudwatch
    return (
        f"`{figure.name}`; {_cell(figure.json)}" if isinstance(figure.json, Without) else f"`{figure.json_key}`",
        _cell(figure.metric_name if figure.metrics is True else figure.metrics),
        _cell(cloudwatch.name if isinstance(cloudwatch, CloudWatch) else cloudwatch),
    )


def _cell(outlet: str | Without) -> str:
    return f"*{outlet.reason}*" if isinstance(outlet, Without) else f"`{outlet.removeprefix(PREFIX)}`"
