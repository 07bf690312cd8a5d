"""The lines of the comparison: each way of feeding the HPA, with the settings it is taken with."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.feeds import (
    CPU_IDLE,
    CPU_TARGET,
    Cpu,
    Direct,
    Fallback,
    Feed,
    KedaCloudWatch,
    KedaMetricsApi,
    PrometheusAdapter,
)
from benchmarks.scaling.hpa import FAST, VENDOR, Spec
from benchmarks.scaling.timeline import Timeline
from exporter.fleet.policy import Policy

TARGET = 16
"""Tasks per agent that every way aims at; `capacity.target_tasks_per_agent`."""
CPU_PER_TASK = (CPU_TARGET - CPU_IDLE) / TARGET
"""Share of an agent's request that a task takes, chosen so that 16 tasks are exactly 70 %: the best case for CPU."""

Build = Callable[[Timeline, Cluster, random.Random], Feed]


@dataclass(frozen=True, slots=True)
class Way:
    """One line."""

    name: str
    build: Build
    spec: Spec = FAST


def ours(name: str, spec: Spec = FAST, policy: Policy | None = None) -> Way:
    """Return the external metrics API as a way, with the default settings of `capacity` or with others."""

    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        return Direct(SimulatedExporter(timeline, cluster, chance, policy=policy))

    return Way(name, build, spec)


def _keda_metrics_api(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
    return KedaMetricsApi(SimulatedExporter(timeline, cluster, chance))


def _static_fallback(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
    return KedaMetricsApi(SimulatedExporter(timeline, cluster, chance), Fallback(20, 2, keeps_higher=False))


def _cloudwatch(*, period: float, collection: float, average: bool, ignores_null: bool) -> Build:
    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        return KedaCloudWatch(
            SimulatedExporter(timeline, cluster, chance),
            timeline,
            chance,
            period=period,
            collection=collection,
            average=average,
            ignores_null=ignores_null,
        )

    return build


def _adapter(*, zero_on_failure: bool) -> Build:
    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        return PrometheusAdapter(timeline, cluster, chance, float(TARGET), zero_on_failure=zero_on_failure)

    return build


def _cpu(per_task: float) -> Build:
    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        return Cpu(timeline, cluster, chance, cpu_per_task=per_task)

    return build


OURS = ours("the external metrics API, as the chart installs it")
WAYS = (
    OURS,
    ours("the same, `autoscaling.pace: vendor`", VENDOR),
    Way("KEDA, `metrics-api`", _keda_metrics_api),
    Way(
        "KEDA ≥ 2.16, CloudWatch, 60 s, as we advise",
        _cloudwatch(period=60.0, collection=180.0, average=False, ignores_null=False),
    ),
    Way(
        "KEDA, CloudWatch, 300 s, KEDA's defaults",
        _cloudwatch(period=300.0, collection=300.0, average=True, ignores_null=True),
    ),
    Way("the vendor's adapter rule", _adapter(zero_on_failure=False)),
    Way("the vendor's rule at the vendor's pace", _adapter(zero_on_failure=False), VENDOR),
    Way("the same with the former sidecar, 0 on failure", _adapter(zero_on_failure=True), VENDOR),
    Way("CPU 70 %, best case", _cpu(CPU_PER_TASK)),
    Way("CPU 70 %, tasks half as heavy", _cpu(CPU_PER_TASK / 2)),
)
OLD_KEDA = (
    Way(
        "KEDA ≤ 2.15, CloudWatch, 60 s, as we advise",
        _cloudwatch(period=60.0, collection=180.0, average=False, ignores_null=True),
    ),
    Way("KEDA ≤ 2.16, `metrics-api` with a fallback", _static_fallback),
)
"""What becomes of our ScaledObjects where KEDA is too old: `ignoreNullValues` is not known and missing data is
`minMetricValue`; `fallback.behavior` is dropped by the CRD, and `replicas` applies to a fleet of any size."""
