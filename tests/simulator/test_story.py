"""The demo's memory, and the log that becomes its events."""

from dataclasses import replace

import pytest
import structlog

from exporter.config import LogSettings
from exporter.logs import configure
from exporter.simulation.pod import Pod
from exporter.simulator.nodes import Fate, NamedNode
from exporter.simulator.screen import CloudWatchView, Point
from exporter.simulator.story import LogToStory, Story


def story() -> Story:
    return Story("production", 10.0, now=lambda: 75.0)


def test_figures_become_the_newest_point() -> None:
    """What the exporter withholds stays unknown in the chart."""
    told = story()
    told.observed({"tasks_active": None, "tasks_queued": 4.0, "capacity_tasks": 80}, [], replicas=5)
    told.observed({"tasks_active": 9.0, "tasks_queued": None, "capacity_tasks": 60}, [], replicas=4)
    assert list(told.history) == [Point(None, 4.0, 80), Point(9.0, None, 60)]
    assert (told.replicas, told.max_replicas) == (4, 5)


def test_what_was_published_is_counted() -> None:
    """Where there is a CloudWatch to publish to; that it began is told once."""
    told = story()
    told.published(13, 2)
    assert told.view().cloudwatch == ""
    told.cloudwatch = CloudWatchView(url="http://127.0.0.1:1", namespace="Matillion/AgentFleet")
    for taken in (0, 13, 26):
        told.published(taken, 2)
    assert told.view().cloudwatch == replace(told.cloudwatch, taken=26, waiting=2)
    assert [event.partition("  ")[2] for event in told.events] == ["CloudWatch has taken its first datums"]


def test_events_carry_the_fleets_time_and_are_heard_at_once() -> None:
    """Where there is no terminal they are printed as they come."""
    heard: list[str] = []
    told = story()
    told.on_event = heard.append
    told.notify("something happened")
    assert heard == list(told.view().events) == ["00:01:15  something happened"]


def test_each_step_of_a_nodes_end_is_one_event() -> None:
    """However often it is looked at."""
    told = story()
    node = NamedNode(7, pods=[Pod(0, limited=19), Pod(1)])
    node.ends(Fate.REMOVED, now=60.0)
    for _ in range(3):
        told.nodes_gone([node])
    node.pods, node.killed = [], 7
    told.nodes_gone([node])
    removed = "node ip-10-0-2-29 was removed: 2 agents evicted with 10 min of grace, 7 tasks were killed"
    assert [event.partition("  ")[2] for event in told.events] == [
        "node ip-10-0-2-29 is being removed: 2 agents with 19 tasks evicted with 10 min of grace",
        removed,
    ]
    assert told.view().nodes == (removed,)


@pytest.fixture
def log(log_as_before: None) -> LogToStory:
    stream = LogToStory(story())
    configure(LogSettings(format="json"), stream)
    return stream


def events(log: LogToStory) -> list[str]:
    return [event.partition("  ")[2] for event in log._story.events]


def test_the_exporters_log_becomes_events(log: LogToStory) -> None:
    """One line a change of state, in words."""
    logger = structlog.get_logger("exporter.publish.state_log")
    logger.info("agent is serving", namespace="matillion", fleet="production", pod="p-1", was=None, reason="serving 3")
    logger.info("fleet found", namespace="matillion", fleet="production", agents=4)
    logger.info("exporter starts", version="1")
    logger.warning("something is odd", cause="unknown")
    assert events(log) == [
        "p-1: agent is serving (serving 3)",
        "production: fleet found agents=4",
        "something is odd cause=unknown",
    ]


def test_errors_are_kept_for_the_end(log: LogToStory) -> None:
    """When the exporter dies its last words are shown as they were written."""
    structlog.get_logger("exporter.service").critical("a part of the exporter failed", part="web server")
    assert len(log.failures) == 1
    assert '"part": "web server"' in log.failures[0]


def test_what_is_not_json_is_printed_unchanged(log: LogToStory) -> None:
    """Nothing that reaches the stream is swallowed; a line may come in pieces."""
    print("half a", end="", file=log)
    assert events(log) == []
    print(" line", file=log)
    assert events(log) == ["half a line"]
    assert list(log.failures) == ["half a line"]
