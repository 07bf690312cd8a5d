"""Which agents a scale-in takes away: the ReplicaSet's order, the annotations behind it, and a day of waves."""

import random
from collections.abc import Mapping
from statistics import mean

import pytest

from benchmarks.scaling import record
from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.deletion_costs import DeletionCosts
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.pod import Pod
from benchmarks.scaling.replica_set import deletion_order
from benchmarks.scaling.timeline import Timeline
from benchmarks.scaling.waves import DAY_SECONDS, LOAD, SCALE_INS, WAVE_SECONDS, load

NOW = 100_000.0


def pod(number: int, **fields: object) -> Pod:
    """Return a pod on a node of its own that is Ready for an hour."""
    made = Pod(number, otel=True, created_at=NOW - 4000.0, ready_since=NOW - 3600.0, node=number)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({"node": None, "ready_since": None}, id="no node"),
        pytest.param({"ready_since": None}, id="pending"),
        pytest.param({"deletion_cost": 1}, id="cheaper"),
        pytest.param({"ready_since": NOW - 600.0, "deletion_cost": 5}, id="ready for a shorter time"),
    ],
)
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
def test_a_replica_set_deletes_the_lower_rank_first(first: dict[str, object], numbers: tuple[int, int]) -> None:
    """Whatever its UID."""
    low, high = pod(numbers[0], **first), pod(numbers[1], deletion_cost=5)
    assert deletion_order([high, low], NOW) == [low, high]


def test_a_rank_counts_only_where_those_above_it_are_equal() -> None:
    """From the pod that waits for a node to the one that is alone on its node, and has been Ready for long."""
    waiting = pod(1, node=None, ready_since=None, deletion_cost=9)
    pending = pod(2, ready_since=None, deletion_cost=8)
    crashed = pod(3, ready_since=None, life=4, restarts=4, deletion_cost=7)
    crashed_less = pod(4, ready_since=None, life=1, restarts=1, deletion_cost=7)
    cheap = pod(5, deletion_cost=1, ready_since=NOW - 90_000.0)
    crowded = [pod(number, deletion_cost=2, node=67, ready_since=NOW - 90_000.0 / number**9) for number in (7, 6)]
    young, old = pod(8, deletion_cost=2, ready_since=NOW - 60.0), pod(9, deletion_cost=2)
    order = [waiting, pending, crashed, crashed_less, cheap, *crowded, young, old]
    mixed = random.Random(1).sample(order, len(order))  # noqa: S311 - a simulation
    assert deletion_order(mixed, NOW) == order


def test_pods_of_about_the_same_age_are_deleted_in_no_order() -> None:
    """Within a power of two of their times the UID decides: neither the newest first, nor the oldest."""
    pods = [pod(number, ready_since=NOW - 5000.0 - number) for number in range(20)]
    numbers = [one.number for one in deletion_order(pods, NOW)]
    assert numbers not in (sorted(numbers), sorted(numbers, reverse=True))


def test_costs_are_what_was_read_and_are_written_once_a_minute() -> None:
    """The cost follows an agent's tasks in buckets; a pod that drains keeps what it has."""
    timeline, chance = Timeline(), random.Random(0)  # noqa: S311 - a simulation
    cluster = Cluster(timeline, chance, 2, task_seconds=1e9)
    DeletionCosts(timeline, cluster, SimulatedExporter(timeline, cluster, chance), chance)
    idle, busy = cluster.pods
    cluster.run_in_designer([busy], 7)
    timeline.run(30.0)
    costs = (idle.deletion_cost, busy.deletion_cost)
    assert costs[0] == 0
    assert costs[1] >= 7
    cluster.run_in_designer([busy], 10)
    timeline.run(45.0)
    assert busy.deletion_cost == costs[1], "a minute has not passed"
    timeline.run(120.0)
    assert busy.deletion_cost >= 17
    cluster.scale(1)
    assert [one.number for one in cluster.members] == [busy.number]
    assert cluster.tasks_taken == 0


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
