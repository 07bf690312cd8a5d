"""What belongs to an ordinary day trips no alert at all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.fleet.scaler import Condition
from tests.alerts.prometheus_timeline import PROMTOOL, Course, World, group, run_promtool
from tests.alerts.prometheus_worlds import (
    FLEET,
    HEAP_LIMIT,
    OWN,
    agent,
    draining,
    healthy,
    legacy,
    own,
    starting,
    task_failures,
    working_set,
)
from tests.factories import make_scaler

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)"),
]

HOUR = 60
NOTHING = 'alertname=~".+",severity!="info"'
"""What must not fire. MatillionAgentLegacyMetrics reports no incident, and may fire all the time."""
FIRST, SECOND, NEXT = "10.0.0.1:9850", "10.0.0.2:9850", "10.0.0.3:9850"


def _rollout(minute: int) -> World:
    """Six agents are replaced, one every ten minutes; the old ones drain with their tasks for hours."""
    replaced = max(0, min(6, (minute - 10) // 10))
    coming = 0 < replaced <= 6 and minute % 10 < 3
    old = [agent(f"old-{number}", version="11.1.0") for number in range(replaced, 6)]
    gone = [
        draining(f"old-{number}", max(0, 12 - (minute - 10) // 20), since=20 + 10 * number)
        for number in range(replaced)
    ]
    ready = replaced - 1 if coming else replaced
    new = [agent(f"new-{number}", version="11.2.0") for number in range(ready)]
    return World([*old, *gone, *new, *([starting(f"new-{ready}")] if coming else [])], own(minute))


def _scale_down(minute: int) -> World:
    """Six agents become three in as many minutes; those that go have tasks of nine hours."""
    leaving = max(0, min(3, minute - 30))
    stay = [agent(f"etl-{number}", 8) for number in range(6 - leaving)]
    ended = minute > 10 * HOUR
    leave = [draining(f"etl-{5 - number}", since=31 + number) for number in range(leaving)]
    return World([*stay, *([] if ended else leave)], own(minute))


def _scale_up_and_to_zero(minute: int) -> World:
    """No agent at night; three start in the morning, are full at noon for four minutes, and go in the evening."""
    keda = make_scaler(keda=True)
    off = replace(keda, active=Condition(False, "ScalingDisabled"), current_agents=0)
    if minute < 60 or minute >= 300:
        return World((), own(minute), scalers=(off,), empty=(("matillion", "etl"),))
    if minute < 64:
        return World([starting(f"etl-{number}") for number in range(3)], own(minute), scalers=(keda,))
    if minute >= 240:
        return World([draining(f"etl-{number}", since=240) for number in range(3)], own(minute), scalers=(off,))
    tasks = 20 if 150 <= minute < 154 else 6
    return World([agent(f"etl-{number}", tasks) for number in range(3)], own(minute), scalers=(keda,))


def _busy_day(minute: int) -> World:
    """Agents near their limits all day, collecting garbage, with a queue that comes and goes."""
    queue = float(minute % 20 * 3 if minute % 20 < 5 else 0)
    heap = (0.97 if minute % 4 else 0.55) * HEAP_LIMIT
    agents = [agent("etl-0", 19, tasks_queued=queue, heap_used_bytes=heap), agent("etl-1", 19), legacy("etl-2", 18)]
    extra = working_set("etl-0", 0.84) | working_set("etl-1", 0.8) | task_failures("etl-0", minute // 4)
    return World(agents, own(minute) | extra)


def _nothing_optional(minute: int) -> World:
    """Old images at fixed addresses, no Kubernetes, no metrics-server, no CloudWatch, no leader election."""
    bare = {name: value for name, value in own(minute).items() if "cloudwatch" not in name and "leader" not in name}
    return World([legacy(f"etl-{number}", connected=None) for number in range(3)], bare)


def _until(course: Course, end: int) -> Course:
    return lambda minute: course(minute) if minute < end else None


def _from(course: Course, start: int) -> Course:
    """Return what a new process shows: its counters begin at nothing, and its list of agents at its first sync."""

    def begun(minute: int) -> World | None:
        world = course(minute)
        if world is None or minute < start:
            return None
        fresh = own(minute - start, sync_age=None if minute == start else 1.0)
        fresh["process_start_time_seconds"] = start * 60.0
        kept = {name: value for name, value in world.own.items() if name.startswith("matillion_fleet_agent_")}
        return World(world.snapshots if minute > start else (), {**kept, **fresh})

    return begun


def _standby(course: Course) -> Course:
    """Return what a replica shows that is not the leader and publishes nothing."""

    def seen(minute: int) -> World | None:
        world = course(minute)
        if world is None:
            return None
        quiet = {name: value for name, value in world.own.items() if "cloudwatch" not in name}
        return World(world.snapshots, quiet | {f"{OWN}leader": 0.0}, world.sync_age)

    return seen


SCENES: Mapping[str, tuple[dict[str, Course], int]] = {
    "a healthy mixed fleet": ({FIRST: healthy}, 3 * HOUR),
    "two replicas, one of them the leader": ({FIRST: _busy_day, SECOND: _standby(_busy_day)}, 3 * HOUR),
    "a rollout": ({FIRST: _rollout}, 5 * HOUR),
    "a scale-down whose agents drain for nine hours": ({FIRST: _scale_down}, 12 * HOUR),
    "from nothing to three agents and back": ({FIRST: _scale_up_and_to_zero}, 7 * HOUR),
    "a busy day": ({FIRST: _busy_day}, 5 * HOUR),
    "nothing that is optional": ({FIRST: _nothing_optional}, 3 * HOUR),
    "an exporter with nothing to watch yet": ({FIRST: lambda minute: World((), own(minute))}, 2 * HOUR),
    "an exporter that is restarted and gone for three minutes": (
        {FIRST: _until(_busy_day, 60), SECOND: _from(_busy_day, 63)},
        3 * HOUR,
    ),
    "two exporters that are replaced one after the other": (
        {FIRST: _until(_rollout, 60), SECOND: _until(_from(_rollout, 10), 64), NEXT: _from(_rollout, 61)},
        3 * HOUR,
    ),
}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.replace(" ", "-"))
def test_an_ordinary_day_trips_no_alert(scene: str, tmp_path: Path) -> None:
    """None of the alerts fires at any time."""
    replicas, minutes = SCENES[scene]
    run_promtool(tmp_path, [group(scene, replicas, minutes, never_firing=NOTHING)])


def test_silence_would_be_noticed(tmp_path: Path) -> None:
    """The check for silence is one that fails: with an agent that does not answer there is no silence."""
    scene: dict[str, Any] = group(
        "not quiet", {FIRST: lambda minute: World((agent("etl-0", age=60), *FLEET[1:]), own(minute))}, 30,
        never_firing=NOTHING,
    )  # fmt: skip
    with pytest.raises(AssertionError, match="MatillionAgentUnreachable"):
        run_promtool(tmp_path, [scene])
