"""The figures that can be published to CloudWatch, selected by name or by set.

Used by the publisher, the cost estimate, `docs/cloudwatch.md` and the checks of the alarms. A figure is not published
while its value, or the data it is based on, is unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from exporter.fleet.agent_figures import AGENT_FIGURES
from exporter.fleet.figures import FLEET_FIGURES
from exporter.fleet.model import Agent, AgentState, Fleet
from exporter.fleet.outlets import AgentFigure, Basis, CloudWatch, FleetFigure, MetricSet, Unit, counts_now

FLEET_DIMENSIONS = ("ClusterName", "Namespace", "Fleet")
"""The exact dimensions of every metric: CloudWatch identifies a series by all of its dimensions."""
AGENT_DIMENSION = "AgentName"
"""The additional dimension of a per-agent series."""
_SETS = tuple(MetricSet)


@dataclass(frozen=True, slots=True)
class CloudWatchMetric:
    """A figure and its outlet in CloudWatch. A figure of agents can also have per-agent series."""

    figure: FleetFigure | AgentFigure
    outlet: CloudWatch

    @property
    def name(self) -> str:
        """Return the metric's name."""
        return self.outlet.name

    @property
    def unit(self) -> Literal["Count", "Percent"]:
        """Return the CloudWatch unit."""
        return "Percent" if self.figure.unit is Unit.RATIO else "Count"

    def known_of(self, fleet: Fleet) -> bool:
        """Return whether the data behind the metric is known for a fleet; if not, nothing is published."""
        if fleet.at_rest and not self.outlet.at_rest:
            return False
        return fleet.trusted if self.figure.rests_on is Basis.READINGS else fleet.membership_known

    def of_agent(self, agent: Agent) -> float | None:
        """Return the value of one agent; None if unknown, or if the metric is not a figure of agents."""
        figure = self.figure
        if isinstance(figure, FleetFigure) or not counts_now(figure, agent):
            return None
        return None if agent.state is AgentState.DRAINING and not self.outlet.draining else figure.in_percent(agent)


_FIGURES: tuple[FleetFigure | AgentFigure, ...] = (*FLEET_FIGURES, *AGENT_FIGURES)
CLOUDWATCH_METRICS = tuple(
    CloudWatchMetric(figure, figure.cloudwatch)
    for smallest_set in MetricSet
    for figure in _FIGURES
    if isinstance(figure.cloudwatch, CloudWatch) and figure.cloudwatch.smallest_set is smallest_set
)
METRIC_NAMES = tuple(metric.name for metric in CLOUDWATCH_METRICS)


def select(chosen: Iterable[str]) -> tuple[CloudWatchMetric, ...]:
    """Return the metrics selected by names and sets, in the order of the table.

    Raises ValueError, with a readable message, for an unknown name or an empty selection.
    """
    names = set(chosen)
    unknown = sorted(names - set(METRIC_NAMES) - set(MetricSet))
    if unknown:
        raise ValueError(f"there is no metric {', '.join(unknown)}")
    widest = max((_SETS.index(MetricSet(name)) for name in names & set(MetricSet)), default=-1)
    metrics = tuple(
        metric
        for metric in CLOUDWATCH_METRICS
        if metric.name in names or _SETS.index(metric.outlet.smallest_set) <= widest
    )
    if not metrics:
        raise ValueError("an empty list publishes nothing; set cloudwatch.enabled to false instead")
    return metrics
