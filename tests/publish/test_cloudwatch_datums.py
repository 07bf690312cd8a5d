"""From fleets to datums: exact dimensions, nothing that is not known, restarts counted once."""

from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.serialize import create_serializer
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.departure import LossReason
from exporter.fleet.model import Dialect, Fleet
from exporter.fleet.scaler import Condition
from exporter.publish.datum import (
    MAX_BYTES,
    MAX_DATUMS,
    MAX_VALUES,
    Datum,
    DatumSeries,
    batches,
    distribution,
)
from exporter.publish.fleet_datums import Baseline, Increases, count, monthly_dollars, with_own_series
from tests.factories import WALL_NOW, make_facts, make_fleet, make_memory, make_reading, make_scaler, make_snapshot
from tests.fakes.cloudwatch_publishing import selection

SERIES = DatumSeries("AgentActiveTasks", "Count", (("ClusterName", "prod"), ("Namespace", "n"), ("Fleet", "f")))
TIME = int(WALL_NOW)
PUT = get_session().get_service_model("cloudwatch").operation_model("PutMetricData")
SERIALIZER = create_serializer("query", include_validation=False)


def published(fleet: Fleet, *chosen: str, increases: Increases | None = None) -> dict[str, Datum]:
    """Return what a fleet's datums are, by metric."""
    datums = list(selection(*chosen).datums([fleet], [], increases or {}, TIME))
    assert len({datum.series.metric for datum in datums}) == len(datums)
    return {datum.series.metric: datum for datum in datums}


def values(fleet: Fleet) -> dict[str, tuple[float, ...]]:
    return {metric: datum.values for metric, datum in published(fleet).items()}


def values_of_all(fleet: Fleet) -> dict[str, tuple[float, ...]]:
    return {metric: datum.values for metric, datum in published(fleet, "all").items()}


# -- fleets ------------------------------------------------------------------------------------------------------------


def test_a_fleet_in_numbers() -> None:
    """What is published is the fleet, under exactly the three dimensions."""
    facts = make_facts()
    agents = [
        make_snapshot("a", tasks_active=12, facts=facts),
        make_snapshot("b", reading=make_reading(20, tasks_queued=3), facts=facts),
        make_snapshot("c", tasks_active=12, facts=facts, usage=make_memory(3.0 * 1024**3), task_failures=1),
        make_snapshot("d", reading=make_reading(5, connected=False), facts=facts),
        make_snapshot("e", tasks_active=7, facts=make_facts(draining_time=WALL_NOW - 60)),
        make_snapshot("f", age=60, facts=make_facts(waiting_reason="CrashLoopBackOff")),
    ]
    datums = published(make_fleet(agents))
    told = {metric: datum.values for metric, datum in datums.items()}
    assert told == told | {
        "CapacityTasks": (60,),
        "ActiveTasks": (49,),
        "QueuedTasks": (3,),
        "DemandTasks": (49 + 3 + 16,),
        "ScrapeCoveragePercent": (80,),
        "FreeSlots": (16,),
        "UtilizationPercent": (pytest.approx(100 * 44 / 60),),
        "AgentsDisconnected": (1,),
        "AgentsCrashLooping": (1,),
        "AgentsServing": (3,),
        "AgentsUnreachable": (1,),
        "AgentsDraining": (1,),
        "AgentActiveTasks": (5, 12, 20),
        "MemoryUtilizationPercent": (75,),
    }
    assert datums["AgentActiveTasks"].counts == (1, 2, 1)
    for datum in datums.values():
        assert datum.series.dimensions == (("ClusterName", "prod"), ("Namespace", "matillion"), ("Fleet", "etl"))
        assert datum.time == TIME
        assert datum.problem() is None
    assert {datum.series.unit for metric, datum in datums.items() if metric.endswith("Percent")} == {"Percent"}


