"""Which runbook is about an agent."""

from pathlib import Path
from typing import Any

import pytest

from exporter.fleet.health import health
from exporter.fleet.model import AgentStatus, Since
from exporter.fleet.runbook import agent_runbook, fleet_runbook
from tests.factories import (
    NOW,
    WALL_NOW,
    make_agent,
    make_drain,
    make_facts,
    make_fleet,
    make_memory,
    make_reading,
    make_scaler,
    make_snapshot,
)

PAGES = Path(__file__).parents[2] / "alerts" / "runbooks"
UNSEEN = "connection refused on 127.0.10.1:9464"


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (make_agent(), None),
        (make_agent(never_read=True), None),
        (make_agent(error=UNSEEN), "MatillionAgentUnreachable"),
        (make_agent(age=42.0, error=UNSEEN), "MatillionAgentUnreachable"),
        (make_agent(reading=make_reading(connected=False)), "MatillionAgentDisconnected"),
        (make_agent(reading=make_reading(status=AgentStatus.STOPPED)), None),
        (
            make_agent(facts=make_facts(memory_limit_bytes=100.0), usage=make_memory(90.0)),
            "MatillionAgentMemoryPressure",
        ),
        (
            make_agent(reading=make_reading(busyness_score=100.0), since=Since(pressed=NOW - 20)),
            "MatillionFleetRefusing",
        ),
        (make_agent(facts=make_drain(11.5 * 3600), tasks_active=0), "MatillionAgentDrainTooLong"),
        (make_agent(facts=make_drain(60, granted=600), tasks_active=7), "MatillionAgentDrainCutShort"),
        (
            make_agent(never_read=True, facts=make_facts(ready=False, waiting_reason="ImagePullBackOff")),
            "MatillionAgentNotStarting",
        ),
        (
            make_agent(never_read=True, facts=make_facts(ready=False, waiting_reason="CrashLoopBackOff")),
            "MatillionAgentCrashLooping",
        ),
        (
            make_agent(never_read=True, facts=make_facts(ready=False, last_terminated_reason="OOMKilled")),
            "MatillionAgentOOMKilled",
        ),
        (make_agent(never_read=True, facts=make_facts(waiting_reason="Unschedulable")), "MatillionAgentNotStarting"),
    ],
)
def test_the_runbook_of_an_agent(agent: Any, expected: str | None) -> None:
    """It is about why the agent needs attention, and there is such a page."""
    assert agent_runbook(agent, WALL_NOW) == expected
    assert expected is None or (PAGES / f"{expected}.md").is_file()


STOPPED = make_snapshot("b", reading=make_reading(status=AgentStatus.STOPPED))
DISCONNECTED = make_snapshot(reading=make_reading(connected=False))


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        (make_fleet(), None),
        (make_fleet([DISCONNECTED]), "MatillionFleetDisconnected"),
        (make_fleet([DISCONNECTED, STOPPED]), "MatillionFleetNoCapacity"),
        (make_fleet([], scalers=[make_scaler()]), "MatillionFleetGone"),
        (make_fleet([make_snapshot(age=99.0)]), "MatillionFleetCoverageLow"),
        (make_fleet(sync_age=999.0), "MatillionExporterStale"),
    ],
)
def test_the_runbook_of_a_fleet(fleet: Any, expected: str | None) -> None:
    """Of one whose agents are all disconnected, or whose data is incomplete; there is such a page."""
    assert fleet_runbook(fleet, health(fleet)) == expected
    assert expected is None or (PAGES / f"{expected}.md").is_file()
