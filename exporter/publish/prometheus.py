"""`/metrics`: the fleets, read through the table of figures, and the exporter's own instruments.

The exporter's instruments live in a prometheus_client registry, which also renders them. A thousand agents are 25,000
series; prometheus_client takes some 200 ms for those, in one piece. So the fleets' series are rendered here, a slice of
a family at a time, and the event loop gets its turn after each slice: a page never holds it for more than a few
milliseconds. What is rendered is frozen, so a page is of one instant however long it takes to send.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeAlias, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from exporter import __version__
from exporter.fleet.agent_figures import AGENT_FAMILIES, AGENT_FIGURES
from exporter.fleet.figures import FLEET_FAMILIES, FLEET_FIGURES, FLEET_HISTOGRAMS, SCALER_FIGURES
from exporter.fleet.model import Agent, AgentState, Fleet
from exporter.fleet.outlets import (
    AGENT_LABELS,
    FLEET_LABELS,
    Family,
    Figure,
    HistogramFamily,
    Row,
    ScalerFigure,
    counts_now,
)
from exporter.publish import instruments
from exporter.publish.instruments import Instrument
from exporter.serve.compression import stream
from exporter.store.snapshots import SnapshotStore

# Agents, or lines, gone through between two turns of the event loop: about 1 ms of work.
_SLICE = 1000

_Of = TypeVar("_Of")
_Subjects: TypeAlias = Sequence[tuple[str, _Of]]


class ExporterMetrics:
    """The exporter's own instruments, in a registry of their own.

    `outcomes` and `restart_reasons` are the label values that can occur: they start at 0, so that the first one counted
    is an increase a query can see.
    """

    def __init__(self, source: SnapshotStore, *, outcomes: Iterable[str], restart_reasons: Iterable[str]) -> None:
        # A start time per series doubles the page and adds nothing to the process' start time. The switch is global.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it without annotations
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Discovery(source))
        _gauge(instruments.BUILD_INFO, self.registry).labels(__version__).set(1)
        self._rejected_lines = _counter(instruments.REJECTED_LINES, self.registry)
        scrapes = _counter(instruments.SCRAPES, self.registry)
        self._watch_restarts = _counter(instruments.WATCH_RESTARTS, self.registry)
        self._log_lines_skipped = _counter(instruments.LOG_LINES_SKIPPED, self.registry)
        # Finding the child of a label value takes ten times as long as counting in it.
        self._scrapes_by_outcome = {outcome: scrapes.labels(outcome) for outcome in outcomes}
        for reason in restart_reasons:
            self._watch_restarts.labels(reason)
        durations = instruments.SCRAPE_DURATION
        self._scrape_duration = Histogram(
            _name(durations), durations.help, buckets=durations.buckets, registry=self.registry
        )

    def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
        """Count one finished scrape."""
        self._scrapes_by_outcome[outcome].inc()
        self._scrape_duration.observe(seconds)
        if rejected_lines:
            self._rejected_lines.inc(rejected_lines)

    def watch_restarted(self, reason: str) -> None:
        """Count one watch that ended."""
        self._watch_restarts.labels(reason).inc()

    def log_lines_skipped(self, lines: int) -> None:
        """Count lines of agents' logs that were not looked at."""
        self._log_lines_skipped.inc(lines)

    def show_lag(self, worst: Callable[[], float]) -> None:
        """Show from now on the longest recent delay of the event loop, as it is at the moment of a scrape."""
        _gauge(instruments.EVENT_LOOP_LAG, self.registry).set_function(worst)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return the gauges and counters as they are now: by name without prefix, then by label value."""
        found: dict[str, dict[str, float]] = {}
        for family in self.registry.collect():
            if family.name.startswith(instruments.EXPORTER_PREFIX) and family.type != "histogram":
                for sample in family.samples:
                    name = sample.name.removeprefix(instruments.EXPORTER_PREFIX)
                    found.setdefault(name, {})[",".join(sample.labels.values())] = sample.value
        return found

    def show_page(self, url: str) -> None:
        """Show where people find the status page."""
        _gauge(instruments.PAGE_INFO, self.registry).labels(url).set(1)

    def show_leader(self, is_leader: Callable[[], bool]) -> None:
        """Show from now on whether this replica leads, as it is at the moment of a scrape."""
        _gauge(instruments.LEADER, self.registry).set_function(is_leader)


class Backlog(Protocol):
    """What waits to be accepted by CloudWatch."""

    @property
    def spool_datums(self) -> int:
        """How many datums."""

    @property
    def spool_oldest_age(self) -> float:
        """Age in seconds of the oldest; 0 when none waits."""

    @property
    def spool_durable(self) -> bool:
        """Whether what waits survives a restart."""


class CloudWatchMetrics:
    """The instruments of publishing to CloudWatch; made only where that is set up.

    The outcomes are the label values that can occur, as for `ExporterMetrics`.
    """

    def __init__(
        self, registry: CollectorRegistry, *, datum_outcomes: Iterable[str], request_outcomes: Iterable[str]
    ) -> None:
        self._registry = registry
        self._datums = _counter(instruments.CLOUDWATCH_DATUMS, registry)
        self._requests = _counter(instruments.CLOUDWATCH_REQUESTS, registry)
        for outcome in datum_outcomes:
            self._datums.labels(outcome)
        for outcome in request_outcomes:
            self._requests.labels(outcome)
        self._cost: Gauge | None = None

    def show_backlog(self, backlog: Backlog) -> None:
        """Show from now on what waits, as it is at the moment of a scrape."""
        _gauge(instruments.CLOUDWATCH_SPOOL_DATUMS, self._registry).set_function(lambda: backlog.spool_datums)
        _gauge(instruments.CLOUDWATCH_SPOOL_OLDEST_AGE, self._registry).set_function(lambda: backlog.spool_oldest_age)
        _gauge(instruments.CLOUDWATCH_SPOOL_DURABLE, self._registry).set_function(lambda: backlog.spool_durable)

    def cloudwatch_requested(self, outcome: str) -> None:
        """Count one request."""
        self._requests.labels(outcome).inc()

    def cloudwatch_datums(self, outcome: str, count: int) -> None:
        """Count datums that are done with."""
        self._datums.labels(outcome).inc(count)

    def cloudwatch_cost(self, dollars_per_month: float) -> None:
        """Set the estimate; there is no series before the first, since nothing is known then."""
        if self._cost is None:
            self._cost = _gauge(instruments.CLOUDWATCH_COST, self._registry)
        self._cost.set(dollars_per_month)


class ExternalMetricsMetrics:
    """The instrument of the external metrics API; made only where that is set up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = _counter(instruments.EXTERNAL_METRICS_REQUESTS, registry)
        for code in (200, 401, 403, 404, 503):
            self._requests.labels(str(code))

    def external_metrics_requested(self, code: int) -> None:
        """Count one answer."""
        self._requests.labels(str(code)).inc()


