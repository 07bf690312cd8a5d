"""Writes the tables of docs/cloudwatch.md: what is published, from the table of figures, and what that costs."""

from collections.abc import Iterator

from exporter.fleet.cloudwatch_catalogue import CLOUDWATCH_METRICS, CloudWatchMetric, select
from exporter.fleet.outlets import AgentFigure, FleetFigure, MetricSet
from exporter.publish.fleet_datums import monthly_dollars
from tools.generated import DOCS, Block

PAGE = DOCS / "cloudwatch.md"
_END = "<!-- End of the generated table. -->"


def blocks() -> Iterator[Block]:
    """Yield the two tables."""
    figures = "<!-- This table is generated (make docs) from exporter/fleet/figures.py and agent_figures.py. -->"
    yield Block(PAGE, figures, _END, _metrics)
    yield Block(PAGE, "<!-- This table is generated (make docs) from the estimate of the cost. -->", _END, _costs)


def _metrics() -> Iterator[str]:
    yield "| metric | unit | rests on | in the sets | of an agent too | meaning |"
    yield "| --- | --- | --- | --- | --- | --- |"
    order = list(MetricSet)
    for metric in CLOUDWATCH_METRICS:
        sets = ", ".join(order[order.index(metric.outlet.smallest_set) :])
        own = "" if isinstance(metric.figure, FleetFigure) else "yes"
        yield f"| `{metric.name}` | {metric.unit} | {metric.figure.rests_on} | {sets} | {own} | {_meaning(metric)} |"


def _meaning(metric: CloudWatchMetric) -> str:
    if isinstance(metric.figure, FleetFigure):
        return metric.figure.explained("Not published", *(["What came since the last datum."] * metric.figure.counter))
    of_agents = f"A distribution over the agents{'' if metric.outlet.draining else ' that are not draining'}."
    added_up = "What came since the last datum, of all agents."
    return metric.figure.explained("Not published", added_up if metric.figure.counter else of_agents)


def _costs() -> Iterator[str]:
    one_fleet = {chosen: monthly_dollars(len(select([chosen])), 0, 60) for chosen in ("minimal", "default")}
    minute, ten_seconds = monthly_dollars(0, 1, 60), monthly_dollars(0, 1, 10)
    own = sum(isinstance(metric.figure, AgentFigure) for metric in select(["default"]))
    yield from ("| what | a month |", "| --- | --- |")
    yield f"| one fleet, `minimal` | ${one_fleet['minimal']:.2f} and ${minute:.2f} for the requests |"
    yield f"| one fleet, `default` | ${one_fleet['default']:.2f} and the same |"
    together = "and the same: all fleets of a minute are one request"
    yield f"| ten fleets, `default` | ${10 * one_fleet['default']:.0f} {together} |"
    yield f"| 50 agents with their own series | ${monthly_dollars(50 * own, 0, 60):.0f} more |"
    yield f"| `interval: 10s` instead of a minute | ${ten_seconds:.2f} for the requests instead of ${minute:.2f} |"
