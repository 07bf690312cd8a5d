"""The table of CloudWatch metrics: its names are the contract, and a selection is by name or by set."""

import pytest

from exporter.fleet.cloudwatch_catalogue import (
    CLOUDWATCH_METRICS,
    FLEET_DIMENSIONS,
    METRIC_NAMES,
    select,
)
from exporter.fleet.model import Fleet
from exporter.fleet.outlets import AgentFigure, FleetFigure
from exporter.fleet.scaler import Condition
from tests.factories import WALL_NOW, make_agent, make_facts, make_fleet, make_memory, make_scaler, make_snapshot

MINIMAL = {"CapacityTasks", "ActiveTasks", "QueuedTasks", "DemandTasks", "ScrapeCoveragePercent"}


def names(*chosen: str) -> list[str]:
    return [metric.name for metric in select(chosen)]


def test_the_names_are_the_contract() -> None:
    """Alarms, scalers and dashboards of users know these names and dimensions."""
    assert set(METRIC_NAMES) >= MINIMAL | {
        "FreeSlots",
        "UtilizationPercent",
        "AgentsServing",
        "AgentsUnreachable",
        "AgentsDisconnected",
        "AgentsDraining",
        "AgentsCrashLooping",
        "AgentRestarts",
        "AgentActiveTasks",
        "MemoryUtilizationPercent",
        "TaskFailures",
    }
    assert len(set(METRIC_NAMES)) == len(METRIC_NAMES)
    assert FLEET_DIMENSIONS == ("ClusterName", "Namespace", "Fleet")


def test_rows_are_whole() -> None:
    """Every metric says in a sentence what it is, and has the unit its name says."""
    for metric in CLOUDWATCH_METRICS:
        assert metric.figure.help.endswith(".")
        assert (metric.unit == "Percent") == metric.name.endswith("Percent")


def test_sets_contain_each_other() -> None:
    """Minimal is within default, default within all."""
    minimal, default, everything = map(set, (names("minimal"), names("default"), names("all")))
    assert minimal >= MINIMAL
    assert minimal < default < everything == set(METRIC_NAMES)


def test_a_selection_is_in_the_order_of_the_table() -> None:
    """Names and sets can be mixed, in any order, and nothing is selected twice."""
    assert names("AgentsServing", "minimal", "ActiveTasks") == [
        name for name in METRIC_NAMES if name in {*names("minimal"), "AgentsServing"}
    ]
    assert names(*METRIC_NAMES[::-1]) == list(METRIC_NAMES)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [(("default", "Tasks"), "there is no metric Tasks$"), ((), "an empty list publishes nothing")],
)
def test_a_wrong_selection_is_explained(chosen: tuple[str, ...], sentence: str) -> None:
    """What is unknown is named; nothing at all is a mistake as well."""
    with pytest.raises(ValueError, match=sentence):
        select(chosen)


def test_what_exists_for_a_single_agent() -> None:
    """Only what is read from agents can have a series for each."""
    assert {metric.name for metric in CLOUDWATCH_METRICS if isinstance(metric.figure, AgentFigure)} == {
        "AgentActiveTasks",
        "AgentRestarts",
        "MemoryUtilizationPercent",
        "TaskFailures",
    }


def test_readers_of_agents() -> None:
    """Tasks of agents that are fresh and not draining; restarts where Kubernetes knows them."""
    tasks, restarts = (select([name])[0] for name in ("AgentActiveTasks", "AgentRestarts"))
    assert (tasks.figure.counter, restarts.figure.counter) == (False, True)
    known = make_agent(tasks_active=7, facts=make_facts(restarts=3))
    assert (tasks.of_agent(known), restarts.of_agent(known)) == (7, 3)
    draining = make_agent(facts=make_facts(draining_time=WALL_NOW))
    assert [tasks.of_agent(agent) for agent in (draining, make_agent(age=60), make_agent(never_read=True))] == [
        None
    ] * 3
    assert restarts.of_agent(make_agent()) is None


def test_memory_is_of_the_limit() -> None:
    """Without a sample, without a limit or without Kubernetes there is no percentage."""
    [metric] = select(["MemoryUtilizationPercent"])
    limited, unlimited = make_facts(memory_limit_bytes=4e9), make_facts(memory_limit_bytes=None)
    agents = [
        make_agent(facts=limited, usage=make_memory(3e9)),
        make_agent(facts=limited),
        make_agent(facts=unlimited, usage=make_memory(3e9)),
        make_agent(usage=make_memory(3e9)),
    ]
    assert [metric.of_agent(agent) for agent in agents] == [75, None, None, None]


def test_readers_of_fleets_know_what_they_do_not_know() -> None:
    """Without an answer, a queue, a slot or Kubernetes there is no number, whoever asks: None."""
    unseen = make_fleet([make_snapshot(age=60)])
    figures = {metric.name: metric.figure for metric in CLOUDWATCH_METRICS}
    unknown = {name for name, row in figures.items() if isinstance(row, FleetFigure) and row.in_percent(unseen) is None}
    assert unknown >= {"ActiveTasks", "QueuedTasks", "DemandTasks", "UtilizationPercent", "AgentsCrashLooping"}
    assert all(figures[name].unknown for name in unknown), "and says when"


def test_every_row_has_what_it_rests_on() -> None:
    """What agents say is withheld while the fleet is not trusted; what Kubernetes says, while its list is old."""

    def known(fleet: Fleet) -> set[str]:
        return {metric.name for metric in CLOUDWATCH_METRICS if metric.known_of(fleet)}

    assert known(make_fleet()) == set(METRIC_NAMES)
    assert known(make_fleet([make_snapshot(age=60)])) == {
        "ScrapeCoveragePercent",
        "AgentsUnreachable",
        "AgentsDraining",
        "AgentsCrashLooping",
        "AgentRestarts",
        "TasksLost",
        "MemoryUtilizationPercent",
        "TaskFailures",
    }
    assert known(make_fleet(sync_age=121)) == set()


def test_what_an_alarm_would_mistake_is_not_known_of_a_fleet_at_rest() -> None:
    """Capacity and free slots are 0 then, as in an outage."""
    off = make_scaler(active=Condition(False, "ScalingDisabled"), current_agents=0)
    resting, gone = make_fleet([], scalers=[off]), make_fleet([], scalers=[make_scaler()])
    withheld = {metric.name for metric in CLOUDWATCH_METRICS if not metric.known_of(resting)}
    assert withheld == {"CapacityTasks", "FreeSlots"}
    assert all(metric.known_of(gone) for metric in CLOUDWATCH_METRICS)
