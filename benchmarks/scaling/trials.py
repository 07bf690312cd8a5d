"""The trials that ways go through, and what counts in each. Loads and sizes are the same for all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.ways import TARGET, Way
from benchmarks.scaling.world import Decision, Fleet, World
from exporter.simulation.hpa import TOLERANCE
from exporter.simulation.pod import FARGATE_SECONDS, PULL_SECONDS, Pod

BEFORE, BURST = (4, 56), 206
"""Agents and tasks before the burst, and tasks after it: 13 agents hold those."""
BURST_SECONDS = 1800.0
"""How long it is watched. A way that is not done by then is not taken to be done later."""
STEADY = (12, 180)
"""Agents and tasks of the other trials."""
CALM_SECONDS = 620.0
"""Before anything happens: longer than any scale-down's window, and no multiple of any interval."""
TROUBLE_SECONDS = 600.0
"""How long agents are unreachable, or hang."""
_FINELY = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of agents and of cluster a trial is made with."""

    otel: bool
    """Whether agents report their queue."""
    fargate: bool = False
    node_seconds: float = 0.0
    """How long a new pod waits for a node before it starts."""

    def fleet(self, replicas: int) -> Fleet:
        """Return what makes such a fleet."""
        start = FARGATE_SECONDS if self.fargate else PULL_SECONDS
        return partial(Cluster, replicas=replicas, otel=self.otel, start_seconds=start, node_seconds=self.node_seconds)


@dataclass(frozen=True, slots=True)
class Burst:
    """How a way answers four times the work at once."""

    seconds: float | None
    """Until every task had a slot; None where it took longer than it was watched."""
    task_seconds: float
    """Waited by all tasks together."""


def burst(way: Way, seed: int, kind: Kind, *, arrivals: bool = False, unseen: bool = False) -> Burst:
    """Let the work of a calm fleet multiply, at a moment that depends on the seed.

    It is a level, or with `arrivals` a stream: tasks that come however many wait already. `unseen` blocks
    the ports of all agents, new ones too, for the first ten minutes of it.
    """
    world = _calm(way, seed, kind, BEFORE, arrivals=arrivals)
    cluster, begun, waited = world.cluster, world.timeline.now, world.cluster.waited()
    if arrivals:
        cluster.stream(BURST - BEFORE[1], even=True)
    else:
        cluster.set_level(BURST)
    while cluster.queue and (passed := world.timeline.now - begun) < BURST_SECONDS:
        if unseen and passed < TROUBLE_SECONDS:
            cluster.hide(cluster.pods)
        elif unseen and passed == TROUBLE_SECONDS:
            cluster.recover()
        world.run(_FINELY)
    seconds = None if cluster.queue else world.timeline.now - begun
    return Burst(seconds, cluster.waited() - waited)


def wrong(decisions: Iterable[Decision]) -> int:
    """Return how many agents were removed that the work needed, by the HPA's own tolerance."""
    return sum(
        decision.before - decision.after
        for decision in decisions
        if decision.after < decision.before and decision.least_demand > decision.after * TARGET * (1 + TOLERANCE)
    )


def missing_data(way: Way, seed: int, kind: Kind) -> int:
    """Return the agents wrongly removed while a third of a steady fleet is unreachable, then all of it.

    Ten minutes each, with as much after it; at the end the source of the metric is down for five minutes.
    """
    world = _calm(way, seed, kind, STEADY)
    _troubled(world, world.cluster.hide)
    world.feed.set_up(up=False)
    world.run(300.0)
    world.feed.set_up(up=True)
    world.run(400.0)
    return wrong(world.decisions)


def hanging(way: Way, seed: int, kind: Kind) -> int:
    """Return the same while a third of the agents, then all, hang: then they do not respond even within their pods."""
    world = _calm(way, seed, kind, STEADY)
    _troubled(world, world.cluster.hang)
    return wrong(world.decisions)


def outage(way: Way, seed: int, kind: Kind) -> int:
    """Return the agents wrongly removed while the control plane is down for half an hour and work piles up in it."""
    world = _calm(way, seed, kind, STEADY)
    world.cluster.set_control_plane(up=False)
    world.run(1800.0)
    return wrong(world.decisions)


def _troubled(world: World, trouble: Callable[[Iterable[Pod]], None]) -> None:
    """Let trouble come over a third of the agents, then over all, with as much time after each."""
    for share in (1 / 3, 1.0):
        pods = list(world.cluster.members)
        trouble(pods[: round(share * len(pods))])
        world.run(TROUBLE_SECONDS)
        world.cluster.recover()
        world.run(TROUBLE_SECONDS)


def _calm(way: Way, seed: int, kind: Kind, size: tuple[int, int], *, arrivals: bool = False) -> World:
    agents, tasks = size
    world = World(way, seed, kind.fleet(agents))
    if arrivals:
        world.cluster.stream(tasks, even=True)
    else:
        world.cluster.set_level(tasks)
    world.run(CALM_SECONDS + 37.0 * seed)
    return world
