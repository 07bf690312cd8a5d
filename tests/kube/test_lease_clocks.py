"""Leaders over hours of virtual time, with random faults and clocks that run at different rates.

Each replica has a clock of its own, with another rate and another zero. Whether others lead is asked at every instant
at which one begins to, and twice a second besides.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.kube.election import LeaderElection
from tests.fakes.lease_api import LeaseServer, Line, LineFault
from tests.kube.lease_replicas import Times

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

HOURS = 0.3
STEP = 0.5
LIMIT = 15.0 / 10.0
"""lease_duration / renew_deadline: the ratio of clock rates up to which the promise holds."""


@dataclass
class Count:
    """What happened."""

    faults: int = 0
    leaderships: int = 0
    overlaps: int = 0
    led: int = 0
    """Samples in which somebody led."""
    samples: int = 0
    holders: set[str] = field(default_factory=set)
    replicas: list["Replica"] = field(default_factory=list)

    def look(self) -> None:
        """Ask every replica at this instant whether it leads."""
        leaders = {replica.name for replica in self.replicas if replica.election.is_leader()}
        self.samples += 1
        self.led += bool(leaders)
        self.overlaps += len(leaders) > 1
        self.holders |= leaders


def now() -> float:
    return asyncio.get_running_loop().time()


class Replica:
    """A candidate on a machine whose clock runs at `rate`, with trouble that comes and goes."""

    def __init__(self, server: LeaseServer, name: str, rate: float, rng: random.Random, count: Count) -> None:
        offset = rng.uniform(0, 1e6)
        self.rng = rng
        self.count = count
        self.name = name
        self.trouble: LineFault | None = None
        self.election = LeaderElection(
            Times(),
            Line(server, lambda method: self.trouble),
            "m",
            name,
            on_change=self._changed,
            clock=lambda: offset + rate * now(),
            rng=rng,
        )

    def _changed(self, leads: bool) -> None:
        self.count.leaderships += leads
        self.count.look()

    async def run(self) -> None:
        await self.election.run(self._work)

    async def suffer(self) -> None:
        """Be well for a while, then not, and so on."""
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / 20))
            self.count.faults += 1
            self.trouble = self.rng.choice(list(LineFault))
            await asyncio.sleep(self.rng.choice([1.0, 5.0, 12.0, 20.0, 40.0]) * self.rng.random())
            self.trouble = None

    async def _work(self) -> None:
        await asyncio.Event().wait()


async def watch(count: Count) -> None:
    """Look again and again."""
    while True:
        await asyncio.sleep(STEP)
        count.look()


async def live(rates: list[float], seed: int, hours: float = HOURS) -> Count:
    """Let replicas with these clock rates run against one Lease."""
    rng = random.Random(seed)  # noqa: S311 — the same faults every time
    server, count = LeaseServer(), Count()
    replicas = [Replica(server, f"replica-{n}", rate, rng, count) for n, rate in enumerate(rates)]
    count.replicas = replicas
    parts: list[Callable[[], Coroutine[Any, Any, None]]] = [each.run for each in replicas]
    parts += [each.suffer for each in replicas]
    with suppress(TimeoutError), capture_logs():
        async with asyncio.timeout(hours * 3600), asyncio.TaskGroup() as group:
            for number, part in enumerate(parts):
                group.create_task(part(), name=f"part {number}")
            group.create_task(watch(count), name="watch")
    server.stop()
    return count


@pytest.mark.parametrize(
    "rates",
    [[1.0, 1.0], [1.0, 1.0, 1.0], [0.9, 1.1], [1.1, 0.9], [1.0, 1.45], [1.45, 1.0], [0.82, 1.0, 1.2]],
    ids=str,
)
async def test_no_two_lead_while_clocks_differ_by_less_than_the_limit(rates: list[float]) -> None:
    """Through random faults, one every few seconds, at most one leads at any instant, and most of the time one does."""
    assert max(rates) / min(rates) < LIMIT
    count = await live(rates, seed=1)
    assert count.overlaps == 0
    assert count.faults > 40
    assert count.leaderships > 10
    assert len(count.holders) == len(rates), "each had its turn"
    assert count.led > count.samples / 2


async def test_the_limit_is_real() -> None:
    """With clocks further apart than the limit two do lead at once: the promise ends where it is said to end."""
    counts = [await live([0.5, 1.0], seed, hours=0.2) for seed in range(3)]
    assert sum(count.overlaps for count in counts) > 0
