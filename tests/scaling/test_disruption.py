"""Days of waves on nodes: what the Cluster Autoscaler kills, with the exporter's protection and without it."""

from itertools import pairwise

import pytest

from benchmarks.scaling import record, table
from benchmarks.scaling.disruption import (
    DAY_SECONDS,
    PROTECTED,
    SETUPS,
    UNPROTECTED,
    begin,
    day,
)
from exporter.config.settings import ProtectionSettings
from exporter.fleet.protection import CLUSTER_AUTOSCALER
from exporter.simulation.nodes import SIZES, SMALL

WITHIN_SECONDS = 10.0
"""A pod that becomes busy is protected within this time."""


@pytest.mark.slow
def test_a_day_kills_tasks_without_protection_and_none_with_it() -> None:
    """The same work, for more node-hours."""
    without, protected = (day(0, size=SMALL, setup=SETUPS[setup]) for setup in (UNPROTECTED, PROTECTED))
    assert without.tasks == protected.tasks
    assert without.killed > 0
    assert protected.killed == 0
    assert without.drained > 0
    assert protected.node_hours > without.node_hours


def test_no_recorded_day_with_protection_kills_a_task() -> None:
    """On nodes of both sizes; and each without protection kills some."""
    found = record.load()
    for size in SIZES:
        for setup_name, setup in SETUPS.items():
            killed = [values[1] for values in found[record.name_of("disruption", size.name, setup_name)]]
            assert all(killed) if setup_name == UNPROTECTED else not any(killed), (size.name, setup)


@pytest.mark.slow
def test_an_agent_is_protected_from_its_first_task_until_it_has_been_idle() -> None:
    """On within ten seconds, off two minutes after its last task; draining agents too."""
    timeline, fleet = begin(1, SMALL, SETUPS[PROTECTED])
    idle_for = ProtectionSettings().idle_for
    busy_since: dict[int, float] = {}
    idle_since: dict[int, float] = {}
    draining_seen = idle_seen = 0
    while timeline.now < DAY_SECONDS / 4:
        timeline.run(timeline.now + 1.0)
        now = timeline.now
        for pod in fleet.pods:
            begun, ended = (busy_since, idle_since) if pod.tasks else (idle_since, busy_since)
            begun.setdefault(pod.number, now)
            ended.pop(pod.number, None)
            protected = pod.annotations.get(CLUSTER_AUTOSCALER) == "false"
            if pod.tasks and now - busy_since[pod.number] > WITHIN_SECONDS:
                assert protected
                draining_seen += pod.draining
            if pod.up and not pod.tasks and now - idle_since[pod.number] > idle_for + WITHIN_SECONDS:
                assert not protected
                idle_seen += 1
    assert draining_seen
    assert idle_seen


def test_days_have_the_same_work_whatever_is_set() -> None:
    """Else their node-hours could not be compared. Another seed is another day."""
    nights = [day(0, size=SMALL, setup=setup, seconds=3600.0).tasks for setup in SETUPS.values()]
    assert all(one == other for one, other in pairwise(nights))
    assert day(1, size=SMALL, setup=SETUPS[UNPROTECTED], seconds=3600.0).tasks != nights[0]


def test_the_readme_has_killed_tasks_and_the_price() -> None:
    """Of the days on nodes of all sizes, each compared with itself."""
    found = dict(record.load())
    for size in SIZES:
        for setup, hours in ((UNPROTECTED, 50.0), (PROTECTED, 60.0)):
            killed = 20.0 if setup == UNPROTECTED else 0.0
            found[record.name_of("disruption", size.name, setup)] = [[2800.0, killed, 5.0, hours, 130.0]] * 5
    assert table.short(found)["protection"] == (
        "**20 (20 – 20) of 2800 (2800 – 2800) tasks killed a day, with `protection.enabled` 0**, "
        "for 20% (20 – 20) more node-hours."
    )
