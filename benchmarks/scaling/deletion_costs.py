"""The exporter's annotations that tell Kubernetes which agents have work, as `deletion_cost.enabled` writes them.

Only the API server is left out. It must not know what is done with them.
"""

import random

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.timeline import Timeline
from exporter.config.settings import DeletionCostSettings
from exporter.fleet.model import AgentState
from exporter.fleet.protection import deletion_cost
from exporter.publish.annotations import Pace

_PER_POD = Pace().cost_alone
_LOOK_SECONDS = 15.0
"""How often the readings are looked at. The exporter does it every 5 s, which would only take more time here."""


class DeletionCosts:
    """Keeps the cost of every pod up to date, from what the exporter has read.

    A pod is written to when its cost changes, at most once a minute. The pace of all pods together is left out: a fleet
    of this size does not reach it.
    """

    def __init__(
        self, timeline: Timeline, cluster: Cluster, exporter: SimulatedExporter, chance: random.Random
    ) -> None:
        self._timeline = timeline
        self._cluster = cluster
        self._exporter = exporter
        self._bucket = DeletionCostSettings().bucket
        self._written_at: dict[str, float] = {}
        timeline.every(_LOOK_SECONDS, chance.uniform(0, _LOOK_SECONDS), self._write)

    def _write(self) -> None:
        now, pods = self._timeline.now, {str(pod.number): pod for pod in self._cluster.members}
        for fleet in self._exporter.fleets():
            for agent in fleet.agents:
                uid, reading = agent.snapshot.target.uid, agent.snapshot.reading
                if agent.state is AgentState.DRAINING or not agent.fresh or reading is None or uid not in pods:
                    continue
                cost = deletion_cost(reading.tasks_active, self._bucket)
                if cost != pods[uid].deletion_cost and now - self._written_at.get(uid, -_PER_POD) >= _PER_POD:
                    pods[uid].deletion_cost = cost
                    self._written_at[uid] = now
