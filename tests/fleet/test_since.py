"""Since when something has been so: what is kept from reading to reading."""

from dataclasses import replace
from typing import Any

from exporter.fleet.model import AgentSnapshot, AgentStatus, Since
from exporter.fleet.since import after_reading, after_sample
from tests.factories import NOW, POLICY, make_facts, make_memory, make_reading, make_snapshot


def history(*loads: float, every: float = 5.0, **said: Any) -> Since:
    """Return what is known after readings of so many tasks, the last one now."""
    snapshot = make_snapshot(never_read=True, since=Since(known=NOW - 100))
    for age, tasks in zip(reversed(range(len(loads))), loads, strict=True):
        snapshot = read(snapshot, NOW - age * every, tasks, **said)
    return snapshot.since


def read(snapshot: AgentSnapshot, now: float, tasks: float, **said: Any) -> AgentSnapshot:
    reading = make_reading(tasks, **said)
    return replace(snapshot, reading=reading, read_at=now, since=after_reading(snapshot, reading, POLICY, now))


def test_the_first_evidence_dates_it() -> None:
    """An agent at work, full from its second reading on."""
    since = history(19, 20, 25)
    assert since == Since(known=NOW - 100, serving=NOW - 10, full=NOW - 5, last_full=NOW)
    assert history(20, 19, 18).free == NOW - 5


def test_readings_below_are_overlooked_for_as_long_as_it_takes_to_prove_it_full() -> None:
    """A slot is empty for a moment whenever a task ends; fifteen seconds later it is one that nobody wants."""
    assert history(20, 20, 19, 20, 20).full == NOW - 20
    assert history(20, 19, 19, 18, 20).full == NOW - 20
    since = history(20, 20, 19, 19)
    assert (since.full, since.last_full) == (NOW - 15, NOW - 10)
    since = history(20, 20, 19, 19, 19, 19)
    assert (since.full, since.last_full) == (None, None)
    assert history(20, 19, 19, 19, 19, 20).full == NOW
    assert history(19, 20).full == NOW


def test_what_was_unreachable_restarts() -> None:
    """Nobody knows what happened meanwhile."""
    assert history(20, 20, every=30.0).full == NOW - 30
    assert history(20, 20, every=31.0) == Since(known=NOW - 100, serving=NOW, full=NOW, last_full=NOW)


def test_an_agent_that_stops_serves_no_more() -> None:
    """By status or by its connection; that it shuts down is dated by itself."""
    assert history(5, 5, connected=False).serving is None
    assert history(5, 5, status=AgentStatus.STOPPED).serving is None
    ending = history(5, 5, status=AgentStatus.SHUTTING_DOWN)
    assert (ending.serving, ending.stopping) == (None, NOW - 5)


def test_pressure_is_dated_by_readings_and_by_samples() -> None:
    """Whatever of the two says it first; it ends when neither does."""
    assert history(5, 5, busyness_score=100.0).pressed == NOW - 5
    facts = make_facts(cpu_limit_cores=1.0)
    busy = make_snapshot(facts=facts, usage=make_memory(cpu_cores=0.9), since=Since(known=NOW - 9))
    pressed = after_sample(busy, NOW - 3)
    assert pressed == Since(known=NOW - 9, pressed=NOW - 3)
    again = replace(busy, since=pressed)
    assert after_sample(again, NOW).pressed == NOW - 3
    assert after_sample(replace(again, usage=make_memory(cpu_cores=0.1)), NOW).pressed is None
    assert read(again, NOW, 5).since.pressed == NOW - 3
    unread = make_snapshot(never_read=True, facts=facts, usage=make_memory(cpu_cores=0.9))
    assert after_sample(unread, NOW).pressed == NOW
