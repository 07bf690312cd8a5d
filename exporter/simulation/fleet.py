"""A Deployment of agents at work: what is really going on.

Seeded, in virtual time. Pods start, die and start again; one that was deleted finishes what it has for up to 12 hours.
It must not know what reads or scales it, nor where tasks come from.
"""

import random
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from math import ceil
from typing import Any, TypeVar

from exporter.simulation.nodes import NODE_SECONDS, Node, NodeGroup
from exporter.simulation.pod import (
    BACK_OFF_SECONDS,
    BOOT_SECONDS,
    CRASH_SECONDS,
    CRASHED,
    FINISHED,
    GRACE_SECONDS,
    KILLED,
    PULL_SECONDS,
    SHUTDOWN_SECONDS,
    End,
    Pod,
)
from exporter.simulation.replica_set import deletion_order
from exporter.simulation.rollout import STRATEGY, Strategy, step
from exporter.simulation.timeline import Timeline
from exporter.simulation.work import Work

FOUND_SECONDS = 3600.0
"""How long the pods have run that a fleet begins with."""

P = TypeVar("P", bound=Pod)


class Fleet(Work[P]):
    """The agents of one fleet, as a Deployment of `replicas`, and their work. It begins with all of them up.

    With `nodes` its pods are placed on those, and one that fits on none is pending; without, each has a place.
    """

    def __init__(
        self,
        timeline: Timeline,
        chance: random.Random,
        replicas: int,
        *,
        nodes: NodeGroup[Any] | None = None,
        numbers: Iterator[int] | None = None,
        start_seconds: tuple[float, float] = PULL_SECONDS,
        slot_seconds: tuple[float, float] = (0.0, 0.0),
        strategy: Strategy = STRATEGY,
    ) -> None:
        """Take how long a pod's start takes, and an agent from a task's end to the request for another in its place."""
        super().__init__(timeline, chance, slot_seconds)
        self.replicas = replicas
        self.nodes = nodes
        self.pending: list[P] = []
        """Pods that fit on no node."""
        self.template = 0
        self.killed = 0
        """Tasks that ended with their agent."""
        self.taken = 0
        """Tasks that ran on agents at the moment a scale-in deleted them."""
        self._numbers = numbers if numbers is not None else count(1)
        self._start_seconds = start_seconds
        self._strategy = strategy
        self._pod_seconds = 0.0
        self._pods_seen_at = timeline.now
        if nodes is not None:
            nodes.add(ceil(replicas / nodes.size.agents), 0.0)
        for _ in range(replicas):
            pod = self._make()
            pod.created_at = pod.ready_since = timeline.now - FOUND_SECONDS
            pod.ran = pod.up = pod.connected = True
            if nodes is not None:
                nodes.bind(pod)

    # -- what kinds of fleets differ in --------------------------------------------------------------------------------

    @abstractmethod
    def make_pod(self, number: int) -> P:
        """Return a new pod, created now of the present template."""

    def connects(self) -> bool:
        """Return whether an agent that boots reaches the control plane."""
        return True

    # -- what is true -------------------------------------------------------------------------------------------------

    @property
    def members(self) -> Iterator[P]:
        """The pods the Deployment counts."""
        return (pod for pod in self.pods if not pod.draining)

    @property
    def demand(self) -> int:
        """Tasks the fleet has to hold, reported or not: those that wait, and those that run on pods that stay.

        Those on pods that a rollout replaced count too, since as many follow them. Those on pods that a scale-in took
        were too many for the fleet's size.
        """
        return self.queue + sum(pod.tasks for pod in self.pods if pod.replaced or not pod.draining)

    def pod_hours(self) -> float:
        """Return how long pods have been there, added up over all of them, those that drain too."""
        self._pod_seconds += len(self.pods) * (self.timeline.now - self._pods_seen_at)
        self._pods_seen_at = self.timeline.now
        return self._pod_seconds / 3600.0

    # -- the Deployment -----------------------------------------------------------------------------------------------

    def scale(self, replicas: int) -> None:
        """Ask for so many pods. Raises ValueError if there cannot be so many."""
        if replicas < 0:
            raise ValueError(f"a fleet cannot have {replicas} agents")
        self.replicas = replicas
        self._reconcile()

    def roll_out(self) -> None:
        """Give the Deployment a new pod template: its pods are replaced, a few at a time."""
        self.template += 1
        self._reconcile()

    def evict(self, pods: Iterable[P], grace: float = GRACE_SECONDS) -> None:
        """Delete pods: they drain for so many seconds, and the ReplicaSet makes others in their place."""
        for pod in list(pods):
            self._delete(pod, grace)
        self._reconcile()
        self.refill()

    def _reconcile(self) -> None:
        """Make and delete pods as the Deployment's controller and its ReplicaSets do, until nothing is to be done."""
        while True:
            new = [pod for pod in self.members if pod.template == self.template]
            old = [pod for pod in self.members if pod.template != self.template]
            todo = step(self.replicas, [pod.ready for pod in new], [pod.ready for pod in old], self._strategy)
            if not (todo.make or todo.delete_new or todo.delete_old):
                return
            for pods, surplus in ((new, todo.delete_new), (old, todo.delete_old)):
                for pod in deletion_order(pods, self.timeline.now)[:surplus] if surplus else ():
                    pod.replaced = pod.template != self.template
                    self.taken += 0 if pod.replaced else pod.tasks
                    self._delete(pod)
            for _ in range(todo.make):
                self.begin(self._make())

    # -- the life of a pod --------------------------------------------------------------------------------------------

    def _make(self) -> P:
        self.pod_hours()
        pod = self.make_pod(next(self._numbers))
        self.pods.append(pod)
        self.seen(pod)
        return pod

    def begin(self, pod: P) -> None:
        """Let a pod start, once it has a place."""
        self.pending.append(pod)
        self._schedule()

    def start_after(self) -> float:
        """Return how many seconds a pod with a place takes until its container runs."""
        return self.chance.uniform(*self._start_seconds)

    def _schedule(self) -> None:
        waiting, self.pending = self.pending, []
        for pod in waiting:
            if self.nodes is None or self.nodes.bind(pod):
                self.in_life(pod, self.start_after(), partial(self._start, pod))
            else:
                self.pending.append(pod)

    def _start(self, pod: P) -> None:
        pod.restarts += pod.ran
        pod.ready_since, pod.ran, pod.held_back = self.timeline.now, True, False
        if pod.crashing:
            self.in_life(pod, CRASH_SECONDS, partial(self.kill, pod, CRASHED))
        else:
            self.in_life(pod, self.chance.uniform(*BOOT_SECONDS), partial(self._booted, pod))
        self.seen(pod)
        self._reconcile()

    def _booted(self, pod: P) -> None:
        pod.up, pod.connected = True, self.connects()
        self.seen(pod)
        self._dispatch()

    def kill(self, pod: P, end: End) -> None:
        """End an agent's process with all it ran; its container starts again unless its pod was deleted."""
        self.end_life(pod, end)
        if pod.draining:
            self._remove(pod, end)
            return
        pod.held_back = pod.crashing
        shortest, longest = BACK_OFF_SECONDS
        wait = min(longest, shortest * 2.0**pod.restarts) if pod.crashing else 0.0
        self.in_life(pod, wait, partial(self._start, pod))
        self.seen(pod)
        self.refill()

    def _delete(self, pod: P, grace: float = GRACE_SECONDS) -> None:
        pod.deleted_at, pod.grace_seconds = self.timeline.now, grace
        if pod.lost:
            return
        if not pod.up:
            self._remove(pod)
            return
        self.seen(pod)
        self.timeline.after(grace, partial(self._remove, pod, KILLED))
        if not pod.tasks:
            self.idle(pod)

    def idle(self, pod: P) -> None:
        """Let a draining agent end, which has no task any more."""
        pod.shutting_down = True
        self.timeline.after(SHUTDOWN_SECONDS, partial(self._remove, pod, FINISHED))

    def _remove(self, pod: P, end: End | None = None) -> None:
        """Let a pod go away, with the `end` of its container if that ran and Kubernetes saw it end."""
        if pod.gone:
            return
        self.end_life(pod, end)
        pod.gone = True
        self.pod_hours()
        self.pods.remove(pod)
        self.seen(pod)
        self.pending = [other for other in self.pending if other is not pod]
        if self.nodes is not None:
            self.nodes.release(pod)
            self._schedule()

    def end_life(self, pod: P, end: End | None) -> None:
        """End a life of a pod's container, with the tasks that ran in it."""
        self.killed += pod.tasks
        pod.life += 1
        pod.up = pod.connected = pod.hung = pod.stopped = False
        pod.limited = pod.interactive = pod.empty_slots = pod.finished = 0
        pod.stalled.clear()
        if not pod.lost:
            pod.ready_since = None
        if end is not None:
            pod.last_end, pod.ended_at = end, self.timeline.now

    # -- trouble ------------------------------------------------------------------------------------------------------

    def hang(self, pods: Iterable[P]) -> None:
        """Let agents stand still."""
        for pod in pods:
            pod.hung = pod.up
            self.seen(pod)

    def disconnect(self, pods: Iterable[P]) -> None:
        """Take the control plane from agents: they finish what they have and get nothing new."""
        for pod in pods:
            pod.connected = False
            self.seen(pod)

    def stop(self, pods: Iterable[P]) -> None:
        """Let agents report that they do not run; they finish what they have."""
        for pod in pods:
            pod.stopped = pod.up
            self.seen(pod)

    def crash(self, pods: Iterable[P]) -> None:
        """Let agents crash repeatedly, with their tasks, until they `heal`."""
        for pod in pods:
            pod.crashing = True
            self.kill(pod, CRASHED)

    def heal(self, pod: P) -> None:
        """End what is wrong with an agent. A container that is held back starts when its time has come."""
        pod.visible, pod.stopped, pod.connected, pod.crashing, pod.hung = True, False, pod.up, False, False
        self.wake(pod)
        self.seen(pod)

    def lose(self, pods: Iterable[P], collected_after: float = 0.0) -> None:
        """Take the nodes from under pods: their tasks end at once, and the ReplicaSet makes others.

        That is as soon as Kubernetes deletes the pods, which may take it so many seconds; meanwhile they count.
        """
        pods = list(pods)
        if collected_after:
            for pod in pods:
                pod.lost = True
                self.end_life(pod, None)
                self.seen(pod)
            self.timeline.after(collected_after, partial(self.lose, pods))
            return
        for pod in pods:
            self._remove(pod)
        self._reconcile()
        self.refill()

    # -- nodes --------------------------------------------------------------------------------------------------------

    def add_nodes(self, count: int, *, seconds: float = NODE_SECONDS) -> None:
        """Request nodes, which are ready after so many seconds."""
        if self.nodes is not None:
            self.nodes.add(count, seconds)
            self.timeline.after(seconds, self._schedule)

    def drain(self, node: Node, grace: float) -> None:
        """Evict a node's pods with a grace in seconds, draining ones too; the node is removed with the last of them.

        The grace of a draining pod begins again. The API server counts it from the pod's first deletion; the kubelet,
        which kills, is assumed to count from the eviction. That is the later of the two, so the fewer tasks killed.
        """
        node.leaving = True
        here = [pod for pod in self.pods if pod.node is node]
        for pod in here:
            if pod.draining:
                pod.grace_seconds = grace
                self.timeline.after(grace, partial(self._remove, pod, KILLED))
        self.evict((pod for pod in here if not pod.draining), grace)
        if self.nodes is not None:
            self.nodes.remove_empty()
