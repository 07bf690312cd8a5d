"""Each invariant of the chaos run holds for what is right, and is violated by what is wrong."""

from dataclasses import replace

import pytest

from tests.chaos import invariants
from tests.chaos.facts import Facts, Lateness, Verdicts
from tests.chaos.faults import Happened, Happenings, Kind
from tests.chaos.pods import Pod
from tests.chaos.replicas import Boot, Times
from tests.chaos.seen import AgentSeen, AgentsSeen, FleetSeen, FleetsSeen
from tests.chaos.truth import Shown, Truth

MADE = 1000.0
"""When the agent made its page."""
PAGE = Shown(
    serial=7, made=MADE, pod="etl-1", reader="one", kind="", readable=True, active=12, queued=3, connected=True
)
AGENT = AgentSeen("etl-1", "serving", fresh=True, age=5.0, serial=7, active=12.0, queued=3.0, connected=True)
POD = Pod("etl-1", "127.0.0.1", "etl", legacy=False, hostile=False, announced=900.0)
FLEET = FleetSeen("etl", trusted=True, demand=15.0, tasks_lost=0.0)
BOOTED = 900.0
BOOT = Boot(1, BOOTED, answered=902.0, ready=905.0)


def facts(*pages: Shown, pod: Pod = POD, boot: Boot = BOOT, gone_wrong: Happened | None = None) -> Facts:
    """Return a world with one agent."""
    truth = Truth()
    truth.add(pages or (PAGE,))
    happenings = Happenings([gone_wrong] if gone_wrong else [])
    return Facts(truth, {pod.name: pod}, Times(), {"one": [boot]}, happenings, Lateness())


def seen(agent: AgentSeen, *, at: float = MADE + 5, computed_from: float | None = None) -> AgentsSeen:
    """Return one agent as seen by the first replica."""
    return AgentsSeen(
        replica="one", booted=BOOTED, asked=at, answered=at, computed_from=computed_from or at, agents=(agent,)
    )


def fleet(at: float, **fields: object) -> FleetsSeen:
    """Return the fleet as seen then."""
    return FleetsSeen(
        replica="one", booted=BOOTED, asked=at, answered=at, computed_from=at, fleets=(replace(FLEET, **fields),)
    )


def wrong(verdicts: Verdicts) -> list[str]:
    """Return what is violated; something is to be checked."""
    given = list(verdicts)
    assert given, "nothing was checked"
    return [one for one in given if one is not None]


def test_counts_as_shown_are_right() -> None:
    """What an agent showed is what is said of it, from a page of the other kind too if that may be read."""
    assert wrong(invariants.counts_right(seen(AGENT), facts())) == []
    odd = replace(PAGE, kind="both kinds of names")
    assert wrong(invariants.counts_right(seen(AGENT), facts(odd))) == []


@pytest.mark.parametrize(
    ("agent", "page"),
    [
        (replace(AGENT, active=13.0), PAGE),
        (replace(AGENT, queued=None), PAGE),
        (replace(AGENT, connected=False), PAGE),
        (replace(AGENT, serial=8), PAGE),
        (AGENT, replace(PAGE, pod="etl-2")),
        (AGENT, replace(PAGE, reader="two")),
        (AGENT, replace(PAGE, kind="garbage", readable=False)),
    ],
)
def test_wrong_counts_are_seen(agent: AgentSeen, page: Shown) -> None:
    """Another figure, a page that nobody showed, another agent's or another reader's, or one that is none."""
    [sentence] = wrong(invariants.counts_right(seen(agent), facts(page)))
    assert sentence.startswith("etl-1 (serving) ")


def test_an_age_may_be_more_but_not_less() -> None:
    """A figure may be younger than it claims; one that is older is seen."""
    assert wrong(invariants.ages_right(seen(AGENT), facts())) == []
    assert wrong(invariants.ages_right(seen(replace(AGENT, age=9.0)), facts())) == []
    [sentence] = wrong(invariants.ages_right(seen(replace(AGENT, age=2.4), at=MADE + 22.2), facts()))
    assert sentence == "etl-1 (serving) claims 2.4 s for what it showed 22.2 s ago"


def test_an_age_after_a_pause_counts_from_its_end() -> None:
    """What a stopped process was asked is computed when it goes on, and so is its age."""
    stopped = seen(AGENT, at=MADE + 5, computed_from=MADE + 25)
    assert wrong(invariants.ages_right(stopped, facts()))
    assert not wrong(invariants.ages_right(replace(stopped, agents=(replace(AGENT, age=24.5),)), facts()))


def test_a_demand_below_the_work_is_seen() -> None:
    """The demand covers what an agent showed last, also while it does not answer any more."""
    for at in (MADE + 15, MADE + 300):
        assert wrong(invariants.demand_enough(fleet(at), facts())) == []
        [sentence] = wrong(invariants.demand_enough(fleet(at, demand=14.0), facts()))
        assert sentence == "etl: demand 14, but its agents have at least 15"


