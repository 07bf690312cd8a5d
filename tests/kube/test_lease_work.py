"""How the work of a leader ends, and what becomes of the lease then."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from exporter.kube.election import LeaderElection, StuckWorkError
from tests.fakes.lease_api import LeaseServer, Line, LineFault
from tests.kube.lease_replicas import Replica, Times, leading, now

pytestmark = pytest.mark.looptime


async def test_work_that_returns_ends_the_election(server: LeaseServer, replicas: Callable[..., Replica]) -> None:
    """A work that is done is not begun again; the lease is free for another."""
    replica = await leading(replicas)
    replica.finish.set()
    assert replica.task is not None
    await replica.task
    assert not replica.election.is_leader()
    assert server.spec["holderIdentity"] == ""


async def test_work_that_fails_fails_the_election(server: LeaseServer, replicas: Callable[..., Replica]) -> None:
    """An error of the work is not swallowed; the lease is given up first."""
    replica = await leading(replicas)
    replica.fails = RuntimeError("spool")
    replica.finish.set()
    assert replica.task is not None
    with pytest.raises(RuntimeError, match="spool"):
        await replica.task
    assert server.spec["holderIdentity"] == ""
    assert replica.heard[-1][1] is False


async def test_work_that_fails_while_it_is_stopped_is_not_swallowed(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """An error on the way out after a loss ends the election too."""
    failure = RuntimeError("closing")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise failure

    election = LeaderElection(Times(), Line(server), "m", "a", clock=now)
    task = asyncio.create_task(election.run(work), name="election")
    await asyncio.sleep(1)
    server.edit(holderIdentity="x")
    with pytest.raises(RuntimeError, match="closing"):
        await task


async def test_work_that_fails_during_shutdown_is_logged_and_the_cancellation_goes_on(server: LeaseServer) -> None:
    """A stop stays a stop; how the work failed stands in the log."""

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("closing")

    election = LeaderElection(Times(), Line(server), "m", "a", clock=now)
    task = asyncio.create_task(election.run(work), name="election")
    await asyncio.sleep(1)
    task.cancel()
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await task
    assert [str(entry["exc_info"]) for entry in logs if entry["log_level"] == "error"] == ["closing"]


async def test_slow_end_is_awaited_before_the_lease_is_released(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """The lease is given up only after the work has really ended."""
    replica = await leading(replicas)
    replica.stopping = 1.5
    begun = now()
    await replica.stop()
    assert replica.ended[0] == pytest.approx(begun + 1.5)
    assert server.spec["holderIdentity"] == ""


async def test_stuck_work_ends_the_process_and_keeps_the_lease(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Work that goes on after its cancellation is an error that ends run(), before another can lead."""
    replica = await leading(replicas)
    replica.stopping = 60.0
    replica.line.fault = lambda method: LineFault.REFUSED
    begun = now()
    assert replica.task is not None
    with pytest.raises(StuckWorkError):
        await replica.task
    assert now() <= begun + 15.0
    assert server.spec["holderIdentity"] == "a", "a work that may still go on is no reason to let another one in"
    await asyncio.sleep(60)


async def test_stop_of_stuck_work_is_bounded_and_keeps_the_lease(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """A process asked to stop does not wait for ever, and frees nothing that may still be used."""
    replica = await leading(replicas)
    replica.stopping = 60.0
    begun = now()
    await replica.stop()
    assert now() <= begun + 2.1
    assert server.spec["holderIdentity"] == "a"
    await asyncio.sleep(60)


async def test_second_stop_while_work_is_ending_keeps_the_lease(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Who is cancelled again while it waits for its work frees nothing, since the work may still go on."""
    replica = await leading(replicas)
    replica.stopping = 1.0
    assert replica.task is not None
    replica.task.cancel()
    await asyncio.sleep(0.5)
    await replica.stop()
    assert replica.works
    assert server.spec["holderIdentity"] == "a"
    await asyncio.sleep(1)


async def test_defect_in_the_renewal_stops_the_work(replicas: Callable[..., Replica]) -> None:
    """An error that nobody foresaw ends the election loudly, and the work with it."""
    replica = await leading(replicas)

    def defect(_: str) -> LineFault:
        raise ZeroDivisionError

    replica.line.fault = defect
    assert replica.task is not None
    with pytest.raises(ZeroDivisionError):
        await replica.task
    assert not replica.works
    assert not replica.election.is_leader()


async def test_stop_with_the_api_away_is_bounded(replicas: Callable[..., Replica]) -> None:
    """A release that gets no answer is given up within two seconds, and said."""
    replica = await leading(replicas)
    replica.line.fault = lambda method: LineFault.HANG
    begun = now()
    with capture_logs() as logs:
        await replica.stop()
    assert now() <= begun + 2.1
    assert [entry["event"] for entry in logs] == ["lease not released; other replicas wait until it expires"]


async def test_stop_amid_an_unanswered_claim_frees_the_lease(server: LeaseServer) -> None:
    """A candidate stopped while the answer to its claim is out reads the lease, and frees it if it is its own."""
    replica = Replica(server, "a")
    replica.line.fault = lambda method: LineFault.LOST if method == "POST" else None
    replica.start()
    await asyncio.sleep(1)
    assert server.spec["holderIdentity"] == "a"
    assert not replica.began
    await replica.stop()
    assert server.spec["holderIdentity"] == ""


async def test_stop_of_one_that_stands_by_touches_nothing(
    server: LeaseServer, replicas: Callable[..., Replica]
) -> None:
    """Only the holder writes."""
    await leading(replicas, "a")
    second = replicas("b")
    await asyncio.sleep(10)
    await second.stop()
    assert {method for _, method in second.line.requests} == {"GET"}
    assert server.spec["holderIdentity"] == "a"


async def test_refused_permission_is_named_and_tried_again(replicas: Callable[..., Replica]) -> None:
    """Without the right there is no leadership, one line that says what to grant, and no crash; then it works."""
    replica = replicas("a")
    replica.line.fault = lambda method: LineFault.FORBIDDEN
    with capture_logs() as logs:
        await asyncio.sleep(300)
        assert not replica.began
        replica.line.fault = lambda method: None
        await asyncio.sleep(5)
    assert replica.works
    assert [entry["log_level"] for entry in logs] == ["warning", "info", "info"]
    assert 'verbs: ["get", "create", "update"]' in logs[0]["fix"]
