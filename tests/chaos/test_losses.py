"""The invariants of lost tasks hold for what is right, and are violated by what is wrong."""

from dataclasses import replace

import pytest

from tests.chaos import losses
from tests.chaos.facts import Facts
from tests.chaos.faults import Happened, Kind
from tests.chaos.pods import End
from tests.chaos.seen import DepartureSeen, DeparturesSeen
from tests.chaos.test_invariants import BOOT, BOOTED, MADE, PAGE, POD, facts, wrong

LEAVES = MADE + 5
POD_GONE = replace(POD, leaves=LEAVES, gone=LEAVES + 1, end=End.FORCED)
LOST = DepartureSeen("etl-1", "etl", ended=True, tasks_lost=12.0, reason="Deleted")
AFTER = LEAVES + 60


def seen(*departures: DepartureSeen, counted: float = 12.0) -> DeparturesSeen:
    """Return the departures as the first replica tells them."""
    lost = {"etl": counted}
    return DeparturesSeen(
        replica="one", booted=BOOTED, asked=AFTER, answered=AFTER, computed_from=AFTER,
        departures=departures, lost_before=lost, lost_after=lost,
    )  # fmt: skip


def there(**fields: object) -> Facts:
    """Return a world in which the agent has ended."""
    return facts(pod=replace(POD_GONE, **fields))


@pytest.mark.parametrize(
    ("said", "world"),
    [
        (LOST, there()),
        (replace(LOST, tasks_lost=0.0, reason=None), there(end=End.CLEAN)),
        (replace(LOST, reason="OOMKilled"), there(end=End.OUT_OF_MEMORY)),
        (replace(LOST, tasks_lost=None, reason="Deleted"), there(hostile=True)),
        (replace(LOST, ended=False), facts()),
    ],
)
def test_losses_as_they_were_are_right(said: DepartureSeen, world: Facts) -> None:
    """The count that was shown last, nothing after a clean end, and unknown for an agent that did not answer well."""
    assert [one for one in losses.losses_right(seen(said), world) if one is not None] == []


@pytest.mark.parametrize(
    ("said", "world", "sentence"),
    [
        (LOST, facts(), "is said to have ended, which it has not"),
        (replace(LOST, pod="etl-9"), there(), "is said to have ended, which it has not"),
        (replace(LOST, tasks_lost=13.0), there(), "has lost 13, but was deleted by force and showed [12.0] last"),
        (replace(LOST, tasks_lost=0.0), there(), "has lost 0, but was deleted by force and showed [12.0] last"),
        (
            LOST,
            there(end=End.CLEAN),
            "has lost 12, but was asked to end, and did after its tasks and showed [0.0] last",
        ),
        (LOST, there(end=End.OUT_OF_MEMORY), "was lost as Deleted, but was killed for its memory"),
        (replace(LOST, tasks_lost=None), there(), "has lost an unknown number of tasks, although it was watched"),
    ],
)
def test_wrong_losses_are_seen(said: DepartureSeen, world: Facts, sentence: str) -> None:
    """A loss of an agent that is there, of another number, for another reason, or one that should have been known."""
    assert wrong(losses.losses_right(seen(said), world)) == [f"{said.pod} {sentence}"]


def test_what_was_not_watched_may_be_unknown() -> None:
    """A replica that could not see the list of pods, was stopped, or had not yet begun may know nothing of the end."""
    outage = Happened(Kind.API_AWAY, "both", LEAVES - 10, LEAVES + 10)
    for world in (
        facts(pod=POD_GONE, gone_wrong=outage),
        facts(pod=POD_GONE, boot=replace(BOOT, pauses=[(LEAVES, LEAVES + 5)])),
        facts(pod=POD_GONE, boot=replace(BOOT, ready=LEAVES)),
    ):
        for lost in (None, 0.0, 12.0):
            assert wrong(losses.losses_right(seen(replace(LOST, tasks_lost=lost)), world)) == []
        assert wrong(losses.losses_right(seen(replace(LOST, tasks_lost=11.0)), world))


def test_a_loss_that_is_not_counted_is_seen() -> None:
    """An agent that was killed with tasks is among those that ended; a clean end need not be."""
    assert wrong(losses.losses_complete(seen(LOST), there())) == []
    [sentence] = wrong(losses.losses_complete(seen(), there()))
    assert sentence == "etl-1, deleted by force, is not among those that ended"
    assert list(losses.losses_complete(seen(), there(end=End.CLEAN))) == []
    idle = replace(PAGE, active=0)
    assert list(losses.losses_complete(seen(), facts(idle, pod=POD_GONE))) == []


def test_a_count_that_is_not_the_sum_is_seen() -> None:
    """The fleet's counter is what its agents lost, and may move while it is read."""
    assert wrong(losses.losses_add_up(seen(LOST), there())) == []
    moved = replace(seen(LOST), lost_before={"etl": 0.0})
    assert wrong(losses.losses_add_up(moved, there())) == []
    assert wrong(losses.losses_add_up(seen(LOST, counted=11.0), there())) == [
        "etl has lost 11 to 11 tasks, but its agents 12"
    ]


def test_a_reading_from_before_an_outage_may_count() -> None:
    """What an agent had when it was last known to exist is lost, however long the list could not be seen since."""
    late = replace(POD_GONE, leaves=MADE + 250, gone=MADE + 251, hostile=True)
    outage = Happened(Kind.API_AWAY, "both", MADE + 10, MADE + 310)
    after = replace(seen(LOST), asked=MADE + 330, answered=MADE + 330)
    assert wrong(losses.losses_right(after, facts(pod=late, gone_wrong=outage))) == []
    assert wrong(losses.losses_right(after, facts(pod=late)))
    other = replace(after, departures=(replace(LOST, tasks_lost=11.0),))
    assert wrong(losses.losses_right(other, facts(pod=late, gone_wrong=outage)))
