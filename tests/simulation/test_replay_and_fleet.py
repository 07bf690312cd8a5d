"""The replay counts agents, the fleet has each of them: how far apart they are for the same tasks."""

import random
from functools import partial

import pytest

from benchmarks.scaling.cluster import Cluster
from exporter.simulation.hpa import FAST, SYNC_SECONDS, Autoscaler, external
from exporter.simulation.pod import BOOT_SECONDS
from exporter.simulation.replay import TARGET, Task, replay
from exporter.simulation.task_queue import WaitingTask
from exporter.simulation.timeline import Timeline

HOURS = 12
PULL_SECONDS = 30.0


def day(seed: int) -> list[Task]:
    """Return a batch every two hours, and some tasks in between."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    batches = [
        (hour * 3600.0 + chance.uniform(0, 240), chance.uniform(300, 900))
        for hour in range(1, HOURS, 2)
        for _ in range(150)
    ]
    return sorted(batches + [(chance.uniform(0, HOURS * 3600.0), chance.expovariate(1 / 300)) for _ in range(1000)])


def followed(tasks: list[Task], seed: int) -> tuple[float, float]:
    """Return the task-hours waited and the agent-hours of a fleet behind an HPA that follows its demand."""
    timeline = Timeline()
    fleet = Cluster(
        timeline,
        random.Random(seed),  # noqa: S311 - a simulation
        FAST.least,
        start_seconds=(PULL_SECONDS, PULL_SECONDS),
    )
    for at, seconds in tasks:
        timeline.after(at, partial(fleet.put, [WaitingTask(seconds)]))
    scaler = Autoscaler(
        FAST, [lambda replicas: external(fleet.queue + sum(pod.tasks for pod in fleet.pods), TARGET, replicas)]
    )
    timeline.every(SYNC_SECONDS, 0.0, lambda: fleet.scale(scaler.look(timeline.now, fleet.replicas)))
    timeline.run(HOURS * 3600.0)
    return fleet.waited() / 3600.0, fleet.pod_hours()


@pytest.mark.parametrize("seed", range(3))
def test_they_agree_on_what_a_day_costs(seed: int) -> None:
    """What starts in the replay waits for its next look, and agents that drain are as few as the tasks fill."""
    tasks = day(seed)
    seen = replay(tasks, 0.0, HOURS * 3600.0, PULL_SECONDS + sum(BOOT_SECONDS) / 2, lambda _now, demand: float(demand))
    waited, agent_hours = followed(tasks, seed)
    assert waited <= seen.waited() <= 1.4 * waited
    assert 0.85 * agent_hours <= seen.agent_hours <= agent_hours