def test_with_unreachable_agents_only_data_from_kubernetes_is_published() -> None:
    """Four agents with 12 tasks each that nobody reaches: none of their figures is a zero, and no other is made up."""
    seen = {"age": 60, "facts": make_facts(restarts=1), "usage": make_memory(3.0 * 1024**3), "task_failures": 3}
    agents = [make_snapshot(pod, **seen) for pod in ("a", "b", "c")]
    draining = make_snapshot("d", age=60, facts=make_facts(draining_time=WALL_NOW - 60))
    looping = make_snapshot("e", age=60, facts=make_facts(waiting_reason="CrashLoopBackOff"))
    fleet = make_fleet([*agents, draining, looping])
    before = Baseline(WALL_NOW - 60, {"AgentRestarts": {"uid-a": (0.0, WALL_NOW)}, "TaskFailures": {}})
    increases, _ = count(selection().metrics, [fleet], before, WALL_NOW)
    told = published(fleet, increases=increases)
    assert {metric: datum.values for metric, datum in told.items()} == {
        "ScrapeCoveragePercent": (0,),
        "AgentsUnreachable": (4,),
        "AgentsDraining": (1,),
        "AgentsCrashLooping": (1,),
        "AgentRestarts": (1,),
        "MemoryUtilizationPercent": (75,),
    }
    own, _ = with_own_series([fleet], 50, ())
    own_series = selection("AgentActiveTasks", "AgentsServing").datums([], own, {}, TIME)
    assert list(own_series) == []


def test_the_sum_of_the_responding_agents_is_no_figure_of_the_fleet() -> None:
    """One of three answers: its tasks are not the fleet's, its slots not the fleet's capacity."""
    told = values(make_fleet([make_snapshot("a"), make_snapshot("b", age=60), make_snapshot("c", age=60)]))
    assert told == {
        "ScrapeCoveragePercent": (pytest.approx(100 / 3),),
        "AgentsUnreachable": (2,),
        "AgentsDraining": (0,),
    }


def test_a_fleet_without_agents_is_published_with_its_zeros() -> None:
    """One at rest without those whose alarms would take it for an outage."""
    off = make_scaler(active=Condition(False, "ScalingDisabled"), current_agents=0)
    resting, gone = (values_of_all(make_fleet([], scalers=[one])) for one in (off, make_scaler()))
    assert resting["ScrapeCoveragePercent"] == gone["ScrapeCoveragePercent"] == (100,)
    zeros = {"ActiveTasks": (0,), "AgentsServing": (0,), "AgentsCrashLooping": (0,)}
    assert zeros.items() <= resting.items()
    assert zeros.items() <= gone.items()
    assert (resting["DemandTasks"], "CapacityTasks" in resting, "FreeSlots" in resting) == ((0,), False, False)
    assert ("DemandTasks" in gone, gone["CapacityTasks"], gone["FreeSlots"]) == (False, (0,), (0,))


def test_of_an_old_list_of_agents_nothing_is_published() -> None:
    """What Kubernetes said too long ago is not known either: silence, which is what ExporterSilent watches for."""
    agents = [make_snapshot(pod, facts=make_facts(), usage=make_memory(), task_failures=0) for pod in "ab"]
    assert values(make_fleet(agents, sync_age=119)).keys() >= {"ScrapeCoveragePercent", "AgentsCrashLooping"}
    assert values(make_fleet(agents, sync_age=121)) == {}


def test_nothing_is_made_up_of_what_is_not_known() -> None:
    """No agent reports a queue, no Kubernetes, no metrics-server: none of those is a zero."""
    told = values(make_fleet([make_snapshot("a", reading=make_reading(dialect=Dialect.LEGACY))]))
    assert not told.keys() & {"QueuedTasks", "AgentsCrashLooping", "AgentRestarts", "MemoryUtilizationPercent"}
    assert told["CapacityTasks"] == (20,)


def test_utilization_is_of_the_agents_that_have_the_slots() -> None:
    """Tasks of agents that lost the control plane fill no slot of the one that serves: 60 %, not 240 %."""
    agents = [make_snapshot(pod, reading=make_reading(12, connected=False)) for pod in "bcd"]
    told = values(make_fleet([make_snapshot("a", tasks_active=12), *agents]))
    assert (told["ActiveTasks"], told["CapacityTasks"], told["UtilizationPercent"]) == ((48,), (20,), (60,))


def test_no_utilization_without_capacity() -> None:
    """An idle fleet whose only agent is disconnected is not 0 % used."""
    fleet = make_fleet([make_snapshot("a", reading=make_reading(0, connected=False))])
    assert fleet.trusted
    assert "UtilizationPercent" not in values(fleet)


def test_the_distribution_adds_up_to_the_fleets_tasks() -> None:
    """The agents' tasks summed in CloudWatch are ActiveTasks, also with an agent that drains."""
    agents = [make_snapshot(f"p{number}", tasks_active=number % 7) for number in range(50)]
    agents.append(make_snapshot("z", facts=make_facts(draining_time=WALL_NOW)))
    fleet = make_fleet(agents)
    datum = published(fleet)["AgentActiveTasks"]
    assert sum(v * c for v, c in zip(datum.values, datum.counts, strict=True)) == fleet.tasks_active
    assert sum(datum.counts) == 50


