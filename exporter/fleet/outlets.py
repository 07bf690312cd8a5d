"""The rows of the tables of figures: one number, and for every outlet its name there or why it has none.

The rows are in `figures` (fleets and autoscalers) and `agent_figures`. Publishers, the documentation and the checks of
dashboards and alerts filter them; none has a list of its own. A reader returns None for "not known" and never 0.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Generic, Literal, TypeAlias, TypeVar

from exporter.fleet.histogram import Histogram
from exporter.fleet.model import Agent, Fleet
from exporter.fleet.scaler import Scaler

PREFIX = "matillion_fleet_"
"""Prefix of every name on `/metrics` and in the external metrics API."""
FLEET_LABELS = ("namespace", "fleet")
AGENT_LABELS = ("namespace", "fleet", "pod")

LabeledValue = tuple[tuple[str, ...], float]
"""The values of a family's own labels, in their order, and the series' value."""
_Of = TypeVar("_Of")


class Unit(StrEnum):
    """What a figure counts."""

    TASKS = "tasks"
    AGENTS = "agents"
    RATIO = "ratio"
    """A share of 1. Its name on `/metrics` ends in `_ratio`; CloudWatch and the external metrics API take percent."""
    BYTES = "bytes"
    SECONDS = "seconds"
    COUNT = "count"
    FLAG = "true or false"


class Basis(StrEnum):
    """The data a figure is based on, which must be known."""

    READINGS = "readings"
    """The agents' own pages. An agent's figure counts while its reading is fresh. CloudWatch and scalers get a fleet's
    while the fleet is trusted: what a part of the agents adds up to is no figure."""
    KUBERNETES = "Kubernetes"
    """What Kubernetes says of the pods, their logs included: known while the list of agents is current."""
    EXPORTER = "the exporter"
    """What the exporter knows about itself: its settings, the results of its scrapes."""


class MetricSet(StrEnum):
    """Selections of CloudWatch metrics, each containing the one before it."""

    MINIMAL = "minimal"
    """What an autoscaler and a first overview need."""
    DEFAULT = "default"
    """In addition, everything the alarms and the dashboard use."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Without:
    """Why an outlet deliberately lacks a figure."""

    reason: str


@dataclass(frozen=True, slots=True)
class CloudWatch:
    """A figure as a CloudWatch metric. Each is billed, so there are few.

    A fleet's is one number. An agent's is a distribution over the fleet's agents in one datum, rounded to whole numbers
    (a datum holds at most 150 different ones), so that minimum, maximum and percentiles are the fleet's; of a counter
    it is by how much the agents' counters grew since the last datum, and likewise of a fleet's own counter.
    """

    name: str
    smallest_set: MetricSet
    draining: bool = True
    """Whether agents that are draining are in the distribution."""
    at_rest: bool = True
    """Whether it is published of a fleet that is scaled to 0; its alarm would mistake that for an outage."""
    begins_again: bool = False
    """Whether a lower count means a restart from 0; otherwise it is a correction, which is no increase."""


@dataclass(frozen=True, slots=True)
class Figure(Generic[_Of]):
    """One number read from values of type `_Of`, and its outlets."""

    scope: ClassVar[str] = ""
    """What stands before the name on `/metrics`."""
    labels: ClassVar[tuple[str, ...]] = ()
    """Labels on `/metrics` besides those every series of the scope has."""

    name: str
    unit: Unit
    rests_on: Basis
    read: Callable[[_Of], float | None]
    help: str
    unknown: str = field(default="", kw_only=True)
    """When it is not known, to be read after "while"; empty where it always is."""
    counter: bool = field(default=False, kw_only=True)
    metrics: Literal[True] | Without = field(default=True, kw_only=True)
    json: str | Without = field(default="", kw_only=True)
    """Its key, with the section it stands in (`kubernetes.restarts`); empty where that is its name."""
    cloudwatch: CloudWatch | Without = field(kw_only=True)
    external: Literal[True] | Without = field(kw_only=True)
    history: Literal[True] | Without = field(kw_only=True)

    @property
    def metric_name(self) -> str:
        """Return its name on `/metrics`."""
        suffix = "_total" if self.counter else "_ratio" if self.unit is Unit.RATIO else ""
        return f"{PREFIX}{self.scope}{self.name}{suffix}"

    @property
    def type(self) -> Literal["gauge", "counter"]:
        """Return its type on `/metrics`."""
        return "counter" if self.counter else "gauge"

    @property
    def external_name(self) -> str:
        """Return its name in the external metrics API."""
        return f"{PREFIX}{self.name}{'_percent' if self.unit is Unit.RATIO else ''}"

    @property
    def json_key(self) -> str | None:
        """Return its key in the JSON documents, with its section; None where it is in none."""
        return None if isinstance(self.json, Without) else self.json or self.name

    def in_percent(self, subject: _Of) -> float | None:
        """Return the value as CloudWatch and scalers take it: a ratio in percent."""
        value = self.read(subject)
        return 100 * value if value is not None and self.unit is Unit.RATIO else value

    def explained(self, withheld: str, *further: str) -> str:
        """Return the help with when it is not known, in an outlet's word for that: "Absent", "Not published"."""
        return " ".join((self.help, *further, *((f"{withheld} while {self.unknown}.",) if self.unknown else ())))


