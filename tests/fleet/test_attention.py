"""Which agents a person should look at."""

from typing import Any

import pytest

from exporter.fleet.attention import needs_attention
from exporter.fleet.model import AgentStatus, Since
from tests.factories import NOW, WALL_NOW, make_agent, make_drain, make_facts, make_memory, make_reading

NEW, OLD = WALL_NOW - 60, WALL_NOW - 400
CREATING = "ContainerCreating"
UNSEEN = "connection refused on 127.0.10.1:9464"


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (make_agent(), False),
        (make_agent(error=UNSEEN), True),
        (make_agent(age=42.0, error=UNSEEN), True),
        (make_agent(never_read=True, error=UNSEEN), True),
        (make_agent(never_read=True), False),
        (make_agent(never_read=True, displaced_by="matillion/b"), True),
        (make_agent(reading=make_reading(connected=False)), True),
        (make_agent(facts=make_facts(memory_limit_bytes=100.0), usage=make_memory(90.0)), True),
        (make_agent(facts=make_facts(memory_limit_bytes=100.0), usage=make_memory(80.0)), False),
        (make_agent(reading=make_reading(status=AgentStatus.STOPPED)), True),
        (make_agent(never_read=True, facts=make_facts(ready=False, created_time=NEW)), False),
        (make_agent(never_read=True, facts=make_facts(ready=False, created_time=OLD)), True),
        (make_agent(never_read=True, facts=make_facts(ready=False, created_time=NEW, waiting_reason=CREATING)), False),
        (make_agent(never_read=True, facts=make_facts(ready=False, created_time=OLD, waiting_reason=CREATING)), True),
        (make_agent(never_read=True, facts=make_facts(ready=False, last_terminated_reason="Error")), True),
        (make_agent(never_read=True, facts=make_facts(ready=False, waiting_reason="ImagePullBackOff")), True),
        (make_agent(facts=make_drain(3600)), False),
        (make_agent(facts=make_drain(11.5 * 3600), tasks_active=0), True),
        (make_agent(facts=make_drain(60, granted=600), tasks_active=7), True),
        (make_agent(facts=make_drain(60, granted=600), tasks_active=0), False),
        (make_agent(reading=make_reading(status=AgentStatus.SHUTTING_DOWN)), True),
        (make_agent(reading=make_reading(busyness_score=100.0), since=Since(pressed=NOW - 20)), True),
    ],
)
def test_which_agents_need_attention(agent: Any, *, expected: bool) -> None:
    """Who gives no capacity, or soon may not; starting and draining are usual, unless they get stuck."""
    assert needs_attention(agent, WALL_NOW) is expected
