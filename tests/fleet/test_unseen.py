"""Work that nobody sees: rollouts, queues that only full agents prove, agents that refuse, pods that never answer."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.model import AgentSnapshot, AgentState, AgentStatus, Dialect, PodFacts, Since
from exporter.fleet.policy import Policy
from tests.factories import NOW, WALL_NOW, make_facts, make_fleet, make_memory, make_reading, make_snapshot
from tests.fleet.full_fleets import LONG, G, T, full, legacy, of, starting

# -- a queue that shows only in agents without a slot ------------------------------------------------------------------


def test_full_agents_without_a_queue_are_answered_by_one_doubling() -> None:
    """Every agent full for a while and none says what waits: twice the agents at the target are asked for."""
    fleet = of(full(4))
    assert (fleet.tasks_active, fleet.unseen_queue_tasks) == (80.0, 2.0 * G * 4 - 80)
    assert (fleet.demand_tasks, fleet.desired_agents) == (128.0, 8)


def test_pods_on_their_way_do_not_raise_it_again() -> None:
    """Until they serve, the fleet has been answered already; also where they never come up."""
    fleet = of(full(4), starting(4))
    assert (fleet.demand_tasks, fleet.desired_agents) == (128.0, 8)
    assert of(full(4), starting(12)).desired_agents == 16


@pytest.mark.parametrize(
    "beside",
    [
        legacy(1, 19.0),
        full(1, seconds=10.0),
        [
            make_snapshot(
                "otel", reading=make_reading(20, tasks_queued=0.0), since=replace(LONG, full=NOW - 60, last_full=NOW)
            )
        ],
    ],
    ids=["one has a slot", "one is full since ten seconds only", "one reports a queue"],
)
def test_one_agent_is_enough_to_prove_nothing(beside: list[AgentSnapshot]) -> None:
    """What waits is not certain then, and not asked for."""
    assert of(full(3), beside).unseen_queue_tasks == 0.0


def test_an_agent_that_has_been_full_since_it_came_up_proves_it_at_once() -> None:
    """It took twenty tasks before anybody looked twice: they were waiting for it."""
    since = Since(known=NOW - 40, serving=NOW - 1, full=NOW - 1, last_full=NOW - 1)
    newborn = legacy(1, 20.0, since=since, stem="newborn", facts=make_facts(ready_since=NOW - 30))
    assert of(full(4), newborn).desired_agents == 10


@pytest.mark.parametrize(
    ("known", "facts"),
    [
        (NOW - 3, make_facts(ready_since=NOW - 3600)),
        (NOW - 3, make_facts(ready_since=None)),
        (NOW - 3, None),
        (None, make_facts(ready_since=NOW - 30)),
    ],
    ids=["Ready for long", "not Ready", "no pod", "known for nobody knows how long"],
)
def test_an_exporter_that_has_just_started_waits_for_the_proof(known: float | None, facts: PodFacts | None) -> None:
    """To it every agent is full since it first looked."""
    since = Since(known=known, serving=NOW - 1, full=NOW - 1, last_full=NOW - 1)
    assert of(legacy(4, 20.0, since=since, facts=facts)).unseen_queue_tasks == 0.0


def test_a_full_reading_of_long_ago_proves_nothing() -> None:
    """What counts is from the first to the last of the readings that showed the agent full."""
    since = replace(LONG, full=NOW - 20, last_full=NOW - 15)
    assert of(full(3), legacy(1, 19.0, since=since)).unseen_queue_tasks == 0.0
    since = replace(LONG, full=NOW - 30, last_full=NOW - 15)
    assert of(full(3), legacy(1, 19.0, since=since)).unseen_queue_tasks > 0.0


def test_growth_of_one_switches_it_off() -> None:
    """The fleet follows what runs, as it did before."""
    off = of(full(4), policy=Policy(saturation_growth=1.0))
    assert (off.unseen_queue_tasks, off.demand_tasks) == (0.0, 80.0)


def test_agents_above_their_slots_are_not_asked_for_twice() -> None:
    """What runs beyond the slots is seen; only what the doubling has more is added."""
    assert of(full(1, 30.0)).unseen_queue_tasks == 2.0
    assert of(full(1, 45.0)).unseen_queue_tasks == 0.0
    assert of(full(1)).desired_agents == 2


def test_an_outage_of_the_control_plane_doubles_nothing() -> None:
    """Nobody serves; what runs still fills the agents."""
    fleet = of(full(4, said={"connected": False}))
    assert (fleet.unseen_queue_tasks, fleet.desired_agents) == (0.0, 5)
    some = of(full(2), full(6, said={"connected": False}))
    assert some.unseen_queue_tasks == 0.0, "two that serve are doubled to four, and there is work for ten"


@given(
    st.lists(st.tuples(st.integers(0, 45), st.sampled_from([None, 1.0, 16.0, 200.0])), min_size=1, max_size=12),
    st.integers(0, 12),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
)
def test_never_more_than_one_growth_of_those_that_serve(
    agents: list[tuple[int, float | None]], pods: int, growth: float
) -> None:
    """Whatever they run and however many pods are on their way: it fills up to the growth and no further."""
    snapshots = [
        make_snapshot(
            f"a{i}",
            reading=make_reading(float(tasks), dialect=Dialect.LEGACY),
            since=LONG if seconds is None or tasks < T else replace(LONG, full=NOW - seconds, last_full=NOW),
        )
        for i, (tasks, seconds) in enumerate(agents)
    ]
    policy = Policy(saturation_growth=growth)
    fleet = of(snapshots, starting(pods), policy=policy)
    without = of(snapshots, starting(pods), policy=Policy(saturation_growth=1.0))
    assert fleet.demand == without.demand + fleet.unseen_queue_tasks
    if fleet.unseen_queue_tasks:
        assert growth > 1
        assert fleet.demand == growth * G * len(agents)
        assert fleet.agents_saturated == len(agents)


# -- agents that refuse work -------------------------------------------------------------------------------------------

PRESSED = replace(LONG, pressed=NOW - 15.0)
BUSY = {"facts": make_facts(cpu_limit_cores=2.0), "usage": make_memory(cpu_cores=1.6)}


def test_agents_that_refuse_work_are_not_scaled_in() -> None:
    """Six that take no more at eight tasks each: no slot is free, and their pods are all needed."""
    fleet = of(legacy(6, 8.0, since=PRESSED, **BUSY), policy=Policy(saturation_growth=1.0))
    assert (fleet.agents_refusing, fleet.free_slots, fleet.agents_saturated) == (6, 0.0, 0)
    assert (fleet.held_tasks, fleet.desired_agents) == (48.0, 6)


def test_refusing_counts_as_full() -> None:
    """Together with agents that are full they prove a queue."""
    fleet = of(full(2), legacy(2, 8.0, since=PRESSED, **BUSY))
    assert fleet.desired_agents == 8


def test_one_that_takes_work_shows_that_there_is_room() -> None:
    """Then nothing is held, and only the slots of those that refuse are not free."""
    fleet = of(legacy(3, 8.0, since=PRESSED, **BUSY), legacy(1, 8.0, stem="free"))
    assert (fleet.agents_refusing, fleet.free_slots, fleet.held_tasks) == (3, 12.0, 0.0)


def test_with_a_reported_queue_the_pods_are_kept_and_what_waits_needs_others() -> None:
    """What waits is known, and nothing is added for what is not; nobody who is there takes it."""
    reading = make_reading(8, tasks_queued=2.0, busyness_score=100.0)
    agents = [make_snapshot(f"a{i}", reading=reading, since=PRESSED) for i in range(6)]
    fleet = of(agents)
    assert (fleet.tasks_queued, fleet.held_tasks, fleet.unseen_queue_tasks) == (12.0, 48.0, 0.0)
    assert fleet.desired_agents == 7


@pytest.mark.parametrize(
    ("fields", "refusing"),
    [
        ({"facts": make_facts(cpu_limit_cores=2.0), "usage": make_memory(cpu_cores=1.6)}, "CPU at 80%"),
        ({"facts": make_facts(cpu_limit_cores=2.0), "usage": make_memory(cpu_cores=1.59)}, None),
        ({"facts": make_facts(cpu_limit_cores=None), "usage": make_memory(cpu_cores=64.0)}, None),
        ({"facts": make_facts(cpu_limit_cores=2.0), "usage": make_memory(cpu_cores=None)}, None),
        ({"facts": make_facts(memory_limit_bytes=100.0), "usage": make_memory(95.0)}, "memory at 95%"),
        ({"facts": make_facts(memory_limit_bytes=100.0), "usage": make_memory(95.0, good_until=NOW - 1)}, None),
        ({"facts": make_facts(started_time=None, memory_limit_bytes=1.0), "usage": make_memory()}, None),
        ({"reading": make_reading(heap_used_bytes=98.0, heap_limit_bytes=100.0)}, "heap at 98%"),
        ({"reading": make_reading(heap_used_bytes=97.0, heap_limit_bytes=100.0)}, None),
        ({"reading": make_reading(busyness_score=100.0)}, "busyness at 100%"),
        ({"reading": make_reading(busyness_score=1.0)}, None),
        ({"reading": make_reading(20, busyness_score=100.0)}, None),
        ({"reading": make_reading(connected=False, busyness_score=100.0)}, None),
        ({"reading": make_reading(busyness_score=100.0), "since": replace(LONG, pressed=NOW - 14.0)}, None),
        ({"reading": make_reading(busyness_score=100.0), "since": LONG}, None),
    ],
)
def test_what_keeps_an_agent_from_taking_work(fields: dict[str, Any], refusing: str | None) -> None:
    """Each limit at its boundary; only what is known, of an agent that serves and has slots, for fifteen seconds."""
    (agent,) = of([make_snapshot(**({"since": PRESSED} | fields))]).agents
    assert agent.refusing == refusing


def test_free_slots_are_certain_where_something_is_known_that_could_keep_them_from_use() -> None:
    """Neither heap nor CPU nor memory: the figure is an upper bound, unless no slot is free anyway."""
    assert of(legacy(2, 8.0)).free_slots_certain is False
    assert of(full(2)).free_slots_certain is True
    assert of(legacy(2, 8.0, **BUSY)).free_slots_certain is True
    assert make_fleet().free_slots_certain is True


# -- agents about to end, or never there -------------------------------------------------------------------------------


def ending(seconds: float, **facts: Any) -> list[AgentSnapshot]:
    """Return an agent that has said for so long that it shuts down, with eight tasks."""
    reading = make_reading(8, status=AgentStatus.PENDING_SHUTDOWN, dialect=Dialect.LEGACY)
    since = replace(LONG, stopping=NOW - 1.0 - seconds)
    return [make_snapshot("ending", reading=reading, since=since, facts=make_facts(**facts))]


def test_a_deletion_that_comes_a_moment_later_makes_no_jump() -> None:
    """Serving, then stopped by its own word, then deleted: demand stays, and falls by what it ran."""
    others = legacy(11, 8.0)
    demands = [
        of(others, legacy(1, 8.0, stem="ending")).demand_tasks,
        of(others, ending(0.0)).demand_tasks,
        of(others, ending(29.0)).demand_tasks,
        of(others, ending(5.0, draining_time=WALL_NOW)).demand_tasks,
    ]
    assert demands == [96.0, 96.0, 96.0, 88.0]


def test_an_agent_that_stays_in_its_shutdown_is_replaced() -> None:
    """It fills a replica and takes no more work: twelve of them are no reason to shrink the fleet."""
    assert of(legacy(11, 8.0), ending(30.0)).replacement_tasks == 16.0
    reading = make_reading(8, status=AgentStatus.PENDING_SHUTDOWN, dialect=Dialect.LEGACY)
    every = [make_snapshot(f"a{i}", reading=reading, since=replace(LONG, stopping=NOW - 60)) for i in range(12)]
    fleet = of(every)
    assert (fleet.states[AgentState.STOPPED], fleet.desired_agents) == (12, 12)


def never(count: int, *, ready: float, known: float) -> list[AgentSnapshot]:
    """Pods Ready for so many seconds, known to us for so many, that have not answered once."""
    facts = make_facts(ready_since=NOW - ready)
    return [
        make_snapshot(f"never-{i}", never_read=True, facts=facts, since=Since(known=NOW - known)) for i in range(count)
    ]


def test_pods_that_never_answer_count_in_no_figure() -> None:
    """Something else is in them, or a policy before them: the fleet's figures do without."""
    fleet = of(legacy(2, 8.0), never(3, ready=3600, known=901))
    assert (fleet.never_heard, fleet.states[AgentState.UNREACHABLE]) == (3, 3)
    assert (fleet.coverage, fleet.trusted, fleet.held_tasks, fleet.demand_tasks) == (1.0, True, 0.0, 16.0)


