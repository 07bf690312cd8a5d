"""An agent's last reading as it is noted: whose is, what it becomes as JSON, and the agent it describes."""

import json
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.last_reading import LastReading
from exporter.fleet.model import AgentSnapshot, AgentStatus
from tests.factories import NOW, WALL_NOW, make_facts, make_reading, make_target

NOTED = LastReading("u", "matillion", "etl", "agent-1", 7.0, 1, 2, WALL_NOW, None)
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=253)
TIMES = st.none() | st.floats(0, 1e10)
READINGS = st.builds(
    LastReading,
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    st.floats(0, 1e9, exclude_min=True),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 1000),
    TIMES,
    TIMES,
)


def agent(tasks: float = 7, *, age: float = 1.0, **facts: Any) -> AgentSnapshot:
    return AgentSnapshot(target=make_target(facts=make_facts(**facts)), reading=make_reading(tasks), read_at=NOW - age)


def test_what_is_noted_of_an_agent() -> None:
    """Its tasks, what identifies the run of its container, and whether it drains."""
    snapshot = agent(restarts=2, last_terminated_time=WALL_NOW, draining_time=WALL_NOW + 1)
    assert LastReading.of(snapshot, 30, NOW) == LastReading(
        "uid-agent-1", "matillion", "etl", "agent-1", 7, AgentStatus.RUNNING, 2, WALL_NOW, WALL_NOW + 1
    )


@pytest.mark.parametrize(
    "snapshot",
    [
        agent(0),
        agent(age=31),
        replace(agent(), reading=None, read_at=None),
        replace(agent(), read_at=None),
        replace(agent(), target=make_target()),
    ],
)
def test_what_is_not_noted(snapshot: AgentSnapshot) -> None:
    """Without tasks there is nothing to lose; an old reading says nothing; a static target has no pod."""
    assert LastReading.of(snapshot, 30, NOW) is None


@given(READINGS)
def test_json_keeps_everything(reading: LastReading) -> None:
    assert LastReading.from_json(json.loads(json.dumps(astuple(reading)))) == reading


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        [],
        list(astuple(NOTED))[:-1],
        [*astuple(NOTED), 1],
        list(astuple(replace(NOTED, tasks=0))),
        list(astuple(replace(NOTED, tasks=float("nan")))),
        [1, *astuple(NOTED)[1:]],
        [*astuple(NOTED)[:-1], "now"],
    ],
)
def test_what_is_no_reading(given: object) -> None:
    with pytest.raises(ValueError, match="not an agent's last reading"):
        LastReading.from_json(given)


def test_the_agent_it_describes() -> None:
    """The container's run is the noted one; the rest is what the pod says later."""
    snapshot = NOTED.snapshot(make_facts(restarts=5, draining_time=WALL_NOW, disruption="Evicted"), NOW)
    facts, reading = snapshot.target.facts, snapshot.reading
    assert facts is not None
    assert reading is not None
    assert (facts.ended_container, facts.draining_time, facts.disruption) == ((2, WALL_NOW), None, "Evicted")
    assert (reading.tasks_active, reading.status, snapshot.read_at) == (7, 1, NOW)
    assert NOTED.snapshot(None, NOW).target.pod == "agent-1"
