"""The fleet of a trial: agents that are all alike, a load that is held or streams in, and the trouble that befalls it.

Seeded, in virtual time. It must not know what reads or scales it.
"""

import random
from collections.abc import Iterable, Iterator
from math import ceil

from exporter.simulation.fleet import Fleet
from exporter.simulation.nodes import Node, NodeGroup
from exporter.simulation.pod import PULL_SECONDS, TASKS_PER_AGENT, Pod
from exporter.simulation.rollout import STRATEGY, Strategy
from exporter.simulation.task_queue import WaitingTask
from exporter.simulation.timeline import Timeline

REFUSES_AT = 0.8
"""Share of its CPU limit at which an agent takes no more tasks (the vendor's documentation of agents)."""


class Cluster(Fleet[Pod]):
    """A fleet whose load is `level`, the tasks that run or wait at any time: what ends is followed by the next.

    Draining agents have theirs besides. Or the load is a `stream`, or `arrive`d from outside, and `level` is None.
    """

    def __init__(
        self,
        timeline: Timeline,
        chance: random.Random,
        replicas: int,
        *,
        otel: bool = True,
        task_seconds: float = 600.0,
        cpu_per_task: float = 0.0,
        metrics_api: bool = False,
        slot_seconds: tuple[float, float] = (0.0, 0.0),
        start_seconds: tuple[float, float] = PULL_SECONDS,
        node_seconds: float = 0.0,
        nodes: NodeGroup[Node] | None = None,
        strategy: Strategy = STRATEGY,
    ) -> None:
        """Take what agents and their tasks are like.

        `cpu_per_task` is the share of its container's CPU limit that a task takes: an agent refuses more work from
        `REFUSES_AT` on. `metrics_api`: whether there is a metrics-server, so that others can know of the CPU.
        `node_seconds`: how long a new pod waits for a node where nodes are not simulated.
        """
        self.level: int | None = None
        self.control_plane_up = True
        self.new_pods_connect = True
        self.new_pods_start = True
        self.node_seconds = node_seconds
        self.metrics_api = metrics_api
        self._otel = otel
        self._cpu_per_task = cpu_per_task
        self.task_seconds = task_seconds
        super().__init__(
            timeline,
            chance,
            replicas,
            nodes=nodes,
            start_seconds=start_seconds,
            slot_seconds=slot_seconds,
            strategy=strategy,
        )

    # -- its agents ---------------------------------------------------------------------------------------------------

    def make_pod(self, number: int) -> Pod:
        """Return a new pod; all agents are alike."""
        return Pod(number, self._otel, self.timeline.now, self.template)

    @property
    def takes(self) -> int:
        """Tasks that an agent runs at once before it refuses more."""
        return min(TASKS_PER_AGENT, ceil(REFUSES_AT / self._cpu_per_task)) if self._cpu_per_task else TASKS_PER_AGENT

    def cpu(self, pod: Pod) -> float:
        """Return the share of its CPU limit that an agent's container uses."""
        return min(1.0, self._cpu_per_task * pod.tasks)

    def share_of_queue(self, pod: Pod) -> int | None:
        """Return what an agent reports as waiting; None where it reports no queue."""
        return self.queue_shares().get(pod, 0) if pod.otel else None

    def connects(self) -> bool:
        """Return whether an agent that boots reaches the control plane."""
        return self.control_plane_up and self.new_pods_connect

    def begin(self, pod: Pod) -> None:
        """Let a pod start, unless there is never a node for it."""
        pod.stuck = not self.new_pods_start
        if not pod.stuck:
            super().begin(pod)

    def start_after(self) -> float:
        """Return how many seconds a new pod takes until its container runs."""
        return self.node_seconds + super().start_after()

    # -- its load -----------------------------------------------------------------------------------------------------

    def arrive(self, tasks: int) -> None:
        """Add tasks to what waits."""
        self.put(_any(tasks))

    def set_level(self, level: int) -> None:
        """Keep so many tasks in the fleet from now on. What is too much runs off."""
        self.level = level
        self.refill()

    def refill(self) -> None:
        """Bring the load to its level, and let agents pull."""
        if self.level is not None:
            self.waiting.put(_any(self.level - self.demand))
        super().refill()

    def run_in_designer(self, pods: Iterable[Pod], tasks: int) -> None:
        """Let people start tasks on agents: those are not limited, and come on top of what the agents pulled."""
        for pod in pods:
            for _ in range(tasks):
                self.run(pod, WaitingTask(interactive=True))

    def stream(self, load: float, *, even: bool = False) -> None:
        """Let tasks arrive from now on, at even intervals or at random, so that `load` of them run on average.

        What runs now is as if it had been so for ever: as many tasks, each somewhere in its life.
        """
        mean = self.task_seconds / load
        self.put(_any(round(load)), under_way=True)

        def arrival() -> None:
            self.timeline.after(mean if even else self.chance.expovariate(1 / mean), arrival)
            self.arrive(1)

        self.timeline.after(self.chance.uniform(0, mean), arrival)

    # -- its trouble --------------------------------------------------------------------------------------------------

    def hide(self, pods: Iterable[Pod]) -> None:
        """Block the agents' ports; they continue to work."""
        for pod in pods:
            pod.visible = False

    def set_control_plane(self, *, up: bool) -> None:
        """Cut every agent off the control plane, or let them come back."""
        self.control_plane_up = up
        if not up:
            self.disconnect(self.pods)

    def recover(self) -> None:
        """End all trouble."""
        self.control_plane_up = self.new_pods_connect = self.new_pods_start = True
        self.node_seconds = 0.0
        for pod in self.pods:
            if pod.stuck:
                self.begin(pod)
            self.heal(pod)
        self.refill()


def _any(tasks: int) -> Iterator[WaitingTask]:
    """Return so many tasks whose lengths are drawn when they start."""
    return (WaitingTask() for _ in range(tasks))
