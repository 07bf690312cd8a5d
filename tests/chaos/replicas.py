"""The exporters: real processes that are hurt and started again as Kubernetes does, each with its own ways out."""

import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from exporter.publish.datum import Datum
from exporter.publish.spool import Spool
from tests.chaos.agents import LEGACY_PORT, OTEL_PORT
from tests.chaos.metrics_server import MetricsServer
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.ports import free_port
from tests.waiting import PATIENCE

VOLUME_BYTES = 4 * 1024 * 1024
"""Of the spool's volume: small, so that it is soon full."""
CLUSTER = "chaos"
LEASE = "fleet-exporter"


def fake_time_library() -> Path | None:
    """Return libfaketime (Debian's package faketime) for programs with threads; None where it is not installed."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


@dataclass(frozen=True)
class Times:
    """Settings of the exporter, in seconds: the usual ones."""

    interval: float = 5.0
    timeout: float = 3.0
    stale_after: float = 30.0
    forget_after: float = 600.0
    max_sync_age: float = 120.0
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    publish_every: float = 10.0
    """CloudWatch's interval, which is usually a minute: so a run has more periods."""

    def scaled(self, scale: float) -> "Times":
        """Return all of them longer or shorter."""
        return Times(*(scale * seconds for seconds in astuple(self)))


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f}ms"


def settings(name: str, times: Times, *, namespace: str, port: int, spool: Path, cloudwatch: str) -> dict[str, Any]:
    """Return the settings of one replica. It asks for pages at a path of its own, by which agents know it."""
    return {
        "cluster": CLUSTER,
        "discovery": {"kubernetes": {"namespaces": [namespace]}},
        "scrape": {
            "interval": _seconds(times.interval),
            "timeout": _seconds(times.timeout),
            "endpoints": [
                {"kind": "otel", "port": OTEL_PORT, "path": f"/{name}/metrics"},
                {"kind": "legacy", "port": LEGACY_PORT, "path": f"/{name}/actuator/prometheus"},
            ],
        },
        "capacity": {
            "stale_after": _seconds(times.stale_after),
            "forget_after": _seconds(times.forget_after),
            "max_sync_age": _seconds(times.max_sync_age),
        },
        "leader_election": {
            "lease_name": LEASE,
            "lease_duration": _seconds(times.lease_duration),
            "renew_deadline": _seconds(times.renew_deadline),
            "retry_period": _seconds(times.retry_period),
        },
        "cloudwatch": {
            "enabled": True,
            "region": "eu-west-1",
            "endpoint_url": cloudwatch,
            "interval": _seconds(times.publish_every),
            "storage_resolution": 1,
            "metrics": ["all"],
            "spool": {"path": str(spool / "spool.db")},
        },
        "deletion_cost": {"enabled": True},
        "protection": {"enabled": True, "idle_for": "10s"},
        "web": {"listen": f"127.0.0.1:{port}"},
        "log": {"format": "json"},
    }


@dataclass
class Boot:
    """One life of a replica's process; times by CLOCK_MONOTONIC."""

    pid: int
    started: float
    ended: float | None = None
    code: int | None = None
    """Its exit code, once it has ended."""
    told: float | None = None
    """When it was told to end (SIGTERM)."""
    killed: bool = False
    answered: float | None = None
    """When it first answered."""
    ready: float | None = None
    """When it first was ready."""
    pauses: list[tuple[float, float | None]] = field(default_factory=list)
    """When it was stopped, and when it went on."""

    def computed_from(self, asked: float) -> float:
        """Return the earliest instant at which what was asked for then may have been computed."""
        for began, over in self.pauses:
            if began <= asked and over is not None and asked < over:
                return over
        return asked

    def paused(self, since: float, until: float) -> bool:
        """Return whether it was stopped for some of the time between two instants."""
        return any(began <= until and (over is None or over >= since) for began, over in self.pauses)

    def lives(self, since: float, until: float) -> bool:
        """Return whether it ran all the time between two instants."""
        return self.started <= since and (self.ended is None or self.ended > until) and not self.paused(since, until)