@pytest.mark.parametrize(
    "pods",
    [never(3, ready=3600, known=900), never(3, ready=900, known=3600), [make_snapshot("s", never_read=True)] * 3],
    ids=["the exporter began just now", "the pods did", "static targets nobody kept count of"],
)
def test_pods_that_may_still_answer_count(pods: list[AgentSnapshot]) -> None:
    """Long enough is as long as somebody has asked a pod that was Ready."""
    fleet = of(legacy(2, 8.0), pods)
    assert (fleet.never_heard, fleet.trusted) == (0, False)


def test_if_no_agent_responds_the_exporter_may_be_disconnected() -> None:
    """An exporter that is kept from every agent does not come to trust that there are none."""
    fleet = of(never(12, ready=9999, known=9999))
    assert (fleet.never_heard, fleet.coverage, fleet.trusted) == (0, 0.0, False)


def test_a_static_target_that_never_answers_is_counted_from_when_it_was_listed() -> None:
    """It has no readiness."""
    listed = make_snapshot("static", never_read=True, since=Since(known=NOW - 901))
    assert of(legacy(2, 8.0), [listed]).never_heard == 1


# -- what proves that nothing waits ------------------------------------------------------------------------------------


def test_an_agent_with_a_free_slot_proves_that_nothing_waits() -> None:
    """Pods that never start hold nothing then, though no queue is reported."""
    idle = legacy(2, 8.0, since=replace(LONG, free=NOW - 31.0))
    stuck = starting(5, waiting_reason="ImagePullBackOff")
    assert of(idle, stuck).desired_agents == 1
    assert of(legacy(2, 8.0, since=replace(LONG, free=NOW - 30.5)), stuck).desired_agents == 6


def test_the_free_slot_of_an_agent_that_refuses_proves_nothing() -> None:
    """Work may wait although it is there."""
    refusing = legacy(2, 8.0, since=replace(PRESSED, free=NOW - 300.0), **BUSY)
    assert of(refusing, starting(5), policy=Policy(saturation_growth=1.0)).desired_agents == 7


# -- the queue's scope -------------------------------------------------------------------------------------------------


def test_a_shared_queue_is_counted_once() -> None:
    """If each agent reported the fleet's, the sum would ask for many times what waits."""
    agents = [make_snapshot(f"a{i}", reading=make_reading(20, tasks_queued=float(120 - i))) for i in range(4)]
    assert of(agents).tasks_queued == 474.0
    shared = of(agents, policy=Policy(queue="shared"))
    assert (shared.tasks_queued, shared.desired_agents) == (120.0, 13)
