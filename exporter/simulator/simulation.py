"""Seeded fleets at work under a scenario: tasks arrive, agents come, go and get into trouble.

Pure: no asyncio, no sockets, no clock. Time is simulated seconds since the start; how often `advance` is called changes
nothing: the same plan, seed and calls of `scale` at the same instants give the same history. Every task that arrived is
queued, running, finished or lost.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, repeat

from exporter.simulation.fleet import Fleet
from exporter.simulation.node_autoscaler import EVICTION_GRACE_SECONDS
from exporter.simulation.nodes import POD_GC_SECONDS, SMALL, NodeGroup
from exporter.simulation.pod import CRASHED, OOM_KILLED, TASKS_PER_AGENT, End
from exporter.simulation.task_queue import WaitingTask
from exporter.simulation.timeline import Timeline
from exporter.simulator.nodes import Fate, NamedNode
from exporter.simulator.scenario import Fault, Incident, Scenario
from exporter.simulator.simulated_agent import Phase, SimulatedAgent
from exporter.simulator.vitals import Behaviour, Image
from exporter.simulator.workload import Workload

ARRIVAL_SECONDS = 1.0
"""How often tasks arrive."""

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


class SimulatedFleet(Fleet[SimulatedAgent]):
    """The agents of one fleet under a scenario. Where a pod fits on no node, there is a new one at once."""

    def __init__(
        self,
        timeline: Timeline,
        plan: FleetPlan,
        scenario: Scenario,
        *,
        seed: int,
        numbers: Iterator[int],
        node_numbers: Iterator[int],
    ) -> None:
        """Take the numbers of agents and of nodes, each once over all fleets."""
        self.plan = plan
        self.arrived = 0
        self.gone_nodes: list[NamedNode] = []
        """Those that went away, or are about to, in that order."""
        self._group = NodeGroup(timeline, SMALL, NamedNode, node_numbers)
        self._images = chain(plan.images, repeat(plan.added))
        chance = random.Random(f"{seed}/{plan.name}")
        super().__init__(timeline, chance, len(plan.images), nodes=self._group, numbers=numbers)
        self._work = Workload(scenario, TASKS_PER_AGENT * len(plan.images), chance)
        for incident in scenario.incidents:
            timeline.every(scenario.cycle, incident.at, partial(self._strike, incident))
        self._arrive(self._work.at_the_start())
        timeline.every(ARRIVAL_SECONDS, ARRIVAL_SECONDS, self._arrivals)

    def counts(self) -> Counts:
        """Return where the tasks that arrived so far are."""
        running = sum(agent.tasks for agent in self.pods)
        return Counts(self.arrived, self.queue, running, self.finished, self.killed)

    def share_queue(self) -> None:
        """Spread the queue over the agents that can report it; what no agent can report stays invisible."""
        shares = self.queue_shares()
        for agent in self.pods:
            agent.queued = shares.get(agent, 0)

    def make_pod(self, number: int) -> SimulatedAgent:
        """Return a new pod of the next image, named as a Deployment's."""
        image, suffix = next(self._images), "".join(self.chance.choices(NAME_LETTERS, k=5))
        name = f"{self.plan.name}-{_template_hash(self.plan.name, image)}-{suffix}"
        return SimulatedAgent(number=number, created_at=self.timeline.now, fleet=self.plan.name, pod=name, image=image)

    def begin(self, pod: SimulatedAgent) -> None:
        """Let a pod start, on a new node if it fits on none."""
        if not self._group.has_room():
            self.add_nodes(1, seconds=0.0)
        super().begin(pod)

    def end_life(self, pod: SimulatedAgent, end: End | None) -> None:
        """End a life of a pod's container, with what was wrong in it."""
        pod.node.killed += pod.tasks
        super().end_life(pod, end)
        pod.manner, pod.leaking_since = Behaviour.ANSWERING, None

    # Work

    def _arrivals(self) -> None:
        self._arrive(self._work.arrivals(self.timeline.now, ARRIVAL_SECONDS))

    def _arrive(self, tasks: list[WaitingTask]) -> None:
        self.arrived += len(tasks)
        self.put(tasks)

    # Trouble

    def _strike(self, incident: Incident) -> None:
        if incident.trouble.of_node:
            self._strike_nodes(incident)
            return
        sound = [agent for agent in self.pods if agent.phase is Phase.RUNNING and not agent.troubled]
        struck = min(len(sound), max(1, round(incident.share * len(sound))))
        for agent in self.chance.sample(sound, struck):
            self._trouble(agent, incident)

    def _trouble(self, agent: SimulatedAgent, incident: Incident) -> None:
        match incident.trouble:
            case Fault.DISCONNECT:
                self.disconnect([agent])
            case Fault.STOP:
                self.stop([agent])
            case Fault.HANG:
                self.hang([agent])
            case Fault.SLOW | Fault.ERROR:
                agent.manner = Behaviour.SLOW if incident.trouble is Fault.SLOW else Behaviour.ERRORING
            case Fault.DIE:
                self.kill(agent, CRASHED)
                return
            case Fault.CRASH_LOOP:
                self.crash([agent])
                self.timeline.after(incident.lasts, partial(self._stop_crashing, agent))
                return
            case Fault.LEAK:
                agent.leaking_since, agent.leak_seconds = self.timeline.now, incident.lasts
                self.in_life(agent, incident.lasts, partial(self.kill, agent, OOM_KILLED))
                return
            case Fault.DRAIN:
                self.evict([agent])
                return
        self.in_life(agent, incident.lasts, partial(self._recover, agent))

    def _recover(self, agent: SimulatedAgent) -> None:
        agent.manner = Behaviour.ANSWERING
        self.heal(agent)
        self.refill()

    def _stop_crashing(self, agent: SimulatedAgent) -> None:
        agent.crashing = False

    def _strike_nodes(self, incident: Incident) -> None:
        nodes = dict.fromkeys(agent.node for agent in self.pods if agent.phase is Phase.RUNNING)
        sound = [node for node in nodes if node.fate is None]
        struck = min(len(sound), max(1, round(incident.share * len(sound))))
        for node in self.chance.sample(sound, struck):
            self.gone_nodes.append(node)
            if incident.trouble is Fault.NODE_REMOVED:
                node.ends(Fate.REMOVED, self.timeline.now)
                self.drain(node, EVICTION_GRACE_SECONDS)
            else:
                node.ends(Fate.LOST, self.timeline.now)
                node.leaving = True
                here = [agent for agent in self.pods if agent.node is node]
                self.lose(here, collected_after=self.chance.uniform(*POD_GC_SECONDS))


