"""The exporter in a process of its own, as a user runs it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests.fakes.ports import free_port
from tests.waiting import PATIENCE


class Exporter:
    """A real `fleet-exporter run` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url
        self._log: list[dict[str, Any]] = []

    async def get(self, path: str) -> tuple[int, Any]:
        """Return status and body; the body as JSON where it is that."""
        async with ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await (answer.json() if answer.content_type == "application/json" else answer.text())

    async def ready(self) -> None:
        """Wait until /readyz says so. Raises AssertionError with its log where it ends before."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if self.process.returncode is not None:
                    code, log = await self.end()
                    raise AssertionError(f"the exporter ended with {code}: {log}")
                try:
                    status, _ = await self.get("/readyz")
                except OSError:
                    status = 0
                if status == 200:
                    return
                await asyncio.sleep(0.05)

    async def says(self, event: str, pod: str) -> None:
        """Read the log on until it says this of a pod, or has said it."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while not any((line["event"], line.get("pod")) == (event, pod) for line in self._log):
                written = await self.process.stderr.readline()
                assert written, f"the exporter ended without saying: {event}, {pod}"
                self._take(written)

    async def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Return the exit code and the lines of the log, once the process has ended."""
        _, log = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        assert self.process.returncode is not None
        for line in log.splitlines():
            self._take(line)
        return self.process.returncode, self._log

    def _take(self, line: bytes) -> None:
        if line.startswith(b"{"):
            self._log.append(json.loads(line))


@asynccontextmanager
async def exporter(
    tmp_path: Path,
    settings: dict[str, Any],
    environment: Mapping[str, str] | None = None,
    *,
    files: int | None = None,
) -> AsyncIterator[Exporter]:
    """Run the exporter with these settings on a free port; `environment` is added to this process' own.

    It may have so many `files` open, if that is given.
    """
    port = free_port()
    config = tmp_path / "config.yaml"
    # JSON is YAML.
    config.write_text(json.dumps({"web": {"listen": f"127.0.0.1:{port}"}, "log": {"format": "json"}} | settings))
    limited = [] if files is None else ["prlimit", f"--nofile={files}:{files}"]
    process = await asyncio.create_subprocess_exec(
        *limited, sys.executable, "-m", "exporter", "run", "--config", str(config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | (environment or {}),
    )  # fmt: skip
    try:
        yield Exporter(process, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
