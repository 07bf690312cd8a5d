"""Writes the table of docs/cloudwatch.md from the catalogue of CloudWatch metrics."""

from collections.abc import Iterator

from exporter.fleet.cloudwatch_catalogue import CLOUDWATCH_METRICS, MetricSet
from tools.generated import DOCS

PAGE = DOCS / "cloudwatch.md"
BEGIN = "<!-- This table is generated (make docs) from exporter/fleet/cloudwatch_catalogue.py. -->"
END = "<!-- End of the generated table. -->"


def tables() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| metric | unit | rests on | in the sets | of an agent too | meaning |"
    yield "| --- | --- | --- | --- | --- | --- |"
    order = list(MetricSet)
    for metric in CLOUDWATCH_METRICS:
        sets = ", ".join(order[order.index(metric.smallest_set) :])
        own = "yes" if metric.per_agent else ""
        yield f"| `{metric.name}` | {metric.unit} | {metric.rests_on} | {sets} | {own} | {metric.help} |"
