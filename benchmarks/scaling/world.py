"""A fleet, an HPA and one way between them, in one timeline; and what the HPA decided."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.ways import Way
from exporter.simulation.hpa import SYNC_SECONDS, Autoscaler
from exporter.simulation.timeline import Timeline

LATENESS_LOOKS = 5

Fleet = Callable[[Timeline, random.Random], Cluster]
"""Makes the fleet of a run: `partial(Cluster, replicas=4, …)`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One look of the HPA that changed something."""

    at: float
    before: int
    after: int
    least_demand: int
    """The fewest tasks that the fleet really had to hold at any poll of the last minute: none can be known sooner."""


class World:
    """Everything of one run. The same arguments give the same run."""

    def __init__(self, way: Way, seed: int, fleet: Fleet) -> None:
        self.timeline = Timeline()
        # Chances of their own: what is asked of the agents must not change what befalls them.
        fate, phases = (random.Random(f"{seed}/{name}") for name in ("fate", "phases"))  # noqa: S311 - a simulation
        self.cluster = fleet(self.timeline, fate)
        self.feed = way.build(self.timeline, self.cluster, phases)
        self.decisions: list[Decision] = []
        self._demands: deque[int] = deque(maxlen=LATENESS_LOOKS)
        beside = [way.beside(self.timeline, self.cluster, phases)] if way.beside else []
        self._autoscaler = Autoscaler(way.spec, [feed.propose for feed in (self.feed, *beside)])
        self.timeline.every(SYNC_SECONDS, phases.uniform(0, SYNC_SECONDS), self._look)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.run(self.timeline.now + seconds)

    def _look(self) -> None:
        before = self.cluster.replicas
        self._demands.append(self.cluster.demand)
        after = self._autoscaler.look(self.timeline.now, before)
        if after != before:
            self.decisions.append(Decision(self.timeline.now, before, after, min(self._demands)))
            self.cluster.scale(after)
