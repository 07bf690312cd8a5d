"""The demand route at a thousand requests a second, of 200 fleets, beside the cheapest answer at the same rate.

A real exporter with 10,000 agents. The requests leave on a fixed beat, whether or not the last was answered, so that a
slow answer is not left out of the figures.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import aiohttp

from benchmarks.exporter import exporter, until_ready
from benchmarks.scale.growth import AGENTS
from benchmarks.scrape import agents
from benchmarks.scrape.figures import percentile
from benchmarks.scrape.processes import Program
from benchmarks.visibility import free_port

FLEETS = 200
RATE = 1000
"""Requests a second."""
SECONDS = 15.0
_HOST = "127.0.0.1"
_CONNECTIONS = 50
_CHEAPEST = ("/healthz",)


@dataclass(frozen=True, slots=True)
class Load:
    """What the same rate of requests cost on one route."""

    answered: int
    """With 200."""
    sent: int
    p99: float
    """Seconds from when a request was due to its last byte."""
    cpu: float
    """Share of a core that the exporter took beyond its scrapes."""


async def measure(directory: Path) -> tuple[Load, Load]:
    """Return what the cheapest route costs, and what the demand route costs. Raises ProgramError."""
    port = free_port()
    with agents.serve(directory, FLEETS * AGENTS), _exporter(directory, port) as program:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        async with aiohttp.ClientSession(f"http://{_HOST}:{port}", connector=connector) as client:
            await until_ready(program, client)
            idle = await _cores(program)
            routes = [f"/api/v1/fleets/bench/fleet-{number}/demand" for number in range(FLEETS)]
            return await _load(program, client, _CHEAPEST, idle), await _load(program, client, routes, idle)


async def _cores(program: Program) -> float:
    before = program.cpu_seconds()
    await asyncio.sleep(SECONDS)
    return (program.cpu_seconds() - before) / SECONDS


async def _load(program: Program, client: aiohttp.ClientSession, paths: Sequence[str], idle: float) -> Load:
    statuses: list[int] = []
    delays: list[float] = []

    async def ask(path: str, due: float) -> None:
        async with client.get(path) as answer:
            await answer.read()
        statuses.append(answer.status)
        delays.append(time.monotonic() - due)

    cpu, begin = program.cpu_seconds(), time.monotonic()
    async with asyncio.TaskGroup() as requests:
        for number, path in enumerate(islice(cycle(paths), int(RATE * SECONDS))):
            due = begin + number / RATE
            await asyncio.sleep(due - time.monotonic())
            requests.create_task(ask(path, due))
    seconds = time.monotonic() - begin
    return Load(
        statuses.count(200), len(statuses), percentile(delays, 0.99), (program.cpu_seconds() - cpu) / seconds - idle
    )


def _exporter(directory: Path, port: int) -> Program:
    targets = directory / "targets.json"
    listed = [
        {"address": address, "namespace": "bench", "fleet": f"fleet-{number % FLEETS}", "pod": f"a-{number}"}
        for number, address in enumerate(agents.addresses(FLEETS * AGENTS))
    ]
    targets.write_text(json.dumps(listed))
    settings = {
        "discovery": {"static": {"file": str(targets)}},
        "scrape": {"interval": "15s", "endpoints": [{"kind": "otel", "port": agents.PORT, "path": agents.PATH}]},
        "web": {"listen": f"{_HOST}:{port}"},
    }
    return exporter(directory, settings)
