"""The election in virtual time, against a Lease in memory: who works when, whatever goes wrong."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.fakes.lease_api import LATENCY, LeaseServer, LineFault
from tests.kube.lease_replicas import Replica, Times, leading, now

pytestmark = pytest.mark.looptime

CARRIED_OUT = {LineFault.LOST, LineFault.LATE, LineFault.SLOW}
"""Faults after which the lease is renewed all the same."""
MAX_PAUSE = 2.4
"""Retry period with all of its jitter."""


async def test_first_candidate_creates_the_lease_and_works(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """A missing lease is created at once; the work begins with it, and the record says who, for how long."""
    replica = await leading(replicas)
    assert replica.began[0] <= 5 * LATENCY
    assert replica.election.is_leader()
    assert replica.heard == [(replica.began[0], True)]
    assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("a", 15)
    assert server.spec["leaseTransitions"] == 0


async def test_leader_renews_with_one_request_each_retry_period(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """A leader that is let alone stays, and sends one PUT each 2 to 2.4 s."""
    replica = await leading(replicas)
    await asyncio.sleep(600)
    assert len(replica.began) == 1
    assert not replica.ended
    methods = [method for _, method in replica.line.requests]
    assert methods[:2] == ["GET", "POST"]
    assert set(methods[2:]) == {"PUT"}
    assert 600 / (MAX_PAUSE + 2 * LATENCY) <= len(methods[2:]) <= 600 / 2


@pytest.mark.slow
async def test_others_stand_by_for_as_long_as_the_leader_lives(replicas: Callable[..., Replica]) -> None:
    """Of three replicas one works, for ten minutes, and the others log once whom they wait for."""
    with capture_logs() as logs:
        first = await leading(replicas, "a")
        others = [replicas("b"), replicas("c")]
        await asyncio.sleep(600)
    assert first.works
    assert not any(other.began for other in others)
    assert [entry["event"] for entry in logs] == ["leadership gained", "standing by", "standing by"]
    assert {entry.get("leader") for entry in logs[1:]} == {"a"}


async def test_released_lease_is_taken_over_within_a_retry_period(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """A leader asked to stop ends its work, then frees the lease; the next works within seconds."""
    first = await leading(replicas, "a")
    second = replicas("b")
    await asyncio.sleep(5)
    stopped_at = now()
    await first.stop()
    assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("", 1)
    assert first.heard[-1][1] is False
    await asyncio.sleep(MAX_PAUSE + 5 * LATENCY)
    assert second.works
    assert stopped_at <= first.ended[0] <= second.began[0]
    assert server.spec["leaseTransitions"] == 1


async def test_crashed_leader_is_followed_when_its_lease_has_run_out(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Without a release the next waits the lease out, counted from its own last sight of a change."""
    first = await leading(replicas, "a")
    second = replicas("b")
    await asyncio.sleep(30)
    first.line.fault = lambda method: LineFault.HANG
    silent_since = now()
    await asyncio.sleep(15 + 2 * MAX_PAUSE)
    assert second.works
    assert second.began[0] >= silent_since + 15 - MAX_PAUSE


@pytest.mark.parametrize("fault", sorted(set(LineFault) - CARRIED_OUT))
async def test_leader_that_cannot_renew_stops_first(fault: LineFault, replicas: Callable[..., Replica]) -> None:
    """Whatever goes wrong with the API: after the renew deadline the work is cancelled, before any other can begin."""
    first = await leading(replicas, "a")
    second = replicas("b")
    await asyncio.sleep(30)
    last = max(moment for moment, _ in first.line.requests)
    first.line.fault = lambda method: fault
    await asyncio.sleep(60)
    assert first.ended[0] == pytest.approx(last + 10, abs=0.05)
    assert first.ended[0] + 4.9 <= second.began[0]
    assert second.works
    assert first.task is not None
    assert not first.task.done(), "it stands by"


@pytest.mark.parametrize("fault", list(LineFault))
async def test_short_trouble_costs_no_leadership(fault: LineFault, replicas: Callable[..., Replica]) -> None:
    """Trouble shorter than the renew deadline leaves the work alone, and is logged once when it begins and ends."""
    first = await leading(replicas, "a")
    second = replicas("b")
    await asyncio.sleep(30)
    with capture_logs() as logs:
        first.line.fault = lambda method: fault
        await asyncio.sleep(4)
        first.line.fault = lambda method: None
        await asyncio.sleep(60)
    assert first.works
    assert len(first.began) == 1
    assert not second.began
    troubles = [entry["log_level"] for entry in logs]
    assert troubles in ([], ["warning", "info"])


