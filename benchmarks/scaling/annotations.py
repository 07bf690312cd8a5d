"""What the exporter writes on pods in the simulated cluster: decided by the real code, only the API server is left out.

It must not know what other programs do with the annotations.
"""

import random

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.timeline import Timeline
from exporter.fleet.protection import AnnotationRules, pod_patch

LOOK_SECONDS = 5.0
"""Time from one look at all agents to the next. The exporter looks every 2 s, which would only take more time here."""


class SimulatedAnnotations:
    """Keeps the annotations of every pod as the exporter would.

    The pace of the exporter's writes is left out: a fleet of this size does not reach it.
    """

    def __init__(
        self,
        timeline: Timeline,
        cluster: Cluster,
        exporter: SimulatedExporter,
        chance: random.Random,
        rules: AnnotationRules,
    ) -> None:
        self._timeline = timeline
        self._cluster = cluster
        self._exporter = exporter
        self._rules = rules
        timeline.every(LOOK_SECONDS, chance.uniform(0, LOOK_SECONDS), self._look)

    def _look(self) -> None:
        pods = {str(pod.number): pod for pod in self._cluster.pods}
        for fleet in self._exporter.fleets():
            for agent in fleet.agents:
                patch = pod_patch(agent, self._rules, self._timeline.now)
                if patch is not None and (pod := pods.get(agent.snapshot.target.uid)) is not None:
                    changed = {**pod.annotations, **patch.annotations}
                    pod.annotations = {key: value for key, value in changed.items() if value is not None}
                    self._cluster.changed(pod)
