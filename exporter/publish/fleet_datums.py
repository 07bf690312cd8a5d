"""From fleets to datums: what is published about one period, and what that costs.

Pure. Knows the table of figures and no clock, disk or network.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.fleet.cloudwatch_catalogue import AGENT_DIMENSION, FLEET_DIMENSIONS, CloudWatchMetric
from exporter.fleet.model import Agent, AgentState, Fleet
from exporter.fleet.outlets import FleetFigure
from exporter.fleet.read_back import HIGHEST_COUNT, is_number, is_unix_time, read_json
from exporter.publish.datum import Datum, DatumSeries, distribution

Increases = Mapping[tuple[str, str], float]
"""By metric and agent (UID) or fleet (`fleet_key`): how much a counter grew since the last datum, where known."""

_FLEET = "fleet "
"""Prefix of the keys of fleets: no UID contains a space."""

# Agents that are out of sight this long (seconds) are forgotten; a list of pods that was incomplete for a moment must
# not make old restarts look new.
_FORGET_AFTER = 3600.0

# List prices of the first 10,000 metrics and of API requests in us-east-1; https://aws.amazon.com/cloudwatch/pricing/.
# More metrics than that are cheaper each, so that the estimate is an upper bound where the region costs no more.
_METRIC_MONTH_DOLLARS = 0.30
_REQUEST_DOLLARS = 0.01 / 1000
_MONTH = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The agents' counters as they stood when the last datum was made: what increases are counted from."""

    time: float
    """When that was, in Unix seconds."""
    counters: Mapping[str, Mapping[str, tuple[float, float]]]
    """By metric and agent (UID): the counter, and when it was last seen."""

    def to_json(self) -> str:
        """Return the baseline as the spool keeps it over a restart; a fleet's own counter starts again at 0."""
        of_agents = {
            metric: {uid: counter for uid, counter in counters.items() if not uid.startswith(_FLEET)}
            for metric, counters in self.counters.items()
        }
        return json.dumps({"time": self.time, "counters": of_agents}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Baseline":
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        match read_json(text):
            case {"time": time, "counters": dict(by_metric)} if is_unix_time(time):
                return cls(time, {metric: _noted(counters) for metric, counters in by_metric.items()})
        raise ValueError("it is not an object with a time and counters")


def _noted(counters: object) -> Mapping[str, tuple[float, float]]:
    """Read the counters of one metric. Raises ValueError."""
    if not isinstance(counters, dict):
        raise ValueError("a metric has no counters")
    read: dict[str, tuple[float, float]] = {}
    for uid, counter in counters.items():
        match counter:
            case [value, seen] if is_number(value, 0, HIGHEST_COUNT) and is_unix_time(seen):
                read[uid] = (value, seen)
            case _:
                raise ValueError("a counter is not a number and a time")
    return read


def count(
    metrics: Iterable[CloudWatchMetric], fleets: Sequence[Fleet], before: Baseline | None, now: float
) -> tuple[Increases, Baseline]:
    """Return by how much the agents' counters grew since `before`, and the baseline for the next time.

    Without a counter to compare with, the increase is not known, except for a pod that was made since: that one began
    at 0. What a counter that became smaller means is for the metric to define. Of a fleet whose metric is not known,
    counters stay as they were: the increase is published afterwards.
    """
    increases: dict[tuple[str, str], float] = {}
    counters: dict[str, Mapping[str, tuple[float, float]]] = {}
    for metric in metrics:
        if not metric.figure.counter:
            continue
        known = before.counters.get(metric.name, {}) if before is not None else {}
        kept = {uid: (value, seen) for uid, (value, seen) in known.items() if now - seen <= _FORGET_AFTER}
        for key, value, start_of_new in _counters(metric, fleets, before):
            start = known[key][0] if key in known else start_of_new
            if start is not None and value < start:
                start = 0.0 if metric.outlet.begins_again else value
            if start is not None:
                increases[metric.name, key] = value - start
            kept[key] = (value, now)
        counters[metric.name] = kept
    return increases, Baseline(now, counters)


def _counters(
    metric: CloudWatchMetric, fleets: Iterable[Fleet], before: Baseline | None
) -> Iterator[tuple[str, float, float | None]]:
    """Yield the key and value of each counter of a metric, and where it began if it is new; None if unknown."""
    for fleet in fleets:
        if not metric.known_of(fleet):
            continue
        if isinstance(metric.figure, FleetFigure):
            value = metric.figure.read(fleet)
            if value is not None:
                # It began with this process, which has published nothing of it yet.
                yield fleet_key(fleet), value, 0.0
            continue
        for agent in fleet.agents:
            value = metric.of_agent(agent)
            if value is not None:
                yield agent.snapshot.target.uid, value, _start_of_new(agent, before)


def fleet_key(fleet: Fleet) -> str:
    """Return the key of a fleet's own counters."""
    return f"{_FLEET}{fleet.namespace}/{fleet.name}"


def _start_of_new(agent: Agent, before: Baseline | None) -> float | None:
    facts = agent.snapshot.target.facts
    made = facts.created_time if facts is not None else None
    return 0.0 if before is not None and made is not None and made >= before.time else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is published, under which names."""

    cluster: str
    metrics: tuple[CloudWatchMetric, ...]
    storage_resolution: int = 60

    def datums(
        self, fleets: Iterable[Fleet], own_series: Iterable[tuple[Fleet, Agent]], increases: Increases, time: int
    ) -> Iterator[Datum]:
        """Yield everything known of the fleets, and of the agents that have series of their own, for the period `time`.

        A value that is not known gives no datum.
        """
        for fleet in fleets:
            for metric in self._known_of(fleet):
                yield from self._of_fleet(metric, fleet, increases, time)
        for fleet, agent in own_series:
            for metric in self._known_of(fleet):
                value = _of_agent(metric, agent, increases)
                if value is not None:
                    yield Datum(self._series(metric, fleet, agent), time, (float(value),))

    def _known_of(self, fleet: Fleet) -> Iterator[CloudWatchMetric]:
        return (metric for metric in self.metrics if metric.known_of(fleet))

    def _of_fleet(self, metric: CloudWatchMetric, fleet: Fleet, increases: Increases, time: int) -> Iterator[Datum]:
        series = self._series(metric, fleet)
        if isinstance(metric.figure, FleetFigure):
            counter = metric.figure.counter
            value = increases.get((metric.name, fleet_key(fleet))) if counter else metric.figure.in_percent(fleet)
            if value is not None:
                yield Datum(series, time, (float(value),))
            return
        values = [value for agent in fleet.agents if (value := _of_agent(metric, agent, increases)) is not None]
        if not metric.figure.counter:
            yield from distribution(series, time, values)
        elif values:
            yield Datum(series, time, (float(sum(values)),))

    def _series(self, metric: CloudWatchMetric, fleet: Fleet, agent: Agent | None = None) -> DatumSeries:
        dimensions = tuple(zip(FLEET_DIMENSIONS, (self.cluster, fleet.namespace, fleet.name), strict=True))
        if agent is not None:
            dimensions += ((AGENT_DIMENSION, agent.snapshot.target.pod),)
        return DatumSeries(metric.name, metric.unit, dimensions, self.storage_resolution)


def _of_agent(metric: CloudWatchMetric, agent: Agent, increases: Increases) -> float | None:
    if metric.figure.counter:
        return increases.get((metric.name, agent.snapshot.target.uid))
    return metric.of_agent(agent)


def with_own_series(
    fleets: Iterable[Fleet], maximum: int, before: Collection[str]
) -> tuple[list[tuple[Fleet, Agent]], int]:
    """Return the agents that get series of their own, at most `maximum` over all fleets, and how many are left out.

    Those that had them (`before`, by UID) keep them as long as they live: series that come and go cost more and show
    less. Of a pod that was re-created under its name the one that is not draining is meant.
    """
    agents = sorted(
        ((fleet, agent) for fleet in fleets for agent in fleet.agents),
        key=lambda one: (
            one[1].state is AgentState.DRAINING,
            one[1].snapshot.target.uid not in before,
            one[0].namespace,
            one[0].name,
            one[1].snapshot.target.pod,
        ),
    )
    by_name: dict[tuple[str, str, str], tuple[Fleet, Agent]] = {}
    for fleet, agent in agents:
        by_name.setdefault((fleet.namespace, fleet.name, agent.snapshot.target.pod), (fleet, agent))
    return list(by_name.values())[:maximum], max(0, len(by_name) - maximum)


def monthly_dollars(series: int, requests: int, interval: float) -> float:
    """Return what a month costs in which each interval (seconds) brings so many series in so many requests."""
    return series * _METRIC_MONTH_DOLLARS + requests * _REQUEST_DOLLARS * _MONTH / interval
