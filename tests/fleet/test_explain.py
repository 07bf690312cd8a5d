"""One sentence per agent: what it is doing, or why it is not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.explain import duration, explain
from exporter.fleet.model import Agent, AgentState, AgentStatus, PodFacts, Reading, Since
from tests.factories import NOW, WALL_NOW, make_agent, make_drain, make_facts, make_memory, make_reading, make_snapshot

MINUTE, HOUR, DAY = 60, 3600, 86_400


def said(agent: Agent, state: AgentState) -> str:
    assert agent.state is state
    return explain(agent, NOW, WALL_NOW)


@pytest.mark.parametrize(
    ("reading", "sentence"),
    [
        (make_reading(12), "serving 12 tasks"),
        (make_reading(0), "serving 0 tasks"),
        (make_reading(1), "serving 1 task"),
        (make_reading(20, tasks_queued=4.0), "serving 20 tasks, 4 queued"),
        (make_reading(23, tasks_queued=None), "serving 23 tasks"),
    ],
)
def test_serving_names_its_tasks(reading: Reading, sentence: str) -> None:
    """An agent at work is described by its load, above its slots too; an empty queue is not worth a word."""
    assert said(make_agent(reading=reading), AgentState.SERVING) == sentence


def test_serving_close_to_the_memory_limit_is_explained() -> None:
    """From where the alert for memory pressure begins, and only from a sample of the container that runs now."""
    facts, sample = make_facts(memory_limit_bytes=4e9), make_memory(3.6e9)
    pressed = make_agent(facts=facts, usage=sample)
    assert said(pressed, AgentState.SERVING) == "serving 12 tasks, memory at 90% of its limit"
    for fields in (
        {"usage": make_memory(3.3e9)},
        {"usage": make_memory(3.6e9, good_until=NOW - 1)},
        {"usage": sample, "facts": make_facts(memory_limit_bytes=4e9, started_time=WALL_NOW - 5)},
        {"usage": sample, "facts": make_facts(memory_limit_bytes=4e9, started_time=None)},
        {"usage": sample, "facts": make_facts(memory_limit_bytes=None)},
        {"usage": sample, "facts": None},
    ):
        assert said(make_agent(**({"facts": facts} | fields)), AgentState.SERVING) == "serving 12 tasks"


def test_serving_on_an_older_reading_explains_the_failure_since() -> None:
    """A reading that still counts is shown with its age and the reason there is no newer one."""
    agent = make_agent(age=14, error="no response within 3 s on 127.0.10.1:9464")
    assert said(agent, AgentState.SERVING) == (
        "serving 12 tasks 14 s ago; since then: no response within 3 s on 127.0.10.1:9464"
    )


def test_unreachable_gives_age_and_error() -> None:
    """An agent that went quiet is described by how long and by the last failure."""
    agent = make_agent(age=42, error="connection refused on 10.0.3.7:9464 and :8080")
    assert said(agent, AgentState.UNREACHABLE) == "not scraped for 42 s: connection refused on 10.0.3.7:9464 and :8080"


def test_unreachable_without_an_error_invents_none() -> None:
    """Where no attempt failed (the exporter itself was late) there is only the age."""
    assert said(make_agent(age=300), AgentState.UNREACHABLE) == "not scraped for 5 min"


def test_unreachable_that_never_answered() -> None:
    """The time of an agent that never answered runs from its pod's readiness; a static target has none."""
    pod = make_agent(never_read=True, facts=make_facts(ready_since=NOW - 90), error="HTTP status 500")
    assert said(pod, AgentState.UNREACHABLE) == "never scraped in the 90 s since it became Ready: HTTP status 500"
    assert said(make_agent(never_read=True), AgentState.UNREACHABLE) == "not looked at yet"
    failed = make_agent(never_read=True, error="HTTP status 500")
    assert said(failed, AgentState.UNREACHABLE) == "never scraped: HTTP status 500"


def test_waiting_container_comes_before_the_failed_scrape() -> None:
    """That the container does not run explains every failed scrape, so Kubernetes' reason is what is said."""
    facts = make_facts(
        ready=False,
        waiting_reason="CrashLoopBackOff",
        waiting_message="back-off 5m0s restarting failed container=agent",
        last_terminated_reason="OOMKilled",
        last_terminated_time=WALL_NOW - 3 * MINUTE,
    )
    sentence = "waiting: CrashLoopBackOff, last exit OOMKilled 3 min ago"
    assert said(make_agent(age=240, facts=facts, error="connection refused"), AgentState.UNREACHABLE) == sentence
    assert said(make_agent(never_read=True, facts=facts, error="refused"), AgentState.STARTING) == sentence


def test_starting_explains_what_is_missing() -> None:
    """A pod on its way is described by the first thing it lacks."""
    no_address = make_agent(never_read=True, address=None, facts=make_facts(ready=False))
    not_ready = make_agent(never_read=True, facts=make_facts(ready=False), error="connection refused")
    booting = make_agent(never_read=True, facts=make_facts(ready_since=NOW - 5))
    pulling = make_agent(
        never_read=True, address=None, facts=make_facts(ready=False, waiting_reason="ImagePullBackOff")
    )
    no_node = make_facts(
        ready=False, waiting_reason="Unschedulable", waiting_message="0/5 nodes are available: 5 Insufficient cpu."
    )
    unscheduled = make_agent(never_read=True, address=None, facts=no_node)
    assert said(no_address, AgentState.STARTING) == "the pod has no IP address yet"
    assert said(not_ready, AgentState.STARTING) == "the pod is not Ready and was never scraped: connection refused"
    assert said(booting, AgentState.STARTING) == "Ready for 5 s and was never scraped"
    assert said(pulling, AgentState.STARTING) == "waiting: ImagePullBackOff"
    sentence = "waiting: Unschedulable (0/5 nodes are available: 5 Insufficient cpu.)"
    assert said(unscheduled, AgentState.STARTING) == sentence


