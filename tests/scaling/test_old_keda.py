"""A blind exporter and a KEDA that is too old to know what our ScaledObjects say of missing data."""

from functools import partial

import pytest

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.trials import wrong
from benchmarks.scaling.ways import OLD_KEDA, WAYS, Way
from benchmarks.scaling.world import World

pytestmark = pytest.mark.slow

AGENTS, TASKS = 12, 180
CALM_SECONDS, BLIND_SECONDS = 620.0, 1800.0
AS_INSTALLED = [way for way in WAYS if "KEDA" in way.name and "defaults" not in way.name and way not in OLD_KEDA]


def blinded(way: Way, seed: int) -> World:
    """Return a fleet of busy agents whose exporter has seen none of them for half an hour."""
    world = World(way, seed, partial(Cluster, replicas=AGENTS))
    world.cluster.set_level(TASKS)
    world.run(CALM_SECONDS)
    assert world.cluster.replicas == AGENTS
    world.cluster.hide(world.cluster.pods)
    world.run(BLIND_SECONDS)
    return world


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("way", "minutes"), [(OLD_KEDA[0], 14), (OLD_KEDA[1], 11)], ids=[one.name for one in OLD_KEDA])
def test_an_old_keda_takes_busy_agents_away(way: Way, minutes: int, seed: int) -> None:
    """The fleet is at its minimum within a quarter of an hour, and every agent that went was needed."""
    world = blinded(way, seed)
    assert world.cluster.replicas == 2
    after = world.decisions[-1].at - CALM_SECONDS
    assert after == pytest.approx(minutes * 60, abs=90)
    assert wrong(world.decisions) == AGENTS - 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", AS_INSTALLED, ids=lambda way: way.name)
def test_as_the_chart_installs_it_the_fleet_stands_still(way: Way, seed: int) -> None:
    """Both triggers hand the error on, and the HPA changes nothing."""
    assert len(AS_INSTALLED) == 2
    world = blinded(way, seed)
    assert world.cluster.replicas == AGENTS
    assert not [one for one in world.decisions if one.at > CALM_SECONDS]
