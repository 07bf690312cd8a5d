"""The election in virtual time, against a Lease in memory: who works when, and how the work ends."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from exporter.kube.election import LeaderElection, StuckWorkError
from tests.fakes.lease_api import LATENCY, LeaseServer, Line, LineFault

pytestmark = pytest.mark.looptime

CARRIED_OUT = {LineFault.LOST, LineFault.LATE, LineFault.SLOW}
"""Faults after which the lease is renewed all the same."""
LONGEST_PAUSE = 2.4
"""Retry period with all of its jitter."""


@dataclass(frozen=True)
class Times:
    """The default times."""

    lease_name: str = "exporter"
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


class Replica:
    """One candidate, and the times at which its work began and ended and at which its observer heard of a change."""

    def __init__(self, server: LeaseServer, name: str, *, clock: Callable[[], float] | None = None) -> None:
        self.line = Line(server)
        self.began: list[float] = []
        self.ended: list[float] = []
        self.heard: list[tuple[float, bool]] = []
        self.finish = asyncio.Event()
        """Lets the work return, or fail with `fails`."""
        self.fails: Exception | None = None
        self.stopping = 0.0
        """Seconds the work takes to end once it was cancelled."""
        self.clock = clock or now
        self.election = LeaderElection(
            Times(),
            self.line,
            "m",
            name,
            on_change=self._heard,
            clock=self.clock,
            rng=random.Random(name),  # noqa: S311 — jitter
        )
        self.task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.election.run(self.work), name=self.election._me)
        return self.task

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def work(self) -> None:
        self.began.append(now())
        try:
            await self.finish.wait()
            if self.fails:
                raise self.fails
        except asyncio.CancelledError:
            assert not self.election.is_leader(), "first nobody is told otherwise, then the work is cancelled"
            await asyncio.sleep(self.stopping)
            raise
        finally:
            self.ended.append(now())

    def _heard(self, leads: bool) -> None:
        self.heard.append((now(), leads))

    @property
    def works(self) -> bool:
        return len(self.began) > len(self.ended)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def server() -> AsyncIterator[LeaseServer]:
    held = LeaseServer()
    yield held
    held.stop()


@pytest.fixture
async def replicas(server: LeaseServer) -> AsyncIterator[Callable[..., Replica]]:
    """Start candidates; they end with the test."""
    started: list[Replica] = []

    def start(name: str, clock: Callable[[], float] | None = None) -> Replica:
        replica = Replica(server, name, clock=clock)
        started.append(replica)
        replica.start()
        return replica

    yield start
    for replica in started:
        replica.line.fault = lambda method: None  # virtual time ends with the test
        assert replica.task is not None
        if not replica.task.done():
            await replica.stop()


async def leading(start: Callable[..., Replica], name: str = "a") -> Replica:
    replica = start(name)
    await asyncio.sleep(1)
    assert replica.works
    return replica


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
    assert 600 / (LONGEST_PAUSE + 2 * LATENCY) <= len(methods[2:]) <= 600 / 2


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
    await asyncio.sleep(LONGEST_PAUSE + 5 * LATENCY)
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
    await asyncio.sleep(15 + 2 * LONGEST_PAUSE)
    assert second.works
    assert second.began[0] >= silent_since + 15 - LONGEST_PAUSE


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
        await asyncio.sleep(LONGEST_PAUSE + 5 * LATENCY)
    assert not first.works
    assert not first.election.is_leader()
    lost = [entry for entry in logs if entry["event"] == "leadership lost"]
    assert [entry["reason"] for entry in lost] == ["somebody else holds the lease"]


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
    await asyncio.sleep(LONGEST_PAUSE)
    assert replica.election.is_leader(), "nobody had taken the lease"


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
    assert [entry["event"] for entry in logs] == ["lease not released; the others wait until it runs out"]


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
