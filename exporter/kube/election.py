"""Leader election: one of several replicas works, the others stand by.

All candidates compete for one Lease. Its holder runs the work, renews the Lease, and stops the work before another
candidate can take over. Independent of what the work is.

The guarantee: `is_leader()` is true in at most one process at any instant, as long as no two machines' clocks differ in
rate by more than lease_duration / renew_deadline (1.5 by default). A leader counts from when it *sent* its last
successful renewal; the others count a longer time from when they *observed* it, which is later. Clock readings of two
machines are never compared. This is not fencing: what was started while `is_leader()` was true may end after it is
false. docs/leadership.md describes the consequences.
"""

import asyncio
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

import structlog

from exporter.kube.api import ApiError, Json, KubeError, KubeObjects
from exporter.kube.lease import Action, LeaseRecord, LeaseStore, claimed, decide, released
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

STOP_SECONDS = 2.0
"""How long the work may take to stop at shutdown, so that a SIGTERM is handled within 5 s."""
RELEASE_SECONDS = 2.0
"""How long releasing the Lease may take then. Otherwise the others wait for `lease_duration`, nothing worse."""
JITTER = 0.2
"""Each pause is longer by up to this share, so that replicas started together do not stay synchronized."""

_CHANGED_MEANWHILE = (404, 409)
_UNFIT = "this replica cannot do the work; another may"
_NEVER = float("-inf")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Only Linux has both; on other systems the one clock includes suspended time."""

Work = Callable[[], Coroutine[Any, Any, None]]


class ElectionSettings(Protocol):
    """The times of an election, in seconds: retry_period < renew_deadline < lease_duration."""

    @property
    def lease_name(self) -> str:
        """Name of the Lease object."""

    @property
    def lease_duration(self) -> float:
        """How long the others wait for a leader that does not renew."""

    @property
    def renew_deadline(self) -> float:
        """After this long without a renewal the leader stops its work."""

    @property
    def retry_period(self) -> float:
        """Time between two attempts."""


class Leadership(Protocol):
    """Whether this process is the leader, and how to run work only then."""

    def is_leader(self) -> bool:
        """Return whether this process is the leader right now. Check before every leader-only step."""

    def fit_leader(self) -> str | None:
        """Return another process that leads and can do the work, as far as known; else None."""

    async def run(self, work: Work) -> None:
        """Run `work` whenever this process leads. Ends only when the work does: returns, or raises what it raised."""


class StuckWorkError(Exception):
    """The work did not stop when cancelled; the process must exit, because another may be the leader by now."""


def _unobserved(_leads: bool) -> None:
    """Default for `on_change`: do nothing."""


def suspend_aware_clock() -> float:
    """Return monotonic seconds that include time in suspend.

    CLOCK_MONOTONIC, which asyncio and time.monotonic use, stops during suspend on Linux: a machine that resumes after
    an hour would still consider itself the leader.
    """
    return time.clock_gettime(_CLOCK)


def pod_name(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of this process' pod; the machine's elsewhere."""
    return environ.get("HOSTNAME") or socket.gethostname()


def new_identity(environ: Mapping[str, str] = os.environ) -> str:
    """Return a unique identity for this process: the pod's name, and a random part for a restart in the same pod."""
    return f"{pod_name(environ)}_{secrets.token_hex(4)}"


class SoleLeader:
    """Always the leader: for a process without replicas, without Kubernetes, or with the election disabled."""

    def __init__(self, on_change: Callable[[bool], None] = _unobserved) -> None:
        self._on_change = on_change
        self._leads = False

    def is_leader(self) -> bool:
        """Return whether the work is running."""
        return self._leads

    def fit_leader(self) -> str | None:
        """Return None: there is no other process."""
        return None

    async def run(self, work: Work) -> None:
        """Run `work`."""
        self._leads = True
        self._on_change(True)
        try:
            await work()
        finally:
            self._leads = False
            self._on_change(False)


class _Round(Enum):
    """Result of one attempt to acquire or renew the Lease."""

    HELD = "held"
    OTHERS = "another replica holds it"
    FAILED = "no reliable response"


