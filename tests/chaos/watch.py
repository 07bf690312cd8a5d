"""Looks at the exporters from outside, all the time: what they say, how fast, and what their processes take."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.chaos.replicas import Replica

LOOK_EVERY = 1.0
PULSE_EVERY = 0.1
USE_EVERY = 2.0
HUNG_SECONDS = 60.0
"""After this, a question is given up: a process that is stopped answers when it goes on."""


@dataclass(frozen=True)
class AgentSeen:
    """What a replica says of an agent."""

    pod: str
    state: str
    fresh: bool
    age: float | None
    serial: int | None
    active: float | None
    queued: float | None
    connected: bool | None

    @classmethod
    def of(cls, agent: Mapping[str, Any]) -> "AgentSeen":
        """Read an element of the JSON API."""
        serial = agent["sessions_open"]
        return cls(
            agent["pod"], agent["state"], agent["fresh"], agent["reading_age_seconds"],
            None if serial is None else int(serial),
            agent["tasks_active"], agent["tasks_queued"], agent["connected"],
        )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """When something was asked for and answered, and of which life of which replica."""

    replica: str
    booted: float
    asked: float
    answered: float
    computed_from: float
    """The earliest instant at which it may have been computed: a stopped process answers when it goes on."""


@dataclass(frozen=True)
class AgentsSeen(Asked):
    """All agents of a replica."""

    agents: tuple[AgentSeen, ...]


@dataclass(frozen=True)
class FleetSeen:
    """What a replica says of a fleet."""

    fleet: str
    trusted: bool
    demand: float | None
    active: float | None
    age: float | None
    tasks_lost: float | None


@dataclass(frozen=True)
class FleetsSeen(Asked):
    """All fleets of a replica."""

    ready: bool
    fleets: tuple[FleetSeen, ...]


@dataclass(frozen=True)
class Pulse(Asked):
    """An answer of /healthz, and one of a bare server at the same time."""

    status: int | None
    """None: no answer."""
    waited: float
    """How long its process waited for a processor meanwhile, as Linux counts it."""
    control: float
    """How long the bare server took."""

    @property
    def stall(self) -> float:
        """Seconds that are the exporter's own: not spent waiting for a processor, nor on the way."""
        return self.answered - self.computed_from - self.waited - self.control


@dataclass(frozen=True)
class Use:
    """What a process takes."""

    replica: str
    booted: float
    at: float
    rss: int
    descriptors: int
    leads: bool | None = None


Seen = AgentsSeen | FleetsSeen | Pulse | Use


class Observer:
    """Asks the replicas, and passes on what it sees."""

    def __init__(self, replicas: list[Replica], control_url: str, take: Callable[[Seen], None]) -> None:
        self._replicas, self._control_url, self._take = replicas, control_url, take
        self.given_up = 0
        """Questions that got no answer."""

    async def run(self) -> None:
        """Look until cancelled."""
        timeout = aiohttp.ClientTimeout(total=HUNG_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as self._session, asyncio.TaskGroup() as group:
            for replica in self._replicas:
                group.create_task(_every(LOOK_EVERY, lambda one=replica: self._look(one)))
                group.create_task(_every(PULSE_EVERY, lambda one=replica: self._feel(one)))
                group.create_task(_every(USE_EVERY, lambda one=replica: self._measure(one)))

    async def _look(self, replica: Replica) -> None:
        asked, agents = await self._ask(replica, "/api/v1/agents")
        if agents is not None:
            self._take(AgentsSeen(*asked, agents=tuple(map(AgentSeen.of, agents["agents"]))))
        _, ready = await self._ask(replica, "/readyz")
        asked, fleets = await self._ask(replica, "/api/v1/fleets")
        if fleets is not None:
            seen = tuple(
                FleetSeen(
                    one["fleet"], one["trusted"], one["demand_tasks"], one["tasks_active"],
                    one["reading_age_seconds"], one["tasks_lost"],
                )
                for one in fleets["fleets"]
            )  # fmt: skip
            self._take(FleetsSeen(*asked, ready=ready is not None, fleets=seen))

    async def _ask(self, replica: Replica, path: str) -> tuple[tuple[str, float, float, float, float], Any]:
        """Return when it was, and the answer; None if there is none, or it is an error."""
        boot, asked = replica.boot, time.monotonic()
        body = None
        try:
            async with self._session.get(replica.url + path) as answer:
                if answer.content_type == "application/json":
                    body = await answer.json()
                else:
                    body = await answer.text()
                if answer.status != 200:
                    body = None
        except (aiohttp.ClientError, TimeoutError):
            self.given_up += 1
        answered = time.monotonic()
        if boot.ended is not None or boot is not replica.boot:
            # Another life may have answered.
            body = None
        return (replica.name, boot.started, asked, answered, boot.computed_from(asked)), body

    async def _feel(self, replica: Replica) -> None:
        waited = _waited(replica.boot.pid)
        (asked, body), control = await asyncio.gather(self._ask(replica, "/healthz"), self._control())
        now = _waited(replica.boot.pid)
        if waited is None or now is None:
            return
        self._take(Pulse(*asked, status=200 if body is not None else None, waited=now - waited, control=control))

    async def _control(self) -> float:
        began = time.monotonic()
        async with self._session.get(self._control_url) as answer:
            await answer.read()
        return time.monotonic() - began

    async def _measure(self, replica: Replica) -> None:
        boot = replica.boot
        _, page = await self._ask(replica, "/metrics")
        leads = None if page is None else "\nmatillion_fleet_exporter_leader 1" in page
        try:
            with open(f"/proc/{boot.pid}/statm", encoding="ascii") as file:  # noqa: ASYNC230, PTH123 - no disk
                pages = int(file.read().split()[1])
            descriptors = len(os.listdir(f"/proc/{boot.pid}/fd"))  # noqa: PTH208
        except OSError:
            return  # it has just ended
        rss = pages * os.sysconf("SC_PAGE_SIZE")
        if boot.ended is None:
            self._take(Use(replica.name, boot.started, time.monotonic(), rss, descriptors, leads))


async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    while True:
        await do()
        await asyncio.sleep(seconds)


def _waited(pid: int) -> float | None:
    """Return how long a process' main thread has waited for a processor, in seconds (Linux, proc_pid_schedstat)."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:  # noqa: PTH123 - no disk
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return None
