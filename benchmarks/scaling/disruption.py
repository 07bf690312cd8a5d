"""Days of work in waves, on nodes that a node autoscaler adds and removes: tasks killed by it, and node-hours."""

import random
from dataclasses import dataclass
from functools import partial

from benchmarks.scaling.annotations import SimulatedAnnotations, annotation_rules
from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.feeds import Direct, Feed
from benchmarks.scaling.waves import DAY_SECONDS, MAX_TASKS
from benchmarks.scaling.ways import Way
from benchmarks.scaling.world import World
from exporter.fleet.policy import Policy, ScaleInPolicy
from exporter.simulation.hpa import FAST
from exporter.simulation.node_autoscaler import SCAN_SECONDS, Flags, NodeAutoscaler
from exporter.simulation.nodes import Node, NodeGroup, NodeSize
from exporter.simulation.pod import GRACE_SECONDS
from exporter.simulation.task_queue import WaitingTask
from exporter.simulation.timeline import Timeline

HOUR_SECONDS = 3600.0
TASK_SECONDS = (120.0, 3 * HOUR_SECONDS)
"""The shortest and the longest task."""
SIZE_VARIATION, DELAY_SECONDS = (0.8, 1.2), (0.0, 900.0)
"""What makes days differ: a wave has 20% fewer or more tasks, and begins up to 15 minutes late."""
EVERY_SECONDS = 60.0
"""Mean time between tasks outside the waves."""
SKEW = 2.0
"""The higher, the more tasks are short. With 2 the median is 6 min, and a tenth takes more than 77 min; with 1 the
median is 19 min, and a tenth takes more than 115 min."""
AGENTS = 2
"""Agents at midnight, when the day begins: the HPA's minimum."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Tasks that arrive within `WAVE_SECONDS`."""

    hour: float
    """Hour of the day at which it begins."""
    tasks: int
    skew: float = SKEW


WAVES = (Wave(0.5, 400), Wave(3.0, 250), Wave(5.5, 120, skew=1.0), Wave(8.0, 300), Wave(12.0, 150), Wave(17.0, 250))
"""Three loads of the night, the last one of long tasks, and those of a working day."""
WAVE_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What is configured against disruption."""

    flags: Flags = Flags()  # noqa: RUF009 - a constant
    """Flags of the Cluster Autoscaler."""
    protection: bool = False
    """`protection.enabled`."""
    light_only: bool = False
    """`deletion_cost.enabled` and `capacity.scale_in`."""


UNPROTECTED, PROTECTED = "nothing", "`protection.enabled`"
SETUPS = {
    UNPROTECTED: Setup(),
    PROTECTED: Setup(protection=True),
    f"the same, `deletion_cost.enabled`, `scale_in.max_tasks: {MAX_TASKS}`": Setup(protection=True, light_only=True),
    "`--max-graceful-termination-sec=43200`": Setup(Flags(max_graceful_termination=GRACE_SECONDS)),
}


@dataclass(frozen=True, slots=True)
class Day:
    """The totals of a day."""

    tasks: float
    """Tasks that arrived."""
    killed: float
    """Tasks that ran on agents at the end of these agents' grace. They are not started again."""
    drained: float
    """Nodes that were drained with agents on them."""
    node_hours: float
    agent_hours: float
    """With draining agents."""


class Fleet(Cluster):
    """A fleet on nodes whose tasks have given lengths."""

    def __init__(self, timeline: Timeline, chance: random.Random, size: NodeSize) -> None:
        self.tasks = self.drained = 0
        self.group = NodeGroup(timeline, size, Node)
        super().__init__(timeline, chance, AGENTS, nodes=self.group)

    def bring(self, seconds: float) -> None:
        """Add a task of this length to the queue."""
        self.tasks += 1
        self.put([WaitingTask(seconds)])


def day(seed: int, *, size: NodeSize, setup: Setup, seconds: float = DAY_SECONDS) -> Day:
    """Simulate a fleet on nodes for a day, or for its first `seconds`."""
    timeline, fleet = begin(seed, size, setup)
    timeline.run(seconds)
    return Day(fleet.tasks, fleet.killed, fleet.drained, fleet.group.hours(), fleet.pod_hours())


def begin(seed: int, size: NodeSize, setup: Setup) -> tuple[Timeline, Fleet]:
    """Return a day that has not begun."""

    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        policy = Policy(scale_in=ScaleInPolicy(max_tasks=MAX_TASKS)) if setup.light_only else None
        exporter = SimulatedExporter(timeline, cluster, chance, policy=policy)
        if setup.protection or setup.light_only:
            rules = annotation_rules(protection=setup.protection, deletion_cost=setup.light_only)
            SimulatedAnnotations(timeline, cluster, exporter, chance, rules)
        return Direct(exporter)

    world = World(Way("disruption", build, FAST), seed, partial(Fleet, size=size))
    fleet = world.cluster
    assert isinstance(fleet, Fleet)
    _bring_work(world.timeline, fleet, random.Random(f"{seed}/work"))  # noqa: S311 - a simulation
    _scan(world.timeline, fleet, NodeAutoscaler(setup.flags), setup.flags.grace)
    return world.timeline, fleet


def _bring_work(timeline: Timeline, fleet: Fleet, chance: random.Random) -> None:
    """Plan a day's tasks. They depend on nothing that happens to the fleet."""
    shortest, longest = TASK_SECONDS

    def plan(at: float, skew: float) -> None:
        timeline.after(at, partial(fleet.bring, shortest * (longest / shortest) ** (chance.random() ** skew)))

    for wave in WAVES:
        begin = wave.hour * HOUR_SECONDS + chance.uniform(*DELAY_SECONDS)
        for _ in range(round(wave.tasks * chance.uniform(*SIZE_VARIATION))):
            plan(begin + chance.uniform(0, WAVE_SECONDS), wave.skew)
    for _ in range(round(DAY_SECONDS / EVERY_SECONDS)):
        plan(chance.uniform(0, DAY_SECONDS), SKEW)


def _scan(timeline: Timeline, fleet: Fleet, autoscaler: NodeAutoscaler, grace: float) -> None:
    def scan() -> None:
        plan = autoscaler.scan(timeline.now, fleet.group.nodes, len(fleet.pending))
        if plan.add:
            fleet.add_nodes(plan.add)
        for node in plan.remove:
            fleet.drained += bool(node.pods)
            fleet.drain(node, grace)

    timeline.every(SCAN_SECONDS, SCAN_SECONDS, scan)
