"""A fleet behind an HPA, replayed look by look over the tasks of weeks: what the HPA is given decides what it costs.

The fleet takes the tasks from one queue, in their order. It must not know where the tasks and the metric come from.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil

from exporter.simulation.hpa import FAST, SYNC_SECONDS, Autoscaler, Spec, external

TASKS_PER_AGENT, TARGET = 20, 16
"""Tasks that an agent runs at once (`capacity.tasks_per_agent`), and that the HPA aims at."""
LATE_SECONDS = 60.0

Task = tuple[float, float]
"""When it arrives, in seconds on the clock of the replay, and for how many seconds it runs."""
Signal = Callable[[float, int], float]
"""From the time and the demand, running and waiting tasks, to the HPA's metric, in tasks.

It is called at every look, in the order of time. Raises MetricError where the metric is withheld.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay brought."""

    waits: Sequence[tuple[float, float]]
    """When each task arrived and how long it waited, in seconds. What waits at the end has waited until then."""
    agent_hours: float
    """Of agents in the Deployment, and of those that drain."""
    peak_agents: int
    """The most agents at one time, those that start and those that drain too."""

    def waited(self, begin: float = 0.0) -> float:
        """Return the hours that tasks which arrived from `begin` on waited, all together."""
        return sum(wait for at, wait in self.waits if at >= begin) / 3600

    @property
    def late(self) -> float:
        """Share of the tasks that waited for more than LATE_SECONDS, 0 to 1."""
        return sum(wait > LATE_SECONDS for _, wait in self.waits) / len(self.waits)

    @property
    def p95(self) -> float:
        """The wait that 95% of the tasks do not exceed, in seconds."""
        return sorted(wait for _, wait in self.waits)[ceil(0.95 * len(self.waits)) - 1]


def replay(
    tasks: Sequence[Task],
    begin: float,
    end: float,
    start_seconds: float,
    signal: Signal,
    *,
    spec: Spec = FAST,
    target: float = TARGET,
    tasks_per_agent: int = TASKS_PER_AGENT,
) -> Outcome:
    """Run the tasks that arrive from `begin` to `end`, sorted by their arrival, and return what that brought.

    `spec.least` agents are up at the start; each further one is up `start_seconds` after the HPA asked for it. An agent
    that is removed takes no more tasks and finishes those it has. Agents do not differ, so those that drain are only
    counted, as those that the running tasks take beyond the Deployment's. Time passes in steps of SYNC_SECONDS. Raises
    ValueError if no task arrives: then there is no wait to compare.
    """
    waiting: deque[Task] = deque()
    ends: list[float] = []
    waits: list[tuple[float, float]] = []
    replicas, ready_at = spec.least, deque[float]()
    agent_seconds, peak, upcoming, now = 0.0, 0, 0, begin
    scaler = Autoscaler(spec, [lambda current: external(signal(now, len(ends) + len(waiting)), target, current)])
    while now < end:
        while ends and ends[0] <= now:
            heappop(ends)
        while upcoming < len(tasks) and tasks[upcoming][0] <= now:
            waiting.append(tasks[upcoming])
            upcoming += 1
        while ready_at and ready_at[0] <= now:
            ready_at.popleft()
        free = (replicas - len(ready_at)) * tasks_per_agent - len(ends)
        while waiting and free > 0:
            at, seconds = waiting.popleft()
            free -= 1
            # With a slot that was free all the time a task starts as it arrives; the step is not its wait.
            waits.append((at, now - at if now - at >= SYNC_SECONDS else 0.0))
            heappush(ends, now + seconds)
        wanted = scaler.look(now, replicas)
        for _ in range(wanted - replicas):
            ready_at.append(now + start_seconds)
        for _ in range(min(len(ready_at), replicas - wanted)):
            ready_at.pop()
        replicas = wanted
        agents = max(replicas, ceil(len(ends) / tasks_per_agent))
        peak = max(peak, agents)
        agent_seconds += agents * SYNC_SECONDS
        now += SYNC_SECONDS
    waits += [(at, max(0.0, end - at)) for at, _ in waiting]
    if not waits:
        raise ValueError("no task arrives between the begin and the end of the replay")
    return Outcome(waits, agent_seconds / 3600, peak)