def test_draining_gives_the_time_of_day_and_what_is_left() -> None:
    """The person who waits for a node sees since when, in UTC, and how much work is left."""
    facts = make_facts(draining_time=WALL_NOW - 16 * MINUTE)
    assert said(make_agent(facts=facts, tasks_active=7), AgentState.DRAINING) == (
        "draining since 02:14 UTC, 7 tasks left"
    )


def test_draining_for_more_than_a_day_gives_the_length() -> None:
    """A time of day could be yesterday's; past a day the length is said instead."""
    agent = make_agent(facts=make_facts(draining_time=WALL_NOW - 26 * HOUR), tasks_active=1)
    assert said(agent, AgentState.DRAINING) == "draining for 26 h, 1 task left"


def test_draining_never_passes_an_old_count_for_a_current_one() -> None:
    """What was left at the last reading is said with its age; where there was none, nothing is claimed."""
    facts = make_facts(draining_time=WALL_NOW - 16 * MINUTE)
    quiet = make_agent(facts=facts, tasks_active=7, age=200, error="connection refused")
    unread = make_agent(facts=facts, never_read=True)
    assert said(quiet, AgentState.DRAINING) == (
        "draining since 02:14 UTC, 7 tasks left 3 min ago, not scraped since: connection refused"
    )
    assert said(unread, AgentState.DRAINING) == "draining since 02:14 UTC, its tasks are unknown"


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            make_drain(MINUTE, granted=10 * MINUTE),
            "killed in 9 min with 7 tasks: draining since 02:29 UTC, its grace period was cut from 12 h to 10 min",
        ),
        (make_drain(11 * HOUR + 51 * MINUTE), "killed in 9 min with 7 tasks: draining since 14:39 UTC"),
        (
            make_drain(HOUR, granted=10 * MINUTE),
            "killed at any moment with 7 tasks: draining since 01:30 UTC, its grace period was cut from 12 h to 10 min",
        ),
    ],
)
def test_a_drain_that_was_cut_short_says_when_it_ends(facts: PodFacts, sentence: str) -> None:
    """The time left comes first; it is over where an eviction came late, since the grace counts from the deletion."""
    assert said(make_agent(facts=facts, tasks_active=7), AgentState.DRAINING) == sentence


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (AgentStatus.PENDING_SHUTDOWN, "the agent reports that its shutdown is pending (status 2)"),
        (AgentStatus.SHUTTING_DOWN, "the agent reports that it is shutting down (status 3)"),
    ],
)
def test_an_agent_that_shuts_down_without_a_deletion_is_stopped(status: int, sentence: str) -> None:
    """It takes no more work but still fills a replica, and both are said."""
    rest = ", but its pod is not deleted: it accepts no more work, 3 tasks left"
    assert said(make_agent(reading=make_reading(3, status=status)), AgentState.STOPPED) == sentence + rest


def test_an_agent_with_a_reused_address_names_the_other() -> None:
    """Two live pods with one address: who answers there is the younger."""
    agent = make_agent(displaced_by="matillion/agent-2")
    expected = "its address 127.0.10.1 belongs to a newer agent, matillion/agent-2"
    assert said(agent, AgentState.UNREACHABLE) == expected


def test_refused_work_is_explained() -> None:
    """It has slots, and takes nothing."""
    facts = make_facts(cpu_limit_cores=2.0)
    agent = make_agent(facts=facts, usage=make_memory(cpu_cores=1.7), since=Since(pressed=NOW - 20))
    assert said(agent, AgentState.SERVING) == "serving 12 tasks, accepts no more work: CPU at 85%"


def test_lost_agents_are_explained_by_what_they_report() -> None:
    """Stopped and disconnected agents answer; the sentence is what they answered."""
    stopped = make_agent(reading=make_reading(0, status=AgentStatus.STOPPED))
    disconnected = make_agent(reading=make_reading(3, connected=False))
    assert said(stopped, AgentState.STOPPED) == "the agent responds and reports that it is not running (status 0)"
    assert said(disconnected, AgentState.DISCONNECTED) == "not connected to the control plane, 3 tasks active"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (42, "42 s"),
        (119, "119 s"),
        (120, "2 min"),
        (2 * HOUR, "2 h"),
        (47 * HOUR, "47 h"),
        (2 * DAY, "2 days"),
    ],
)
def test_durations_are_in_the_largest_unit_with_at_least_two(seconds: float, words: str) -> None:
    """A unit is used from two of it on, so that no figure hides more than half of what it stands for."""
    assert duration(seconds) == words


@given(
    state=st.sampled_from(AgentState),
    age=st.one_of(st.none(), st.floats(0, 1e6)),
    tasks=st.floats(0, 1e9),
    pod=st.booleans(),
    error=st.one_of(st.none(), st.text(min_size=1, max_size=40)),
)
def test_every_agent_can_be_explained(
    state: AgentState, age: float | None, tasks: float, *, pod: bool, error: str | None
) -> None:
    """Whatever combination of facts an agent has, there is a sentence, and it carries no `None` and no `nan`."""
    facts = make_facts() if pod else None
    snapshot = make_snapshot(never_read=age is None, age=age or 0.0, tasks_active=tasks, facts=facts)
    sentence = explain(Agent(replace(snapshot, error=error), state, fresh=age is not None), NOW, WALL_NOW)
    assert sentence
    assert "None" not in sentence.replace(error or "", "")
    assert "nan" not in sentence.replace(error or "", "")