@dataclass(frozen=True, slots=True)
class FleetFigure(Figure[Fleet]):
    """A figure of a fleet; the names of its columns in the history are those of the rows."""


_OF_FLEETS = Without("figures of fleets only")


@dataclass(frozen=True, slots=True)
class AgentFigure(Figure[Agent]):
    """A figure of an agent. JSON shows it beside its age when it has grown too old for the other outlets."""

    scope: ClassVar[str] = "agent_"

    external: Literal[True] | Without = field(default=_OF_FLEETS, kw_only=True)
    history: Literal[True] | Without = field(default=_OF_FLEETS, kw_only=True)


@dataclass(frozen=True, slots=True)
class ScalerFigure(Figure[Scaler]):
    """A figure of a fleet's autoscaler."""

    scope: ClassVar[str] = "scaler_"
    labels: ClassVar[tuple[str, ...]] = ("scaler",)

    cloudwatch: CloudWatch | Without = field(default=Without("figures of fleets and agents only"), kw_only=True)
    external: Literal[True] | Without = field(default=_OF_FLEETS, kw_only=True)
    history: Literal[True] | Without = field(default=_OF_FLEETS, kw_only=True)


@dataclass(frozen=True, slots=True)
class Family(Generic[_Of]):
    """What only labels can say, on `/metrics`: a state, a reason, a version. JSON has it in words."""

    name: str
    labels: tuple[str, ...]
    """As those of a figure."""
    read: Callable[[_Of], Iterable[LabeledValue]]
    help: str
    json: str
    """The key, or keys, that say the same in the JSON documents."""
    counter: bool = False
    metrics: ClassVar[Literal[True]] = True

    @property
    def metric_name(self) -> str:
        """Return its name on `/metrics`."""
        return f"{PREFIX}{self.name}{'_total' if self.counter else ''}"

    @property
    def type(self) -> Literal["gauge", "counter"]:
        """Return its type on `/metrics`."""
        return "counter" if self.counter else "gauge"

    def explained(self, _withheld: str) -> str:
        """Return the help."""
        return self.help


@dataclass(frozen=True, slots=True)
class HistogramFamily(Generic[_Of]):
    """A histogram on `/metrics`, where a query computes any quantile from it. JSON has one of them."""

    name: str
    read: Callable[[_Of], Histogram | None]
    help: str
    unknown: str
    """As that of a figure."""
    json: str
    """The key of a quantile in the JSON documents."""
    labels: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[Literal[True]] = True
    type: ClassVar[Literal["histogram"]] = "histogram"

    @property
    def metric_name(self) -> str:
        """Return its name on `/metrics`, without the suffixes of its series."""
        return PREFIX + self.name

    def explained(self, withheld: str) -> str:
        """Return the help with when it is not known, as that of a figure."""
        return f"{self.help} {withheld} while {self.unknown}."


Row: TypeAlias = Figure[_Of] | Family[_Of] | HistogramFamily[_Of]
"""A row of any of the tables."""


def counts_now(figure: Figure[Agent], agent: Agent) -> bool:
    """Return whether an agent's figure is current: an old reading counts as unknown."""
    return agent.fresh or figure.rests_on is not Basis.READINGS


def in_section(
    figures: Iterable[Figure[_Of]], section: str = ""
) -> Iterator[tuple[str, Callable[[_Of], float | None]]]:
    """Yield the keys of a section of a JSON document, or of the document itself, and how each is read."""
    for figure in figures:
        where, _, key = (figure.json_key or "").rpartition(".")
        if key and where == section:
            yield key, figure.read
