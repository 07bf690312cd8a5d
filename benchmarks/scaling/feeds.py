"""The ways in which the HPA can learn of a fleet: what each would tell it, and when.

Our own three ask the real exporter. Prometheus with its adapter, KEDA, CloudWatch and metrics-server are models; the
numbers that make them are constants here, each with its source, and docs/scaling.md says them to the reader.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import Protocol

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import EPOCH, SimulatedExporter
from exporter.publish.periods import period_of
from exporter.simulation.cpu import CPU_IDLE, CPU_TARGET
from exporter.simulation.hpa import MetricError, external, per_pod
from exporter.simulation.pod import Pod
from exporter.simulation.timeline import Timeline

PUBLISH_SECONDS = 60.0
"""`cloudwatch.interval`, the default."""
ARRIVAL_SECONDS = (2.0, 20.0)
"""From sending a datum to reading it back. Assumed: AWS names no figure."""
PROMETHEUS_SCRAPE, PROMETHEUS_WINDOW = 5.0, 60.0
"""The vendor's chart (matillion-public/deployment-library, runner/helm/prometheus/values.yaml): `scrape_interval: 5s`
and `avg_over_time(…[1m])`."""
RESOLUTION_SECONDS = 15.0
"""metrics-server's `--metric-resolution`, the default: a rate is taken over so long."""


class Feed(Protocol):
    """One way."""

    def propose(self, replicas: int) -> int:
        """Return how many replicas the HPA would propose. Raises MetricError."""

    def set_up(self, *, up: bool) -> None:
        """Stop the program that looks at the agents, or start it again."""


class Direct:
    """The external metrics API, asked by the HPA itself."""

    def __init__(self, exporter: SimulatedExporter) -> None:
        self.exporter = exporter
        self._target = float(exporter.policy.target_tasks_per_agent)

    def propose(self, replicas: int) -> int:
        """Ask, and divide."""
        return external(self.exporter.external_metric(), self._target, replicas)

    def set_up(self, *, up: bool) -> None:
        """Stop the exporter, or start it again."""
        if up:
            self.exporter.start()
        else:
            self.exporter.stop()


@dataclass(frozen=True, slots=True)
class Fallback:
    """KEDA's `fallback`: what it answers in a trigger's place (pkg/fallback/fallback.go)."""

    failures: int
    """`failureThreshold`: with more failures in a row than this it answers."""
    replicas: int
    keeps_higher: bool
    """`behavior: currentReplicasIfHigher`, from KEDA 2.17 on. Otherwise `static`: `replicas`, whatever there is."""

    def answer(self, replicas: int) -> int:
        """Return the replicas that its value stands for."""
        return max(replicas, self.replicas) if self.keeps_higher else self.replicas


class KedaMetricsApi(Direct):
    """KEDA's `metrics-api` trigger: the HPA's question is passed on; after many failures a fallback answers, if any."""

    def __init__(self, exporter: SimulatedExporter, fallback: Fallback | None = None) -> None:
        super().__init__(exporter)
        self._fallback = fallback
        self._failures = 0

    def propose(self, replicas: int) -> int:
        """Ask the JSON route."""
        try:
            value = self.exporter.demand_route()
        except MetricError:
            self._failures += 1
            if self._fallback is None or self._failures <= self._fallback.failures:
                raise
            value = self._fallback.answer(replicas) * self._target
        else:
            self._failures = 0
        return external(value, self._target, replicas)


class KedaCloudWatch(Direct):
    """KEDA's `aws-cloudwatch` trigger on what the exporter publishes.

    KEDA asks for the periods before the last whole one, newest first, and takes the first (aws_cloudwatch_scaler.go).
    """

    def __init__(
        self,
        exporter: SimulatedExporter,
        timeline: Timeline,
        chance: random.Random,
        *,
        period: float,
        collection: float,
        average: bool,
        ignores_null: bool,
    ) -> None:
        super().__init__(exporter)
        self._timeline = timeline
        self._chance = chance
        self._period = period
        self._collection = collection
        self._average = average
        self._ignores_null = ignores_null
        self._datums: deque[tuple[float, float, float]] = deque(maxlen=32)
        wall = EPOCH + timeline.now
        timeline.every(PUBLISH_SECONDS, period_of(wall, PUBLISH_SECONDS) + PUBLISH_SECONDS - wall, self._publish)

    def _publish(self) -> None:
        value = self.exporter.demand_datum()
        if value is not None:
            wall = EPOCH + self._timeline.now
            readable_at = wall + self._chance.uniform(*ARRIVAL_SECONDS)
            self._datums.append((period_of(wall, PUBLISH_SECONDS), value, readable_at))

    def propose(self, replicas: int) -> int:
        """Ask CloudWatch."""
        return external(self._value(), self._target, replicas)

    def _value(self) -> float:
        wall = EPOCH + self._timeline.now
        end = floor(wall / self._period) * self._period
        begin = end - self._period
        while begin >= end - self._collection:
            values = [value for time, value, readable_at in self._datums if begin <= time < end and readable_at <= wall]
            if values:
                return sum(values) / len(values) if self._average else max(values)
            begin -= self._period
        if self._ignores_null:
            return 0.0
        raise MetricError("empty metric data")


