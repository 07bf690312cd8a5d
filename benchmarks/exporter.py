"""A real exporter, started with given settings and waited for."""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from benchmarks.scrape.processes import Program, ProgramError

_READY_WITHIN = 90.0


def exporter(directory: Path, settings: Mapping[str, object]) -> Program:
    """Return the exporter, ready to be started."""
    file = directory / "exporter.yaml"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "exporter", "run", "--config", str(file)]
    return Program("fleet-exporter", command, directory / "exporter.log")


async def until_ready(program: Program, client: aiohttp.ClientSession) -> None:
    """Wait for its readiness; `client` is one of its own URL. Raises ProgramError."""
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        program.check()
        try:
            async with client.get("/readyz") as ready:
                if ready.ok:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)
    raise ProgramError(f"fleet-exporter did not become ready within {_READY_WITHIN:.0f} s")