@given(st.lists(st.integers(0, 400) | st.floats(0, 1e6), max_size=500))
def test_a_distribution_keeps_every_value(tasks: list[float]) -> None:
    """At most 150 different whole values a datum, and together all of them."""
    datums = list(distribution(SERIES, TIME, tasks))
    assert all(len(datum.values) <= MAX_VALUES and datum.problem() is None for datum in datums)
    found = [v for datum in datums for v, c in zip(datum.values, datum.counts, strict=True) for _ in range(c)]
    assert sorted(found) == sorted(map(round, tasks))
    assert len(datums) == -(-len(set(found)) // MAX_VALUES)


# -- series of single agents -------------------------------------------------------------------------------------------


def test_an_agents_own_series() -> None:
    """With a series of its own, an agent has one dimension more, and only what is read from agents."""
    fleet = make_fleet([make_snapshot("a", tasks_active=3, facts=make_facts())])
    own, left_out = with_own_series([fleet], 50, ())
    datums = list(selection().datums([], own, {("AgentRestarts", "uid-a"): 2.0}, TIME))
    assert {datum.series.metric: datum.values for datum in datums} == {"AgentActiveTasks": (3,), "AgentRestarts": (2,)}
    assert {datum.series.dimensions[3:] for datum in datums} == {(("AgentName", "a"),)}
    assert left_out == 0


def test_the_cap_is_over_all_fleets_and_favors_agents_with_series() -> None:
    """A newcomer whose name comes first does not push out an agent that has series already."""
    fleets = [
        make_fleet([make_snapshot(f"p{n}", fleet=name, uid=f"{name}{n}") for n in range(3)], name=name) for name in "xy"
    ]
    own, left_out = with_own_series(fleets, 4, {"y0", "y1", "y2"})
    assert [agent.snapshot.target.uid for _, agent in own] == ["y0", "y1", "y2", "x0"]
    assert left_out == 2


def test_two_pods_of_one_name_are_one_series() -> None:
    """A pod made anew under its name takes the series over from the one that drains."""
    old = make_snapshot("a", uid="old", facts=make_facts(draining_time=WALL_NOW))
    own, left_out = with_own_series([make_fleet([old, make_snapshot("a", uid="new")])], 50, {"old"})
    assert [agent.snapshot.target.uid for _, agent in own] == ["new"]
    assert left_out == 0


# -- restarts ----------------------------------------------------------------------------------------------------------


def restarting(**restarts: int | None) -> Fleet:
    """Return a fleet of long-running pods with these counts of restarts."""
    return make_fleet([make_snapshot(pod, facts=make_facts(restarts=number)) for pod, number in restarts.items()])


def restarts(fleet: Fleet, before: Baseline | None, now: float) -> tuple[tuple[float, ...] | None, Baseline]:
    """Return AgentRestarts as published (None if not) and the next baseline."""
    increases, baseline = count(selection("AgentRestarts").metrics, [fleet], before, now)
    datum = published(fleet, "AgentRestarts", increases=increases).get("AgentRestarts")
    return datum and datum.values, Baseline.from_json(baseline.to_json())


def test_the_first_datum_counts_no_old_restarts() -> None:
    """How many of seven restarts are new is not known at first; then none is, then those that come."""
    first, baseline = restarts(restarting(a=7, b=0), None, WALL_NOW)
    second, baseline = restarts(restarting(a=7, b=0), baseline, WALL_NOW + 60)
    third, baseline = restarts(restarting(a=9, b=1), baseline, WALL_NOW + 120)
    assert (first, second, third) == (None, (0,), (3,))


def test_failed_tasks_are_counted_since_their_log_was_followed() -> None:
    """A new process begins to count at 0: all it counted is new, and not less than nothing."""
    told, baseline = [], None
    for minute, failures in enumerate([50, 53, 2, 2, 6, None, 7]):
        fleet = make_fleet([make_snapshot("a", task_failures=failures), make_snapshot("b")])
        increases, baseline = count(selection("TaskFailures").metrics, [fleet], baseline, WALL_NOW + 60 * minute)
        datum = published(fleet, "TaskFailures", increases=increases).get("TaskFailures")
        told.append(datum and datum.values[0])
    assert told == [None, 3, 2, 0, 4, None, 1]


def test_a_new_pods_restarts_are_new() -> None:
    """A pod made since the last datum began at 0; one that only came into sight did not."""
    _, baseline = restarts(restarting(a=0), None, WALL_NOW)
    young = make_snapshot("b", facts=make_facts(restarts=2, created_time=WALL_NOW + 10))
    old = make_snapshot("c", facts=make_facts(restarts=40, created_time=WALL_NOW - 9999))
    fleet = make_fleet([make_snapshot("a", facts=make_facts(restarts=0)), young, old])
    told, _ = restarts(fleet, baseline, WALL_NOW + 60)
    assert told == (2,)


def test_a_pod_out_of_sight_for_a_moment_is_no_new_pod() -> None:
    """Its old restarts are not told again when it is back, and those it made meanwhile are told."""
    _, baseline = restarts(restarting(a=5, b=0), None, WALL_NOW)
    _, baseline = restarts(restarting(b=0), baseline, WALL_NOW + 60)
    told, _ = restarts(restarting(a=6, b=0), baseline, WALL_NOW + 120)
    assert told == (1,)


def test_restarts_are_published_when_the_list_of_agents_is_current_again() -> None:
    """While its list is too old, a fleet's counters are not published, and not taken as counted."""
    _, baseline = restarts(restarting(a=5), None, WALL_NOW)
    grown = make_fleet([make_snapshot("a", facts=make_facts(restarts=7))], sync_age=200)
    told, baseline = restarts(grown, baseline, WALL_NOW + 300)
    assert told is None
    assert restarts(restarting(a=8), baseline, WALL_NOW + 600)[0] == (3,)


def test_a_corrected_counter_is_no_restart() -> None:
    """Kubernetes may put a count right downwards; growth is counted from there."""
    _, baseline = restarts(restarting(a=5), None, WALL_NOW)
    told, baseline = restarts(restarting(a=3), baseline, WALL_NOW + 60)
    assert told == (0,)
    assert restarts(restarting(a=4), baseline, WALL_NOW + 120)[0] == (1,)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), min_size=1), min_size=2, max_size=20))
