"""The tables of the README and docs/scaling.md: that they say what the simulation shows."""

import json

import pytest

from benchmarks.scaling import record, table, trials
from benchmarks.scaling.record import KINDS, SEEDS, Record
from benchmarks.scaling.ways import OURS, WAYS

LEGACY, OTEL = KINDS["no queue"], KINDS["queue"]
SEED = 0
LONGEST_WITHOUT_QUEUE = 110.0
"""Seconds until every task has a slot where no queue is reported. The aim is 100 for most."""


@pytest.mark.slow
def test_no_way_finds_enough_agents_sooner_where_the_queue_is_reported() -> None:
    """The external metrics API is as quick as any, and two thirds quicker than a rule without the queue."""
    ours, *others = (trials.burst(way, SEED, OTEL) for way in WAYS)
    assert ours.seconds is not None
    assert all(other.seconds is None or other.seconds >= ours.seconds for other in others)
    assert all(other.task_seconds >= ours.task_seconds for other in others)
    adapter = next(way for way in WAYS if way.name == "the vendor's adapter rule")
    assert ours.seconds * 3 <= (trials.burst(adapter, SEED, OTEL).seconds or 0)


def test_a_burst_that_no_agent_reports_is_answered_within_100_seconds() -> None:
    """In the median over the seeds; and in half the time that it takes without `saturation_growth`."""
    with_growth, without = (
        sorted(trials.burst(record.growing(growth), seed, LEGACY).seconds or 9999.0 for seed in SEEDS)
        for growth in (2.0, 1.0)
    )
    middle = len(SEEDS) // 2
    assert with_growth[middle] <= 100.0
    assert with_growth[-1] <= LONGEST_WITHOUT_QUEUE
    assert without[middle] >= 1.5 * with_growth[middle]


@pytest.mark.slow
def test_missing_data_takes_no_agent_away() -> None:
    """By our way none; by the rule that takes missing data for 0 many."""
    sidecar = next(way for way in WAYS if "0 on failure" in way.name)
    assert trials.missing_data(OURS, SEED, LEGACY) == 0
    assert trials.missing_data(sidecar, SEED, LEGACY) > 0


def test_the_same_seed_gives_the_same_result() -> None:
    """Else the record could not be checked."""
    assert trials.burst(OURS, 3, OTEL) == trials.burst(OURS, 3, OTEL)
    assert trials.burst(OURS, 3, OTEL) != trials.burst(OURS, 4, OTEL)


def recorded(**changed: list[list[float | None]]) -> Record:
    """Return the record with other values for the trials of our way named by their kind."""
    return {**record.load(), **{record.name_of("burst", kind, OURS.name): values for kind, values in changed.items()}}


def test_cells_say_the_median_and_the_range() -> None:
    """And how often there were never enough agents."""
    done, never = [50.0, 600.0], [None, 6000.0]
    found = recorded(queue=[done, done, done, never, never])
    line = table.full(found)["queue reported"].splitlines()[2]
    assert line.startswith(f"| {OURS.name} | not within 30 min (2 of 5) | 10 min (10 – 100) | ")
    found = recorded(queue=[[seconds, 600.0] for seconds in (41.0, 54.0, 50.0, 47.0, 54.0)])
    assert f"| {OURS.name} | 50 s (41 – 54) | 10 min (10 – 10) | " in table.full(found)["queue reported"]


def test_the_record_is_told_from_a_stale_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sample that is run anew, and by its trials being those there are."""
    name = record.name_of("burst", "queue", OURS.name)
    monkeypatch.setattr(record, "SAMPLE", [name])
    found = record.load()
    assert record.deviations(found) == []
    assert record.deviations({**found, name: [[1.0, 2.0], *found[name][1:]]}) == [name]
    assert record.deviations({**found, "former trial": found[name]}) == ["former trial"]
    assert name in record.deviations({other: values for other, values in found.items() if other != name})


def test_the_record_is_written_as_it_is_read() -> None:
    """A line for each trial, so that a change shows as what it is."""
    found = record.load()
    text = record.text(found)
    assert json.loads(text) == found
    assert len(text.splitlines()) == len(found) + 2
