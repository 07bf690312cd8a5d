"""What the exporter writes on pods in the simulated cluster: decided by the real code, only the API server is left out.

It must not know what other programs do with the annotations.
"""

import random

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from exporter.config.settings import DeletionCostSettings, ProtectionSettings
from exporter.fleet.protection import AnnotationRules, pod_patch
from exporter.publish.annotations import Pace
from exporter.simulation.timeline import Timeline

LOOK_SECONDS = 5.0
"""Time from one look at all agents to the next. The exporter looks every 2 s, which would only take more time here."""


def annotation_rules(*, protection: bool, deletion_cost: bool) -> AnnotationRules:
    """Return what is annotated with `protection.enabled` and `deletion_cost.enabled`."""
    settings = ProtectionSettings()
    return AnnotationRules(
        instance="matillion/matillion-fleet-exporter",
        protection=settings.annotations if protection else None,
        idle_for=settings.idle_for,
        bucket=DeletionCostSettings().bucket if deletion_cost else None,
    )


class SimulatedAnnotations:
    """Keeps the annotations of every pod as the exporter would.

    A deletion cost alone is written at most once a minute for each pod. The pace of all pods together is left out: a
    fleet of this size does not reach it.
    """

    def __init__(
        self,
        timeline: Timeline,
        cluster: Cluster,
        exporter: SimulatedExporter,
        chance: random.Random,
        rules: AnnotationRules,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._timeline = timeline
        self._cluster = cluster
        self._exporter = exporter
        self._rules = rules
        self._cost_alone = Pace().cost_alone
        self._written_at: dict[str, float] = {}
        timeline.every(look_seconds, chance.uniform(0, look_seconds), self._look)

    def _look(self) -> None:
        now, pods = self._timeline.now, {str(pod.number): pod for pod in self._cluster.pods}
        for fleet in self._exporter.fleets():
            for agent in fleet.agents:
                patch, uid = pod_patch(agent, self._rules, now), agent.snapshot.target.uid
                if patch is None or uid not in pods:
                    continue
                if not patch.protection and now - self._written_at.get(uid, -self._cost_alone) < self._cost_alone:
                    continue
                changed = {**pods[uid].annotations, **patch.annotations}
                pods[uid].annotations = {key: value for key, value in changed.items() if value is not None}
                self._written_at[uid] = now
                self._cluster.changed(pods[uid])
