"""A leader that cannot do its work, in virtual time: it makes room once, and somebody leads all the same."""

import asyncio
import random
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.fakes.lease_api import LATENCY, LeaseServer, LineFault
from tests.kube.lease_replicas import Replica, Times, leading, now

pytestmark = pytest.mark.looptime

MAX_PAUSE = 2.4
"""Retry period with all of its jitter."""
TAKEN = 2 * MAX_PAUSE + 5 * LATENCY
"""Seconds in which a leader notices that it is not fit and another one takes over."""
PATIENCE = Times().lease_duration
"""Seconds for which a free lease is left to those that are fit."""


async def test_a_leader_that_is_not_fit_makes_room_for_one_that_is(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """The work ends before the other's begins, and the first does not come back as long as the other leads."""
    first = await leading(replicas, "a")
    second = replicas("b")
    await asyncio.sleep(10)
    with capture_logs() as logs:
        first.fit = False
        await asyncio.sleep(TAKEN)
    assert second.works
    assert first.ended[0] <= second.began[0]
    assert [entry["event"] for entry in logs] == [
        "leadership lost",
        "leadership released",
        "leadership gained",
        "standing by",
    ]
    assert logs[0]["reason"] == "this replica cannot do the work; another may"
    await asyncio.sleep(600)
    first.fit = True
    await asyncio.sleep(600)
    assert (len(first.began), len(second.began)) == (1, 1)
    assert server.spec["leaseTransitions"] == 1


async def test_alone_it_leads_again_after_a_while_and_stays(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Somebody must lead: nobody else takes the lease, so it is given up once for each time of not being fit."""
    replica = await leading(replicas)
    for term in (1, 2):
        replica.fit = False
        lost_at = now()
        await asyncio.sleep(600)
        assert len(replica.ended) == term
        gap = replica.began[term] - replica.ended[term - 1]
        assert PATIENCE <= gap <= PATIENCE + TAKEN
        assert replica.began[term] - lost_at <= PATIENCE + 2 * TAKEN
        replica.fit = True
        await asyncio.sleep(600)
        assert (len(replica.began), len(replica.ended)) == (term + 1, term)
    assert server.spec["leaseTransitions"] == 2


async def test_of_two_that_are_not_fit_one_leads_and_keeps_it(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """One cause for both costs one change of leader and a gap of seconds; until one is fit, when nothing changes."""
    both = [await leading(replicas, "a"), replicas("b")]
    await asyncio.sleep(10)
    for replica in both:
        replica.fit = False
    await asyncio.sleep(PATIENCE + 2 * TAKEN)
    assert [replica.works for replica in both].count(True) == 1
    await asyncio.sleep(600)
    assert sum(len(replica.began) for replica in both) == 2
    assert server.spec["leaseTransitions"] == 1
    for replica in both:
        replica.fit = True
    await asyncio.sleep(600)
    assert sum(len(replica.began) for replica in both) == 2


async def test_one_that_is_not_fit_waits_longer_for_a_crashed_leader(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """The lease runs out first; then it is left to others for as long again."""
    first = await leading(replicas, "a")
    second = replicas("b")
    second.fit = False
    await asyncio.sleep(10)
    first.line.fault = lambda method: LineFault.HANG
    crashed_at = now()
    await asyncio.sleep(2 * PATIENCE - MAX_PAUSE)
    assert not second.began
    await asyncio.sleep(2 * TAKEN)
    assert second.works
    assert 2 * PATIENCE - MAX_PAUSE <= second.began[0] - crashed_at <= 2 * PATIENCE + TAKEN


@pytest.mark.parametrize("fault", [LineFault.REFUSED, LineFault.CONFLICT, LineFault.LOST, LineFault.LATE])
async def test_giving_up_is_tried_until_it_is_done(
    fault: LineFault, server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Whatever becomes of the write that frees the lease, the work has ended and the other one leads."""
    first = await leading(replicas, "a")
    second = replicas("b")
    await asyncio.sleep(10)
    first.fit = False
    first.line.fault = lambda method: fault
    await asyncio.sleep(MAX_PAUSE + LATENCY)
    assert not first.works
    await asyncio.sleep(5)
    first.line.fault = lambda method: None
    await asyncio.sleep(2 * PATIENCE)
    assert second.works
    assert first.ended[0] <= second.began[0]
    await asyncio.sleep(600)
    assert len(first.began) == 1


async def test_a_stop_while_it_gives_up_still_frees_the_lease(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Asked to end while the API server is away, it ends in time and has freed the lease if it could."""
    first = await leading(replicas, "a")
    first.fit = False
    first.line.fault = lambda method: LineFault.REFUSED
    await asyncio.sleep(2 * MAX_PAUSE)
    first.line.fault = lambda method: None
    await first.stop()
    assert server.spec["holderIdentity"] == ""


async def test_the_others_know_whether_the_leader_is_fit(server: LeaseServer, replicas: Callable[..., Replica]) -> None:
    """A fit leader is named to those that stand by, never to itself; not one that is unfit, gone, or not seen."""
    first = await leading(replicas, "a")
    second = replicas("b")
    assert second.election.fit_leader() is None
    await asyncio.sleep(10)
    assert (first.election.fit_leader(), second.election.fit_leader()) == (None, "a")

    # Both are not fit: one of them leads again, and says so of itself.
    first.fit = second.fit = False
    await asyncio.sleep(2 * PATIENCE)
    assert (first.election.fit_leader(), second.election.fit_leader()) == (None, None)
    leader, other = (first, second) if first.works else (second, first)
    leader.fit = True
    await asyncio.sleep(TAKEN)
    assert (leader.election.fit_leader(), bool(other.election.fit_leader())) == (None, True)

    # Who no longer hears of it does not go on believing it.
    other.line.fault = lambda method: LineFault.REFUSED
    await asyncio.sleep(PATIENCE + 1)
    assert other.election.fit_leader() is None


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_fit_and_when_exactly_one_works(seed: int, replicas: Callable[..., Replica]) -> None:
    """Three replicas lose and regain their fitness at random: each gives up at most once for each time it was lost."""
    chance = random.Random(seed)  # noqa: S311 — a scenario
    all_three = [replicas(name) for name in "abc"]
    losses, idle_since, longest = 0, now(), 0.0
    for _ in range(40):
        replica = chance.choice(all_three)
        losses += replica.fit
        replica.fit = not replica.fit
        for _ in range(chance.randrange(1, 90)):
            await asyncio.sleep(0.5)
            working = [each.works for each in all_three].count(True)
            assert working <= 1
            assert all(each.election.fit_leader() is None for each in all_three if each.works)
            idle_since = now() if working else idle_since
            longest = max(longest, now() - idle_since)
    assert sum(len(each.ended) for each in all_three) <= losses
    assert longest <= PATIENCE + 2 * TAKEN
