"""Which of its pods a ReplicaSet deletes first."""

import random
from dataclasses import replace
from typing import Any

import pytest

from exporter.fleet.protection import COST
from exporter.simulation.nodes import Node
from exporter.simulation.pod import Pod
from exporter.simulation.replica_set import deletion_order

NOW = 100_000.0


def costing(cost: int) -> dict[str, str]:
    return {COST: str(cost)}


def pod(number: int, **fields: Any) -> Pod:
    """Return a pod on a node of its own that is Ready for an hour."""
    made = Pod(number, created_at=NOW - 4000.0, ready_since=NOW - 3600.0, ran=True, node=Node(number))
    return replace(made, **fields)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({"node": None, "ran": False, "ready_since": None}, id="no node"),
        pytest.param({"ran": False, "ready_since": None}, id="pending"),
        pytest.param({"annotations": costing(1)}, id="cheaper"),
        pytest.param({"ready_since": NOW - 600.0, "annotations": costing(5)}, id="ready for a shorter time"),
    ],
)
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
def test_a_replica_set_deletes_the_lower_rank_first(first: dict[str, Any], numbers: tuple[int, int]) -> None:
    """Whatever its UID."""
    low, high = pod(numbers[0], **first), pod(numbers[1], annotations=costing(5))
    assert deletion_order([high, low], NOW) == [low, high]


def test_a_rank_counts_only_where_those_above_it_are_equal() -> None:
    """From the pod that waits for a node to the one that is alone on its node, and has been Ready for long."""
    waiting = pod(1, node=None, ran=False, ready_since=None, annotations=costing(9))
    pending = pod(2, ran=False, ready_since=None, annotations=costing(8))
    crashed = pod(3, ready_since=None, restarts=4, annotations=costing(7))
    crashed_less = pod(4, ready_since=None, restarts=1, annotations=costing(7))
    cheap = pod(5, annotations=costing(1), ready_since=NOW - 90_000.0)
    shared = Node(67)
    crowded = [
        pod(number, annotations=costing(2), node=shared, ready_since=NOW - 90_000.0 / number**9) for number in (7, 6)
    ]
    young, old = pod(8, annotations=costing(2), ready_since=NOW - 60.0), pod(9, annotations=costing(2))
    order = [waiting, pending, crashed, crashed_less, cheap, *crowded, young, old]
    mixed = random.Random(1).sample(order, len(order))  # noqa: S311 - a simulation
    assert deletion_order(mixed, NOW) == order


def test_pods_of_about_the_same_age_are_deleted_in_no_order() -> None:
    """Within a power of two of their times the UID decides: neither the newest first, nor the oldest."""
    pods = [pod(number, ready_since=NOW - 5000.0 - number) for number in range(20)]
    numbers = [one.number for one in deletion_order(pods, NOW)]
    assert numbers not in (sorted(numbers), sorted(numbers, reverse=True))
