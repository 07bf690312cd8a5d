"""The invariants of annotations hold for what is right, and are violated by what is wrong."""

from dataclasses import replace

import pytest

from tests.chaos.annotations import annotations_right, cost_of
from tests.chaos.facts import Facts
from tests.chaos.faults import Happened, Kind
from tests.chaos.seen import Annotated, MetricsSeen
from tests.chaos.test_invariants import BOOT, BOOTED, MADE, PAGE, POD, facts, wrong

NOW = MADE + 200
PAGES = [replace(PAGE, serial=number, made=MADE + 5 * number) for number in range(40)]
RIGHT = Annotated(NOW, NOW, {"etl-1": True}, {"etl-1": 15})


def led(*, leads: bool = True) -> list[MetricsSeen]:
    """Return looks at a replica that leads."""
    return [
        MetricsSeen(
            replica="one",
            booted=BOOTED,
            asked=at,
            answered=at,
            computed_from=at,
            leads=leads,
            spool_datums=0,
            loop_lag=0.0,
        )
        for at in range(int(MADE), int(NOW), 4)
    ]


def test_what_is_right() -> None:
    """A pod with work is protected, and costs what its work is, in steps."""
    assert wrong(annotations_right(RIGHT, led(), facts(*PAGES))) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (replace(RIGHT, protected={"etl-1": False}), "etl-1 has had work for 38 s and is not protected"),
        (replace(RIGHT, protected={}), "etl-1 has had work for 38 s and is not protected"),
        (replace(RIGHT, costs={"etl-1": 12}), "etl-1 has a deletion cost of 12, but lately [15] would be right"),
        (replace(RIGHT, costs={}), "etl-1 has a deletion cost of None, but lately [15] would be right"),
    ],
)
def test_what_is_wrong_is_seen(given: Annotated, sentence: str) -> None:
    """A pod with work that is not protected, and one with another cost."""
    assert wrong(annotations_right(given, led(), facts(*PAGES))) == [sentence]


def test_after_a_time_without_a_leader_all_are_written_again() -> None:
    """An outage of the API server ends all leaderships; whoever leads next begins with all pods, at the pace."""
    many = replace(RIGHT, protected={}, costs=RIGHT.costs | {f"other-{number}": 1 for number in range(100)})
    away = [look for look in led() if not MADE + 60 < look.answered < MADE + 140]
    between = [replace(look, leads=False) for look in led() if MADE + 60 < look.answered < MADE + 140]
    looks = sorted([*away, *between], key=lambda look: look.answered)
    assert list(annotations_right(many, looks, facts(*PAGES))) == []
    assert len(wrong(annotations_right(many, led(), facts(*PAGES)))) == 1


def test_a_cost_may_be_that_of_work_of_the_last_minute() -> None:
    """A cost alone is written once a minute at most."""
    before = [replace(page, active=3) for page in PAGES[:30]]
    for cost, right in ((15, True), (3, True), (4, False)):
        given = replace(RIGHT, costs={"etl-1": cost})
        assert (wrong(annotations_right(given, led(), facts(*before, *PAGES[30:]))) == []) is right


def test_an_idle_pod_needs_neither() -> None:
    """A pod without work has no protection and no cost, or one of 0."""
    idle = [replace(page, active=0, queued=0) for page in PAGES]
    for cost in (None, 0):
        given = Annotated(NOW, NOW, {"etl-1": False}, {"etl-1": cost})
        assert wrong(annotations_right(given, led(), facts(*idle))) == []


@pytest.mark.parametrize(
    ("looks", "world"),
    [
        (led(leads=False), facts(*PAGES)),
        (led()[-3:], facts(*PAGES)),
        (led(), facts(*PAGES, boot=replace(BOOT, pauses=[(NOW - 10, NOW - 5)]))),
        (led(), facts(*PAGES, gone_wrong=Happened(Kind.API_BUSY, "one", NOW - 20, NOW - 15))),
        (led(), facts(*PAGES, pod=replace(POD, hostile=True))),
    ],
)
def test_nothing_is_asked_without_a_leader_that_can_write(looks: list[MetricsSeen], world: Facts) -> None:
    """Without a leader, with a new one, a stopped one, or one that does not reach the API server, nothing is judged."""
    assert list(annotations_right(replace(RIGHT, protected={}, costs={}), looks, world)) == []


def test_costs_are_in_steps_above_five() -> None:
    """Below five each task counts, above they do in fives."""
    assert [cost_of(tasks) for tasks in (0, 1, 4, 5, 6, 10, 22)] == [0, 1, 4, 5, 10, 10, 25]
