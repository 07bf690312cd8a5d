"""A seeded model of fleets at work: tasks arrive, wait, run and end; agents come, go and get into trouble.

Pure: no asyncio, no sockets, no clock. Time is simulated seconds since the start, and `advance` takes it in steps of
`TICK`, so how often it is called changes nothing: the same plan, seed and calls of `scale` at the same instants give
the same history. Every task that arrived is queued, running, finished or lost.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from exporter.simulator.nodes import EVICTION_GRACE_SECONDS, POD_GC_SECONDS, Fate, NodeGroup
from exporter.simulator.scenario import HOUR, Fault, Incident, Scenario
from exporter.simulator.simulated_agent import (
    CRASHED,
    FINISHED,
    KILLED,
    OOM_KILLED,
    TASKS_PER_AGENT,
    End,
    Phase,
    SimulatedAgent,
)
from exporter.simulator.vitals import Behaviour, Image
from exporter.simulator.workload import Task, Workload

TICK = 1.0
GRACE_SECONDS = 12 * HOUR
"""The `terminationGracePeriodSeconds` of the vendor's chart: how long a deleted agent may work on."""
START_SECONDS = (20.0, 45.0)
"""From a pod's creation to its agent answering: the image is pulled and a JVM starts."""
RESTART_SECONDS = (10.0, 20.0)
"""From the end of a container to its successor answering: the image is there already."""
BACK_OFF_SECONDS = (10.0, 300.0)
"""How long Kubernetes holds back a container that keeps dying: at first, doubled each time, at most."""
CRASH_SECONDS = (4.0, 9.0)
"""From a start to the next crash, in a crash loop."""
SHUTDOWN_SECONDS = 4.0
"""From a draining agent's last task to its end."""

NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes the random ends of names from."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Tasks of a fleet: `arrived` since the start is the sum of the other four."""

    arrived: int
    queued: int
    running: int
    finished: int
    lost: int


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """How a fleet begins: its name and one image per initial agent."""

    name: str
    images: tuple[Image, ...]
    added: Image
    """The image of agents that come later."""


Action = Callable[[], None]


