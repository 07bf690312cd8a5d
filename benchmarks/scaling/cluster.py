"""A Deployment of agents and the work in the Matillion control plane: what is really going on.

Seeded, in virtual time. Tasks wait in the control plane until an agent that is connected pulls them; an agent takes up
to 20; one that was deleted finishes what it has for up to 12 hours. It must not know what reads or scales it.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import ceil, exp, log

from benchmarks.scaling.pod import BOOT_SECONDS, CRASH_SECONDS, PULL_SECONDS, Pod
from benchmarks.scaling.replica_set import deletion_order
from benchmarks.scaling.rollout import STRATEGY, Strategy, step
from benchmarks.scaling.timeline import Timeline
from exporter.simulator.simulated_agent import TASKS_PER_AGENT
from exporter.simulator.simulation import BACK_OFF_SECONDS, GRACE_SECONDS, SHUTDOWN_SECONDS
from exporter.simulator.workload import TASK_SPREAD

REFUSES_AT = 0.8
"""Share of its CPU limit at which an agent takes no more tasks (the vendor's documentation of agents)."""


@dataclass(slots=True, eq=False)
class Cluster:
    """The agents of one fleet, as a Deployment of `replicas`, and their work.

    It begins with all of them up. Load is `level`, the tasks that are running or waiting at any time (draining agents
    have theirs besides): what ends is followed by the next. Or it is a `stream`, or `arrive`d from outside, and `level`
    is None.
    """

    timeline: Timeline
    chance: random.Random
    replicas: int
    otel: bool = True
    task_seconds: float = 600.0
    """How long a task takes on average."""
    cpu_per_task: float = 0.0
    """Share of its container's CPU limit that a task takes. An agent refuses more work from `REFUSES_AT` on."""
    metrics_api: bool = False
    """Whether there is a metrics-server, so that others can know of the CPU."""
    slot_seconds: tuple[float, float] = (0.0, 0.0)
    """From a task's end to the moment its agent asks for another in its place."""
    start_seconds: tuple[float, float] = PULL_SECONDS
    """From a pod's creation to its container running."""
    node_seconds: float = 0.0
    """How long a new pod waits for a node before that."""
    strategy: Strategy = STRATEGY
    pods: list[Pod] = field(default_factory=list)
    level: int | None = None
    queue: int = 0
    control_plane_up: bool = True
    new_pods_connect: bool = True
    new_pods_start: bool = True
    template: int = 0
    tasks_taken: int = 0
    """Tasks that ran on agents at the moment a scale-in deleted them."""
    changed: Callable[[Pod], None] = lambda _pod: None
    """Called when Kubernetes' view of a pod changes, it comes or it goes."""
    _numbers: int = 0
    _waited: float = 0.0
    _queue_seen_at: float = 0.0
    _pod_seconds: float = 0.0
    _pods_seen_at: float = 0.0
    _takers: list[Pod] | None = None

    def __post_init__(self) -> None:
        for _ in range(self.replicas):
            pod = self._make()
            pod.ready_since, pod.up, pod.connected = self.timeline.now - 3600.0, True, True

    # -- what is true -------------------------------------------------------------------------------------------------

    @property
    def members(self) -> Iterator[Pod]:
        """The pods the Deployment counts."""
        return (pod for pod in self.pods if not pod.draining)

    @property
    def demand(self) -> int:
        """Tasks the fleet has to hold, reported or not: those that wait, and those that run on pods that stay.

        Those on pods that a rollout replaced count too, since as many follow them. Those on pods that a scale-in took
        were too many for the fleet's size.
        """
        return self.queue + sum(pod.tasks for pod in self.pods if pod.replaced or not pod.draining)

    @property
    def slots(self) -> int:
        """Tasks the agents that pull work can run at once."""
        return self.takes * len(self._pulling())

    @property
    def takes(self) -> int:
        """Tasks that an agent runs at once before it refuses more."""
        return min(TASKS_PER_AGENT, ceil(REFUSES_AT / self.cpu_per_task)) if self.cpu_per_task else TASKS_PER_AGENT

    def cpu(self, pod: Pod) -> float:
        """Return the share of its CPU limit that an agent's container uses."""
        return min(1.0, self.cpu_per_task * pod.tasks)

    def pod_hours(self) -> float:
        """Return how long pods have been there, added up over all of them, those that drain too."""
        self._pod_seconds += len(self.pods) * (self.timeline.now - self._pods_seen_at)
        self._pods_seen_at = self.timeline.now
        return self._pod_seconds / 3600.0

    def share_of_queue(self, pod: Pod) -> int | None:
        """Return what an agent reports as waiting. What waits is spread over the agents that pull work."""
        if not pod.otel:
            return None
        takers = self._pulling()
        if pod not in takers:
            return 0
        whole, rest = divmod(self.queue, len(takers))
        return whole + (takers.index(pod) < rest)

    def waited(self) -> float:
        """Return the seconds that tasks have spent waiting, added up over all of them."""
        self._wait(0)
        return self._waited

    # -- work ---------------------------------------------------------------------------------------------------------

    def arrive(self, tasks: int) -> None:
        """Add tasks to what waits."""
        self._wait(tasks)
        self._dispatch()

    def set_level(self, level: int) -> None:
        """Keep so many tasks in the fleet from now on. What is too much runs off."""
        self.level = level
        self._top_up()

    def run_in_designer(self, pods: Iterable[Pod], tasks: int) -> None:
        """Let people start tasks on agents: those are not limited, and come on top of what the agents pulled."""
        for pod in pods:
            for _ in range(tasks):
                self._run(pod, self._duration())

    def stream(self, load: float, *, even: bool = False) -> None:
        """Let tasks arrive from now on, at even intervals or at random, so that `load` of them run on average.

        What runs now is as if it had been so for ever: as many tasks, each somewhere in its life.
        """
        mean = self.task_seconds / load
        self._wait(round(load))
        # A task that is under way is more likely one of the long ones: the log-normal distribution, weighted by itself.
        self._dispatch(lambda: self.chance.random() * self._duration(TASK_SPREAD**2))

        def arrival() -> None:
            self.timeline.after(mean if even else self.chance.expovariate(1 / mean), arrival)
            self.arrive(1)

        self.timeline.after(self.chance.uniform(0, mean), arrival)

    def _top_up(self) -> None:
        if self.level is not None:
            self._wait(max(0, self.level - self.demand))
        self._dispatch()

    def _wait(self, tasks: int) -> None:
        now = self.timeline.now
        self._waited += self.queue * (now - self._queue_seen_at)
        self._queue_seen_at = now
        self.queue += tasks

    def _pulling(self) -> list[Pod]:
        if self._takers is None:
            self._takers = [pod for pod in self.pods if pod.serving]
        return self._takers

    def _dispatch(self, duration: Callable[[], float] | None = None) -> None:
        """Let agents pull: the less busy of two, or any that has a slot, as the simulator's agents do."""
        takers = self._pulling()
        while self.queue and takers:
            pod = min(self.chance.choice(takers), self.chance.choice(takers), key=_occupied)
            if _occupied(pod) >= self.takes:
                pod = min(takers, key=_occupied)
            if _occupied(pod) >= self.takes:
                return
            self._wait(-1)
            self._run(pod, (duration or self._duration)())

    def _run(self, pod: Pod, seconds: float) -> None:
        pod.tasks += 1
        self.timeline.after(seconds, partial(self._finish, pod, pod.life))

    def _duration(self, shift: float = 0.0) -> float:
        """Return how long a task takes. As in the simulator, some take a tenth of the mean, some four times it.

        The distribution is log-normal; `shift` moves the logarithm's mean.
        """
        return exp(self.chance.gauss(log(self.task_seconds) - TASK_SPREAD**2 / 2 + shift, TASK_SPREAD))

    def _finish(self, pod: Pod, life: int) -> None:
        if pod.life != life:
            return
        if pod.hung:
            pod.waiting_to_end += 1
            return
        pod.tasks -= 1
        if pod.draining:
            self._end_if_idle(pod)
        elif self.slot_seconds[1]:
            pod.empty_slots += 1
            self.timeline.after(self.chance.uniform(*self.slot_seconds), partial(self._ask_again, pod, life))
        if pod.replaced or not pod.draining:
            self._top_up()

    def _ask_again(self, pod: Pod, life: int) -> None:
        if pod.life == life:
            pod.empty_slots -= 1
            self._dispatch()

    # -- the Deployment -----------------------------------------------------------------------------------------------

    def scale(self, replicas: int) -> None:
        """Ask for so many pods."""
        self.replicas = replicas
        self._reconcile()

    def roll_out(self) -> None:
        """Give the Deployment a new pod template: its pods are replaced, a few at a time."""
        self.template += 1
        self._reconcile()

    def _reconcile(self) -> None:
        """Make and delete pods as the Deployment's controller and its ReplicaSets do, until nothing is to be done."""
        while True:
            new = [pod for pod in self.members if pod.template == self.template]
            old = [pod for pod in self.members if pod.template != self.template]
            todo = step(self.replicas, [_ready(pod) for pod in new], [_ready(pod) for pod in old], self.strategy)
            if not (todo.make or todo.delete_new or todo.delete_old):
                return
            for pods, count in ((new, todo.delete_new), (old, todo.delete_old)):
                for pod in deletion_order(pods, self.timeline.now)[:count] if count else ():
                    pod.replaced = pod.template != self.template
                    self.tasks_taken += 0 if pod.replaced else pod.tasks
                    self._delete(pod)
            for _ in range(todo.make):
                self._begin(self._make())

    def _begin(self, pod: Pod) -> None:
        pod.stuck = not self.new_pods_start
        if not pod.stuck:
            wait = self.node_seconds + self.chance.uniform(*self.start_seconds)
            self.timeline.after(wait, partial(self._start, pod, pod.life))

    def _make(self) -> Pod:
        self._numbers += 1
        self.pod_hours()
        pod = Pod(self._numbers, self.otel, self.timeline.now, self.template)
        self.pods.append(pod)
        self._news(pod)
        return pod

    def _start(self, pod: Pod, life: int) -> None:
        if pod.life != life:
            return
        pod.ready_since, pod.held_back = self.timeline.now, False
        if pod.crashing:
            self.timeline.after(CRASH_SECONDS, partial(self._die, pod, life))
        else:
            self.timeline.after(self.chance.uniform(*BOOT_SECONDS), partial(self._booted, pod, life))
        self._news(pod)
        self._reconcile()

    def _booted(self, pod: Pod, life: int) -> None:
        if pod.life == life:
            pod.up, pod.connected = True, self.control_plane_up and self.new_pods_connect
            self._news(pod)
            self._dispatch()

    def _delete(self, pod: Pod) -> None:
        pod.deleted_at = self.timeline.now
        if not pod.up:
            self._remove(pod)
            return
        self._news(pod)
        self.timeline.after(GRACE_SECONDS, partial(self._remove, pod))
        self._end_if_idle(pod)

    def _end_if_idle(self, pod: Pod) -> None:
        if not pod.tasks:
            self.timeline.after(SHUTDOWN_SECONDS, partial(self._remove, pod))

    def _remove(self, pod: Pod) -> None:
        if not pod.gone:
            self._end_life(pod)
            pod.gone = True
            self.pod_hours()
            self.pods.remove(pod)
            self._news(pod)

    def _end_life(self, pod: Pod) -> None:
        pod.life += 1
        pod.up = pod.connected = pod.hung = pod.stopped = False
        pod.ready_since, pod.tasks, pod.empty_slots, pod.waiting_to_end = None, 0, 0, 0

    def _news(self, pod: Pod) -> None:
        self._takers = None
        self.changed(pod)

    # -- trouble ------------------------------------------------------------------------------------------------------

    def hide(self, pods: Iterable[Pod]) -> None:
        """Block the agents' ports; they continue to work."""
        for pod in pods:
            pod.visible = False

    def hang(self, pods: Iterable[Pod]) -> None:
        """Let agents stand still."""
        for pod in pods:
            pod.hung = pod.up
            self._news(pod)

    def disconnect(self, pods: Iterable[Pod]) -> None:
        """Take the control plane from agents: they finish what they have and get nothing new."""
        for pod in pods:
            pod.connected = False
            self._news(pod)

    def stop(self, pods: Iterable[Pod]) -> None:
        """Let agents say that they do not run; they finish what they have."""
        for pod in pods:
            pod.stopped = pod.up
            self._news(pod)

    def crash(self, pods: Iterable[Pod]) -> None:
        """Let agents crash repeatedly; their tasks are lost, and started again elsewhere."""
        for pod in pods:
            pod.crashing = True
            self._die(pod, pod.life)

    def lose(self, pods: Iterable[Pod]) -> None:
        """Take the nodes from under pods: they are gone with their tasks, and the ReplicaSet makes others."""
        for pod in list(pods):
            self._remove(pod)
        self._reconcile()
        self._top_up()

    def evict(self, pods: Iterable[Pod]) -> None:
        """Delete pods: they drain, and the ReplicaSet makes others in their place."""
        for pod in list(pods):
            self._delete(pod)
        self._reconcile()
        self._top_up()

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
                self._begin(pod)
            pod.visible, pod.stopped, pod.connected, pod.crashing = True, False, pod.up, False
            pod.hung, ended = False, pod.waiting_to_end
            pod.waiting_to_end = 0
            for _ in range(ended):
                self.timeline.after(self.chance.uniform(5.0, 30.0), partial(self._finish, pod, pod.life))
            self._news(pod)
        self._dispatch()

    def _die(self, pod: Pod, life: int) -> None:
        if pod.life != life:
            return
        self._end_life(pod)
        if pod.draining:
            self._remove(pod)
            return
        pod.held_back = pod.crashing
        shortest, longest = BACK_OFF_SECONDS
        wait = min(longest, shortest * 2.0**pod.restarts) if pod.crashing else 0.0
        pod.restarts += 1
        self.timeline.after(wait, partial(self._start, pod, pod.life))
        self._news(pod)
        self._top_up()


def _ready(pod: Pod) -> bool:
    return pod.ready_since is not None


def _occupied(pod: Pod) -> int:
    """Return the slots of an agent that a task has, or had a moment ago."""
    return pod.tasks + pod.empty_slots
