"""The one word for a fleet, and the sentences behind it."""

from collections.abc import Iterable
from typing import Any

import pytest

from exporter.fleet.attention import agents_needing_attention
from exporter.fleet.health import Word, health
from exporter.fleet.model import AgentSnapshot, AgentStatus, Lasting, Since
from exporter.fleet.scaler import Condition
from tests.factories import (
    NOW,
    WALL_NOW,
    make_drain,
    make_facts,
    make_fleet,
    make_reading,
    make_scaler,
    make_snapshot,
)

DISABLED = Condition(False, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
TARGET = make_scaler().target
LOST = make_reading(connected=False)


def several(number: int, name: str = "etl", **fields: Any) -> list[AgentSnapshot]:
    """Return agents that are alike; without other fields they serve."""
    return [make_snapshot(f"{name}-{n}", **fields) for n in range(number)]


def starting(number: int, reason: str | None = None, *, age: float = 60.0, **facts: Any) -> list[AgentSnapshot]:
    """Return agents whose pods are so many seconds old and never answered."""
    pod = make_facts(ready=False, waiting_reason=reason, created_time=WALL_NOW - age, **facts)
    return several(number, "new", never_read=True, facts=pod, address=None)


def told(agents: Iterable[AgentSnapshot], **fields: Any) -> tuple[Word, tuple[str, ...]]:
    """Return the word and the sentences for a fleet of these agents."""
    found = health(make_fleet(agents, **fields))
    return found.word, found.problems


@pytest.mark.parametrize(
    "agents",
    [
        several(3),
        [*several(20), *several(1, "out", reading=LOST)],
        [*several(2), *several(1, "old", facts=make_drain(60))],
        # A start from nothing, with a node that has to come first.
        starting(4),
        starting(4, "Unschedulable", age=200.0),
        [*several(3), *starting(9, "ContainerCreating")],
        [*several(2), *several(2, "new", never_read=True, facts=make_facts())],
        several(2, reading=make_reading(20, tasks_queued=30)),
    ],
)
def test_a_usual_fleet_is_ok(agents: list[AgentSnapshot]) -> None:
    """At work, one agent in twenty lost, one draining, all starting, busy for a moment, or not looked at yet."""
    assert told(agents) == (Word.OK, ())


def test_a_fleet_of_which_none_serves_is_down() -> None:
    """The causes are counted, the most frequent first, with a few names."""
    agents = [
        *several(4, reading=LOST),
        *starting(2, "ImagePullBackOff"),
        *several(1, "s", reading=make_reading(status=AgentStatus.STOPPED)),
        *several(1, "u", age=60.0),
    ]
    assert told(agents) == (
        Word.DOWN,
        (
            "none of its 8 agents serves",
            "4 of 8 agents are not connected to the control plane: etl-0, etl-1, etl-2 and 1 more",
            "2 of 8 agents are not starting (ImagePullBackOff): new-0, new-1",
            "1 of 8 agents is stopped or shutting down: s-0",
            "1 of 8 agents is not responding: u-0",
        ),
    )
    assert told(several(1, reading=LOST))[1][0] == "its only agent does not serve"


def test_a_crash_loop_is_down_between_the_crashes_too() -> None:
    """Whether a container waits for its turn or is just starting again."""
    ended = {"last_terminated_reason": "OOMKilled", "restarts": 4}
    agents = [*starting(2, "CrashLoopBackOff", **ended), *starting(1, **ended), *starting(1)[:0]]
    assert told(agents) == (
        Word.DOWN,
        (
            "none of its 3 agents serves",
            "2 of 3 agents are crash looping (last exit OOMKilled): new-0, new-1",
            "1 of 3 agents is starting again (last exit OOMKilled): new-0",
        ),
    )


def test_a_start_that_takes_too_long_is_down() -> None:
    """After five minutes without a reason; those that are younger are counted as starting."""
    word, sentences = told([*starting(1, age=301.0), *several(1, "b", never_read=True, facts=make_facts(ready=False))])
    assert word is Word.DOWN
    assert "2 of 2 agents are not starting (no reason is given): b-0, new-0" in sentences
    word, sentences = told([*starting(2, "Unschedulable", age=301.0), *several(1, reading=LOST), *_young("young")])
    assert word is Word.DOWN
    assert "2 of 4 agents are not starting (Unschedulable): new-0, new-1" in sentences
    assert "1 of 4 agents is starting: young-0" in sentences


def _young(name: str) -> list[AgentSnapshot]:
    return several(1, name, never_read=True, facts=make_facts(ready=False, created_time=WALL_NOW - 10))


def test_without_trust_only_kubernetes_proves_that_a_fleet_is_down() -> None:
    """Agents that do not answer may well serve; those whose container does not run do not."""
    silent = told(several(3, age=60.0))
    assert silent == (
        Word.DATA_INCOMPLETE,
        ("its figures are not trusted: only 0 of 3 agents respond, 50% are required",),
    )
    stuck = several(3, age=60.0, facts=make_facts(waiting_reason="CrashLoopBackOff"))
    assert told(stuck)[0] is Word.DOWN
    assert told(starting(3, "ImagePullBackOff"), sync_age=500.0)[0] is Word.DATA_INCOMPLETE


def test_a_fleet_that_lost_a_tenth_is_degraded() -> None:
    """Below, the loss is each agent's own."""
    out = several(1, "out", reading=LOST)
    assert told([*several(9), *out]) == (
        Word.DEGRADED,
        ("1 of 10 agents is not connected to the control plane: out-0",),
    )
    assert told([*several(10), *out]) == (Word.OK, ())
    # A container that runs between two crashes serves.
    assert told(several(2, facts=make_facts(waiting_reason="CrashLoopBackOff"))) == (Word.OK, ())


def test_a_queue_that_stays_is_a_problem_after_a_quarter_of_an_hour() -> None:
    """With the slots that are free beside it."""
    waiting = several(2, reading=make_reading(4, tasks_queued=150))
    assert told(waiting, before=Lasting(queued=NOW - 899)) == (Word.OK, ())
    assert told(waiting, before=Lasting(queued=NOW - 1200)) == (
        Word.DEGRADED,
        ("tasks have been waiting for 20 min: 300 are queued, 32 slots are free",),
    )
    full = several(2, reading=make_reading(20, tasks_queued=1))
    assert told(full, before=Lasting(queued=NOW - 1200))[1] == (
        "tasks have been waiting for 20 min: 2 are queued, no slot is free",
    )
    # Nobody reports it any more.
    assert told(several(2, reading=make_reading(tasks_queued=None)), before=Lasting(queued=NOW - 1200))[0] is Word.OK


def test_a_fleet_that_does_not_grow_is_degraded() -> None:
    """It needs more agents, and none has come for a quarter of an hour."""
    full = several(4, reading=make_reading(20, tasks_queued=28))
    assert told(full, before=Lasting(short=NOW - 1200, short_agents=4)) == (
        Word.DEGRADED,
        ("desires 12 agents, has 4, and has not grown for 20 min: look at its HPA and at the pods that do not start",),
    )


def test_what_its_scaler_does_wrong_degrades_it() -> None:
    """The remarks on scalers are problems."""
    word, [sentence] = told(several(2), scalers=[make_scaler(active=Condition(False, "FailedGetExternalMetric"))])
    assert (word, sentence[:28]) == (Word.DEGRADED, "its HPA etl-prod is not acti")


def test_agents_that_refuse_work_degrade_it_from_a_half_on() -> None:
    """Fewer are a busy hour of some."""
    top = several(1, "full", reading=make_reading(busyness_score=100.0), since=Since(pressed=NOW - 20))
    word, [sentence] = told([*several(1), *top])
    assert word is Word.DEGRADED
    assert sentence.startswith("1 of 2 serving agents accept no more work although they have free slots")
    assert told([*several(2), *top]) == (Word.OK, ())


def test_lost_tasks_degrade_it_for_a_while() -> None:
    """They are counted; the ledger has the agents."""
    sentence = "lost with agents within 15 min; fleet-exporter ledger lists them"
    assert told(several(2), tasks_lost_lately=12.0) == (Word.DEGRADED, (f"12 running tasks were {sentence}",))
    assert told(several(2), tasks_lost_lately=1.0) == (Word.DEGRADED, (f"1 running task was {sentence}",))


def test_agents_about_to_be_killed_degrade_it() -> None:
    """With running tasks, by a grace period that was cut short."""
    short = several(2, "old", facts=make_drain(60, granted=600), tasks_active=7)
    assert told([*several(2), *short]) == (
        Word.DEGRADED,
        ("2 draining agents will be killed with running tasks: old-0, old-1",),
    )
    assert told([*several(2), *short[:1]])[1] == ("1 draining agent will be killed with running tasks: old-0",)


@pytest.mark.parametrize(
    ("scaler", "word", "sentence"),
    [
        (make_scaler(keda=True, active=DISABLED, current_agents=0), Word.OK, ""),
        (make_scaler(min_agents=0, current_agents=0), Word.OK, ""),
        (make_scaler(min_agents=0), Word.DOWN, "it has no agents: its HPA etl-prod asks for at least 1"),
        (
            make_scaler(active=DISABLED, current_agents=0),
            Word.DOWN,
            f"it has no agents: its Deployment {TARGET} is scaled to 0, which disables its HPA etl-prod",
        ),
        (make_scaler(), Word.DOWN, "it has no agents: its HPA etl-prod asks for at least 2"),
        (make_scaler(min_agents=None), Word.DOWN, "it has no agents: its HPA etl-prod asks for at least 1"),
    ],
)
@pytest.mark.parametrize("left", [[], several(2, facts=make_drain(60))])
def test_a_fleet_without_agents_may_rest(scaler: Any, word: Word, sentence: str, left: list[AgentSnapshot]) -> None:
    """By KEDA, or by an HPA that may go to 0; else it is gone although it should be there."""
    assert told(left, scalers=[scaler]) == (word, (sentence,) if sentence else ())


def test_of_a_fleet_without_agents_and_scalers_nothing_says_what_is_intended() -> None:
    """So it is neither down nor ok."""
    intended = "so nothing says whether that is intended"
    assert told([]) == (Word.DEGRADED, (f"it has no agents: its HPA is unknown, {intended}",))
    assert told([], scalers=()) == (Word.DEGRADED, (f"it has no agents: no HPA scales it, {intended}",))


def test_agents_that_need_attention_are_counted() -> None:
    """Those that need it at the instant of the fleet."""
    cut = several(1, "cut", facts=make_drain(60, granted=600), tasks_active=7)
    assert agents_needing_attention(make_fleet([*several(3), *several(2, "out", reading=LOST), *cut])) == 3
