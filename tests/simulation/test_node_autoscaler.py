"""The rules of the simulated Cluster Autoscaler, each on its own."""

from itertools import count

import pytest

from exporter.fleet.protection import CLUSTER_AUTOSCALER
from exporter.simulation.node_autoscaler import EMPTY_AT_ONCE, SCAN_SECONDS, Flags, NodeAutoscaler, Plan
from exporter.simulation.nodes import LARGE, SMALL, Node, NodeSize
from exporter.simulation.pod import Pod

NOTHING = Plan()


def make(*pods: int, size: NodeSize = SMALL) -> list[Node]:
    """Return nodes with so many pods each."""
    return [
        Node(number, size, 0.0, [Pod(index, otel=True, created_at=0.0) for index in range(on)])
        for number, on in zip(count(1), pods)
    ]


def scans(
    autoscaler: NodeAutoscaler, nodes: list[Node], *, begin: float = 0.0, until: float
) -> list[tuple[float, Plan]]:
    """Let it scan, and return the plans that are not empty."""
    instants = [begin + SCAN_SECONDS * number for number in range(int((until - begin) / SCAN_SECONDS) + 1)]
    plans = [(now, autoscaler.scan(now, nodes, 0)) for now in instants]
    return [(now, plan) for now, plan in plans if plan != NOTHING]


def first(nodes: list[Node], *, until: float = 3600.0) -> tuple[float, Plan] | None:
    found = scans(NodeAutoscaler(Flags()), nodes, until=until)
    return found[0] if found else None


@pytest.mark.parametrize(("pending", "nodes"), [(1, 1), (3, 1), (4, 2), (7, 3)])
def test_pending_pods_get_as_many_nodes_as_they_fill(pending: int, nodes: int) -> None:
    """Three agents a node."""
    assert NodeAutoscaler(Flags()).scan(0.0, make(3), pending) == Plan(add=nodes)


def test_nodes_that_are_on_their_way_count() -> None:
    """Only what does not fit on them either needs more."""
    autoscaler = NodeAutoscaler(Flags())
    nodes = [*make(3), Node(2, SMALL, ready_at=90.0)]
    assert autoscaler.scan(10.0, nodes, 3) == NOTHING
    assert autoscaler.scan(20.0, nodes, 4) == Plan(add=1)


def test_a_node_is_drained_after_more_than_ten_minutes_unneeded() -> None:
    """One of three pods is 27% of what the node has."""
    nodes = make(2, 1)
    assert first(nodes) == (610.0, Plan(remove=(nodes[1],)))


@pytest.mark.parametrize(
    ("pods", "removed"), [((4, 3), True), ((4, 4), False)], ids=["39% of the node", "52% of the node"]
)
def test_a_node_at_half_of_its_requests_is_needed(pods: tuple[int, int], removed: bool) -> None:
    """Even where its pods would fit elsewhere."""
    nodes = [*make(*pods, size=LARGE), *make(4, size=LARGE)]
    found = first(nodes)
    assert found == ((610.0, Plan(remove=(nodes[1],))) if removed else None)


def test_a_node_whose_pods_fit_nowhere_else_is_needed() -> None:
    """The others are full."""
    assert first(make(3, 3, 1)) is None


def test_pods_that_find_the_same_place_do_not_free_two_nodes() -> None:
    """The place is taken by the first one's."""
    nodes = make(2, 1, 1)
    found = first(nodes)
    assert found is not None
    assert found[1] == Plan(remove=(nodes[1],))


def test_terminating_pods_count_and_need_a_place() -> None:
    """Two of three make a node needed, whether or not they terminate; one that fits nowhere does too."""
    nodes = make(2, 2)
    for node in nodes:
        node.pods[0].deleted_at = 0.0
    assert first(nodes) is None
    nodes = make(3, 1)
    nodes[1].pods[0].deleted_at = 0.0
    assert first(nodes) is None


@pytest.mark.parametrize("terminating", [False, True])
def test_one_pod_that_is_not_safe_to_evict_keeps_its_node(terminating: bool) -> None:
    """A terminating one too. Without the annotation, or with another value, the node goes."""
    nodes = make(2, 1)
    (pod,) = nodes[1].pods
    pod.deleted_at = 0.0 if terminating else None
    pod.annotations = {CLUSTER_AUTOSCALER: "false"}
    assert first(nodes) is None
    pod.annotations = {CLUSTER_AUTOSCALER: "true"}
    assert first(nodes) is not None


def test_a_node_that_was_needed_meanwhile_is_unneeded_from_then_on() -> None:
    """The ten minutes begin again."""
    autoscaler, nodes = NodeAutoscaler(Flags()), make(2, 1)
    (pod,) = nodes[1].pods
    assert scans(autoscaler, nodes, until=300.0) == []
    pod.annotations = {CLUSTER_AUTOSCALER: "false"}
    assert scans(autoscaler, nodes, begin=310.0, until=400.0) == []
    pod.annotations = {}
    assert scans(autoscaler, nodes, begin=410.0, until=1100.0)[0][0] == 1020.0


def test_no_node_is_removed_within_ten_minutes_of_a_scale_up() -> None:
    """However long it was unneeded."""
    autoscaler, nodes = NodeAutoscaler(Flags()), make(2, 1)
    assert scans(autoscaler, nodes, until=590.0) == []
    assert autoscaler.scan(600.0, nodes, 1) == Plan(add=1)
    assert scans(autoscaler, nodes, begin=610.0, until=1300.0)[0] == (1200.0, Plan(remove=(nodes[1],)))


def test_empty_nodes_go_together_and_others_one_at_a_time() -> None:
    """While one is drained no other is."""
    autoscaler, nodes = NodeAutoscaler(Flags()), make(1, 1, 1, *[0] * 12)
    now, plan = scans(autoscaler, nodes, until=610.0)[0]
    assert [len(node.pods) for node in plan.remove] == [0] * EMPTY_AT_ONCE + [1]
    rest = [node for node in nodes if node.pods or node not in plan.remove]
    nodes[0].leaving = True
    assert [len(node.pods) for node in autoscaler.scan(now + SCAN_SECONDS, rest, 0).remove] == [0, 0]
    rest = [node for node in rest if not node.leaving]
    assert [len(node.pods) for node in autoscaler.scan(now + 2 * SCAN_SECONDS, rest, 0).remove][-1:] == [1]


def test_the_last_node_stays() -> None:
    """The group's minimum is one node."""
    assert first(make(0)) is None
    found = first(make(0, 0))
    assert found is not None
    assert len(found[1].remove) == 1


def test_a_node_is_not_considered_before_it_is_ready() -> None:
    """It is empty, but the pods it was made for come."""
    nodes = [*make(2), Node(2, SMALL, ready_at=900.0)]
    assert first(nodes, until=1500.0) is None


def test_the_grace_is_the_shorter_of_the_pods_and_the_flag() -> None:
    """Ten minutes by default; never more than the agents' own twelve hours."""
    assert Flags().grace == 600.0
    assert Flags(max_graceful_termination=86_400.0).grace == 43_200.0
