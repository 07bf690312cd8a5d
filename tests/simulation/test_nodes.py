"""The simulated nodes: where pods are placed, and how a drained node ends them."""

import random

import pytest

from benchmarks.scaling.cluster import Cluster
from exporter.simulation.nodes import SMALL, Node, NodeGroup
from exporter.simulation.timeline import Timeline


class NodedCluster(Cluster):
    """A fleet on nodes, whose tasks do not end."""

    def __init__(self, replicas: int) -> None:
        timeline = Timeline()
        self.group = NodeGroup(timeline, SMALL, Node)
        chance = random.Random(0)  # noqa: S311 - a simulation
        super().__init__(timeline, chance, replicas, task_seconds=1e9, nodes=self.group)


def make(replicas: int) -> NodedCluster:
    return NodedCluster(replicas)


def placed(cluster: NodedCluster) -> list[int]:
    return [len(node.pods) for node in cluster.group.nodes]


def fill(cluster: NodedCluster, node: Node) -> None:
    """Give each agent of a node one task."""
    cluster.run_in_designer(node.pods, 1)


def test_pods_are_spread_over_the_nodes_that_they_need() -> None:
    """The least allocated node is next."""
    assert placed(make(4)) == [2, 2]
    assert placed(make(7)) == [3, 2, 2]


def test_a_pod_that_fits_on_no_node_waits_for_the_next() -> None:
    """It starts as any other once the node is ready."""
    cluster = make(3)
    cluster.scale(5)
    cluster.timeline.run(60.0)
    assert (placed(cluster), len(cluster.pending)) == ([3], 2)
    cluster.add_nodes(1)
    cluster.timeline.run(149.0)
    assert len(cluster.pending) == 2
    cluster.timeline.run(200.0)
    assert (placed(cluster), len(cluster.pending)) == ([3, 2], 0)
    assert all(pod.serving for pod in cluster.pods)


def test_a_pending_pod_that_is_deleted_waits_no_more() -> None:
    """A scale-in takes it first, as it is not Ready."""
    cluster = make(3)
    cluster.scale(4)
    cluster.scale(3)
    assert (placed(cluster), cluster.pending) == ([3], [])


def test_a_pod_that_is_gone_makes_room() -> None:
    """For one that waits."""
    cluster = make(3)
    cluster.scale(4)
    cluster.lose(cluster.pods[:1])
    assert (placed(cluster), len(cluster.pending)) == ([3], 1)
    cluster.timeline.run(60.0)
    assert sum(pod.serving for pod in cluster.pods) == 3


def test_a_draining_pod_keeps_its_place() -> None:
    """Its requests count until it is gone."""
    cluster = make(3)
    cluster.arrive(60)
    cluster.scale(2)
    cluster.scale(3)
    cluster.timeline.run(60.0)
    assert (placed(cluster), len(cluster.pending)) == ([3], 1)


def test_a_drained_node_ends_its_pods_within_the_grace() -> None:
    """Idle agents end at once; others are killed with their tasks when the grace is over. Others take their place."""
    cluster = make(4)
    node, other = cluster.group.nodes
    cluster.run_in_designer(node.pods[:1], 7)
    cluster.drain(node, 600.0)
    cluster.timeline.run(10.0)
    assert (placed(cluster), len(cluster.pending), cluster.killed) == ([1, 3], 1, 0)
    cluster.timeline.run(599.0)
    assert (node in cluster.group.nodes, cluster.killed) == (True, 0)
    cluster.timeline.run(601.0)
    assert (cluster.group.nodes, cluster.killed) == ([other], 7)


def test_a_pod_that_drains_already_is_killed_after_the_grace_of_the_eviction() -> None:
    """Its twelve hours become ten minutes."""
    cluster = make(4)
    fill(cluster, cluster.group.nodes[1])
    fill(cluster, cluster.group.nodes[0])
    cluster.scale(3)
    leaving = next(pod for pod in cluster.pods if pod.draining)
    node = next(node for node in cluster.group.nodes if leaving in node.pods)
    cluster.timeline.run(3600.0)
    cluster.drain(node, 600.0)
    cluster.timeline.run(3600.0 + 599.0)
    assert leaving.tasks == 1
    cluster.timeline.run(3600.0 + 601.0)
    assert (leaving.gone, node in cluster.group.nodes) == (True, False)


def test_tasks_that_end_within_the_grace_are_not_killed() -> None:
    """The node goes with the last of them."""
    cluster = make(4)
    cluster.task_seconds = 60.0
    node = cluster.group.nodes[0]
    fill(cluster, node)
    cluster.drain(node, 600.0)
    cluster.timeline.run(599.0)
    assert (node in cluster.group.nodes, cluster.killed) == (False, 0)


def test_an_empty_node_goes_at_once() -> None:
    """Nothing is evicted."""
    cluster = make(3)
    cluster.add_nodes(1, seconds=0.0)
    cluster.drain(cluster.group.nodes[1], 600.0)
    assert placed(cluster) == [3]


def test_node_hours_are_added_up_from_the_request_to_the_removal() -> None:
    """A node that is not ready yet costs as well."""
    cluster = make(3)
    cluster.timeline.run(1800.0)
    cluster.add_nodes(1)
    cluster.timeline.run(3600.0)
    assert cluster.group.hours() == pytest.approx(1.5)
    cluster.drain(cluster.group.nodes[1], 600.0)
    cluster.timeline.run(7200.0)
    assert cluster.group.hours() == pytest.approx(2.5)
