"""A rolling update of a fleet at work: what holding on to the work of the replaced pods costs, and what it saves."""

from dataclasses import dataclass
from functools import partial

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.ways import TARGET, ours
from benchmarks.scaling.world import World
from exporter.fleet.policy import Policy
from exporter.simulation.hpa import FAST, TOLERANCE

AGENTS = 20
WATCHED_SECONDS = 7200.0
_CALM_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a fleet came through."""

    taken: int
    """Agents that were removed although the work, which goes on arriving, needs them."""
    made_again: int
    """Agents that were created in addition to those of the rollout."""
    waited: float
    """Hours that tasks waited, all together."""
    pod_hours: float
    """Hours that pods were there, all together, those that drain too."""


def rollout(seed: int, *, hold: bool, task_minutes: float, node_seconds: float) -> Rollout:
    """Replace the pods of a fleet that is filled to the target, and watch it for two hours."""
    world = begin(seed, hold=hold, task_minutes=task_minutes, node_seconds=node_seconds)
    world.run(WATCHED_SECONDS)
    changes = [(decision.before, decision.after) for decision in world.decisions]
    enough = AGENTS / (1 + TOLERANCE)
    return Rollout(
        taken=sum(before - after for before, after in changes if after < before and after < enough),
        made_again=sum(after - before for before, after in changes if after > before),
        waited=world.cluster.waited() / 3600.0,
        pod_hours=world.cluster.pod_hours(),
    )


def begin(seed: int, *, hold: bool, task_minutes: float, node_seconds: float) -> World:
    """Return the fleet at the moment at which its Deployment has got another template. Its agents report no queue."""
    way = ours("rollout", FAST, Policy(hold_rollouts=hold))
    fleet = partial(Cluster, replicas=AGENTS, otel=False, task_seconds=60.0 * task_minutes, node_seconds=node_seconds)
    world = World(way, seed, fleet)
    world.cluster.stream(TARGET * AGENTS, even=True)
    world.run(_CALM_SECONDS)
    world.cluster.roll_out()
    return world
