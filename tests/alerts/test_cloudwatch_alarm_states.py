"""The state of each alarm of the template in each world, by CloudWatch's rules and the exporter's datums.

The table of expected states is the one in docs/cloudwatch.md.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from exporter.fleet.departure import LossReason
from exporter.fleet.model import AgentSnapshot, Fleet
from exporter.fleet.scaler import Condition
from exporter.publish.datum import Datum
from exporter.publish.fleet_datums import Baseline, count
from tests.alerts.test_cloudwatch_template import FLEET_ALARMS, alarms
from tests.factories import NOW, WALL_NOW, make_facts, make_fleet, make_memory, make_reading, make_scaler, make_snapshot
from tests.fakes.cloudwatch_alarm import ALARM, INSUFFICIENT_DATA, OK, Alarm, evaluate
from tests.fakes.cloudwatch_publishing import selection

pytestmark = pytest.mark.slow

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "cloudwatch.md").read_text(encoding="utf-8")
BEFORE, AFTER = 30, 120
"""Minutes that a fleet is as it was, and that a world then lasts."""
EXTRA = (0, 2, 5)
"""How much further back CloudWatch may look: this is undocumented; two data points in its own examples."""
World = Callable[[int], Sequence[Fleet]]
"""The fleets that are known in a minute."""

# -- the rules, against AWS's own examples -----------------------------------------------------------------------------

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
EXAMPLES = [
    # evaluation periods, data points to alarm, data, and the state for each treatment (None: as it was)
    (3, 3, "0-X-X", (OK, OK, OK, OK)),
    (3, 3, "0----", (OK, OK, OK, OK)),
    (3, 3, "-----", (INSUFFICIENT_DATA, None, ALARM, OK)),
    (3, 3, "0XX-X", (ALARM, ALARM, ALARM, ALARM)),
    (3, 3, "--X--", (ALARM, None, ALARM, OK)),
    (3, 3, "----X", (INSUFFICIENT_DATA, None, ALARM, OK)),
    (3, 2, "0-X-X", (ALARM, ALARM, ALARM, ALARM)),
    (3, 2, "00X0X", (ALARM, ALARM, ALARM, ALARM)),
    (3, 2, "0-X--", (OK, OK, ALARM, OK)),
    (3, 2, "----0", (OK, OK, ALARM, OK)),
    (3, 2, "---X-", (ALARM, None, ALARM, OK)),
]


@pytest.mark.parametrize(("needed", "to_alarm", "data", "states"), EXAMPLES)
def test_the_rules_are_those_of_cloudwatch(
    needed: int, to_alarm: int, data: str, states: tuple[str | None, ...]
) -> None:
    """Every row of the tables in CloudWatch's documentation, from whatever state it was."""
    points = [{"0": False, "X": True, "-": None}[point] for point in data]
    for before in (OK, ALARM, INSUFFICIENT_DATA):
        for treated, state in zip(TREATMENTS, states, strict=True):
            found = evaluate(points, before, needed=needed, to_alarm=to_alarm, missing=treated)
            assert found == (state or before), treated


# -- the worlds --------------------------------------------------------------------------------------------------------


def idle(pod: str, **fields: Any) -> AgentSnapshot:
    """Return a healthy agent without a task, of which everything is known."""
    facts = make_facts(**fields.pop("facts", {}))
    known: dict[str, Any] = {"tasks_active": 0, "facts": facts, "usage": make_memory(), "task_failures": 0}
    return make_snapshot(pod, **(known | fields))


def lost(tasks: float) -> Mapping[LossReason, float]:
    """Return the count of a fleet that has lost so many tasks."""
    return dict.fromkeys(LossReason, 0.0) | {LossReason.OOM_KILLED: tasks}


def healthy(minute: int) -> Sequence[Fleet]:
    """Two agents at rest, the fewest that the alarms ask for."""
    return (make_fleet([idle("a"), idle("b")], tasks_lost=lost(0)),)


def sick(minute: int) -> Sequence[Fleet]:
    """Everything at once: one agent is full, one lost the control plane, two are unreachable and keep crashing."""
    full = idle(
        "a",
        reading=make_reading(20, tasks_queued=5),
        facts={"restarts": minute},
        usage=make_memory(3.9 * 1024**3),
        task_failures=minute,
    )
    looping = [idle(pod, age=300, facts={"waiting_reason": "CrashLoopBackOff"}) for pod in ("c", "d")]
    agents = [full, idle("b", reading=make_reading(0, connected=False)), *looping]
    return (make_fleet(agents, tasks_lost=lost(minute)),)