class Replica:
    """One of the exporters."""

    def __init__(
        self,
        name: str,
        folder: Path,
        times: Times,
        *,
        api: FaultProxy,
        cloudwatch: FaultProxy,
        metrics_server: MetricsServer,
    ) -> None:
        self.name = name
        self.api, self.cloudwatch, self.metrics_server = api, cloudwatch, metrics_server
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        self.volume = folder / "spool"
        self.boots: list[Boot] = []
        self.offsets: list[tuple[float, float]] = [(0.0, 0.0)]
        """Since when (CLOCK_MONOTONIC) its wall clock is ahead by how much."""
        self._times = times
        self._clock = folder / "clock"

    def configure(self, namespace: str, kubeconfig: dict[str, Any]) -> None:
        """Write what the process is started with."""
        given = settings(
            self.name, self._times,
            namespace=namespace, port=self.port, spool=self.volume, cloudwatch=self.cloudwatch.url,
        )  # fmt: skip
        (self.folder / "config.yaml").write_text(json.dumps(given))
        (self.folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        self._set_clock(0.0)

    async def run(self) -> None:
        """Keep a process running until cancelled, and end it then."""
        try:
            while True:
                process = await self._start()
                self.boot.code = await process.wait()
                self.boot.ended = time.monotonic()
        finally:
            if self.boot.ended is None:
                self.boot.told = self.boot.told or time.monotonic()
                self.boot.code = await ended(process)
                self.boot.ended = time.monotonic()

    async def _start(self) -> asyncio.subprocess.Process:
        library = fake_time_library()
        environment = os.environ | CREDENTIALS | {"KUBECONFIG": str(self.folder / "kubeconfig"), "POD_NAME": self.name}
        if library is not None:
            environment |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",
                # Ages and deadlines are measured with it; no step of the wall clock concerns it.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        with self.log.open("ab") as log:
            started = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "exporter", "run", "--config", str(self.folder / "config.yaml"),
                stdout=log, stderr=log, env=environment, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        self.boots.append(Boot(process.pid, started))
        return process

    @property
    def boot(self) -> Boot:
        """The present life."""
        return self.boots[-1]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it has not ended."""
        boot = self.boot
        if boot.ended is not None:
            return
        if number is signal.SIGTERM:
            boot.told = time.monotonic()
        boot.killed |= number is signal.SIGKILL
        if number is signal.SIGSTOP:
            boot.pauses.append((time.monotonic(), None))
        os.kill(boot.pid, number)
        if number is signal.SIGCONT and boot.pauses:
            boot.pauses[-1] = (boot.pauses[-1][0], time.monotonic())

    def ahead(self, at: float) -> float:
        """Return by how much its wall clock was ahead at an instant."""
        return next(seconds for since, seconds in reversed(self.offsets) if since <= at)

    async def spooled(self) -> list[Datum]:
        """Return what its spool has on disk, once its process has ended."""
        async with Spool(self.volume / "spool.db", max_datums=10**6) as spool:
            return [row.datum for row in await spool.oldest(10**6, not_before=0, not_after=math.inf)]

    def set_ahead(self, seconds: float) -> None:
        """Step the wall clock so that it is ahead by so much, or behind."""
        self._set_clock(seconds)
        self.offsets.append((time.monotonic(), seconds))

    def _set_clock(self, ahead: float) -> None:
        self._clock.write_text(f"{ahead:+.0f}\n")

    def fill_disk(self) -> None:
        """Leave no room on the spool's volume."""
        with (self.volume / "filler").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(64 * 1024)):
                    pass
            except OSError:
                pass  # it is full

    def empty_disk(self) -> None:
        """Make room again."""
        (self.volume / "filler").unlink(missing_ok=True)

    @contextmanager
    def own_volume(self) -> Iterator[bool]:
        """Make the spool a volume of its own, if this process may mount; yields whether it did."""
        self.volume.mkdir()
        mounts = os.geteuid() == 0 and _mounted(self.volume)
        try:
            yield mounts
        finally:
            if mounts:
                subprocess.run(["umount", "--lazy", self.volume], check=True)
            shutil.rmtree(self.volume, ignore_errors=True)


def _mounted(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES}", "tmpfs", folder]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def ended(process: asyncio.subprocess.Process) -> int:
    """End a process whatever state it is in, and return its exit code."""
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    try:
        return await asyncio.wait_for(process.wait(), PATIENCE / 10)
    except TimeoutError:
        process.kill()
        return await process.wait()
