"""When each way tells the HPA what."""

import random

import pytest

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.exporter import SimulatedExporter
from benchmarks.scaling.feeds import Cpu, Direct, Fallback, KedaCloudWatch, KedaMetricsApi, PrometheusAdapter
from exporter.simulation.hpa import MetricError
from exporter.simulation.timeline import Timeline


def chance() -> random.Random:
    return random.Random("feeds")  # noqa: S311 - a simulation


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def cluster(timeline: Timeline) -> Cluster:
    """Four agents with 56 tasks."""
    made = Cluster(timeline, chance(), 4)
    made.set_level(56)
    return made


def cloudwatch(timeline: Timeline, cluster: Cluster, *, defaults: bool = False) -> KedaCloudWatch:
    exporter = SimulatedExporter(timeline, cluster, chance())
    if defaults:
        settings = {"period": 300.0, "collection": 300.0, "average": True, "ignores_null": True}
        return KedaCloudWatch(exporter, timeline, chance(), **settings)  # type: ignore[arg-type]
    return KedaCloudWatch(
        exporter, timeline, chance(), period=60.0, collection=180.0, average=False, ignores_null=False
    )


def test_the_external_metric_is_there_after_the_first_round(timeline: Timeline, cluster: Cluster) -> None:
    """Before it there is an error; then a change shows within a scrape interval."""
    feed = Direct(SimulatedExporter(timeline, cluster, chance()))
    with pytest.raises(MetricError, match="not ready yet"):
        feed.propose(4)
    timeline.run(6.0)
    assert feed.propose(4) == 4
    cluster.set_level(206)
    timeline.run(12.0)
    assert feed.propose(4) == 13


def test_a_fleet_out_of_sight_is_an_error(timeline: Timeline, cluster: Cluster) -> None:
    """To the HPA and to KEDA, and nothing is published."""
    feed = Direct(SimulatedExporter(timeline, cluster, chance()))
    timeline.run(6.0)
    cluster.hide(cluster.pods)
    timeline.run(60.0)
    with pytest.raises(MetricError, match="only 0 of 4 agents respond"):
        feed.propose(4)
    with pytest.raises(MetricError, match="only 0 of 4 agents respond"):
        feed.exporter.demand_route()
    assert feed.exporter.demand_datum() is None


def test_without_a_fallback_keda_hands_every_error_on(timeline: Timeline, cluster: Cluster) -> None:
    """However many there were; an hour's worth here."""
    feed = KedaMetricsApi(SimulatedExporter(timeline, cluster, chance()))
    feed.set_up(up=False)
    for _ in range(240):
        with pytest.raises(MetricError):
            feed.propose(9)


@pytest.mark.parametrize(("keeps_higher", "of_nine"), [(True, 9), (False, 4)])
def test_a_fallback_answers_after_its_failures(
    timeline: Timeline, cluster: Cluster, keeps_higher: bool, of_nine: int
) -> None:
    """After 20 there are to be four agents, and with `currentReplicasIfHigher` as many as there are if more."""
    feed = KedaMetricsApi(SimulatedExporter(timeline, cluster, chance()), Fallback(20, 4, keeps_higher=keeps_higher))
    feed.set_up(up=False)
    for _ in range(20):
        with pytest.raises(MetricError):
            feed.propose(9)
    assert feed.propose(9) == of_nine
    assert feed.propose(2) == 4
    feed.set_up(up=True)
    timeline.run(6.0)
    assert feed.propose(4) == 4


def test_cloudwatch_shows_a_change_when_its_minute_is_over(timeline: Timeline, cluster: Cluster) -> None:
    """The value of 2:00 belongs to the minute that is over at 3:00, when KEDA asks for it."""
    feed = cloudwatch(timeline, cluster)
    timeline.run(110.0)
    cluster.set_level(206)
    timeline.run(179.0)
    assert feed.propose(4) == 4
    timeline.run(181.0)
    assert feed.propose(4) == 13


def test_missing_data_in_cloudwatch_is_an_error_or_by_default_nothing_to_do(
    timeline: Timeline, cluster: Cluster
) -> None:
    """`ignoreNullValues` decides."""
    ours, defaults = cloudwatch(timeline, cluster), cloudwatch(timeline, cluster, defaults=True)
    timeline.run(610.0)
    assert (ours.propose(4), defaults.propose(4)) == (4, 4)
    for feed in (ours, defaults):
        feed.set_up(up=False)
    timeline.run(1210.0)
    with pytest.raises(MetricError):
        ours.propose(4)
    assert defaults.propose(4) == 0


def test_the_adapter_averages_over_a_minute(timeline: Timeline, cluster: Cluster) -> None:
    """Half a minute after all agents filled up it sees half of that."""
    feed = PrometheusAdapter(timeline, cluster, chance(), 16.0, sidecar=False)
    timeline.run(100.0)
    cluster.set_level(206)
    timeline.run(105.0)
    assert feed.propose(4) == 4
    timeline.run(170.0)
    assert feed.propose(4) == 5


@pytest.mark.parametrize(("trouble", "of_sidecar"), [("hide", 4), ("hang", 2)])
def test_the_former_sidecar_makes_idle_agents_of_those_that_hang(
    timeline: Timeline, cluster: Cluster, trouble: str, of_sidecar: int
) -> None:
    """Not of those whose port is shut to others: it is in their pods. Without it they have no value."""
    now, former = (PrometheusAdapter(timeline, cluster, chance(), 16.0, sidecar=sidecar) for sidecar in (False, True))
    timeline.run(100.0)
    getattr(cluster, trouble)(cluster.pods[:2])
    timeline.run(200.0)
    assert (now.propose(4), former.propose(4)) == (4, of_sidecar)


def test_cpu_of_unreachable_agents_is_known(timeline: Timeline, cluster: Cluster) -> None:
    """The kubelet measures it: a burst shows as if their ports were open."""
    feed = Cpu(timeline, cluster, chance(), cpu_per_task=0.66 / 16)
    cluster.hide(cluster.pods)
    timeline.run(60.0)
    assert feed.propose(4) == 4
    cluster.set_level(206)
    timeline.run(120.0)
    assert feed.propose(4) == 5


def test_cpu_stops_at_full_agents(timeline: Timeline, cluster: Cluster) -> None:
    """A queue takes no CPU: four full agents ask for one more."""
    feed = Cpu(timeline, cluster, chance(), cpu_per_task=0.66 / 16)
    cluster.set_level(206)
    timeline.run(60.0)
    assert feed.propose(4) == 5
