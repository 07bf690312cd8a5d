"""The state of an agent, by example."""

from typing import Any

import pytest

from exporter.fleet.classification import classify
from exporter.fleet.model import AgentSnapshot, AgentState, AgentStatus, Since
from exporter.fleet.policy import Policy
from tests.factories import NOW, POLICY, make_facts, make_fleet, make_reading, make_snapshot

DRAINING, STARTING, UNREACHABLE = AgentState.DRAINING, AgentState.STARTING, AgentState.UNREACHABLE
STOPPED, DISCONNECTED, SERVING = AgentState.STOPPED, AgentState.DISCONNECTED, AgentState.SERVING
CRASHED = "CrashLoopBackOff"


def state(snapshot: AgentSnapshot) -> AgentState:
    return classify(snapshot, POLICY, NOW).state


READY_NOW = make_facts(ready_since=NOW - 30)
READY_BEFORE = make_facts(ready_since=NOW - 30.5)
NOT_READY = make_facts(ready=False)


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        # a deletion outranks everything
        (DRAINING, {"facts": make_facts(draining_time=1.0)}),
        (DRAINING, {"facts": make_facts(draining_time=0.0)}),
        (DRAINING, {"facts": make_facts(draining_time=1.0), "age": 9999.0}),
        (DRAINING, {"facts": make_facts(draining_time=1.0, ready=False), "never_read": True, "address": None}),
        (DRAINING, {"facts": make_facts(draining_time=1.0), "reading": make_reading(status=AgentStatus.STOPPED)}),
        (DRAINING, {"facts": make_facts(draining_time=1.0), "reading": make_reading(connected=False)}),
        # another pod has its address, so it is not the one that answers there
        (DRAINING, {"facts": make_facts(draining_time=1.0), "displaced_by": "n/younger"}),
        (UNREACHABLE, {"displaced_by": "n/younger"}),
        (UNREACHABLE, {"displaced_by": "n/younger", "never_read": True, "facts": NOT_READY}),
        # not there yet
        (STARTING, {"never_read": True, "address": None}),
        (STARTING, {"never_read": True, "address": None, "facts": READY_BEFORE}),
        (STARTING, {"never_read": True, "facts": NOT_READY}),
        (STARTING, {"never_read": True, "facts": READY_NOW}),
        (STARTING, {"never_read": True, "facts": make_facts(ready=True, ready_since=None)}),
        (STARTING, {"never_read": True, "facts": make_facts(ready=False, ready_since=NOW - 999)}),
        # should answer and does not
        (UNREACHABLE, {"never_read": True}),
        (UNREACHABLE, {"never_read": True, "facts": READY_BEFORE}),
        (UNREACHABLE, {"age": 30.5}),
        (UNREACHABLE, {"age": 30.5, "facts": NOT_READY}),
        (UNREACHABLE, {"age": 30.5, "facts": READY_NOW}),
        (UNREACHABLE, {"age": 30.5, "reading": make_reading(status=AgentStatus.STOPPED)}),
        (UNREACHABLE, {"age": 30.5, "reading": make_reading(connected=False)}),
        (UNREACHABLE, {"age": 30.5, "address": None}),
        # answers, and does not work
        (STOPPED, {"reading": make_reading(status=AgentStatus.STOPPED)}),
        (STOPPED, {"reading": make_reading(status=AgentStatus.STOPPED, connected=False)}),
        (STOPPED, {"reading": make_reading(status=AgentStatus.PENDING_SHUTDOWN)}),
        (STOPPED, {"reading": make_reading(status=AgentStatus.SHUTTING_DOWN, connected=False)}),
        (STOPPED, {"reading": make_reading(status=AgentStatus.SHUTTING_DOWN), "age": 30.0}),
        (UNREACHABLE, {"reading": make_reading(status=AgentStatus.SHUTTING_DOWN), "age": 30.5}),
        (DISCONNECTED, {"reading": make_reading(connected=False)}),
        (DISCONNECTED, {"reading": make_reading(status=None, connected=False)}),
        # everything else
        (SERVING, {}),
        (SERVING, {"age": 0.0}),
        (SERVING, {"age": 30.0}),
        (SERVING, {"facts": NOT_READY}),
        (SERVING, {"address": None}),
        (SERVING, {"reading": make_reading(status=None, connected=None)}),
        (SERVING, {"reading": make_reading(status=7)}),
        (SERVING, {"error": "timeout"}),
        (SERVING, {"facts": make_facts(waiting_reason=CRASHED)}),
    ],
)
def test_state_is_the_first_that_applies(expected: AgentState, fields: dict[str, Any]) -> None:
    """Row by row down the table of states, each at its boundary."""
    assert state(make_snapshot(**fields)) is expected


@pytest.mark.parametrize(("age", "fresh"), [(0.0, True), (30.0, True), (30.5, False)])
def test_a_reading_counts_until_it_is_stale(age: float, fresh: bool) -> None:
    """`stale_after` is the last instant at which a reading counts."""
    assert classify(make_snapshot(age=age), POLICY, NOW).fresh is fresh


def test_an_agent_that_was_never_read_is_not_fresh() -> None:
    """No reading is no fresh reading."""
    assert classify(make_snapshot(never_read=True), POLICY, NOW).fresh is False


def test_stale_after_is_the_policy_s() -> None:
    """The boundary moves with the setting, for readings and for readiness."""
    patient = Policy(stale_after=60.0)
    assert classify(make_snapshot(age=60.0), patient, NOW).state is SERVING
    ready = make_facts(ready_since=NOW - 60)
    assert classify(make_snapshot(never_read=True, facts=ready), patient, NOW).state is STARTING


@pytest.mark.parametrize(
    ("known", "ready", "usually", "expected"),
    [
        (90.0, 60.0, None, UNREACHABLE),
        (90.0, 60.0, 89.0, UNREACHABLE),
        (90.0, 60.0, 90.0, STARTING),
        (90.0, 60.0, 9000.0, STARTING),
        (301.0, 60.0, 9000.0, UNREACHABLE),
        (5.0, 3600.0, 90.0, UNREACHABLE),
        (None, 60.0, 90.0, UNREACHABLE),
    ],
)
def test_a_pod_is_starting_for_as_long_as_agents_usually_take(
    known: float | None, ready: float, usually: float | None, expected: AgentState
) -> None:
    """A slow JVM makes no fleet untrusted in the midst of its scale-up; a pod that was there before is not new."""
    since = Since(known=None if known is None else NOW - known)
    snapshot = make_snapshot(never_read=True, facts=make_facts(ready_since=NOW - ready), since=since)
    assert classify(snapshot, POLICY, NOW, usually).state is expected


def test_slow_starters_do_not_withhold_the_demand() -> None:
    """Four serve, eight are on their way: as usual after a minute, they are not expected to answer yet."""
    facts, since = make_facts(ready_since=NOW - 60), Since(known=NOW - 70)
    pods = [make_snapshot(f"new-{i}", never_read=True, facts=facts, since=since) for i in range(8)]
    serving = [make_snapshot(f"a-{i}") for i in range(4)]
    assert make_fleet([*serving, *pods]).trusted is False
    assert make_fleet([*serving, *pods], start_seconds=85.0).trusted is True
