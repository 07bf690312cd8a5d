"""Agents that pull tasks from one queue, and run them to their end.

Seeded, in virtual time. Tasks wait in the control plane until an agent that is connected pulls them; an agent takes up
to 20, and interactive ones beside them. It must not know where agents and tasks come from.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Generic, TypeVar

from exporter.simulation.draws import rest_of_task, task_length
from exporter.simulation.pod import TASKS_PER_AGENT, Pod
from exporter.simulation.task_queue import TaskQueue, WaitingTask
from exporter.simulation.timeline import Action, Timeline

WAKE_SECONDS = (5.0, 30.0)
"""From the moment at which an agent moves again to the end of a task that would have ended meanwhile."""

P = TypeVar("P", bound=Pod)

_Draw = Callable[[random.Random, float], float]
"""From a mean to the length of a task that has none of its own."""


class Work(ABC, Generic[P]):
    """The pods of a fleet, and the tasks that wait for them and run on them."""

    task_seconds: float = 600.0
    """For how long a task runs on average that has no length of its own."""

    def __init__(self, timeline: Timeline, chance: random.Random, slot_seconds: tuple[float, float]) -> None:
        """Begin without pods. `slot_seconds`: from a task's end to its agent's request for another in its place."""
        self.timeline = timeline
        self.chance = chance
        self.pods: list[P] = []
        """In order of creation, oldest first; those that are gone are not among them."""
        self.waiting = TaskQueue(timeline)
        self.finished = 0
        """Tasks that ended."""
        self.changed: Callable[[P], None] = lambda _pod: None
        """Called when Kubernetes' view of a pod changes, it comes or it goes."""
        self._slot_seconds = slot_seconds
        self._takers: list[P] | None = None

    @property
    def takes(self) -> int:
        """Tasks that an agent runs at once before it refuses more."""
        return TASKS_PER_AGENT

    def refill(self) -> None:
        """Let agents pull, after tasks ended or were lost."""
        self._dispatch()

    @abstractmethod
    def idle(self, pod: P) -> None:
        """Act on it that a draining agent's last task ended."""

    @property
    def queue(self) -> int:
        """Tasks that wait."""
        return len(self.waiting)

    @property
    def slots(self) -> int:
        """Tasks the agents that pull work can run at once."""
        return self.takes * len(self._pulling())

    def waited(self) -> float:
        """Return the seconds that tasks have spent waiting, added up over all of them."""
        return self.waiting.waited()

    def queue_shares(self) -> dict[P, int]:
        """Return what each agent that pulls work and can report it reports as waiting: its share of the queue."""
        reporters = [pod for pod in self._pulling() if pod.otel]
        whole, rest = divmod(self.queue, len(reporters)) if reporters else (0, 0)
        return {pod: whole + (place < rest) for place, pod in enumerate(reporters)}

    def put(self, tasks: Iterable[WaitingTask], *, under_way: bool = False) -> None:
        """Add tasks to what waits. With `under_way` those that start at once are met somewhere in their life."""
        self.waiting.put(tasks)
        self._dispatch(rest_of_task if under_way else task_length)

    def run(self, pod: P, task: WaitingTask) -> None:
        """Let an agent run a task that it did not pull."""
        self._run(pod, task, task_length)

    def _pulling(self) -> list[P]:
        if self._takers is None:
            self._takers = [pod for pod in self.pods if pod.serving]
        return self._takers

    def _dispatch(self, draw: _Draw = task_length) -> None:
        """Let agents pull from the queue in its order: the less busy of two, or any that has a slot."""
        takers = self._pulling()
        while self.waiting and takers:
            pod = min(self.chance.choice(takers), self.chance.choice(takers), key=_busy)
            if not self.waiting.head.interactive and _slots_used(pod) >= self.takes:
                pod = min(takers, key=_slots_used)
                if _slots_used(pod) >= self.takes:
                    return
            self._run(pod, self.waiting.take(), draw)

    def _run(self, pod: P, task: WaitingTask, draw: _Draw) -> None:
        if task.interactive:
            pod.interactive += 1
        else:
            pod.limited += 1
        seconds = draw(self.chance, self.task_seconds) if task.seconds is None else task.seconds
        self.in_life(pod, seconds, partial(self._finish, pod, task))

    def _finish(self, pod: P, task: WaitingTask) -> None:
        if pod.hung:
            pod.stalled.append(task)
            return
        if task.interactive:
            pod.interactive -= 1
        else:
            pod.limited -= 1
        pod.finished += 1
        self.finished += 1
        if pod.draining:
            if not pod.tasks:
                self.idle(pod)
        elif self._slot_seconds[1] and not task.interactive:
            pod.empty_slots += 1
            self.in_life(pod, self.chance.uniform(*self._slot_seconds), partial(self._ask_again, pod))
        if pod.replaced or not pod.draining:
            self.refill()

    def wake(self, pod: P) -> None:
        """Let the tasks end, one after the other, that an agent had while it stood still."""
        stalled, pod.stalled = pod.stalled, []
        for task in stalled:
            self.in_life(pod, self.chance.uniform(*WAKE_SECONDS), partial(self._finish, pod, task))

    def _ask_again(self, pod: P) -> None:
        pod.empty_slots -= 1
        self._dispatch()

    def in_life(self, pod: P, seconds: float, action: Action) -> None:
        """Let something happen in so many seconds, unless the life of the pod's container ends first."""
        self.timeline.after(seconds, partial(_unless_ended, pod, pod.life, action))

    def seen(self, pod: P) -> None:
        """Let it be known that a pod changed."""
        self._takers = None
        self.changed(pod)


def _unless_ended(pod: Pod, life: int, action: Action) -> None:
    if pod.life == life:
        action()


def _busy(pod: Pod) -> int:
    return pod.busy


def _slots_used(pod: Pod) -> int:
    """Return the slots of an agent that a task has, or had a moment ago."""
    return pod.limited + pod.empty_slots
