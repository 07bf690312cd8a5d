"""A fleet behind an HPA, step by step: tasks wait until an agent that is up has a slot."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil

from benchmarks.forecast.autoscaler import FAST, SYNC_SECONDS, Autoscaler, external
from benchmarks.forecast.months import Task

TASKS, TARGET = 20, 16
"""Tasks that an agent runs, and that the HPA aims at."""
LATE_SECONDS = 60.0

Wish = Callable[[float, int], float]
"""What the HPA's metric is, from the time and the demand."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way brought."""

    waits: Sequence[tuple[float, float]]
    """When each task came, and how long it waited, in seconds."""
    agent_hours: float
    """Of agents in the Deployment, and of those that drain."""

    def waited(self, begin: float = 0.0) -> float:
        """Return the hours that tasks which came from `begin` on waited, all together."""
        return sum(wait for at, wait in self.waits if at >= begin) / 3600

    @property
    def late(self) -> float:
        """Share of the tasks that waited for more than a minute."""
        return sum(wait > LATE_SECONDS for _, wait in self.waits) / len(self.waits)

    @property
    def p95(self) -> float:
        """The wait that 95% of the tasks do not exceed, in seconds."""
        return sorted(wait for _, wait in self.waits)[ceil(0.95 * len(self.waits)) - 1]


def run(tasks: Sequence[Task], begin: float, end: float, start_seconds: float, wish: Wish) -> Outcome:
    """Run the tasks that come from `begin` to `end`. Pods of the first size are up."""
    waiting: deque[Task] = deque()
    ends: list[float] = []
    waits: list[tuple[float, float]] = []
    replicas, ready_at = FAST.least, deque[float]()
    agent_seconds, upcoming, now, total = 0.0, 0, begin, 0.0
    scaler = Autoscaler(FAST, [lambda current: external(total, TARGET, current)])
    while now < end:
        while ends and ends[0] <= now:
            heappop(ends)
        while upcoming < len(tasks) and tasks[upcoming][0] <= now:
            waiting.append(tasks[upcoming])
            upcoming += 1
        while ready_at and ready_at[0] <= now:
            ready_at.popleft()
        slots = (replicas - len(ready_at)) * TASKS - len(ends)
        while waiting and slots > 0:
            at, seconds = waiting.popleft()
            slots -= 1
            # With a slot that was free all the time a task starts as it comes; the step is not its wait.
            waits.append((at, now - at if now - at >= SYNC_SECONDS else 0.0))
            heappush(ends, now + seconds)
        total = wish(now, len(ends) + len(waiting))
        wanted = scaler.look(now, replicas)
        for _ in range(wanted - replicas):
            ready_at.append(now + start_seconds)
        for _ in range(min(len(ready_at), replicas - wanted)):
            ready_at.pop()
        replicas = wanted
        agent_seconds += max(replicas, ceil(len(ends) / TASKS)) * SYNC_SECONDS
        now += SYNC_SECONDS
    return Outcome(waits, agent_seconds / 3600)
