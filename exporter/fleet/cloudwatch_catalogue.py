"""What CloudWatch can be given: the figures that have an outlet there, selected by name or by set.

The publisher, the estimate of the cost, `docs/cloudwatch.md` and the checks of the alarms read this selection. A figure
that is not known is not published; nor is one of a fleet of which it is not known what the figure rests on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from exporter.fleet.agent_figures import AGENT_FIGURES
from exporter.fleet.figures import FLEET_FIGURES
from exporter.fleet.model import Agent, AgentState, Fleet
from exporter.fleet.outlets import AgentFigure, Basis, CloudWatch, FleetFigure, MetricSet, Unit, counts_now

FLEET_DIMENSIONS = ("ClusterName", "Namespace", "Fleet")
"""The dimensions of every metric, no more and no less: CloudWatch finds a series by exactly all of its dimensions."""
AGENT_DIMENSION = "AgentName"
"""What a series of a single agent has besides."""
_SETS = tuple(MetricSet)


@dataclass(frozen=True, slots=True)
class CloudWatchMetric:
    """A figure and its outlet in CloudWatch. One that is read from agents can also have a series for each of them."""

    figure: FleetFigure | AgentFigure
    outlet: CloudWatch

    @property
    def name(self) -> str:
        """Return the metric's name."""
        return self.outlet.name

    @property
    def unit(self) -> Literal["Count", "Percent"]:
        """Return the unit in CloudWatch's words."""
        return "Percent" if self.figure.unit is Unit.RATIO else "Count"

    def known_of(self, fleet: Fleet) -> bool:
        """Return whether what the metric rests on is known of a fleet; while it is not, nothing is published."""
        return fleet.trusted if self.figure.rests_on is Basis.READINGS else fleet.membership_known

    def of_agent(self, agent: Agent) -> float | None:
        """Return the value of one agent; None where it is not known, or where the metric is not read from agents."""
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
    """Return the metrics that names and sets choose, in the order of the table.

    Raises ValueError, with a sentence for the reader, for a name that is neither, or when nothing is chosen.
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
