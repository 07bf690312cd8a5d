"""Which agents a scale-in takes away: the annotations behind the ReplicaSet's order, and a day of waves."""

import random
from collections.abc import Mapping
from statistics import mean

from benchmarks.scaling import record
from benchmarks.scaling.annotations import SimulatedAnnotations, annotation_rules
from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.waves import DAY_SECONDS, LOAD, SCALE_INS, WAVE_SECONDS, load
from exporter.fleet.protection import COST
from exporter.simulation.pod import Pod
from exporter.simulation.timeline import Timeline


def cost(pod: Pod) -> int:
    return int(pod.annotations.get(COST, "0"))


def test_costs_are_what_was_read_and_are_written_once_a_minute() -> None:
    """The cost follows an agent's tasks in buckets; a pod that drains keeps what it has."""
    timeline, chance = Timeline(), random.Random(0)  # noqa: S311 - a simulation
    cluster = Cluster(timeline, chance, 2, task_seconds=1e9)
    rules = annotation_rules(protection=False, deletion_cost=True)
    SimulatedAnnotations(timeline, cluster, SimulatedExporter(timeline, cluster, chance), chance, rules)
    idle, busy = cluster.pods
    cluster.run_in_designer([busy], 7)
    timeline.run(30.0)
    costs = (cost(idle), cost(busy))
    assert costs[0] == 0
    assert costs[1] >= 7
    cluster.run_in_designer([busy], 10)
    timeline.run(45.0)
    assert cost(busy) == costs[1], "a minute has not passed"
    timeline.run(120.0)
    assert cost(busy) >= 17
    cluster.scale(1)
    assert [one.number for one in cluster.members] == [busy.number]
    assert cluster.taken == 0


def test_a_day_has_four_waves() -> None:
    """The load begins and ends in a trough."""
    loads = [load(hour * 3600.0) for hour in range(25)]
    assert (min(loads), max(loads)) == LOAD
    assert loads[0] == loads[-1] == LOAD[0]
    assert DAY_SECONDS / WAVE_SECONDS == loads.count(LOAD[1]) == 4


def test_each_step_spares_tasks_and_the_patience_limits_the_cost() -> None:
    """What the table shows: tasks on agents taken away, and the hours of all agents."""
    found = record.load()
    newest, cost, endless, patient = (_means(found, name) for name in SCALE_INS)
    assert newest["tasks"] > cost["tasks"] > patient["tasks"] > endless["tasks"]
    assert newest["hours"] < patient["hours"] < endless["hours"]
    assert patient["hours"] < 1.15 * newest["hours"]


def _means(found: record.Record, scale_in: str) -> Mapping[str, float]:
    values = found[record.name_of("waves", scale_in)]
    return {name: mean(value[place] or 0.0 for value in values) for name, place in (("tasks", 1), ("hours", 3))}