@dataclass(slots=True)
class SimulatedFleet:
    """The agents of one fleet and the work they share."""

    plan: FleetPlan
    scenario: Scenario
    seed: int
    ids: Iterator[int]
    """The numbers of agents, each once over all fleets."""
    nodes: NodeGroup
    now: float = 0.0
    agents: list[SimulatedAgent] = field(default_factory=list)
    """In order of creation, oldest first; those that are gone are not among them."""
    membership: int = 0
    """Grows whenever an agent comes or goes."""
    arrived: int = 0
    finished: int = 0
    lost: int = 0
    _draw: random.Random = field(init=False)
    _work: Workload = field(init=False)
    _queue: deque[Task] = field(default_factory=deque)
    _timers: list[tuple[float, int, SimulatedAgent, int, Action]] = field(default_factory=list)
    _sequence: int = 0
    _takers: list[SimulatedAgent] | None = None

    def __post_init__(self) -> None:
        self._draw = random.Random(f"{self.seed}/{self.plan.name}")
        for image in self.plan.images:
            self._start(self._add(image))
        self._work = Workload(self.scenario, TASKS_PER_AGENT * len(self.plan.images), self._draw)
        self._arrive(self._work.at_the_start())
        self._dispatch()
        self._share_queue()

    def counts(self) -> Counts:
        """Return where the tasks that arrived so far are."""
        running = sum(agent.tasks for agent in self.agents)
        return Counts(self.arrived, len(self._queue), running, self.finished, self.lost)

    @property
    def replicas(self) -> int:
        """Agents a Deployment would count: those that drain belong to it no more."""
        return sum(agent.deleted_at is None for agent in self.agents)

    def scale(self, replicas: int) -> None:
        """Add agents, or let the newest go, until there are `replicas` besides those that drain."""
        if replicas < 0:
            raise ValueError(f"a fleet cannot have {replicas} agents")
        kept = [agent for agent in self.agents if agent.deleted_at is None]
        for _ in range(replicas - len(kept)):
            self._create(self.plan.added)
        # Kubernetes lets pods that are not ready go first, then the newest.
        kept.sort(key=lambda agent: (agent.phase is Phase.RUNNING, -agent.number))
        for agent in kept[: max(0, len(kept) - replicas)]:
            self._drain(agent)
        self._share_queue()

    def tick(self) -> None:
        """Let one `TICK` pass."""
        before, self.now = self.now, self.now + TICK
        for incident in self.scenario.incidents:
            if before % self.scenario.cycle < incident.at <= before % self.scenario.cycle + TICK:
                self._strike(incident)
        while self._timers and self._timers[0][0] <= self.now:
            _, _, agent, life, action = heapq.heappop(self._timers)
            if life == agent.life and agent.phase is not Phase.GONE:
                action()
        self._arrive(self._work.arrivals(self.now, TICK))
        self._dispatch()
        self._share_queue()

    # Work

    def _arrive(self, tasks: list[Task]) -> None:
        self._queue.extend(tasks)
        self.arrived += len(tasks)

    def _dispatch(self) -> None:
        """Let agents pull from the queue, in its order, as long as there is one to take its head."""
        while self._queue:
            agent = self._taker(self._queue[0].interactive)
            if agent is None:
                return
            task = self._queue.popleft()
            if task.interactive:
                agent.interactive += 1
            else:
                agent.limited += 1
            self._later(task.seconds, agent, partial(self._finish, agent, task))

    def _taker(self, interactive: bool) -> SimulatedAgent | None:
        """Return the agent that pulls next: the less busy of two, or any that still has a slot."""
        takers = self._taking()
        if not takers:
            return None
        one, other = self._draw.choice(takers), self._draw.choice(takers)
        agent = min(one, other, key=lambda taker: taker.tasks)
        if interactive or agent.limited < TASKS_PER_AGENT:
            return agent
        return next((taker for taker in takers if taker.limited < TASKS_PER_AGENT), None)

    def _taking(self) -> list[SimulatedAgent]:
        if self._takers is None:
            self._takers = [agent for agent in self.agents if agent.takes_work]
        return self._takers

    def _finish(self, agent: SimulatedAgent, task: Task) -> None:
        if agent.behaviour is Behaviour.HUNG:
            # It stands still; the task ends some time after it wakes.
            self._later(self._draw.uniform(5.0, 30.0), agent, partial(self._finish, agent, task))
            return
        if task.interactive:
            agent.interactive -= 1
        else:
            agent.limited -= 1
        agent.finished += 1
        self.finished += 1
        self._end_if_idle(agent)

    def _share_queue(self) -> None:
        """Spread the queue over the agents that can report it; what no agent can report stays invisible."""
        reporters = [agent for agent in self._taking() if agent.image.otel]
        whole, rest = divmod(len(self._queue), len(reporters)) if reporters else (0, 0)
        for agent in self.agents:
            agent.queued = 0
        for index, agent in enumerate(reporters):
            agent.queued = whole + (index < rest)

    # Agents

    def _add(self, image: Image) -> SimulatedAgent:
        suffix = "".join(self._draw.choices(NAME_LETTERS, k=5))
        pod = f"{self.plan.name}-{_template_hash(self.plan.name, image)}-{suffix}"
        number, node = next(self.ids), self.nodes.place()
        agent = SimulatedAgent(number, self.plan.name, pod, image, self.now, node=node, created_at=self.now)
        self.agents.append(agent)
        self.membership += 1
        return agent

    def _create(self, image: Image) -> None:
        agent = self._add(image)
        self._later(self._draw.uniform(*START_SECONDS), agent, partial(self._start, agent))

    def _start(self, agent: SimulatedAgent) -> None:
        agent.started_at = self.now
        agent.behaviour = Behaviour.ANSWERING
        agent.held_back, agent.listed = False, True
        agent.restarts += agent.ended_at is not None
        if self.now < agent.crashes_until:
            self._later(self._draw.uniform(*CRASH_SECONDS), agent, partial(self._die, agent))
        if agent.phase is Phase.STARTING:
            agent.phase = Phase.RUNNING
        self._takers = None

    def _die(self, agent: SimulatedAgent) -> None:
        """End the agent's process with all it ran; its container starts again unless its pod was deleted."""
        end = CRASHED if agent.leaking_since is None else OOM_KILLED
        if agent.phase is Phase.DRAINING:
            self._remove(agent, end)
            return
        self._lose_tasks(agent)
        agent.last_end, agent.ended_at = end, self.now
        agent.connected, agent.stopped, agent.leaking_since = True, False, None
        agent.behaviour = Behaviour.CLOSED
        agent.phase = Phase.STARTING
        agent.held_back = self.now < agent.crashes_until
        min_wait, max_wait = BACK_OFF_SECONDS
        wait = min(max_wait, min_wait * 2**agent.restarts) if agent.held_back else 0.0
        self._later(wait + self._draw.uniform(*RESTART_SECONDS), agent, partial(self._start, agent))

    def _drain(self, agent: SimulatedAgent, grace: float = GRACE_SECONDS) -> None:
        """Delete its pod: it finishes what it has, for so many seconds from its first deletion on, and is gone."""
        if agent.phase is Phase.STARTING:
            self._remove(agent)
            return
        if agent.deleted_at is None:
            agent.deleted_at = self.now
        agent.grace_seconds = grace
        if agent.phase is Phase.LOST:
            return
        agent.phase = Phase.DRAINING
        self._takers = None
        self._later(max(0.0, agent.deleted_at + grace - self.now), agent, partial(self._remove, agent, KILLED))
        self._end_if_idle(agent)

    def _replace(self, agent: SimulatedAgent, delete: Action) -> None:
        """Delete a pod; its ReplicaSet creates another, unless the pod was deleted before."""
        missed = agent.deleted_at is None
        delete()
        if missed:
            self._create(self.plan.added)

    def _end_if_idle(self, agent: SimulatedAgent) -> None:
        if agent.phase is Phase.DRAINING and agent.tasks == 0 and not agent.shutting_down:
            agent.shutting_down = True
            self._later(SHUTDOWN_SECONDS, agent, partial(self._remove, agent, FINISHED))

    def _remove(self, agent: SimulatedAgent, end: End | None = None) -> None:
        """Let a pod go away, with the `end` of its container if that ran and Kubernetes saw it end."""
        self._lose_tasks(agent)
        if end is not None:
            agent.last_end, agent.ended_at = end, self.now
        agent.phase, agent.behaviour = Phase.GONE, Behaviour.CLOSED
        agent.node.present -= 1
        self.agents.remove(agent)
        self.membership += 1

    def _lose_tasks(self, agent: SimulatedAgent) -> None:
        self.lost += agent.tasks
        agent.node.killed += agent.tasks
        agent.limited = agent.interactive = agent.finished = 0
        agent.life += 1
        self._takers = None

    # Trouble

    def _strike(self, incident: Incident) -> None:
        if incident.trouble.of_node:
            self._strike_nodes(incident)
            return
        sound = [agent for agent in self.agents if agent.phase is Phase.RUNNING and not agent.troubled]
        struck = min(len(sound), max(1, round(incident.share * len(sound))))
        for agent in self._draw.sample(sound, struck):
            self._trouble(agent, incident)
        self._takers = None

    def _trouble(self, agent: SimulatedAgent, incident: Incident) -> None:
        match incident.trouble:
            case Fault.DISCONNECT:
                agent.connected = False
            case Fault.STOP:
                agent.stopped = True
            case Fault.HANG | Fault.SLOW | Fault.ERROR:
                agent.behaviour = _BEHAVIOUR[incident.trouble]
            case Fault.DIE | Fault.CRASH_LOOP:
                agent.crashes_until = self.now + incident.lasts if incident.trouble is Fault.CRASH_LOOP else 0.0
                self._die(agent)
                return
            case Fault.LEAK:
                agent.leaking_since, agent.leak_seconds = self.now, incident.lasts
                self._later(incident.lasts, agent, partial(self._die, agent))
                return
            case Fault.DRAIN:
                self._replace(agent, partial(self._drain, agent))
                return
        self._later(incident.lasts, agent, partial(self._recover, agent))

    def _strike_nodes(self, incident: Incident) -> None:
        nodes = list(dict.fromkeys(agent.node for agent in self.agents if agent.phase is Phase.RUNNING))
        sound = [node for node in nodes if node.fate is None]
        struck = min(len(sound), max(1, round(incident.share * len(sound))))
        for node in self._draw.sample(sound, struck):
            agents = [agent for agent in self.agents if agent.node is node]
            node.ended_at, node.agents, node.tasks = self.now, len(agents), sum(agent.tasks for agent in agents)
            node.killed = 0
            if incident.trouble is Fault.NODE_REMOVED:
                node.fate = Fate.REMOVED
                for agent in agents:
                    self._replace(agent, partial(self._drain, agent, EVICTION_GRACE_SECONDS))
            else:
                node.fate = Fate.LOST
                self._lose(agents)

    def _lose(self, agents: list[SimulatedAgent]) -> None:
        """Silence the agents of a node at once; pod garbage collection deletes their pods later."""
        wait = self._draw.uniform(*POD_GC_SECONDS)
        for agent in agents:
            self._lose_tasks(agent)
            agent.phase, agent.behaviour = Phase.LOST, Behaviour.HUNG if agent.listed else Behaviour.CLOSED
            self._later(wait, agent, partial(self._replace, agent, partial(self._remove, agent)))

    def _recover(self, agent: SimulatedAgent) -> None:
        agent.connected, agent.stopped, agent.behaviour = True, False, Behaviour.ANSWERING
        self._takers = None

    # Chance and time

    def _later(self, seconds: float, agent: SimulatedAgent, action: Action) -> None:
        """Do `action` after `seconds`, unless the agent's life ends first."""
        self._sequence += 1
        heapq.heappush(self._timers, (self.now + seconds, self._sequence, agent, agent.life, action))


