"""Writes the table of docs/cloudwatch.md from the table of figures."""

from collections.abc import Iterator

from exporter.fleet.cloudwatch_catalogue import CLOUDWATCH_METRICS, CloudWatchMetric
from exporter.fleet.outlets import FleetFigure, MetricSet
from tools.generated import DOCS

PAGE = DOCS / "cloudwatch.md"
BEGIN = "<!-- This table is generated (make docs) from exporter/fleet/figures.py and agent_figures.py. -->"
END = "<!-- End of the generated table. -->"


def tables() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| metric | unit | rests on | in the sets | of an agent too | meaning |"
    yield "| --- | --- | --- | --- | --- | --- |"
    order = list(MetricSet)
    for metric in CLOUDWATCH_METRICS:
        sets = ", ".join(order[order.index(metric.outlet.smallest_set) :])
        own = "" if isinstance(metric.figure, FleetFigure) else "yes"
        yield f"| `{metric.name}` | {metric.unit} | {metric.figure.rests_on} | {sets} | {own} | {_meaning(metric)} |"


def _meaning(metric: CloudWatchMetric) -> str:
    if isinstance(metric.figure, FleetFigure):
        return metric.figure.explained("Not published")
    of_agents = f"A distribution over the agents{'' if metric.outlet.draining else ' that are not draining'}."
    added_up = "What came since the last datum, of all agents."
    return metric.figure.explained("Not published", added_up if metric.figure.counter else of_agents)