def _template_hash(fleet: str, image: Image) -> str:
    """Return the part of a pod's name that its ReplicaSet gives it: the same for the same image."""
    return "".join(random.Random(f"{fleet}/{image.version}").choices(NAME_LETTERS, k=9))


class Simulation:
    """Several fleets under one scenario and one clock."""

    def __init__(self, plans: Sequence[FleetPlan], scenario: Scenario, seed: int) -> None:
        self._timeline = Timeline()
        numbers, nodes = count(), count()
        self.fleets = {
            plan.name: SimulatedFleet(self._timeline, plan, scenario, seed=seed, numbers=numbers, node_numbers=nodes)
            for plan in plans
        }
        self._share_queues()

    @property
    def now(self) -> float:
        """Simulated seconds since the start."""
        return self._timeline.now

    def advance(self, until: float) -> None:
        """Let time pass up to `until`; if that is past already nothing happens."""
        if until > self.now:
            self._timeline.run(until)
            self._share_queues()

    @property
    def agents(self) -> Iterator[SimulatedAgent]:
        """Every agent there is, fleet by fleet, oldest first."""
        for fleet in self.fleets.values():
            yield from fleet.pods

    def scale(self, fleet: str, replicas: int) -> None:
        """Give `fleet` as many agents as `replicas`, besides those that drain; KeyError if it is not known."""
        self.fleets[fleet].scale(replicas)
        self.fleets[fleet].share_queue()

    def _share_queues(self) -> None:
        for fleet in self.fleets.values():
            fleet.share_queue()
