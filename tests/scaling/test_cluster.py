"""The simulated fleet: what is really going on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling.cluster import Cluster
from exporter.simulation.pod import Pod
from exporter.simulation.replica_set import deletion_order
from exporter.simulation.timeline import Timeline


def make(replicas: int = 4, *, seed: int = 0, otel: bool = True, task_seconds: float = 600.0) -> Cluster:
    chance = random.Random(seed)  # noqa: S311 - a simulation
    return Cluster(Timeline(), chance, replicas, otel=otel, task_seconds=task_seconds)


def newest(cluster: Cluster) -> Pod:
    return max(cluster.pods, key=lambda pod: pod.number)


def test_what_finds_no_slot_waits_and_is_reported() -> None:
    """Twenty on each agent; the rest is in the queue, a share at each."""
    cluster = make()
    cluster.arrive(90)
    assert [pod.tasks for pod in cluster.pods] == [20] * 4
    assert (cluster.queue, cluster.demand) == (10, 90)
    assert [cluster.share_of_queue(pod) for pod in cluster.pods] == [3, 3, 2, 2]


def test_a_legacy_agent_reports_no_queue() -> None:
    """Absent, never 0."""
    cluster = make(otel=False)
    cluster.arrive(90)
    assert [cluster.share_of_queue(pod) for pod in cluster.pods] == [None] * 4


def test_waiting_is_added_up_over_the_tasks() -> None:
    """Ten tasks for a minute are ten minutes."""
    cluster = make(1, task_seconds=1e9)
    cluster.arrive(30)
    cluster.timeline.run(60.0)
    assert cluster.waited() == 600.0


def test_a_new_agent_takes_work_when_it_is_up() -> None:
    """Twenty to 45 seconds after the pod is made."""
    cluster = make(2, task_seconds=1e9)
    cluster.arrive(50)
    cluster.scale(3)
    cluster.timeline.run(19.0)
    assert cluster.queue == 10
    cluster.timeline.run(46.0)
    assert (cluster.queue, newest(cluster).tasks) == (0, 10)


def test_a_deleted_agent_finishes_its_work_for_up_to_twelve_hours() -> None:
    """It counts in the Deployment no more, takes nothing new, and its last tasks are lost."""
    cluster = make(2, task_seconds=1e9)
    cluster.arrive(30)
    leaving = deletion_order(cluster.pods, 0.0)[0]
    kept = leaving.tasks
    cluster.scale(1)
    assert cluster.taken == kept
    assert (cluster.demand, leaving.draining, leaving.serving) == (30 - kept, True, False)
    cluster.timeline.run(12 * 3600.0 - 1)
    assert leaving.tasks == kept
    cluster.timeline.run(12 * 3600.0 + 1)
    assert (leaving.gone, leaving.tasks) == (True, 0)


def test_pods_that_are_not_ready_go_first_then_those_ready_for_the_shortest_time() -> None:
    """As a ReplicaSet chooses; times within the same power of two count as equal."""
    cluster = make(4)
    cluster.arrive(60)
    oldest, _, third, newest = cluster.pods
    newest.ready_since, third.ready_since = -60.0, -200.0
    cluster.crash([oldest])
    cluster.scale(2)
    assert {pod.number for pod in cluster.members} == {2, 3}


def test_a_crash_looping_agent_is_held_back_longer_each_time() -> None:
    """Its work begins anew elsewhere."""
    cluster = make(2, task_seconds=1e9)
    cluster.set_level(30)
    victim = cluster.pods[0]
    cluster.crash([victim])
    cluster.timeline.run(100.0)
    assert (victim.tasks, cluster.pods[1].tasks, cluster.queue) == (0, 20, 10)
    assert victim.restarts == 3
    cluster.recover()
    cluster.timeline.run(400.0)
    assert victim.serving


def test_agents_without_the_control_plane_finish_and_take_nothing() -> None:
    """What would have been next waits."""
    cluster = make(4, task_seconds=60.0)
    cluster.set_level(60)
    cluster.set_control_plane(up=False)
    cluster.timeline.run(3600.0)
    assert (cluster.queue, cluster.demand) == (60, 60)
    cluster.recover()
    assert cluster.queue == 0


@pytest.mark.parametrize("trouble", ["hang", "disconnect", "stop"])
def test_trouble_ends(trouble: str) -> None:
    """After it the agent serves again and no task is forgotten."""
    cluster = make(4, task_seconds=60.0)
    cluster.set_level(60)
    getattr(cluster, trouble)(cluster.pods[:2])
    cluster.timeline.run(600.0)
    assert not any(pod.serving for pod in cluster.pods[:2])
    cluster.recover()
    cluster.timeline.run(900.0)
    assert all(pod.serving for pod in cluster.pods)
    assert cluster.demand == 60


@given(st.integers(0, 99), st.lists(st.sampled_from(["hang", "disconnect", "stop", "crash", "lose", "evict", "hide"])))
def test_a_level_is_kept_and_the_deployment_is_whole(seed: int, troubles: list[str]) -> None:
    """Whatever happens: so many tasks run or wait, no agent has more than its slots, the replicas are there."""
    cluster = make(4, seed=seed, task_seconds=60.0)
    cluster.set_level(70)
    for trouble in troubles:
        getattr(cluster, trouble)([pod for pod in cluster.members if pod.up][:2])
        cluster.timeline.run(cluster.timeline.now + 30.0)
        assert cluster.demand == 70
        assert all(0 <= pod.tasks <= 20 for pod in cluster.pods)
        assert sum(1 for _ in cluster.members) == cluster.replicas


def test_an_agent_refuses_work_at_four_fifths_of_its_cpu() -> None:
    """Ten tasks of a tenth each: it takes eight."""
    chance = random.Random(0)  # noqa: S311 - a simulation
    cluster = Cluster(Timeline(), chance, 2, cpu_per_task=0.1)
    cluster.arrive(40)
    assert [pod.tasks for pod in cluster.pods] == [8, 8]
    assert (cluster.slots, cluster.queue, cluster.cpu(cluster.pods[0])) == (16, 24, pytest.approx(0.8))


def test_pods_that_wait_for_a_node_start_when_there_is_one() -> None:
    """Or never; a deployment that asks for fewer lets go of them first."""
    cluster = make(2)
    cluster.new_pods_start = False
    cluster.scale(4)
    cluster.timeline.run(3600.0)
    assert [pod.up for pod in cluster.pods] == [True, True, False, False]
    cluster.scale(3)
    cluster.recover()
    cluster.timeline.run(3700.0)
    serving = [pod.number for pod in cluster.pods if pod.serving]
    assert (len(serving), serving[:2]) == (3, [1, 2])


def test_pod_hours_are_added_up_over_the_pods() -> None:
    """Those that drain are there too."""
    cluster = make(2, task_seconds=1e9)
    cluster.arrive(20)
    cluster.timeline.run(1800.0)
    cluster.scale(1)
    cluster.timeline.run(3600.0)
    assert cluster.pod_hours() == pytest.approx(2.0)
