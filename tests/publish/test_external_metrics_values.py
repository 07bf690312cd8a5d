"""What the external metrics API says of fleets: whole, or not at all."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.model import Dialect, Fleet
from exporter.fleet.scaler import Condition
from exporter.publish.external_metrics_values import (
    EXTERNAL_METRICS,
    Knowledge,
    Question,
    RefusalError,
    items,
)
from tests.factories import NOW, make_facts, make_fleet, make_reading, make_scaler, make_snapshot


def knowledge(fleets: Sequence[Fleet], cluster: str | None = None) -> Knowledge:
    by_key = {(fleet.namespace, fleet.name): fleet for fleet in fleets}
    return Knowledge(by_key.keys, by_key.get, None, cluster)


def ask(metric: str, fleets: Sequence[Fleet], selector: str = "", cluster: str | None = None) -> list[dict[str, Any]]:
    """Ask for a metric by its name without the prefix."""
    question = Question(f"matillion_fleet_{metric}", "matillion", selector)
    return items(question, knowledge(fleets, cluster))


def refusal(metric: str, fleets: Sequence[Fleet], selector: str = "") -> RefusalError:
    with pytest.raises(RefusalError) as raised:
        ask(metric, fleets, selector)
    return raised.value


def fleet_of(*tasks: float, name: str = "etl", queued: float | None = 0.0, **fields: Any) -> Fleet:
    """Return a fleet with an agent for each number of tasks."""
    snapshots = [
        make_snapshot(f"agent-{number}", fleet=name, reading=make_reading(count, tasks_queued=queued))
        for number, count in enumerate(tasks)
    ]
    return make_fleet(snapshots, name=name, **fields)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("demand_tasks", "31"),
        ("tasks_active", "25"),
        ("tasks_queued", "6"),
        ("free_slots", "16"),
        ("utilization_percent", "62500m"),
    ],
)
def test_every_metric(metric: str, value: str) -> None:
    """Two agents with 21 and 4 tasks and 3 queued each."""
    (item,) = ask(metric, [fleet_of(21, 4, queued=3.0)])
    assert item["value"] == value
    assert item["metricName"] == f"matillion_fleet_{metric}"
    assert item["metricLabels"] == {"fleet": "etl"}, "without a cluster's name there is no such label"


def test_a_known_zero_is_served() -> None:
    """Idle agents that answer have no demand: that is knowledge, not its want."""
    (item,) = ask("demand_tasks", [fleet_of(0, 0)])
    assert item["value"] == "0"


def test_agents_that_are_gone_are_no_demand_of_0() -> None:
    """As if the fleet had never been known: an HPA keeps its size. One that is switched off is told the 0."""
    gone = make_fleet([], scalers=[make_scaler()])
    for metric in ("demand_tasks", "tasks_active"):
        refused = refusal(metric, [gone])
        assert (refused.status, refused.message) == (
            HTTPStatus.NOT_FOUND,
            "no fleet is known in namespace 'matillion'",
        )
    off = make_scaler(active=Condition(False, "ScalingDisabled"), current_agents=0)
    (item,) = ask("demand_tasks", [make_fleet([], scalers=[off])])
    assert item["value"] == "0"


def test_an_unreported_queue_is_not_empty() -> None:
    """Legacy agents have no queue to report: there is no answer, not a 0."""
    fleet = make_fleet([make_snapshot(reading=make_reading(5, dialect=Dialect.LEGACY))])
    refused = refusal("tasks_queued", [fleet])
    assert refused.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert refused.message == (
        "matillion_fleet_tasks_queued of fleet 'etl' in namespace 'matillion' is withheld: no agent reports a queue"
    )


def test_utilization_needs_slots_and_one_fleet() -> None:
    """Nothing can be divided by no slots, and percents of several fleets are not added up."""
    starting = make_fleet([make_snapshot(never_read=True, facts=make_facts(ready=False))])
    assert starting.trusted
    assert refusal("utilization_percent", [starting]).message.endswith("withheld: no agent is serving")
    refused = refusal("utilization_percent", [fleet_of(1), fleet_of(2, name="other")])
    assert refused.status is HTTPStatus.BAD_REQUEST
    assert "select one by its label, such as fleet=etl" in refused.message
    (item,) = ask("utilization_percent", [fleet_of(1), fleet_of(2, name="other")], "fleet=other")
    assert item["value"] == "10"


def test_utilization_is_of_the_agents_that_have_the_slots() -> None:
    """Three of four lost the control plane and run on: the one that serves is 80 % full, and not 325 %."""
    lost = (("b", 17), ("c", 16), ("d", 16))
    agents = [make_snapshot(pod, reading=make_reading(count, connected=False)) for pod, count in lost]
    fleet = make_fleet([make_snapshot("a", tasks_active=16), *agents])
    assert (fleet.tasks_active, fleet.capacity_tasks) == (65, 20)
    (item,) = ask("utilization_percent", [fleet])
    assert item["value"] == "80"
    none_serves = make_fleet(agents)
    assert refusal("utilization_percent", [none_serves]).message.endswith("withheld: no agent is serving")


def test_nothing_is_served_of_an_unreachable_fleet() -> None:
    """Every metric is withheld: capacity, slots and tasks of agents that do not answer are not 0."""
    blind = make_fleet([make_snapshot(f"agent-{n}", age=60.0) for n in range(4)])
    for metric in EXTERNAL_METRICS:
        refused = refusal(metric.removeprefix("matillion_fleet_"), [blind])
        assert refused.status is HTTPStatus.SERVICE_UNAVAILABLE
        assert "only 0 of 4 agents respond" in refused.message


def test_an_old_list_of_agents_is_not_trusted() -> None:
    """A list of agents that was not confirmed for too long gives no answer, whatever the agents said."""
    refused = refusal("demand_tasks", [fleet_of(16, sync_age=121.0)])
    assert refused.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert "the list of agents is 121 s old" in refused.message


@pytest.mark.parametrize("tasks", [1e17, 1e300])
def test_a_number_beyond_the_hpas_range_is_withheld(tasks: float) -> None:
    """What would overflow where it is read is no answer."""
    assert refusal("demand_tasks", [fleet_of(tasks)]).status is HTTPStatus.SERVICE_UNAVAILABLE


def test_the_time_is_that_of_the_oldest_reading() -> None:
    """An answer is as old as the oldest thing it rests on; without a reading, as the list of agents."""
    fleet = make_fleet([make_snapshot("a", age=1.0), make_snapshot("b", age=20.0)])
    assert ask("demand_tasks", [fleet])[0]["timestamp"] == "2026-01-01T02:29:40Z"
    starting = make_fleet([make_snapshot(never_read=True, facts=make_facts(ready=False))], sync_age=30.0)
    assert ask("demand_tasks", [starting])[0]["timestamp"] == "2026-01-01T02:29:30Z"
    a_moment_ago = make_fleet([make_snapshot(age=11.0)], now=NOW - 10.0)
    assert ask("demand_tasks", [a_moment_ago])[0]["timestamp"] == "2026-01-01T02:29:49Z", "whenever it is asked for"


def test_the_hold_of_unseen_agents_is_in_the_demand() -> None:
    """An agent out of sight keeps its last known tasks in the demand, so that the fleet does not shrink."""
    fleet = make_fleet([make_snapshot("a"), make_snapshot("b", age=60.0), make_snapshot("c")])
    assert fleet.held_tasks == 12
    assert ask("demand_tasks", [fleet])[0]["value"] == "36"


fleets = st.lists(
    st.builds(
        lambda name, tasks, ages, sync_age: make_fleet(
            [make_snapshot(f"p{i}", fleet=name, tasks_active=tasks, age=age) for i, age in enumerate(ages)],
            name=name,
            sync_age=sync_age,
        ),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 40).map(float),
        st.lists(st.floats(0, 900), min_size=1, max_size=4),
        st.floats(0, 200),
    ),
    max_size=3,
    unique_by=lambda fleet: fleet.name,
)


@given(fleets, st.sampled_from(sorted(EXTERNAL_METRICS)), st.sampled_from(["", "fleet=a", "fleet!=a", "!fleet"]))
@pytest.mark.slow
def test_never_empty_and_never_of_an_untrusted_fleet(known: list[Fleet], metric: str, selector: str) -> None:
    """Any answer has an item for every fleet that matches, each trusted; everything else is a refusal that says why."""
    matching = [
        fleet
        for fleet in known
        if {"": True, "fleet=a": fleet.name == "a", "fleet!=a": fleet.name != "a", "!fleet": False}[selector]
    ]
    refused: RefusalError | None = None
    answer: list[dict[str, object]] = []
    try:
        answer = items(Question(metric, "matillion", selector), knowledge(known))
    except RefusalError as error:
        refused = error
    if refused is not None:
        assert refused.message
        assert refused.status in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE}
        assert (refused.status is HTTPStatus.NOT_FOUND) == (not matching)
        return
    assert answer
    assert [item["metricLabels"] for item in answer] == [
        {"fleet": name} for name in sorted(fleet.name for fleet in matching)
    ]
    assert all(fleet.trusted for fleet in matching)