def test_a_demand_is_enough_for_what_may_not_have_been_read_yet() -> None:
    """A page that has only just been shown need not be in the demand, nor must the one before be."""
    pages = (replace(PAGE, active=4), replace(PAGE, serial=8, made=MADE + 20, active=9))
    assert wrong(invariants.demand_enough(fleet(MADE + 21, demand=7.0), facts(*pages))) == []
    assert wrong(invariants.demand_enough(fleet(MADE + 21, demand=6.0), facts(*pages)))
    assert wrong(invariants.demand_enough(fleet(MADE + 60, demand=11.0), facts(*pages)))


def test_a_demand_counts_forgotten_agents_at_the_target() -> None:
    """After `forget_after` an agent counts at the target, which may be less than it had; nothing more is required."""
    busy = replace(PAGE, active=20, queued=5)
    assert wrong(invariants.demand_enough(fleet(MADE + 601, demand=16.0), facts(busy))) == []
    assert wrong(invariants.demand_enough(fleet(MADE + 601, demand=15.0), facts(busy)))


@pytest.mark.parametrize(
    "what",
    [
        fleet(MADE + 15, demand=0.0),
        replace(fleet(MADE + 15, demand=0.0), booted=MADE + 1),
    ],
)
def test_no_demand_is_required_for_those_that_leave_or_were_never_read(what: FleetsSeen) -> None:
    """An agent that leaves, and one that this process has never read, need not be in the demand."""
    leaving = replace(POD, leaves=MADE + 1)
    if what.booted < MADE:
        assert wrong(invariants.demand_enough(what, facts()))
        assert wrong(invariants.demand_enough(what, facts(pod=leaving))) == []
    else:
        assert wrong(invariants.demand_enough(what, facts())) == []


def test_a_machine_that_is_late_is_no_lie() -> None:
    """What the machine was late by is allowed for; no more than twice of it."""
    late = facts()
    late.late.add(MADE + 10, 3.0)
    young = replace(AGENT, age=5.0)
    assert wrong(invariants.ages_right(seen(young, at=MADE + 12), late)) == []
    assert wrong(invariants.ages_right(seen(young, at=MADE + 12), facts()))
    assert wrong(invariants.ages_right(seen(young, at=MADE + 12.5), late))


UNREAD = replace(AGENT, state="starting", fresh=False, age=None, serial=None, active=None, queued=None, connected=None)
OLD = replace(AGENT, age=14.5)


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        ((AGENT,), []),
        ((OLD,), ["etl-1 (serving) was last read 14.5 s ago"]),
        ((replace(AGENT, fresh=False),), ["etl-1 (serving) was last read 5.0 s ago"]),
        ((UNREAD,), ["etl-1 (starting) was never read, 105.0 s after it came"]),
        ((), ["etl-1 is not known, 105.0 s after it came"]),
    ],
)
def test_every_good_agent_is_read(agents: tuple[AgentSeen, ...], expected: list[str]) -> None:
    """One that is old, expired, unread or unknown long after it came is seen."""
    assert wrong(invariants.all_read(replace(seen(AGENT), agents=agents), facts())) == expected


@pytest.mark.parametrize(
    "there",
    [
        facts(pod=replace(POD, hostile=True)),
        facts(pod=replace(POD, announced=MADE)),
        facts(pod=replace(POD, leaves=MADE)),
        facts(boot=replace(BOOT, ready=MADE)),
        facts(boot=replace(BOOT, pauses=[(MADE - 30, MADE)])),
        facts(gone_wrong=Happened(Kind.API_HUNG, "one", MADE - 40, MADE - 20)),
    ],
)
def test_an_agent_need_not_be_known_while_it_cannot_be(there: Facts) -> None:
    """Nothing is asked of an agent that is hostile, new or leaving, nor soon after a start, a pause or an outage."""
    assert list(invariants.all_read(replace(seen(AGENT), agents=()), there)) == []


def test_an_outage_of_the_other_replica_excuses_nothing() -> None:
    """Only what concerns the replica itself, and the list of pods, is a reason not to know an agent."""
    for gone_wrong in (
        Happened(Kind.API_HUNG, "two", MADE - 40, MADE),
        Happened(Kind.CLOUDWATCH_CUT, "one", MADE - 40, MADE),
    ):
        assert wrong(invariants.all_read(replace(seen(AGENT), agents=()), facts(gone_wrong=gone_wrong)))


@pytest.mark.parametrize(
    ("faults", "since", "blind"),
    [
        ([(0, 4)], 13, True),
        ([(0, 4)], 15, False),
        ([(0, 40)], 69, True),
        ([(0, 40)], 71, False),
        ([(0, 6), (20, 26)], 51, True),
        ([(0, 6), (20, 26)], 53, False),
        ([(0, 6), (200, 206)], 219, True),
        ([(0, 6), (200, 206)], 221, False),
        ([(50, float("inf"))], 55, True),
        ([(50, float("inf"))], 48, True),
    ],
)
def test_a_list_is_asked_for_again_after_a_pause(faults: list[tuple[float, float]], since: float, blind: bool) -> None:
    """The pause after failures is as long as all of them that follow each other, and half a minute at most."""
    happenings = Happenings([Happened(Kind.API_HUNG, "one", *span) for span in faults])
    given = replace(facts(), happenings=happenings)
    assert given.blind("one", since, since + 5) is blind
    assert not given.blind("two", since, since + 5)