def test_every_restart_is_published_once(growth: list[dict[str, int]]) -> None:
    """Over any history, with pods in and out of sight, the datums add up to the restarts that were seen."""
    counters = dict.fromkeys("abc", 10)
    _, baseline = restarts(restarting(**counters), None, WALL_NOW)
    total, seen = 0.0, dict(counters)
    for minute, grown in enumerate(growth, 1):
        for pod, number in grown.items():
            counters[pod] += number
            seen[pod] = counters[pod]
        told, baseline = restarts(restarting(**{pod: counters[pod] for pod in grown}), baseline, WALL_NOW + 60 * minute)
        total += (told or (0,))[0]
    assert total == sum(seen.values()) - 30


# -- a fleet's own counter ---------------------------------------------------------------------------------------------


def losing(tasks: float, **fields: Any) -> Fleet:
    lost = dict.fromkeys(LossReason, 0.0) | {LossReason.OOM_KILLED: tasks}
    return make_fleet([make_snapshot("a", facts=make_facts())], tasks_lost=lost, **fields)


def lost_tasks(fleet: Fleet, baseline: Baseline | None, now: float) -> tuple[tuple[float, ...] | None, Baseline]:
    """Return the datum of `TasksLost`, and the baseline for the next one."""
    increases, after = count(selection("TasksLost").metrics, [fleet], baseline, now)
    told = published(fleet, "TasksLost", increases=increases)
    return (told["TasksLost"].values if told else None), after


def test_lost_tasks_are_those_since_the_last_datum() -> None:
    """The first datum has all that this process has counted, the next what came since, and 0 is a figure."""
    told, baseline = lost_tasks(losing(7), None, WALL_NOW)
    assert told == (7,)
    told, baseline = lost_tasks(losing(7), baseline, WALL_NOW + 60)
    assert told == (0,)
    assert lost_tasks(losing(9), baseline, WALL_NOW + 120)[0] == (2,)


def test_lost_tasks_of_a_new_process_are_all_its_own() -> None:
    """Its counter starts at 0, so what the last process published is no part of it."""
    _, baseline = lost_tasks(losing(7), None, WALL_NOW)
    kept = Baseline.from_json(baseline.to_json())
    assert lost_tasks(losing(8), kept, WALL_NOW + 60)[0] == (8,)