def unreachable(before: World) -> World:
    """No agent responds any longer. What Kubernetes reports of the pods stays the same, and they no longer restart."""
    [known] = before(BEFORE - 1)
    snapshots = [replace(agent.snapshot, read_at=NOW - 300) for agent in known.agents]
    fleet = make_fleet(snapshots, tasks_lost=known.tasks_lost)
    return lambda minute: (fleet,)


def leaving(before: World) -> World:
    """Scale the fleet to 0: for two minutes its pods drain."""
    [whole] = before(BEFORE - 1)
    known = [agent.snapshot for agent in whole.agents]
    facts = [replace(snapshot.target.facts or make_facts(), draining_time=WALL_NOW) for snapshot in known]
    fleet = make_fleet(
        [
            replace(snapshot, target=replace(snapshot.target, facts=fact))
            for snapshot, fact in zip(known, facts, strict=True)
        ],
        tasks_lost=whole.tasks_lost,
    )
    return lambda minute: (fleet,)


def nothing(minute: int) -> Sequence[Fleet]:
    """Nothing is published: the exporter is gone, or has never seen a pod of the fleet."""
    return ()


def resting(minute: int) -> Sequence[Fleet]:
    """There is no pod, and the HPA is switched off with it."""
    off = make_scaler(keda=True, active=Condition(False, "ScalingDisabled"), current_agents=0)
    return (make_fleet([], tasks_lost=lost(0), scalers=[off]),)


def gone(minute: int) -> Sequence[Fleet]:
    """There is no pod, and the HPA asks for some."""
    return (make_fleet([], tasks_lost=lost(0), scalers=[make_scaler()]),)


WORLDS: dict[str, Callable[[World], list[tuple[World, int]]]] = {
    "healthy, idle": lambda before: [(before, BEFORE), (healthy, AFTER)],
    "night without agents": lambda before: [(before, BEFORE), (leaving(before), 2), (resting, AFTER)],
    "all agents gone": lambda before: [(before, BEFORE), (gone, AFTER)],
    "all agents unreachable": lambda before: [(before, BEFORE), (unreachable(before), AFTER)],
    "cluster deleted": lambda before: [(before, BEFORE), (nothing, AFTER)],
}


def published(*parts: tuple[World, int]) -> list[list[Datum]]:
    """Return what the exporter publishes in each minute of worlds that follow each other."""
    what, baseline, minutes = selection("default"), Baseline(WALL_NOW, {}), list[list[Datum]]()
    for world, length in parts:
        for minute in range(length):
            now, fleets = WALL_NOW + 60 * len(minutes), world(minute)
            increases, baseline = count(what.metrics, fleets, baseline, now)
            minutes.append(list(what.datums(fleets, [], increases, int(now))))
    return minutes


def course(name: str, minutes: Sequence[Sequence[Datum]], extra: int, **parameters: str) -> list[str]:
    """Return the state of an alarm at the end of each minute."""
    alarm = Alarm(alarms(**parameters)[name], extra)
    return [alarm.look(minutes[: minute + 1]) for minute in range(len(minutes))]


def messages(states: Sequence[str]) -> list[str]:
    """Return the notifications to the topic: the start and the end of the alarm, and none about missing data."""
    return [after for before, after in pairwise(states) if after not in {before, INSUFFICIENT_DATA}]


# -- the table ---------------------------------------------------------------------------------------------------------

CELLS = {"OK": OK, "**ALARM**": ALARM, "no data": INSUFFICIENT_DATA, "as before": None}
"""`as before`: the state that the alarm had, or that of the data that Kubernetes still reports."""


def documented() -> dict[tuple[str, str], str | None]:
    """Return the table in the documentation: by alarm and world the state; None where it stays as it was."""
    [table] = re.findall(r"^\| alarm \| healthy, idle \|.*?(?=\n\n)", DOCUMENTATION, re.MULTILINE | re.DOTALL)
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    return {
        (row[0].strip(" `"), world): CELLS[cell]
        for row in rows
        for world, cell in zip(head[1:], row[1:], strict=True)
        if world in WORLDS
    }


TABLE = documented()


def test_the_documentation_has_how_missing_data_is_treated() -> None:
    """Each alarm's row has what the template has."""
    rows = re.findall(r"^\| `(\w+)` \|.* \| `(\w+)`: [^|]+ \|$", DOCUMENTATION, re.MULTILINE)
    assert dict(rows) == {name: alarm["TreatMissingData"] for name, alarm in alarms().items()}


def test_the_table_is_whole() -> None:
    """It has a state for each alarm of a fleet in each world."""
    assert TABLE.keys() == {(alarm, world) for alarm in FLEET_ALARMS for world in WORLDS}


