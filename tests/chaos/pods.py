"""The pods of the agents on the real API server: who comes, who goes and how, and what was lost with whom."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tests.chaos.agents import Order, ordered
from tests.fakes.control_plane import Admin

FLEETS = ("etl", "reports", "adhoc")
LABELS = {"app.kubernetes.io/name": "matillion-runner"}


class End(StrEnum):
    """How an agent ends."""

    CLEAN = "asked to end, and did after its tasks"
    FORCED = "deleted by force"
    OUT_OF_MEMORY = "killed for its memory"


@dataclass
class Pod:
    """One agent's pod; times by CLOCK_MONOTONIC."""

    name: str
    address: str
    fleet: str
    legacy: bool
    hostile: bool
    announced: float | None = None
    """When it was reported as running."""
    leaves: float | None = None
    """When its end began: from here on nothing is expected of it."""
    gone: float | None = None
    """When it was away for good."""
    end: End | None = None

    def stays(self, until: float) -> bool:
        """Return whether its end does not begin before an instant."""
        return self.leaves is None or self.leaves > until


class Pods:
    """Makes pods and takes them away."""

    def __init__(
        self,
        admin: Admin,
        namespace: str,
        *,
        good: asyncio.subprocess.Process,
        hostile: asyncio.subprocess.Process,
        chance: random.Random,
        host: int,
    ) -> None:
        """Take the processes of the good agents and of the hostile ones; `host` is a part of loopback that is free."""
        self.all: dict[str, Pod] = {}
        self._admin, self._namespace, self._random = admin, namespace, chance
        self._good, self._hostile = good, hostile
        self._host = host
        self._numbers = itertools.count()

    @property
    def present(self) -> list[Pod]:
        """Those that are there and not about to leave."""
        return [pod for pod in self.all.values() if pod.announced is not None and pod.leaves is None]

    async def begin(self, number: int, hostile_share: float) -> None:
        """Make the first agents."""
        hostile = round(number * hostile_share)
        pods = [self._new(hostile=place < hostile) for place in range(number)]
        for some in _portions(pods, 10):
            await asyncio.gather(*map(self._arrive, some))

    async def come_and_go(self, a_minute: float) -> None:
        """Let agents go and others come instead, so many a minute in all, until cancelled."""
        # A slow API server does not make it slower: each event is a task of its own.
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(self._random.uniform(0.5, 1.5) * 120 / a_minute)
                leaving = self._random.choice(self.present)
                end = self._random.choice(list(End))
                leaving.leaves = time.monotonic()
                leaving.end = end
                group.create_task(self._leave(leaving, end))
                group.create_task(self._arrive(self._new(hostile=leaving.hostile)))

    def _new(self, *, hostile: bool) -> Pod:
        number = next(self._numbers)
        address = f"127.{self._host}.{number // 250}.{number % 250 + 1}"
        fleet = FLEETS[number % len(FLEETS)]
        legacy = self._random.random() < 0.25
        pod = self.all[f"{fleet}-{number}"] = Pod(f"{fleet}-{number}", address, fleet, legacy, hostile)
        return pod

    def _tell(self, pod: Pod, **order: Any) -> None:
        ordered(self._hostile if pod.hostile else self._good, Order(pod=pod.name, **order))

    async def _arrive(self, pod: Pod) -> None:
        self._tell(pod, address=pod.address, legacy=pod.legacy, hostile=pod.hostile)
        labels = LABELS | {"app.kubernetes.io/instance": pod.fleet}
        await self._admin.create_pod(self._namespace, pod.name, labels=labels)
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        await self._admin.run_pod(self._namespace, pod.name, pod.address, ready_time=now)
        pod.announced = time.monotonic()

    async def _leave(self, pod: Pod, end: End) -> None:
        if end is End.CLEAN:
            await self._admin.delete_pod(self._namespace, pod.name)
            self._tell(pod, tasks=0)
            await asyncio.sleep(2.0)
            await self._report(pod, "Completed", 143)
        elif end is End.OUT_OF_MEMORY:
            self._tell(pod, end=True)
            await self._report(pod, "OOMKilled", 137)
        if end is not End.OUT_OF_MEMORY:
            self._tell(pod, end=True)
        await self._admin.delete_pod(self._namespace, pod.name, grace_seconds=0)
        pod.gone = time.monotonic()

    async def _report(self, pod: Pod, reason: str, exit_code: int) -> None:
        """Report that the container ended."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        state = {"terminated": {"reason": reason, "exitCode": exit_code, "finishedAt": now}}
        agent = {
            "name": "agent", "ready": False, "restartCount": 0, "image": "agent:1", "imageID": "",
            "state": state, "lastState": {},
        }  # fmt: skip
        with suppress(RuntimeError):  # gone already
            phase = "Failed" if exit_code == 137 else "Running"
            await self._admin.set_status(self._namespace, pod.name, {"phase": phase, "containerStatuses": [agent]})


def _portions(pods: list[Pod], size: int) -> Iterator[list[Pod]]:
    return (pods[start : start + size] for start in range(0, len(pods), size))
