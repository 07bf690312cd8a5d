"""A Deployment of agents and the work in the Matillion control plane: what is really going on.

Seeded, in virtual time. Tasks wait in the control plane until an agent that is connected pulls them; an agent takes up
to 20; one that was deleted finishes what it has for up to 12 hours. It must not know who looks at it, or scales it.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import exp, log

from benchmarks.scaling.timeline import Timeline
from exporter.simulator.simulated_agent import TASKS_PER_AGENT
from exporter.simulator.simulation import BACK_OFF_SECONDS, GRACE_SECONDS, SHUTDOWN_SECONDS, TASK_SPREAD

PULL_SECONDS = (5.0, 15.0)
"""From a pod's creation to its container running, on a node that has room. The vendor's pods have no probes: this is
when they are Ready."""
BOOT_SECONDS = (15.0, 30.0)
"""From the container running to the agent answering and connected: a JVM starts. The sum is the simulator's
`START_SECONDS`."""
CRASH_SECONDS = 6.0
"""From a start to the next crash, in a crash loop: before the JVM is up."""


@dataclass(slots=True, eq=False)
class Pod:
    """One agent's pod. The cluster changes it; everyone else reads."""

    number: int
    otel: bool
    """Whether the agent reports its queue: the OpenTelemetry endpoint does, the legacy one does not."""
    created_at: float
    ready_since: float | None = None
    """When its container began to run; None while it does not."""
    up: bool = False
    """Whether the agent in it has opened its port."""
    connected: bool = False
    stopped: bool = False
    visible: bool = True
    """Whether others reach its port."""
    hung: bool = False
    """Stands still: it answers nobody, and its tasks wait for it."""
    held_back: bool = False
    """Kubernetes waits before it starts the container again."""
    crashing: bool = False
    deleted_at: float | None = None
    gone: bool = False
    tasks: int = 0
    waiting_to_end: int = 0
    """Tasks that would have ended while it stood still."""
    life: int = 0
    """Counts the container's lives: what was planned in an earlier one does not happen."""
    restarts: int = 0

    @property
    def draining(self) -> bool:
        """Whether it was asked to end."""
        return self.deleted_at is not None

    @property
    def answers(self) -> bool:
        """Whether a scrape succeeds."""
        return self.up and self.visible and not self.hung

    @property
    def serving(self) -> bool:
        """Whether it pulls work."""
        return self.up and self.connected and not (self.stopped or self.hung or self.draining)


@dataclass(slots=True, eq=False)
class Cluster:
    """The agents of one fleet, as a Deployment of `replicas`, and their work.

    It begins with all of them up. Load is `level`, the tasks that are running or waiting at any time (draining agents
    have theirs besides): what ends is followed by the next. Or it is `arrive`d from outside, and `level` is None.
    """

    timeline: Timeline
    chance: random.Random
    replicas: int
    otel: bool = True
    task_seconds: float = 600.0
    """How long a task takes on average."""
    pods: list[Pod] = field(default_factory=list)
    level: int | None = None
    queue: int = 0
    control_plane_up: bool = True
    new_pods_connect: bool = True
    node_seconds: float = 0.0
    """How long a new pod waits for a node to run on."""
    changed: Callable[[Pod], None] = lambda _pod: None
    """Called when Kubernetes' view of a pod changes, it comes or it goes."""
    _numbers: int = 0
    _waited: float = 0.0
    _queue_seen_at: float = 0.0
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
        """Tasks the fleet has to hold: running on pods that stay, and waiting, whoever knows of them."""
        return self.queue + sum(pod.tasks for pod in self.pods if not pod.draining)

    @property
    def slots(self) -> int:
        """Tasks the agents that pull work can run at once."""
        return TASKS_PER_AGENT * len(self._pulling())

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

    def _dispatch(self) -> None:
        """Let agents pull: the less busy of two, or any that has a slot, as the simulator's agents do."""
        takers = self._pulling()
        while self.queue and takers:
            pod = min(self.chance.choice(takers), self.chance.choice(takers), key=lambda taker: taker.tasks)
            if pod.tasks >= TASKS_PER_AGENT:
                pod = min(takers, key=lambda taker: taker.tasks)
            if pod.tasks >= TASKS_PER_AGENT:
                return
            self._wait(-1)
            self._run(pod)

    def _run(self, pod: Pod) -> None:
        pod.tasks += 1
        # Log-normal, as in the simulator: some tasks take a tenth of the mean, some four times as long.
        seconds = exp(self.chance.gauss(log(self.task_seconds) - TASK_SPREAD**2 / 2, TASK_SPREAD))
        self.timeline.after(seconds, partial(self._finish, pod, pod.life))

    def _finish(self, pod: Pod, life: int) -> None:
        if pod.life != life:
            return
        if pod.hung:
            pod.waiting_to_end += 1
            return
        pod.tasks -= 1
        if pod.draining:
            self._end_if_idle(pod)
        else:
            self._top_up()

    # -- the Deployment -----------------------------------------------------------------------------------------------

    def scale(self, replicas: int) -> None:
        """Ask for so many pods. Those that are not Ready go first, then the newest, as a ReplicaSet does it."""
        self.replicas = replicas
        kept = sorted(self.members, key=lambda pod: (pod.ready_since is not None, -pod.number))
        for pod in kept[: max(0, len(kept) - replicas)]:
            self._delete(pod)
        self._fill_up()

    def _fill_up(self) -> None:
        for _ in range(self.replicas - sum(1 for _ in self.members)):
            pod = self._make()
            wait = self.node_seconds + self.chance.uniform(*PULL_SECONDS)
            self.timeline.after(wait, partial(self._start, pod, pod.life))

    def _make(self) -> Pod:
        self._numbers += 1
        pod = Pod(self._numbers, self.otel, self.timeline.now)
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
            self.pods.remove(pod)
            self._news(pod)

    def _end_life(self, pod: Pod) -> None:
        pod.life += 1
        pod.up = pod.connected = pod.hung = pod.stopped = False
        pod.ready_since, pod.tasks, pod.waiting_to_end = None, 0, 0

    def _news(self, pod: Pod) -> None:
        self._takers = None
        self.changed(pod)

    # -- trouble ------------------------------------------------------------------------------------------------------

    def hide(self, pods: Iterable[Pod]) -> None:
        """Let nobody reach the agents' ports; they work on."""
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
        """Let agents die again and again; their tasks are lost, and begun anew elsewhere."""
        for pod in pods:
            pod.crashing = True
            self._die(pod, pod.life)

    def lose(self, pods: Iterable[Pod]) -> None:
        """Take the nodes from under pods: they are gone with their tasks, and the ReplicaSet makes others."""
        for pod in list(pods):
            self._remove(pod)
        self._fill_up()
        self._top_up()

    def evict(self, pods: Iterable[Pod]) -> None:
        """Delete pods: they drain, and the ReplicaSet makes others in their place."""
        for pod in list(pods):
            self._delete(pod)
        self._fill_up()
        self._top_up()

    def set_control_plane(self, *, up: bool) -> None:
        """Cut every agent off the control plane, or let them come back."""
        self.control_plane_up = up
        if not up:
            self.disconnect(self.pods)

    def recover(self) -> None:
        """End all trouble."""
        self.control_plane_up = self.new_pods_connect = True
        self.node_seconds = 0.0
        for pod in self.pods:
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
