"""A day of waves: how many tasks a scale-in meets on the agents that it takes away, and what avoiding it costs."""

import random
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import Literal

from benchmarks.scaling.annotations import SimulatedAnnotations, annotation_rules
from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.feeds import Direct, Feed
from benchmarks.scaling.ways import TARGET, Way
from benchmarks.scaling.world import World
from exporter.config.settings import ScrapeSettings
from exporter.fleet.policy import Policy, ScaleInPolicy
from exporter.simulation.hpa import FAST, SYNC_SECONDS
from exporter.simulation.timeline import Timeline

LOAD = (48.0, 240.0)
"""Tasks that run on average, in the trough and at the crest: 3 and 15 agents at the target."""
WAVE_SECONDS = 6 * 3600.0
DAY_SECONDS = 24 * 3600.0
MAX_TASKS = 4
"""`capacity.scale_in.max_tasks` of the rows that have one."""
SCRAPE = ScrapeSettings(interval=SYNC_SECONDS)
"""Agents are read as often as the HPA asks. The default is three times as often, and takes three times as long here."""
NO_PATIENCE = 10 * DAY_SECONDS
"""A `patience` that never ends."""

Order = Literal["newest", "cost"]
SCALE_INS: dict[str, tuple[Order, ScaleInPolicy]] = {
    "Kubernetes' own order": ("newest", ScaleInPolicy()),
    "`deletion_cost.enabled`": ("cost", ScaleInPolicy()),
    f"the same, `max_tasks: {MAX_TASKS}`, no end to the patience": (
        "cost",
        ScaleInPolicy(max_tasks=MAX_TASKS, patience=NO_PATIENCE),
    ),
    f"the same, `max_tasks: {MAX_TASKS}`, `patience: 30m`": ("cost", ScaleInPolicy(max_tasks=MAX_TASKS)),
}
"""What the table compares."""


@dataclass(frozen=True, slots=True)
class Waves:
    """What a day took."""

    agents: int
    """Agents that scale-ins took away."""
    tasks: int
    """Tasks that ran on them at that moment."""
    agent_hours: float
    """Hours of agents in the Deployment, all together."""
    pod_hours: float
    """The same with those that drain."""


def waves(seed: int, *, scale_in: str) -> Waves:
    """Watch a fleet for a day whose load rises and falls; tasks arrive at random."""
    order, limit = SCALE_INS[scale_in]

    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        exporter = SimulatedExporter(timeline, cluster, chance, policy=Policy(scale_in=limit), scrape=SCRAPE)
        if order == "cost":
            rules = annotation_rules(protection=False, deletion_cost=True)
            SimulatedAnnotations(timeline, cluster, exporter, chance, rules, look_seconds=SYNC_SECONDS)
        return Direct(exporter)

    world = World(Way("waves", build, FAST), seed, partial(Cluster, replicas=round(LOAD[0] / TARGET)))
    _arrivals(world.timeline, world.cluster, random.Random(f"{seed}/arrivals"))  # noqa: S311 - a simulation
    agent_seconds = 0.0
    while world.timeline.now < DAY_SECONDS:
        world.run(SYNC_SECONDS)
        agent_seconds += world.cluster.replicas * SYNC_SECONDS
    return Waves(
        agents=sum(max(0, one.before - one.after) for one in world.decisions),
        tasks=world.cluster.taken,
        agent_hours=agent_seconds / 3600.0,
        pod_hours=world.cluster.pod_hours(),
    )


def load(seconds: float) -> float:
    """Return the tasks that run on average at a moment of the day."""
    low, high = LOAD
    return low + (high - low) * (1 - cos(2 * pi * seconds / WAVE_SECONDS)) / 2


def _arrivals(timeline: Timeline, cluster: Cluster, chance: random.Random) -> None:
    """Let tasks arrive at random at a rate that follows the load: those of the crest, some of them left out."""
    rate = LOAD[1] / cluster.task_seconds

    def arrival() -> None:
        timeline.after(chance.expovariate(rate), arrival)
        if chance.random() < load(timeline.now) / LOAD[1]:
            cluster.arrive(1)

    cluster.arrive(round(LOAD[0]))
    timeline.after(chance.expovariate(rate), arrival)