class PrometheusAdapter:
    """The vendor's rule: each agent's running tasks, averaged over a minute, as a metric of `type: Pods`.

    `sidecar` is the vendor's former one: it answered with a count of 0 where it had none. It ran in the agent's own
    pod, so that what keeps others from the agent's port did not keep it.
    """

    def __init__(
        self, timeline: Timeline, cluster: Cluster, chance: random.Random, target: float, *, sidecar: bool
    ) -> None:
        self._timeline = timeline
        self._cluster = cluster
        self._target = target
        self._sidecar = sidecar
        self._up = True
        self._samples: dict[int, deque[tuple[float, float]]] = {}
        timeline.every(PROMETHEUS_SCRAPE, chance.uniform(0, PROMETHEUS_SCRAPE), self._scrape)

    def set_up(self, *, up: bool) -> None:
        """Stop Prometheus, or start it again."""
        self._up = up

    def _scrape(self) -> None:
        if not self._up:
            return
        for pod in self._cluster.pods:
            if pod.ready_since is None:
                continue
            samples = self._samples.setdefault(pod.number, deque())
            if pod.answers or (self._sidecar and pod.answers_within):
                samples.append((self._timeline.now, float(pod.tasks)))
            elif self._sidecar:
                samples.append((self._timeline.now, 0.0))

    def propose(self, replicas: int) -> int:
        """Ask the adapter, which asks Prometheus."""
        if not self._up:
            raise MetricError("connection refused")
        since = self._timeline.now - PROMETHEUS_WINDOW
        averages = {}
        for number, samples in self._samples.items():
            while samples and samples[0][0] <= since:
                samples.popleft()
            if samples:
                averages[number] = sum(value for _, value in samples) / len(samples)
        return _of_pods(self._cluster, averages, self._target, replicas)


class Cpu:
    """CPU utilization from metrics-server; a task takes `cpu_per_task` of what its agent requests.

    The kubelet measures it, whoever reaches the agent's port. An agent that hangs goes on taking what it took: in
    favour of this way, since one that only waits for a lock takes none.
    """

    def __init__(self, timeline: Timeline, cluster: Cluster, chance: random.Random, *, cpu_per_task: float) -> None:
        self._timeline = timeline
        self._cluster = cluster
        self._cpu_per_task = cpu_per_task
        self._up = True
        self._usage: dict[int, float] = {}
        timeline.every(RESOLUTION_SECONDS, chance.uniform(0, RESOLUTION_SECONDS), self._measure)

    def set_up(self, *, up: bool) -> None:
        """Stop metrics-server, or start it again."""
        self._up = up

    def _measure(self) -> None:
        """Take the usage of now for the rate since the last time, which is in favour of this way."""
        now = self._timeline.now
        self._usage = {
            pod.number: CPU_IDLE + self._cpu_per_task * pod.tasks
            for pod in self._cluster.pods
            if pod.ready_since is not None and now - pod.ready_since >= 2 * RESOLUTION_SECONDS
        }

    def propose(self, replicas: int) -> int:
        """Ask metrics-server."""
        if not self._up:
            raise MetricError("connection refused")
        # Right after its start a container has no rate yet, and the HPA leaves it out.
        young = self._timeline.now - 2 * RESOLUTION_SECONDS
        return _of_pods(
            self._cluster,
            self._usage,
            CPU_TARGET,
            replicas,
            missing=1.0,
            counts=lambda pod: pod.ready_since is not None and pod.ready_since <= young,
        )


def _of_pods(
    cluster: Cluster,
    values: dict[int, float],
    target: float,
    replicas: int,
    *,
    missing: float | None = None,
    counts: Callable[[Pod], bool] = lambda pod: pod.ready_since is not None,
) -> int:
    members = list(cluster.members)
    pods = [pod.number for pod in members if counts(pod)]
    return per_pod(values, pods, target, replicas, unready=len(members) - len(pods), missing=missing)
