"""`python -m benchmarks.parts`: what the steps of the exporter's work take by themselves, each in a loop.

No target hangs on these numbers, and a loop runs with warm caches: `benchmarks.scrape` measures what a scrape costs in
service. They tell where time goes, and what a change of one step would bring.
"""

import gc
import time
import timeit
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from benchmarks.scrape import agents
from exporter.fleet import dialect
from exporter.fleet.agent_figures import AGENT_FAMILIES, AGENT_FIGURES
from exporter.fleet.capacity import aggregate
from exporter.fleet.figures import FLEET_FAMILIES, FLEET_FIGURES
from exporter.fleet.model import Agent, AgentSnapshot, Fleet, Target
from exporter.fleet.outlets import AGENT_LABELS, FLEET_LABELS, Family, Figure, LabeledValue
from exporter.fleet.policy import Policy
from exporter.publish.prometheus import render

_Of = TypeVar("_Of")
_FLEET_ROWS: tuple[Family[Fleet] | Figure[Fleet], ...] = (*FLEET_FAMILIES, *FLEET_FIGURES)
_AGENT_ROWS: tuple[Family[Agent] | Figure[Agent], ...] = (*AGENT_FAMILIES, *AGENT_FIGURES)
_FLEETS = 12
_ROUNDS = 5
_LONG_ENOUGH = 0.2


def main() -> None:
    """Print a table."""
    page, sample_count = agents.page()
    known = dialect.AgentPages()
    rows = [
        (f"read a page of {len(page) / 1024:.0f} KiB, {sample_count} samples", _ms(lambda: known.read(page))),
        ("the same with labels never seen before", _ms(lambda: dialect.AgentPages().read(page))),
        ("the same with prometheus_client's parser", _ms(lambda: list(text_string_to_metric_families(page.decode())))),
    ]
    for count in (1_000, 10_000):
        snapshots = _snapshots(page, count)
        fleets = _fleets(snapshots)
        registry = CollectorRegistry()
        registry.register(_Series(fleets))
        rows += [
            (f"{count:,} agents: add up the fleets", _ms(partial(_fleets, snapshots))),
            (f"{count:,} agents: render /metrics", _ms(partial(_rendered, fleets))),
            ("the same with prometheus_client's generate_latest", _ms(partial(generate_latest, registry))),
            (f"{count:,} agents: collect garbage, all of it", _ms(gc.collect)),
            ("the same after gc.freeze", _frozen()),
        ]
    width = max(len(what) for what, _ in rows)
    print("\n".join(f"{what:<{width}}  {milliseconds:9.3f} ms" for what, milliseconds in rows))


def _ms(step: Callable[[], object]) -> float:
    """Return how long a step takes, in milliseconds: the best of some rounds, since only disturbance adds to it."""
    step()
    started = time.perf_counter()
    step()
    number = max(1, int(_LONG_ENOUGH / (time.perf_counter() - started)))
    return min(timeit.repeat(step, number=number, repeat=_ROUNDS)) / number * 1e3


def _frozen() -> float:
    gc.freeze()
    try:
        return _ms(gc.collect)
    finally:
        gc.unfreeze()


def _snapshots(page: bytes, count: int) -> dict[str, list[AgentSnapshot]]:
    """Return that many agents just read, by fleet; each has a reading of its own."""
    by_fleet: dict[str, list[AgentSnapshot]] = {}
    for number in range(count):
        fleet = f"fleet-{number % _FLEETS}"
        target = Target(uid=f"u-{number}", namespace="bench", fleet=fleet, pod=f"a-{number}", address="127.0.0.1")
        snapshot = AgentSnapshot(
            target=target,
            reading=dialect.AgentPages().read(page).reading,
            read_at=float(number % 5),
            read_time=1_767_234_600.0,
            url="http://127.0.0.1:9464/metrics",
            scrape_seconds=0.012,
        )
        by_fleet.setdefault(fleet, []).append(snapshot)
    return by_fleet


def _fleets(by_fleet: dict[str, list[AgentSnapshot]]) -> list[Fleet]:
    return [
        aggregate("bench", name, snapshots, Policy(), now=5.0, wall_now=5.0, sync_age=1.0)
        for name, snapshots in by_fleet.items()
    ]


def _rendered(fleets: Sequence[Fleet]) -> str:
    return "".join(render(fleets, openmetrics=False))


class _Series(Collector):
    """The same series as `render` writes, handed to prometheus_client as a custom collector would."""

    def __init__(self, fleets: Sequence[Fleet]) -> None:
        self._fleets = fleets

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        fleets = [((fleet.namespace, fleet.name), fleet) for fleet in self._fleets]
        yield from (_family(row, FLEET_LABELS, fleets) for row in _FLEET_ROWS if row.metrics is True)
        found = [((*labels, agent.snapshot.target.pod), agent) for labels, fleet in fleets for agent in fleet.agents]
        yield from (_family(row, AGENT_LABELS, found) for row in _AGENT_ROWS if row.metrics is True)


def _family(
    row: Family[_Of] | Figure[_Of],
    label_names: Sequence[str],
    subjects: Iterable[tuple[tuple[str, ...], _Of]],
) -> GaugeMetricFamily | CounterMetricFamily:
    kind = CounterMetricFamily if row.type == "counter" else GaugeMetricFamily
    family = kind(row.metric_name, row.help, labels=(*label_names, *row.labels))
    for labels, subject in subjects:
        for own_labels, value in _series(row, subject):
            family.add_metric((*labels, *own_labels), float(value))
    return family


def _series(row: Family[_Of] | Figure[_Of], subject: _Of) -> Iterable[LabeledValue]:
    if isinstance(row, Family):
        return row.read(subject)
    value = row.read(subject)
    return () if value is None else (((), value),)


if __name__ == "__main__":
    main()