class LeaderElection:
    """A candidate in the election for one Lease."""

    def __init__(
        self,
        settings: ElectionSettings,
        api: KubeObjects,
        namespace: str,
        identity: str,
        *,
        on_change: Callable[[bool], None] = _unobserved,
        fit: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = suspend_aware_clock,
        rng: random.Random | None = None,
    ) -> None:
        """Compete for the Lease `settings.lease_name` in `namespace`, with a unique `identity`.

        `on_change` is called on the event loop when this process becomes or ceases to be the leader. `fit` returns
        whether the work can be done here: a leader that is not fit releases the Lease, once, and takes it back only if
        no other candidate does. `clock` returns monotonic seconds, and must not stop unless the other candidates stop
        too.
        """
        self._settings = settings
        # Half the deadline, as in client-go: a hanging request leaves time for another on a new connection.
        self._store = LeaseStore(api, namespace, settings.lease_name, settings.renew_deadline / 2)
        self._me = identity
        self._on_change = on_change
        self._fit = fit
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 — it spreads load, it keeps no secret
        self._log = _log.bind(lease=str(self._store), identity=identity)
        self._trouble = Trouble(
            self._log, "the lease cannot be read or written; will retry", "the lease can be read and written again"
        )
        self._leading = False
        self._valid_until = _NEVER
        self._unfinished = False
        """Whether cancelled work may still be running."""
        self._stored: Json | None = None
        """The Lease as stored by our last write; None if it must be read."""
        self._may_be_ours = False
        """Whether the stored Lease may name us: it does, or the result of a write is unknown."""
        self._record: LeaseRecord | None = None
        """The last observed record. It outlives the object: the holder of a deleted Lease is waited for too."""
        self._observed_at = _NEVER

    def is_leader(self) -> bool:
        """Return whether this process is the leader right now.

        Computed from the clock, not from the progress of the event loop: false once the renew deadline has passed, even
        if the loop was blocked or the process was stopped.
        """
        return self._leading and self._left() > 0

    def fit_leader(self) -> str | None:
        """Return another process that leads and can do the work, by the last observed record; else None."""
        record = self._record
        if record is None or not record.fit or not record.holder or self._action(fit=True) is not Action.STAND_BY:
            return None
        return record.holder

    async def run(self, work: Work) -> None:
        """Run `work` whenever this process leads, and cancel it when it does not.

        Returns when the work returns, and raises what the work raises. When cancelled, it stops the work first and then
        releases the Lease. No answer of the API server ends it. Raises StuckWorkError if the work does not stop.
        """
        try:
            while True:
                await self._acquire()
                if await self._lead(work):
                    return
        finally:
            if self._may_be_ours and not self._unfinished:
                await self._release()

    async def _acquire(self) -> None:
        while True:
            if await self._round() is _Round.HELD and self._left() > 0:
                return
            await asyncio.sleep(self._pause())

    async def _lead(self, work: Work) -> bool:
        """Run the work until leadership is lost; return whether the work ended by itself, or raise what it raised."""
        self._leading = True
        self._log.info("leadership gained")
        self._on_change(True)
        working = asyncio.create_task(work(), name="leader's work")
        renewing = asyncio.create_task(self._renew(), name="lease renewal")
        try:
            loss = await self._hold(working, renewing)
        except BaseException:  # a stop, or a defect in the renewal: in no case does the work go on alone
            await self._step_down(working, renewing, STOP_SECONDS)
            _log_failure(self._log, working)
            raise
        margin = self._settings.lease_duration - self._settings.renew_deadline
        await self._step_down(working, renewing, margin, loss)
        if self._unfinished:
            raise StuckWorkError(f"The leader's work did not end within {margin:g} s after the leadership was lost.")
        if loss is None or not working.cancelled():
            working.result()
        if loss == _UNFIT:
            await self._pass_on()
        return loss is None

    async def _hold(self, working: asyncio.Task[None], renewing: asyncio.Task[None]) -> str | None:
        """Wait until leadership is lost, and return why; or until the work has ended (None)."""
        # Acquired although unfit, as no other candidate did: kept until this process was fit and no longer is.
        kept = not self._fit()
        while not (working.done() or renewing.done()) and (left := self._left()) > 0:
            # In steps: timers stop while the machine is suspended, so a long one could fire far too late.
            step = min(left, self._settings.retry_period)
            await asyncio.wait((working, renewing), timeout=step, return_when=asyncio.FIRST_COMPLETED)
            fit = self._fit()
            kept = kept and not fit
            if not (fit or kept or working.done() or renewing.done()):
                return _UNFIT
        if working.done():
            return None
        if renewing.done():
            renewing.result()
            return "another replica holds the lease"
        return f"the lease could not be renewed for {self._settings.renew_deadline:g} s"

    async def _step_down(
        self, working: asyncio.Task[None], renewing: asyncio.Task[None], within: float, loss: str | None = None
    ) -> None:
        """Stop leading: `is_leader()` is false from the first line on, and the work stops before anything else."""
        self._leading = False
        self._valid_until = _NEVER
        working.cancel()
        renewing.cancel()
        self._on_change(False)
        if loss is not None:
            self._log.warning("leadership lost", reason=loss)
        self._unfinished = True
        await asyncio.wait((working, renewing), timeout=within)
        self._unfinished = not working.done()
        if self._unfinished:
            self._log.critical("the leader's work does not end after its cancellation", waited_seconds=within)

    async def _renew(self) -> None:
        """Renew the Lease; returns when another candidate has it."""
        while True:
            await asyncio.sleep(self._pause())
            if await self._round() is _Round.OTHERS:
                return

    async def _round(self) -> _Round:
        """Try once to acquire or renew the Lease."""
        try:
            held = await self._try()
        except KubeError as error:
            self._trouble.report(error.kind, **error.fields(self._store.grant))
            return _Round.FAILED
        self._trouble.resolve()
        return _Round.HELD if held else _Round.OTHERS

    async def _try(self) -> bool:
        try:
            return await self._claim_if_free()
        except ApiError as error:
            if error.status not in _CHANGED_MEANWHILE:
                raise
        # Another candidate was faster, or an earlier write of ours succeeded although its answer was lost.
        return await self._claim_if_free()

    async def _claim_if_free(self) -> bool:
        lease = self._stored or await self._read()
        fit = self._fit()
        if self._action(fit=fit) is Action.STAND_BY:
            return False
        # Whatever the write's result: only a successful response shows what is stored.
        self._stored = None
        self._may_be_ours = True
        sent = self._clock()
        duration, wall = self._settings.lease_duration, datetime.now(UTC)
        claim = claimed(lease or self._store.new(), self._me, duration, wall, fit=fit)
        self._stored = await self._store.write(claim)
        self._observe(self._stored)
        self._valid_until = sent + self._settings.renew_deadline
        return True

    def _action(self, *, fit: bool) -> Action:
        duration = self._settings.lease_duration
        return decide(self._record, self._observed_at, self._clock(), self._me, duration, fit=fit)

    async def _read(self) -> Json | None:
        lease = await self._store.read()
        if lease is not None:
            self._observe(lease)
        return lease

    def _observe(self, lease: Json) -> None:
        """Record the Lease; time counts from the first observation of each record."""
        record = LeaseRecord.of(lease)
        if record == self._record:
            return
        before, self._record, self._observed_at = self._record, record, self._clock()
        self._may_be_ours = record.holder == self._me
        if not self._may_be_ours:
            self._valid_until = _NEVER
        if record.holder not in ("", self._me) and (before is None or before.holder != record.holder):
            self._log.info("standing by", leader=record.holder)

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._free()
        except (KubeError, TimeoutError) as error:
            reason = str(error) or f"no response within {RELEASE_SECONDS:g} s"
            self._log.warning("lease not released; other replicas wait until it expires", error=reason)

    async def _pass_on(self) -> None:
        """Release the Lease while this process keeps running. If that fails, it eventually expires."""
        while self._may_be_ours:
            try:
                await self._free()
            except KubeError as error:
                self._trouble.report(error.kind, **error.fields(self._store.grant))
                await asyncio.sleep(self._pause())
            else:
                self._trouble.resolve()

    async def _free(self) -> None:
        """Write the Lease without a holder, if it exists and is ours. Raises KubeError."""
        lease, self._stored = self._stored or await self._read(), None
        if lease is not None and LeaseRecord.of(lease).holder == self._me:
            self._observe(await self._store.write(released(lease, datetime.now(UTC))))
            self._log.info("leadership released")
        self._may_be_ours = False

    def _left(self) -> float:
        """Seconds until the renew deadline; negative when it has passed."""
        return self._valid_until - self._clock()

    def _pause(self) -> float:
        return self._settings.retry_period * self._rng.uniform(1.0, 1.0 + JITTER)


def _log_failure(log: structlog.stdlib.BoundLogger, working: asyncio.Task[None]) -> None:
    """Log how the work failed during shutdown; the cancellation continues."""
    if working.done() and not working.cancelled() and (error := working.exception()) is not None:
        log.error("the leader's work failed while it was being stopped", exc_info=error)
