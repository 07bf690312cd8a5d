"""Fleets without agents: how long they are remembered, and what is said of them."""

from typing import Any

import pytest

from exporter.fleet.health import Word, health
from exporter.fleet.model import Fleet, Target
from exporter.fleet.scaler import Condition, Scaler
from exporter.store.gone_fleets import REMEMBERED_FLEETS, REMEMBERED_SECONDS
from exporter.store.snapshots import SnapshotStore
from tests.factories import make_facts, make_scaler, make_target
from tests.store.keeping import KUBE, STATIC, Clock, read

WORKLOAD = make_scaler().target
OFF: dict[str, Any] = {"active": Condition(False, "ScalingDisabled"), "current_agents": 0, "desired_agents": 0}


def pod(fleet: str = "etl", **fields: Any) -> Target:
    facts = make_facts(workload=fields.pop("workload", WORKLOAD))
    return make_target(f"{fleet}-1", fleet=fleet, address=f"{fleet}.test", facts=facts, **fields)


def serve(store: SnapshotStore, *targets: Target, scalers: tuple[Scaler, ...] = ()) -> None:
    """Have these agents and no others, and let them serve."""
    store.replace(KUBE, targets)
    store.scalers_seen(None, scalers)
    for target in targets:
        read(store, target)
    store.fleets()


def known(store: SnapshotStore, clock: Clock, *, after: float = 1.0) -> list[Fleet]:
    """Return the fleets after so many seconds in which discovery stays current."""
    clock.now += after
    store.synced(KUBE)
    return list(store.fleets())


def test_a_fleet_that_lost_its_last_pod_is_known_for_a_day(store: SnapshotStore, clock: Clock) -> None:
    """With its zeros, as long as the list of pods is current; with a pod it is there again."""
    serve(store, pod())
    store.remove(KUBE, "uid-etl-1", make_facts())
    [fleet] = known(store, clock)
    assert (fleet.agents, fleet.capacity_tasks, fleet.tasks_active, fleet.coverage) == ((), 0, 0.0, 1.0)
    clock.now += 500
    [fleet] = store.fleets()
    assert health(fleet).word is Word.DATA_INCOMPLETE
    serve(store, pod())
    store.replace(KUBE, [])
    assert len(known(store, clock, after=REMEMBERED_SECONDS - 1)) == 1
    assert known(store, clock, after=1.0) == []


def test_a_fleet_that_keda_scaled_to_0_rests(store: SnapshotStore, clock: Clock) -> None:
    """Its HPA is known by the Deployment it had, and its demand is 0."""
    serve(store, pod(), scalers=(make_scaler(keda=True),))
    store.scalers_seen(None, (make_scaler(keda=True, **OFF),))
    store.replace(KUBE, [])
    [fleet] = known(store, clock)
    assert (health(fleet).word, fleet.demand_tasks, fleet.at_rest) == (Word.OK, 0.0, True)


def test_a_fleet_that_an_hpa_targets_sleeps_as_long_as_it_likes(store: SnapshotStore, clock: Clock) -> None:
    """Also while its HPA cannot be read; once that is known to be gone, it is forgotten."""
    serve(store, pod(), scalers=(make_scaler(keda=True),))
    store.replace(KUBE, [])
    store.scalers_seen(None, (make_scaler(keda=True, **OFF),))
    assert len(known(store, clock, after=7 * REMEMBERED_SECONDS)) == 1
    store.scalers_seen(None, ())
    assert known(store, clock) == []


def test_a_fleet_that_was_removed_with_its_hpa_is_forgotten(store: SnapshotStore, clock: Clock) -> None:
    """An uninstalled release is no outage; one that never had an HPA may be."""
    serve(store, pod(), scalers=(make_scaler(),))
    store.replace(KUBE, [])
    [fleet] = known(store, clock)
    assert health(fleet).word is Word.DOWN
    store.scalers_seen(None, ())
    assert known(store, clock) == []


def test_a_fleet_under_a_new_name_is_forgotten_under_the_old_one(store: SnapshotStore, clock: Clock) -> None:
    """Its Deployment has agents; one of another namespace or Deployment is another."""
    other = pod("other", workload="another")
    serve(store, pod("old"), pod("away", namespace="elsewhere"), pod("asleep", workload="sleeps"), other)
    store.replace(KUBE, [pod("new"), other])
    assert [fleet.name for fleet in known(store, clock)] == ["away", "asleep", "new", "other"]


@pytest.mark.parametrize("how", ["static", "no longer selected", "never served"])
def test_what_is_no_fleet_of_pods_that_served_is_forgotten_at_once(
    store: SnapshotStore, clock: Clock, how: str
) -> None:
    """Nobody would miss it."""
    if how == "never served":
        store.replace(KUBE, [pod()])
        store.replace(KUBE, [])
    elif how == "static":
        target = make_target()
        store.replace(STATIC, [target])
        read(store, target)
        assert len(store.fleets()) == 1
        store.replace(STATIC, [])
    else:
        serve(store, pod())
        store.remove(KUBE, "uid-etl-1")
    assert known(store, clock) == []


def test_the_longest_gone_make_room(store: SnapshotStore, clock: Clock) -> None:
    """Fleets of test environments come and go."""
    fleets = [pod(f"{number:03}", workload=f"d-{number}") for number in range(REMEMBERED_FLEETS + 2)]
    serve(store, *fleets)
    for number in range(len(fleets)):
        clock.now += 1.0
        store.replace(KUBE, fleets[number + 1 :])
    assert [fleet.name for fleet in known(store, clock)] == [f"{number:03}" for number in range(2, len(fleets))]