async def test_hung_request_is_given_up_in_time_for_another(replicas: Callable[..., Replica]) -> None:
    """One request that never gets an answer does not use up the renew deadline."""
    first = await leading(replicas, "a")
    await asyncio.sleep(30)
    faults = iter([LineFault.HANG])
    first.line.fault = lambda method: next(faults, None)
    await asyncio.sleep(60)
    assert len(first.began) == 1
    assert first.works


async def test_lost_answer_is_found_out_by_reading_again(server: LeaseServer, replicas: Callable[..., Replica]) -> None:
    """An update that was carried out although its answer was lost leads to a read, not to a fight with oneself."""
    first = await leading(replicas, "a")
    await asyncio.sleep(30)
    faults = iter([LineFault.LOST])
    first.line.fault = lambda method: next(faults, None)
    before = len(first.line.requests)
    await asyncio.sleep(20)
    assert [method for _, method in first.line.requests[before : before + 3]] == ["PUT", "GET", "PUT"]
    assert len(first.began) == 1
    assert server.spec["leaseTransitions"] == 0


async def test_lost_answer_to_the_first_claim_still_gives_the_lease(replicas: Callable[..., Replica]) -> None:
    """A candidate whose creation was carried out unseen finds its own name there and works."""
    replica = Replica(LeaseServer(), "a")
    faults = iter([None, LineFault.LOST])
    replica.line.fault = lambda method: next(faults, None)
    replica.start()
    await asyncio.sleep(10)
    assert replica.works
    await replica.stop()


async def test_slow_answer_prolongs_nothing(replicas: Callable[..., Replica]) -> None:
    """The deadline counts from when the renewal was sent: the others may have seen it that early."""
    first = await leading(replicas, "a")
    await asyncio.sleep(30)
    faults = iter([LineFault.SLOW])
    first.line.fault = lambda method: next(faults, LineFault.HANG)
    before = len(first.line.requests)
    await asyncio.sleep(20)
    assert first.ended[0] == pytest.approx(first.line.requests[before][0] + 10, abs=0.05)


async def test_foreign_edit_is_no_loss(server: LeaseServer, replicas: Callable[..., Replica]) -> None:
    """Somebody who labels the lease makes the next update conflict; it is read again and renewed in the same breath."""
    first = await leading(replicas, "a")
    server.edit()
    with capture_logs() as logs:
        await asyncio.sleep(30)
    assert len(first.began) == 1
    assert first.works
    assert logs == []


async def test_lease_taken_by_another_ends_the_work_at_the_next_renewal(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """A leader that finds another's name in its lease stops at once; it does not wait for its deadline."""
    first = await leading(replicas, "a")
    server.edit(holderIdentity="x", renewTime="whenever")
    with capture_logs() as logs:
        await asyncio.sleep(MAX_PAUSE + 5 * LATENCY)
    assert not first.works
    assert not first.election.is_leader()
    lost = [entry for entry in logs if entry["event"] == "leadership lost"]
    assert [entry["reason"] for entry in lost] == ["another replica holds the lease"]


async def test_deleted_lease_is_made_again_by_its_leader_and_taken_by_no_other(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Deleting the lease changes nothing: those who stand by remember the leader, and the leader writes it anew."""
    first = await leading(replicas, "a")
    others = [replicas(name) for name in "bcd"]
    await asyncio.sleep(30)
    for _ in range(20):
        server.lease = None
        await asyncio.sleep(5)
    assert len(first.began) == 1
    assert first.works
    assert not any(other.began for other in others)


async def test_paused_process_is_no_leader_from_its_first_instant_on(replicas: Callable[..., Replica]) -> None:
    """After a pause the clock alone says that the deadline has passed, before any timer or task had its turn."""
    skipped = 0.0
    replica = replicas("a", clock=lambda: now() + skipped)
    await asyncio.sleep(30)
    assert replica.election.is_leader()
    skipped = 3600.0  # suspended for an hour: asyncio's own clock has not moved
    assert not replica.election.is_leader()
    assert replica.works, "nothing had its turn yet"
    await asyncio.sleep(Times.retry_period)
    assert replica.ended, "found out within a retry period, although the loop's timers know of no pause"
    await asyncio.sleep(MAX_PAUSE)
    assert replica.election.is_leader(), "nobody had taken the lease"
