"""The rows of the comparison: each source of the HPA's metric, with the settings it is taken with."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.feeds import (
    Cpu,
    Direct,
    Fallback,
    Feed,
    KedaCloudWatch,
    KedaMetricsApi,
    PrometheusAdapter,
)
from exporter.fleet.policy import Policy
from exporter.simulation.cpu import CPU_PER_TASK
from exporter.simulation.hpa import FAST, VENDOR, Spec
from exporter.simulation.timeline import Timeline

TARGET = 16
"""Tasks per agent that every way aims at; `capacity.target_tasks_per_agent`."""

Build = Callable[[Timeline, Cluster, random.Random], Feed]


@dataclass(frozen=True, slots=True)
class Way:
    """One row."""

    name: str
    build: Build
    spec: Spec = FAST
    leans: str = ""
    """Bias of the comparison for or against this row; for the reader."""
    beside: Build | None = None
    """A second metric of the same HPA, which takes the higher proposal."""


def ours(
    name: str,
    spec: Spec = FAST,
    policy: Policy | None = None,
    *,
    connected_reported: bool = True,
    leans: str = "",
) -> Way:
    """Return the external metrics API as a way, with the default settings of `capacity` or with others."""

    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        exporter = SimulatedExporter(timeline, cluster, chance, policy=policy, connected_reported=connected_reported)
        return Direct(exporter)

    return Way(name, build, spec, leans)


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


def _adapter(*, sidecar: bool) -> Build:
    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        return PrometheusAdapter(timeline, cluster, chance, float(TARGET), sidecar=sidecar)

    return build


def _cpu(per_task: float) -> Build:
    def build(timeline: Timeline, cluster: Cluster, chance: random.Random) -> Feed:
        return Cpu(timeline, cluster, chance, cpu_per_task=per_task)

    return build


OURS = ours(
    "the external metrics API, as the chart installs it",
    leans="For: one exporter that always runs, agents that always respond at once, and a pace that the vendor's chart "
    "does not have. Against: unknown values are waited for, which takes time if work arrives meanwhile.",
)
OURS_AT_VENDORS_PACE = ours(
    "the same, `autoscaling.pace: vendor`", VENDOR, leans="As in the first row, without its pace."
)
OLD_IMAGES = ours(
    "the external metrics API, agents without `connected`",
    connected_reported=False,
    leans="Against: no agent reports that it has lost the control plane, so idle ones look like agents without work.",
)
CLOUDWATCH = Way(
    "KEDA ≥ 2.16, CloudWatch, 60 s, as recommended",
    _cloudwatch(period=60.0, collection=180.0, average=False, ignores_null=False),
    leans="For: a datum is available after 2 to 20 s, CloudWatch itself never fails.",
)
OLD_KEDA = (
    Way(
        "KEDA ≤ 2.15, CloudWatch, 60 s, as recommended",
        _cloudwatch(period=60.0, collection=180.0, average=False, ignores_null=True),
        leans="As above. Against: it does not support the recommended setting.",
    ),
    Way("KEDA ≤ 2.16, `metrics-api` with a fallback", _static_fallback),
)
"""What becomes of our ScaledObjects where KEDA is too old: `ignoreNullValues` is not known and missing data is
`minMetricValue`; `fallback.behavior` is dropped by the CRD, and `replicas` applies to a fleet of any size."""
RULE = Way(
    "the vendor's adapter rule",
    _adapter(sidecar=False),
    leans="For: our pace, not the vendor's. Against: the chart's second metric, `app_active_request_count`, is left "
    "out; it could only request more agents.",
)
SIDECAR = Way(
    "the former sidecar, 0 on failure, the vendor's pace",
    _adapter(sidecar=True),
    VENDOR,
    leans="For: a network policy never hides the sidecar's own port, only the agent's. Against: the vendor's chart no "
    "longer has it, and the last one published kept its last page for a while before it reported 0.",
)
CPU = Way(
    "CPU 70%, best case",
    _cpu(CPU_PER_TASK),
    leans="For: 16 tasks take exactly the target, every task the same, a start none; an agent that hangs keeps "
    "using its CPU, which one that waits for a lock does not; the kubelet can always measure.",
)
LIGHT = Way(
    "CPU 70%, tasks half as heavy",
    _cpu(CPU_PER_TASK / 2),
    leans="Against: with known light tasks, a lower target would be chosen.",
)
WITH_CPU = replace(
    OURS,
    name="the external metrics API and CPU 70% in one HPA",
    beside=CPU.build,
    leans="As in both rows. For: metrics-server is up while the source of the other metric is down.",
)
WAYS = (
    OURS,
    OURS_AT_VENDORS_PACE,
    OLD_IMAGES,
    Way("KEDA, `metrics-api`", _keda_metrics_api, leans="As in the first row."),
    CLOUDWATCH,
    OLD_KEDA[0],
    Way(
        "KEDA, CloudWatch, 300 s, KEDA's defaults",
        _cloudwatch(period=300.0, collection=300.0, average=True, ignores_null=True),
        leans="As in the rows above. Against: the defaults are not what we recommend.",
    ),
    RULE,
    Way(
        "the vendor's rule at the vendor's pace",
        _adapter(sidecar=False),
        VENDOR,
        leans="Against: the second metric, as above; a target of 16, while the customer chooses it.",
    ),
    SIDECAR,
    CPU,
    LIGHT,
    WITH_CPU,
)
QUICKNESS = (OURS, OURS_AT_VENDORS_PACE, CLOUDWATCH, RULE, SIDECAR, CPU, LIGHT)
TROUBLE = (OURS, OLD_IMAGES, CLOUDWATCH, OLD_KEDA[0], RULE, SIDECAR, CPU, LIGHT, WITH_CPU)
"""The rows of the two tables of docs/comparison.md: without those that do not differ from one of these."""
SUMMARY = (OURS, CLOUDWATCH, RULE, CPU, LIGHT)
"""The rows of the README's table."""