_BEHAVIOUR = {
    Fault.HANG: Behaviour.HUNG,
    Fault.SLOW: Behaviour.SLOW,
    Fault.ERROR: Behaviour.ERRORING,
}


def _template_hash(fleet: str, image: Image) -> str:
    """Return the part of a pod's name that its ReplicaSet gives it: the same for the same image."""
    return "".join(random.Random(f"{fleet}/{image.version}").choices(NAME_LETTERS, k=9))


class Simulation:
    """Several fleets under one scenario and one clock."""

    def __init__(self, plans: Sequence[FleetPlan], scenario: Scenario, seed: int) -> None:
        ids, nodes = count(), count()
        self.fleets = {plan.name: SimulatedFleet(plan, scenario, seed, ids, NodeGroup(nodes)) for plan in plans}
        self.now = 0.0

    def advance(self, until: float) -> None:
        """Let time pass up to `until`, as far as whole ticks go."""
        while self.now + TICK <= until:
            for fleet in self.fleets.values():
                fleet.tick()
            self.now += TICK

    @property
    def agents(self) -> Iterator[SimulatedAgent]:
        """Every agent there is, fleet by fleet, oldest first."""
        for fleet in self.fleets.values():
            yield from fleet.agents

    @property
    def membership(self) -> int:
        """Grows whenever an agent comes or goes."""
        return sum(fleet.membership for fleet in self.fleets.values())

    def scale(self, fleet: str, replicas: int) -> None:
        """Give `fleet` as many agents as `replicas`, besides those that drain; KeyError if it is not known."""
        self.fleets[fleet].scale(replicas)
