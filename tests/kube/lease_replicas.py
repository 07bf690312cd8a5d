"""Candidates for one Lease in virtual time, and when each of them worked."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from exporter.kube.election import LeaderElection
from tests.fakes.lease_api import LeaseServer, Line


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
        self.fit = True
        """Whether its work can be done."""
        self.clock = clock or now
        self.election = LeaderElection(
            Times(),
            self.line,
            "m",
            name,
            on_change=self._heard,
            fit=lambda: self.fit,
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


async def leading(start: Callable[..., Replica], name: str = "a") -> Replica:
    replica = start(name)
    await asyncio.sleep(1)
    assert replica.works
    return replica