def test_lost_tasks_are_not_published_while_the_list_is_old() -> None:
    """They are published when it is current again."""
    _, baseline = lost_tasks(losing(1), None, WALL_NOW)
    told, baseline = lost_tasks(losing(5, sync_age=200), baseline, WALL_NOW + 60)
    assert told is None
    assert lost_tasks(losing(6), baseline, WALL_NOW + 120)[0] == (5,)
    assert lost_tasks(make_fleet(), None, WALL_NOW)[0] is None, "static targets have no count"


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "datum",
    [
        Datum(SERIES, TIME, (float("nan"),)),
        Datum(SERIES, TIME, (float("inf"),)),
        Datum(SERIES, TIME, (1e300,)),
        Datum(SERIES, TIME, (1e-300,)),
        Datum(SERIES, TIME, ()),
        Datum(SERIES, TIME, tuple(map(float, range(151))), (1,) * 151),
        Datum(SERIES, TIME, (1.0, 2.0), (1,)),
        Datum(SERIES, TIME, (1.0,), (0,)),
        Datum(SERIES, -1, (1.0,)),
        Datum(SERIES, 253402300800, (1.0,)),
        Datum(DatumSeries("X", "", ()), TIME, (1.0,)),
        Datum(DatumSeries("X", "\ud800", ()), TIME, (1.0,)),
        Datum(DatumSeries("X", "Count", (), 30), TIME, (1.0,)),
        Datum(DatumSeries("", "Count", ()), TIME, (1.0,)),
        Datum(DatumSeries("x" * 256, "Count", ()), TIME, (1.0,)),
        Datum(DatumSeries("X", "Count", (("AgentName", "agent-ü"),)), TIME, (1.0,)),
        Datum(DatumSeries("X", "Count", (("AgentName", "x" * 1025),)), TIME, (1.0,)),
        Datum(DatumSeries("X", "Count", (("AgentName", "  "),)), TIME, (1.0,)),
        Datum(DatumSeries("X", "Count", ((":n", "v"),)), TIME, (1.0,)),
        Datum(DatumSeries("X", "Count", tuple((f"n{n}", "v") for n in range(31))), TIME, (1.0,)),
    ],
)
def test_what_cloudwatch_would_refuse_is_known_before(datum: Datum) -> None:
    """A datum that breaks a limit by itself has a problem in words."""
    assert datum.problem()


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255)
DATUMS = st.builds(
    Datum,
    st.builds(DatumSeries, NAMES, st.just("Count"), st.lists(st.tuples(NAMES, NAMES), max_size=30).map(tuple)),
    st.integers(0, 2**31),
    st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=150).map(tuple),
).map(lambda datum: Datum(datum.series, datum.time, datum.values, (3,) * len(datum.values)))


@given(DATUMS)
def test_a_datum_survives_the_spool(datum: Datum) -> None:
    """What is read back is what was written; what CloudWatch would refuse is not read back."""
    if datum.problem() is None:
        assert Datum.from_json(datum.time, datum.to_json()) == datum
    else:
        with pytest.raises(ValueError, match=r"."):
            Datum.from_json(datum.time, datum.to_json())


@given(DATUMS)
def test_a_datum_takes_no_more_of_a_request_than_reckoned(datum: Datum) -> None:
    """As the AWS library writes it, in the last place of a request, where its number is longest."""
    written = SERIALIZER.serialize_to_request({"Namespace": "n", "MetricData": [datum.request_member()]}, PUT)["body"]
    own = {key: value for key, value in written.items() if key.startswith("MetricData.")}
    assert len(urlencode(own)) + 1 + len(own) * len("000") <= datum.wire_bytes()


@given(st.lists(st.integers(1, 1000) | st.integers(1, 400_000), max_size=3000))
def test_requests_keep_to_the_limits(sizes: list[int]) -> None:
    """Every datum is in one request, in order; no request is too large, and none could take its neighbour's first."""
    cuts = list(batches(sizes))
    assert [n for cut in cuts for n in range(cut.start, cut.stop)] == list(range(len(sizes)))
    for cut in cuts:
        assert 1 <= cut.stop - cut.start <= MAX_DATUMS
        assert sum(sizes[cut]) <= MAX_BYTES or cut.stop - cut.start == 1
    for cut, after in pairwise(cuts):
        assert cut.stop - cut.start == MAX_DATUMS or sum(sizes[cut]) + sizes[after.start] > MAX_BYTES


def test_the_largest_request_is_full() -> None:
    """1,000 ordinary datums are one request."""
    datum = Datum(SERIES, TIME, (1.0,))
    assert len(list(batches([datum.wire_bytes()] * MAX_DATUMS))) == 1


def test_what_it_costs() -> None:
    """Thirteen metrics are $3.90 a month, and a request a minute 43 cents."""
    assert monthly_dollars(13, 0, 60) == pytest.approx(3.90)
    assert monthly_dollars(0, 1, 60) == pytest.approx(0.432)