class _Discovery(Collector):
    """Reads how discovery stands at the moment of the scrape; an age that is not known yet has no series."""

    def __init__(self, source: SnapshotStore) -> None:
        self._source = source

    def collect(self) -> Iterator[GaugeMetricFamily]:
        targets = instruments.DISCOVERY_TARGETS
        yield GaugeMetricFamily(_name(targets), targets.help, value=self._source.targets())
        age = self._source.sync_age()
        if age is not None:
            sync_age = instruments.DISCOVERY_SYNC_AGE
            yield GaugeMetricFamily(_name(sync_age), sync_age.help, value=age)


def _name(instrument: Instrument) -> str:
    return instruments.EXPORTER_PREFIX + instrument.name


def _counter(instrument: Instrument, registry: CollectorRegistry) -> Counter:
    return Counter(_name(instrument), instrument.help, instrument.labels, registry=registry)


def _gauge(instrument: Instrument, registry: CollectorRegistry) -> Gauge:
    return Gauge(_name(instrument), instrument.help, instrument.labels, registry=registry)


class MetricsPage:
    """The handler of `/metrics`."""

    def __init__(self, source: SnapshotStore, registry: CollectorRegistry) -> None:
        self._source = source
        self._registry = registry

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with the page in the format and compression the client asks for."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        openmetrics = content_type.startswith("application/openmetrics-text")

        def pieces() -> Iterator[bytes]:
            fleets = filter(None, map(self._source.fleet, self._source.fleet_keys()))
            for piece in render(fleets, openmetrics=openmetrics):
                # What is no character cannot be written, and must not cost everybody the page.
                yield piece.encode(errors="replace")
            # Last, because in OpenMetrics it brings the mark of the page's end with it.
            yield encode(self._registry)

        return await stream(request, pieces(), {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"})


def render(fleets: Iterable[Fleet], *, openmetrics: bool) -> Iterator[str]:
    """Yield the series of the fleets and their agents in pieces, each after at most some thousand agents and lines.

    A piece is empty where so many agents had nothing to show, and after each fleet, which is computed when it is taken.
    """
    of_fleets: list[tuple[str, Fleet]] = []
    for fleet in fleets:
        of_fleets.append((_labels(FLEET_LABELS, (fleet.namespace, fleet.name)), fleet))
        yield ""
    of_scalers = [
        (_labels((*FLEET_LABELS, *ScalerFigure.labels), (fleet.namespace, fleet.name, scaler.name)), scaler)
        for _, fleet in of_fleets
        for scaler in fleet.scalers or ()
    ]
    of_agents: list[tuple[str, Agent]] = []
    for _, fleet in of_fleets:
        agents = iter(_one_per_pod(fleet.agents))
        while part := list(islice(agents, _SLICE)):
            pods = [(fleet.namespace, fleet.name, agent.snapshot.target.pod) for agent in part]
            of_agents += zip((_labels(AGENT_LABELS, pod) for pod in pods), part, strict=True)
            yield ""
    yield from _families(FLEET_FAMILIES, of_fleets, openmetrics=openmetrics)
    yield from _figures(FLEET_FIGURES, of_fleets, openmetrics=openmetrics)
    for histogram in FLEET_HISTOGRAMS:
        yield from _sliced(histogram, _histogram_lines(histogram, of_fleets), openmetrics=openmetrics)
    yield from _figures(SCALER_FIGURES, of_scalers, openmetrics=openmetrics)
    yield from _families(AGENT_FAMILIES, of_agents, openmetrics=openmetrics)
    yield from _figures(AGENT_FIGURES, of_agents, openmetrics=openmetrics, shown=counts_now)


def _one_per_pod(agents: Sequence[Agent]) -> Iterable[Agent]:
    """Return the agents with each pod name once: two series with the same labels would cost the reader the page.

    A pod that was deleted and re-created under its name is two agents for as long as the old one drains; the new one is
    shown. Both count in the fleet's figures.
    """
    by_pod: dict[str, Agent] = {}
    for agent in agents:
        pod = agent.snapshot.target.pod
        if pod not in by_pod or agent.state is not AgentState.DRAINING:
            by_pod[pod] = agent
    return by_pod.values()


def _families(families: Iterable[Family[_Of]], subjects: _Subjects[_Of], *, openmetrics: bool) -> Iterator[str]:
    for family in families:
        yield from _sliced(family, _labelled_lines(family, subjects), openmetrics=openmetrics)


def _figures(
    figures: Iterable[Figure[_Of]],
    subjects: _Subjects[_Of],
    *,
    openmetrics: bool,
    shown: Callable[[Figure[_Of], _Of], bool] = lambda _figure, _subject: True,
) -> Iterator[str]:
    for figure in figures:
        if figure.metrics is True:
            yield from _sliced(figure, _lines(figure, subjects, shown), openmetrics=openmetrics)


def _sliced(row: Row[Any], lines: Iterator[str], *, openmetrics: bool) -> Iterator[str]:
    """Yield one family in slices; nothing but empty ones if it has no series."""
    # OpenMetrics names the family of a counter without the suffix of its samples.
    name = row.metric_name.removesuffix("_total") if openmetrics and row.type == "counter" else row.metric_name
    header = f"# HELP {name} {row.explained('Absent')}\n# TYPE {name} {row.type}\n"
    while part := list(islice(lines, _SLICE)):
        if piece := "".join(part):
            piece, header = header + piece, ""
        yield piece


# Each of these yields something for each subject, if only an empty line, so that a slice ends in time without any.


def _lines(figure: Figure[_Of], subjects: _Subjects[_Of], shown: Callable[[Figure[_Of], _Of], bool]) -> Iterator[str]:
    name, read = figure.metric_name, figure.read
    for labels, subject in subjects:
        value = read(subject) if shown(figure, subject) else None
        yield f"{name}{{{labels}}} {float(value)!r}\n" if value is not None else ""


def _labelled_lines(family: Family[_Of], subjects: _Subjects[_Of]) -> Iterator[str]:
    name = family.metric_name
    for labels, subject in subjects:
        yield ""
        for own_labels, value in family.read(subject):
            yield f"{name}{{{labels},{_labels(family.labels, own_labels)}}} {float(value)!r}\n"


def _histogram_lines(row: HistogramFamily[_Of], subjects: _Subjects[_Of]) -> Iterator[str]:
    name = row.metric_name
    for labels, subject in subjects:
        yield ""
        histogram = row.read(subject)
        if histogram is None:
            continue
        for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
            yield f'{name}_bucket{{{labels},le="{bound}"}} {float(count)!r}\n'
        yield f"{name}_count{{{labels}}} {float(histogram.counts[-1])!r}\n"
        yield f"{name}_sum{{{labels}}} {histogram.sum!r}\n"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