@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("before", [healthy, sick])
@pytest.mark.parametrize("world", WORLDS)
def test_each_alarm_in_each_world_is_in_the_documented_state(world: str, before: World, extra: int) -> None:
    """Two hours into each world, from a healthy fleet and from a sick one, and however far back CloudWatch looks."""
    minutes = published(*WORLDS[world](before))
    for name in sorted(FLEET_ALARMS):
        states = course(name, minutes, extra)
        expected = TABLE[name, world]
        assert states[-1] == (expected or states[-AFTER - 1]), (name, states)


def test_before_the_worlds_begin_a_healthy_fleet_is_quiet_and_a_sick_one_is_not() -> None:
    """Without this the table would prove little: a sick fleet raises every alarm but that of silence."""
    for before, state in ((healthy, OK), (sick, ALARM)):
        minutes = published((before, BEFORE))
        found = {name: course(name, minutes, 2)[-1] for name in FLEET_ALARMS}
        assert found == dict.fromkeys(FLEET_ALARMS, state) | {"ExporterSilent": OK}


# -- notifications of on-call ------------------------------------------------------------------------------------------

SEEN_BY_AGENTS = ("ConnectivityLost", "QueueBuildingUp", "NoFreeCapacity", "CapacityLow")


@pytest.mark.parametrize("extra", EXTRA)
def test_an_alarm_does_not_end_because_agents_are_unreachable(extra: int) -> None:
    """A sick fleet becomes unreachable and returns unchanged: its alarms neither end nor notify again."""
    minutes = published((sick, BEFORE), (unreachable(sick), AFTER), (sick, BEFORE))
    for name in SEEN_BY_AGENTS:
        states = course(name, minutes, extra)
        assert messages(states) == [ALARM], (name, states)


@pytest.mark.parametrize("extra", EXTRA)
def test_unreachable_agents_are_notified_once(extra: int) -> None:
    """A healthy fleet becomes unreachable and returns: one alarm starts and ends, and no other notifies at all."""
    minutes = published((healthy, BEFORE), (unreachable(healthy), AFTER), (healthy, BEFORE))
    for name in FLEET_ALARMS:
        sent = messages(course(name, minutes, extra)[BEFORE - 1 :])
        assert sent == ([ALARM, OK] if name == "AgentsUnreachable" else []), name


@pytest.mark.parametrize("extra", EXTRA)
def test_a_minute_of_trouble_before_agents_are_unreachable_is_no_alarm(extra: int) -> None:
    """CloudWatch would take a lone breaching point for an alarm when nothing comes after it, and `missing` is set."""
    minutes = published((healthy, BEFORE), (sick, 1), (unreachable(healthy), AFTER))
    for name in SEEN_BY_AGENTS:
        assert messages(course(name, minutes, extra)[BEFORE - 1 :]) == [], name


@pytest.mark.parametrize("extra", EXTRA)
def test_a_night_without_agents_raises_no_alarm(extra: int) -> None:
    """A fleet at rest that is scaled to 0 and back is no outage; what is counted by agents has data again."""
    minutes = published((healthy, BEFORE), (leaving(healthy), 2), (resting, AFTER), (healthy, BEFORE))
    sent = {name: messages(course(name, minutes, extra)[BEFORE - 1 :]) for name in FLEET_ALARMS}
    assert {name: states for name, states in sent.items() if states} == {"Restarts": [OK], "TaskFailures": [OK]}


@pytest.mark.parametrize("extra", EXTRA)
def test_agents_that_are_gone_are_an_outage(extra: int) -> None:
    """The capacity is known to be 0: two alarms start, and end with the agents' return."""
    minutes = published((healthy, BEFORE), (gone, AFTER), (healthy, BEFORE))
    sent = {name: messages(course(name, minutes, extra)[BEFORE - 1 :]) for name in FLEET_ALARMS}
    assert {name for name, states in sent.items() if states == [ALARM, OK]} == {"CapacityLow", "NoFreeCapacity"}
    assert not any(ALARM in states for states in sent.values() if states != [ALARM, OK])


def test_an_exporter_may_be_allowed_to_be_silent_for_long() -> None:
    """With a longer time the silence of two hours is none, and one that goes on is an alarm all the same."""
    minutes = published(
        (healthy, BEFORE), (leaving(healthy), 2), (nothing, AFTER), (healthy, BEFORE), (nothing, 2 * AFTER)
    )
    states = course("ExporterSilent", minutes, 2, SilentMinutes="150")
    assert messages(states) == [ALARM]
    assert states.index(ALARM) >= 2 * BEFORE + AFTER + 150
