"""A fleet behind an HPA, replayed look by look over the tasks of weeks: what the HPA is given decides what it costs.

The fleet takes the tasks from one queue, in their order. It must not know where the tasks and the metric come from.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil

from exporter.fleet.quantile import quantile
from exporter.simulation.hpa import FAST, SYNC_SECONDS, Autoscaler, Metric, Spec, external
from exporter.simulation.pod import TASKS_PER_AGENT

TARGET = 16
"""Tasks per agent that the HPA aims at."""
LATE_SECONDS = 60.0

Task = tuple[float, float]
"""When it arrives, in seconds on the clock of the replay, and for how many seconds it runs."""
Signal = Callable[[float, int], float]
"""From the time and the demand, running and waiting tasks, to the HPA's metric, in tasks.

It is called at every look, in the order of time, unless the bounds of the HPA leave no choice. Raises
MetricError where the metric is withheld.
"""
Watch = Callable[[int, int], None]
"""What is told of each look: the demand, and the agents that take tasks then."""


@dataclass(slots=True)
class Load:
    """What a fleet does at a look, for a metric that its agents have."""

    running: int
    """Tasks, those on draining agents too."""
    ready: int
    """Agents of the Deployment that take tasks."""
    starting: int
    """Agents of the Deployment that do not yet."""


PodMetric = Callable[[Load], int]
"""From the load to the replicas that a metric of the agents proposes, as `hpa.per_pod`. Raises MetricError."""


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
        return quantile([wait for _, wait in self.waits], 0.95)


def replay(
    tasks: Sequence[Task],
    begin: float,
    end: float,
    start_seconds: float,
    signal: Signal | None,
    *,
    pod_metric: PodMetric | None = None,
    agents: int = 0,
    watch: Watch | None = None,
    spec: Spec = FAST,
    target: float = TARGET,
    tasks_per_agent: int = TASKS_PER_AGENT,
) -> Outcome:
    """Run the tasks that arrive from `begin` to `end`, sorted by their arrival, and return what that brought.

    The HPA's metrics are the External one of `signal`, the one of `pod_metric`, or both. At the start as many `agents`
    are up as the bounds of `spec` allow; each further one is up `start_seconds` after the HPA asked for it. An agent
    that is removed takes no more tasks and finishes those it has. Agents do not differ, so those that drain are only
    counted, as those that the running tasks take beyond the Deployment's. Time passes in steps of SYNC_SECONDS. Raises
    ValueError if no task arrives: then there is no wait to compare.
    """
    fleet = _Fleet(min(max(agents, spec.least), spec.most), tasks_per_agent)
    agent_seconds, peak, upcoming, now = 0.0, 0, 0, begin
    metrics: list[Metric] = []
    if signal is not None:
        metrics.append(lambda current: external(signal(now, fleet.demand), target, current))
    if pod_metric is not None:
        metrics.append(lambda _current: pod_metric(fleet.load()))
    scaler = Autoscaler(spec, metrics)
    while now < end:
        while upcoming < len(tasks) and tasks[upcoming][0] <= now:
            fleet.waiting.append(tasks[upcoming])
            upcoming += 1
        fleet.run(now)
        if watch is not None:
            watch(fleet.demand, fleet.ready)
        if spec.least < spec.most:
            wanted = scaler.look(now, fleet.replicas)
            if wanted != fleet.replicas:
                fleet.resize(wanted, now + start_seconds)
        held = fleet.held()
        peak = max(peak, held)
        agent_seconds += held * SYNC_SECONDS
        now += SYNC_SECONDS
    waits = fleet.waits + [(at, max(0.0, end - at)) for at, _ in fleet.waiting]
    if not waits:
        raise ValueError("no task arrives between the begin and the end of the replay")
    return Outcome(waits, agent_seconds / 3600, peak)


class _Fleet:
    """Agents that do not differ, and one queue."""

    def __init__(self, replicas: int, tasks_per_agent: int) -> None:
        self.replicas = replicas
        self._tasks_per_agent = tasks_per_agent
        self._ready_at: deque[float] = deque()
        self._ends: list[float] = []
        self.waiting: deque[Task] = deque()
        self.waits: list[tuple[float, float]] = []

    @property
    def demand(self) -> int:
        return len(self._ends) + len(self.waiting)

    @property
    def ready(self) -> int:
        return self.replicas - len(self._ready_at)

    def load(self) -> Load:
        return Load(len(self._ends), self.ready, len(self._ready_at))

    def held(self) -> int:
        """Return the agents there are, with those that the tasks take beyond the Deployment's."""
        if len(self._ends) <= self.replicas * self._tasks_per_agent:
            return self.replicas
        return ceil(len(self._ends) / self._tasks_per_agent)

    def run(self, now: float) -> None:
        """End the tasks that are done by now, and start those that wait, as far as there are slots."""
        ends, ready_at = self._ends, self._ready_at
        while ends and ends[0] <= now:
            heappop(ends)
        while ready_at and ready_at[0] <= now:
            ready_at.popleft()
        if not self.waiting:
            return
        for _ in range(min(len(self.waiting), self.ready * self._tasks_per_agent - len(ends))):
            at, seconds = self.waiting.popleft()
            # With a slot that was free all the time a task starts as it arrives; the step is not its wait.
            self.waits.append((at, now - at if now - at >= SYNC_SECONDS else 0.0))
            heappush(ends, now + seconds)

    def resize(self, replicas: int, ready_at: float) -> None:
        """Add agents that are up at `ready_at`, or remove some: those that start first."""
        for _ in range(replicas - self.replicas):
            self._ready_at.append(ready_at)
        for _ in range(min(len(self._ready_at), self.replicas - replicas)):
            self._ready_at.pop()
        self.replicas = replicas
