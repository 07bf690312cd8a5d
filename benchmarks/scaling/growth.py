"""A fleet whose agents report no queue: what it costs to double it while all of them are full."""

from dataclasses import dataclass
from functools import partial

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.ways import TARGET, ours
from benchmarks.scaling.world import World
from exporter.fleet.policy import Policy
from exporter.simulation.hpa import FAST, SYNC_SECONDS, Spec

SLOT_SECONDS = (0.0, 2.0)
"""From a task's end to the next one in its slot. Assumed; a reading in between shows an agent with a slot."""
CALM_SECONDS, WATCHED_SECONDS = 120.0, 7200.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a fleet took."""

    agent_hours: float
    """Hours of agents in the Deployment, all together."""
    pod_hours: float
    """The same with those that drain."""
    most: int
    """Agents of the Deployment at the most."""


def cost(seed: int, *, agents: int, more: float, growth: float, spec: Spec = FAST) -> Cost:
    """Watch a fleet that is filled to the target for two hours, from when `more` tasks come for each of its agents.

    Tasks come at random; those numbers are what runs on average.
    """
    way = ours("growth", spec, Policy(saturation_growth=growth))
    world = World(way, seed, partial(Cluster, replicas=agents, otel=False, slot_seconds=SLOT_SECONDS))
    world.cluster.stream(TARGET * agents)
    world.run(CALM_SECONDS)
    if more:
        world.cluster.stream(more * agents)
    begun, sizes = world.cluster.pod_hours(), []
    while world.timeline.now < CALM_SECONDS + WATCHED_SECONDS:
        world.run(SYNC_SECONDS)
        sizes.append(world.cluster.replicas)
    return Cost(sum(sizes) * SYNC_SECONDS / 3600.0, world.cluster.pod_hours() - begun, max(sizes))
