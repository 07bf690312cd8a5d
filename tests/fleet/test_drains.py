"""How a drain ends: which are cut short, which take too long, and how long is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.drains import LATE_SECONDS, SHORT_SECONDS, cut_short, seconds_left, shortened, too_long
from tests.factories import WALL_NOW, make_agent, make_drain, make_facts

MINUTE, HOUR = 60, 3600
SECONDS = st.integers(0, 200_000)


@pytest.mark.parametrize(
    ("draining_for", "granted", "own", "tasks", "expected"),
    [
        (0, 12 * HOUR, 12 * HOUR, 7, False),
        (0, 10 * MINUTE, 12 * HOUR, 7, True),
        (0, 10 * MINUTE, 12 * HOUR, 0, False),
        (0, 12 * HOUR - 1, 12 * HOUR, 1, True),
        (12 * HOUR - 15 * MINUTE, 12 * HOUR, 12 * HOUR, 7, False),
        (12 * HOUR - 15 * MINUTE + 1, 12 * HOUR, 12 * HOUR, 7, True),
        (2 * HOUR, 10 * MINUTE, 12 * HOUR, 7, True),
        (0, 24 * HOUR, 12 * HOUR, 7, False),
        (0, 30, 30, 1, True),
    ],
)
def test_cut_short(draining_for: float, granted: float, own: float, tasks: float, *, expected: bool) -> None:
    """Tasks run, and there is less time for them than the pod asks for, or less than 15 minutes."""
    agent = make_agent(facts=make_drain(draining_for, granted=granted, own=own), tasks_active=tasks)
    assert cut_short(agent, WALL_NOW) is expected


def test_nothing_is_claimed_without_a_current_reading() -> None:
    """Tasks that were counted long ago may have ended; an agent that was never read may have none."""
    facts = make_drain(MINUTE, granted=10 * MINUTE)
    assert not cut_short(make_agent(facts=facts, tasks_active=7, age=60), WALL_NOW)
    assert not cut_short(make_agent(facts=facts, never_read=True), WALL_NOW)


def test_other_agents_have_no_drain() -> None:
    """Static targets and pods that are not deleted have no deadline; nor has a drain whose end is not known."""
    for facts in (None, make_facts(grace_seconds=43_200.0), make_facts(draining_time=1.0)):
        agent = make_agent(facts=facts)
        assert seconds_left(agent, WALL_NOW) is None
        assert not cut_short(agent, WALL_NOW)
        assert not too_long(agent, WALL_NOW)


@pytest.mark.parametrize(
    ("draining_for", "granted", "own", "expected"),
    [
        (11 * HOUR, 12 * HOUR, 12 * HOUR, False),
        (11 * HOUR + 1, 12 * HOUR, 12 * HOUR, True),
        (23 * HOUR, 24 * HOUR, 24 * HOUR, False),
        (23 * HOUR + 1, 24 * HOUR, 24 * HOUR, True),
        (9 * MINUTE, 10 * MINUTE, 10 * MINUTE, False),
        (9 * MINUTE + 1, 10 * MINUTE, 10 * MINUTE, True),
        # It is not long: it was cut.
        (9 * MINUTE, 10 * MINUTE, 12 * HOUR, False),
    ],
)
def test_too_long(draining_for: float, granted: float, own: float, *, expected: bool) -> None:
    """An hour before the end of the pod's own grace period, or at a tenth of a short one; with tasks or not."""
    for tasks in (0.0, 7.0):
        agent = make_agent(facts=make_drain(draining_for, granted=granted, own=own), tasks_active=tasks)
        assert too_long(agent, WALL_NOW) is expected


@given(draining_for=SECONDS, granted=SECONDS, own=SECONDS, later=SECONDS, tasks=st.integers(0, 25))
def test_a_drain_only_gets_worse(draining_for: int, granted: int, own: int, later: int, tasks: int) -> None:
    """Time left is never negative and never grows; with tasks, what was cut short or too long stays so."""
    agent = make_agent(facts=make_drain(draining_for, granted=granted, own=own), tasks_active=float(tasks))
    left, left_later = seconds_left(agent, WALL_NOW), seconds_left(agent, WALL_NOW + later)
    assert left is not None
    assert left_later is not None
    assert 0 <= left_later <= left <= granted
    assert cut_short(agent, WALL_NOW + later) or not cut_short(agent, WALL_NOW)
    assert too_long(agent, WALL_NOW + later) or not too_long(agent, WALL_NOW)
    if cut_short(agent, WALL_NOW):
        assert tasks > 0
        assert left < SHORT_SECONDS or granted < own
    if too_long(agent, WALL_NOW):
        assert draining_for > own - LATE_SECONDS


@given(own=st.none() | SECONDS, granted=st.none() | SECONDS)
def test_a_grace_period_is_shortened_only_if_both_are_known(own: int | None, granted: int | None) -> None:
    """What is not known is not compared; a longer grace period than the pod's own is not a shorter one."""
    cut = shortened(make_facts(grace_seconds=own, drain_grace_seconds=granted))
    assert cut == ((own, granted) if own is not None and granted is not None and granted < own else None)
