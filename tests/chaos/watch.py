"""Looks at the exporters from outside, all the time: what they say, how fast, and what their processes take."""

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.pulse import HUNG_SECONDS, Beat
from tests.chaos.replicas import Replica
from tests.chaos.seen import (
    AgentSeen,
    AgentsSeen,
    Annotated,
    DepartureSeen,
    DeparturesSeen,
    FleetSeen,
    FleetsSeen,
    MetricsSeen,
    ReadinessSeen,
    Seen,
    Use,
)
from tests.fakes.control_plane import Admin

LOOK_EVERY = 1.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Observer:
    """Asks the replicas, and passes on what it sees."""

    def __init__(
        self,
        replicas: list[Replica],
        *,
        pulse: asyncio.subprocess.Process,
        admin: Admin,
        namespace: str,
        take: Callable[[Seen | Beat], None],
        seldom: float,
    ) -> None:
        """`seldom` is how many seconds are between two looks at what changes slowly."""
        self._seldom = seldom
        self._replicas, self._pulse, self._take = replicas, pulse, take
        self._by_name = {replica.name: replica for replica in replicas}
        self._admin, self._pods = admin, f"/api/v1/namespaces/{namespace}/pods"

    async def run(self) -> None:
        """Look until cancelled."""
        timeout = aiohttp.ClientTimeout(total=HUNG_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as self._session, asyncio.TaskGroup() as group:
            group.create_task(self._feel())
            group.create_task(_every(self._seldom, self._read_annotations))
            for replica in self._replicas:
                for seconds, do in (
                    (LOOK_EVERY, self._look),
                    (self._seldom, self._read_metrics),
                    (self._seldom, self._read_departures),
                ):
                    group.create_task(_every(seconds, lambda do=do, one=replica: do(one)))

    async def _look(self, replica: Replica) -> None:
        when, agents = await self._json(replica, "/api/v1/agents")
        if agents is not None:
            self._take(AgentsSeen(**when, agents=tuple(map(AgentSeen.of, agents["agents"]))))
        when, fleets = await self._json(replica, "/api/v1/fleets")
        if fleets is not None:
            self._take(FleetsSeen(**when, fleets=tuple(map(FleetSeen.of, fleets["fleets"]))))
        when, status, _ = await self._ask(replica, "/readyz")
        if status is not None:
            ready = status == 200
            if ready and replica.boot.ready is None and replica.boot.started == when["booted"]:
                replica.boot.ready = when["answered"]
            self._take(ReadinessSeen(**when, ready=ready))

    async def _feel(self) -> None:
        """Pass on what the process says that feels the pulse."""
        told: dict[str, float] = {}
        assert self._pulse.stdin is not None
        assert self._pulse.stdout is not None
        while True:
            for replica in self._replicas:
                boot = replica.boot
                if told.get(replica.name) != boot.started:
                    told[replica.name] = boot.started
                    self._pulse.stdin.write(f"{replica.name} {replica.url} {boot.pid} {boot.started}\n".encode())
            beat = Beat(**json.loads(await self._pulse.stdout.readline()))
            boot = next(boot for boot in self._by_name[beat.replica].boots if boot.started == beat.booted)
            if beat.status is not None and boot.answered is None:
                boot.answered = beat.answered
            self._take(beat)

    async def _read_metrics(self, replica: Replica) -> None:
        when, status, page = await self._ask(replica, "/metrics")
        if status == 200:
            values = {
                name: float(value)
                for name, value in re.findall(r"^matillion_fleet_exporter_(\w+) (\S+)$", page.decode(), re.MULTILINE)
            }
            self._take(
                MetricsSeen(
                    **when,
                    leads=values["leader"] == 1,
                    spool_datums=int(values["cloudwatch_spool_datums"]),
                    loop_lag=values["event_loop_lag_seconds"],
                )
            )
        boot = replica.boot
        try:
            rss = int(Path(f"/proc/{boot.pid}/statm").read_text("ascii").split()[1]) * PAGE_BYTES  # noqa: ASYNC240
            descriptors = len(os.listdir(f"/proc/{boot.pid}/fd"))  # noqa: PTH208
        except OSError:
            return  # it has just ended
        if boot.ended is None:
            self._take(Use(replica.name, boot.started, time.monotonic(), rss, descriptors))

    async def _read_departures(self, replica: Replica) -> None:
        _, before = await self._json(replica, "/api/v1/fleets")
        when, departures = await self._json(replica, "/api/v1/departures")
        _, after = await self._json(replica, "/api/v1/fleets")
        if before is None or departures is None or after is None:
            return
        seen = tuple(map(DepartureSeen.of, departures["departures"]))
        self._take(DeparturesSeen(**when, departures=seen, lost_before=_lost(before), lost_after=_lost(after)))

    async def _read_annotations(self) -> None:
        asked = time.monotonic()
        pods = await self._admin.call("GET", self._pods)
        self._take(Annotated.of(asked, time.monotonic(), pods["items"]))

    async def _json(self, replica: Replica, path: str) -> tuple[dict[str, Any], Any]:
        """Return when it was, and the answer; None if there is none, or it is an error."""
        when, status, body = await self._ask(replica, path)
        return when, json.loads(body) if status == 200 else None

    async def _ask(self, replica: Replica, path: str) -> tuple[dict[str, Any], int | None, bytes]:
        """Return when it was, and status and body of the answer; a status of None if there is none."""
        boot, asked = replica.boot, time.monotonic()
        status, body = None, b""
        try:
            async with self._session.get(replica.url + path) as answer:
                body = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            pass  # so there is no answer
        answered = time.monotonic()
        if boot.ended is not None or boot is not replica.boot:
            status = None  # another life may have answered
        when = {
            "replica": replica.name,
            "booted": boot.started,
            "asked": asked,
            "answered": answered,
            "computed_from": boot.computed_from(asked),
        }
        return when, status, body


def _lost(fleets: Mapping[str, Any]) -> dict[str, float]:
    return {fleet["fleet"]: fleet["tasks_lost"] or 0.0 for fleet in fleets["fleets"]}


async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    while True:
        await do()
        await asyncio.sleep(seconds)
