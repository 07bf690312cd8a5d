"""The tasks of a fleet that no agent has pulled yet, in the control plane. It must not know of agents."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.simulation.timeline import Timeline


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A unit of work."""

    seconds: float | None = None
    """For how long it runs; None is drawn when it starts."""
    interactive: bool = False
    """Whether a person started it in the designer; the agent's cap of tasks does not apply to it."""


class TaskQueue:
    """First in, first out; and how long tasks have waited in it."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._tasks: deque[WaitingTask] = deque()
        self._waited = 0.0
        self._seen_at = timeline.now

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def head(self) -> WaitingTask:
        """The task to be pulled next. Raises IndexError if none waits."""
        return self._tasks[0]

    def put(self, tasks: Iterable[WaitingTask]) -> None:
        """Add tasks at the end."""
        self.waited()
        self._tasks.extend(tasks)

    def take(self) -> WaitingTask:
        """Remove the head and return it. Raises IndexError if none waits."""
        self.waited()
        return self._tasks.popleft()

    def waited(self) -> float:
        """Return the seconds that tasks have spent waiting, added up over all of them."""
        now = self._timeline.now
        self._waited += len(self._tasks) * (now - self._seen_at)
        self._seen_at = now
        return self._waited
