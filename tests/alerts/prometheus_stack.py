"""The real chain on one machine: simulated agents, exporter processes, Prometheus with the rules, Alertmanager.

Every process listens on loopback, is awaited, and is ended by its own handle.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from alerts.build import files
from alerts.settings import Settings
from exporter.simulator.fleet import Entry, PodAddresses, SimulatedFleets, write_listing
from exporter.simulator.scenario import Scenario
from exporter.simulator.simulation import FleetPlan, Simulation
from tests.fakes.ports import free_port
from tests.waiting import eventually

PATH = os.environ.get("PATH", "") + ":/usr/sbin"
PROMETHEUS = shutil.which("prometheus", path=PATH)
ALERTMANAGER = shutil.which("prometheus-alertmanager", path=PATH) or shutil.which("alertmanager", path=PATH)
JOB = "matillion-fleet-exporter"
OF_TARGET = {"namespace": "monitoring", "service": JOB, "endpoint": "web", "container": "exporter"}
STOP_SECONDS = 30.0

Labels = dict[str, str]


@asynccontextmanager
async def process(*command: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, its output in a file; end it with SIGTERM, and by force if that does not help."""
    with log.open("wb") as output:
        running = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await running.wait()
        except TimeoutError:
            running.kill()
            await running.wait()


@asynccontextmanager
async def simulated(
    folder: Path, fleets: Sequence[tuple[FleetPlan, Scenario]], *, base: str, speed: float
) -> AsyncIterator[Path]:
    """Run fleets, each with a scenario of its own, on loopback addresses from `base` up; yield the file of targets."""
    listing = folder / "targets.yaml"
    listed: dict[int, list[Entry]] = {}

    def keep(index: int) -> Callable[[list[Entry]], None]:
        def listen(entries: list[Entry]) -> None:
            listed[index] = entries
            write_listing(listing, [entry for _, part in sorted(listed.items()) for entry in part])

        return listen

    async with AsyncExitStack() as resources, asyncio.TaskGroup() as group:
        lives = []
        for index, (plan, scenario) in enumerate(fleets):
            layout = PodAddresses(IPv4Address(base) + 256 * index)
            simulation = Simulation([plan], scenario, seed=7)
            fleet = await resources.enter_async_context(SimulatedFleets(simulation, layout, speed, keep(index)))
            lives.append(group.create_task(fleet.run(), name=f"simulated {plan.name}"))
        try:
            yield listing
        finally:
            for life in lives:
                life.cancel()


@asynccontextmanager
async def exporter(folder: Path, targets: Path, name: str) -> AsyncIterator[str]:
    """Run the exporter as a user would; yield its address once it is ready."""
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "cluster": "test",
        "discovery": {"static": {"file": str(targets)}},
        "scrape": {"interval": "500ms", "timeout": "500ms"},
        "capacity": {"stale_after": "5s"},
        "web": {"listen": address},
    }
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = (sys.executable, "-m", "exporter", "run", "--config", str(config))
    async with process(*command, log=folder / f"{name}.log"):
        await _answers(f"http://{address}/readyz", folder / f"{name}.log")
        yield address


async def _answers(url: str, log: Path) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:

        async def ready() -> bool:
            try:
                async with session.get(url) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(ready, what=lambda: f"{url} does not answer: {log.read_text()[-2000:]}")


@dataclass
class Prometheus:
    """A running Prometheus."""

    url: str
    session: aiohttp.ClientSession

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the instant vector. Raises AssertionError with Prometheus' words for a bad query."""
        return (await self._get("query", {"query": expr}))["result"]  # type: ignore[no-any-return]  # as documented

    async def _get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        async with self.session.get(f"{self.url}/api/v1/{path}", params=parameters) as answer:
            document = await answer.json()
        assert document["status"] == "success", document
        return document["data"]  # type: ignore[no-any-return]  # the API's documented shape


@asynccontextmanager
async def prometheus(
    folder: Path, targets: Sequence[str], *, faster: float, alertmanager: str | None = None
) -> AsyncIterator[Prometheus]:
    """Run Prometheus on exporters, with the project's rules in which every time is `faster` times shorter.

    Each target has the labels that the Prometheus operator gives one it finds by the chart's ServiceMonitor.
    """
    assert PROMETHEUS is not None
    for name, text in files(Settings(), faster=faster):
        (folder / name).write_text(text)
    alerting = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]} if alertmanager else {}
    document = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"},
        "rule_files": [name for name, _ in files(Settings())],
        "alerting": alerting,
        "scrape_configs": [
            {
                "job_name": JOB,
                "honor_labels": True,
                "static_configs": [
                    {"targets": [target], "labels": OF_TARGET | {"pod": f"{JOB}-{number}"}}
                    for number, target in enumerate(targets)
                ],
            }
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(document))
    address = f"127.0.0.1:{free_port()}"
    command = (
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    )
    async with (
        process(*command, log=folder / "prometheus.log"),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        await _answers(f"http://{address}/-/ready", folder / "prometheus.log")
        yield Prometheus(f"http://{address}", session)


@dataclass
class Pager:
    """Receives what Alertmanager sends."""

    alerts: dict[tuple[str, ...], list[dict[str, Any]]] = field(default_factory=dict)
    """Every notification about an alert, by its labels in order, oldest first."""
    url: str = ""

    async def receive(self, request: web.Request) -> web.Response:
        """Take a notification."""
        for alert in (await request.json())["alerts"]:
            key = tuple(f"{name}={value}" for name, value in sorted(alert["labels"].items()))
            self.alerts.setdefault(key, []).append(alert)
        return web.Response()

    def labels(self, status: str) -> list[Labels]:
        """Return the labels of the alerts whose last word was this status."""
        return [history[-1]["labels"] for history in self.alerts.values() if history[-1]["status"] == status]


@asynccontextmanager
async def pager() -> AsyncIterator[Pager]:
    """Run a receiver of notifications."""
    receiver = Pager()
    app = web.Application()
    app.router.add_post("/", receiver.receive)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/"))
        yield receiver


@asynccontextmanager
async def alertmanager(folder: Path, receiver: Pager, inhibit_rules: Sequence[object] = ()) -> AsyncIterator[str]:
    """Run Alertmanager; yield its address."""
    assert ALERTMANAGER is not None
    document = {
        "route": {
            "receiver": "pager",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "inhibit_rules": list(inhibit_rules),
        "receivers": [
            {"name": "pager", "webhook_configs": [{"url": receiver.url, "send_resolved": True}]},
        ],
    }
    config = folder / "alertmanager.yaml"
    config.write_text(json.dumps(document))
    address = f"127.0.0.1:{free_port()}"
    command = (
        ALERTMANAGER,
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    async with process(*command, log=folder / "alertmanager.log"):
        await _answers(f"http://{address}/-/ready", folder / "alertmanager.log")
        yield address
