"""Logs of containers, served on a real socket as a kubelet serves them: from a whole second on, to the end or for ever.

The head of an answer leaves with its first line, as it does from Go: a silent container keeps its reader waiting.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from exporter.kube.client import KubeClient
from tests.fakes.kube_api import kubeconfig, status

NANOSECONDS = 1_000_000_000


def stamp(nanoseconds: int, zone: str = "Z") -> bytes:
    """Write a time as container runtimes do."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}{zone}".encode()


class ContainerLogs:
    """What a container wrote, and the container before it. Tests write, end, rotate, cut and refuse."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, bytes]] = []
        self.previous: list[tuple[int, bytes]] | None = None
        self.running = True
        self.refusal: tuple[int, str] | None = None
        """HTTP status and reason to answer with instead."""
        self.cuts: list[int] = []
        """For each answer to come, after how many lines its connection is cut."""
        self.requests: list[dict[str, str]] = []
        self.before_answer: Callable[[dict[str, str]], None] = lambda query: None
        """Called with the query of each request when it is there, before it is answered."""
        self.open_streams = 0
        self._transports: set[asyncio.Transport] = set()
        self._changed = asyncio.Event()

    def write(self, *lines: tuple[int, str]) -> None:
        """Write lines, each with its time in nanoseconds."""
        self.lines += [(at, text.encode()) for at, text in lines]
        self._wake()

    def end(self) -> None:
        """End the container: who follows it reads to the end."""
        self.running = False
        self._wake()

    def restart(self) -> None:
        """Begin another container; the log of the one before is kept as the previous one."""
        self.previous, self.lines, self.running = self.lines, [], True
        self._wake()

    def rotate(self) -> None:
        """Begin a new file: who asks from now on does not get what was written before."""
        self.lines = []
        self._wake()

    def cut(self) -> None:
        """Cut every connection there is."""
        for transport in self._transports:
            transport.abort()

    @property
    def followed(self) -> list[dict[str, str]]:
        """The queries of those who followed."""
        return [query for query in self.requests if "follow" in query]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Serve one request."""
        query = dict(request.query)
        self.requests.append(query)
        self.before_answer(query)
        if self.refusal is not None:
            return web.json_response(status(*self.refusal), status=self.refusal[0])
        if "previous" in query and self.previous is None:
            return web.json_response(status(400, "BadRequest", "previous terminated container not found"), status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        assert isinstance(request.transport, asyncio.Transport)
        self._transports.add(request.transport)
        self.open_streams += 1
        try:
            # Who was cut off, or went, is not there any more to be told the rest.
            with suppress(ConnectionResetError):
                await self._write(request, response, query)
        finally:
            self.open_streams -= 1
            self._transports.discard(request.transport)
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, query: dict[str, str]) -> None:
        since = datetime.fromisoformat(query["sinceTime"]).timestamp() * NANOSECONDS
        lines = (self.previous or []) if "previous" in query else self.lines
        cut_after = self.cuts.pop(0) if self.cuts else None
        position = sent = 0
        while True:
            # Taken before the lines: what is written while these leave wakes this one too.
            changed = self._changed
            for at, text in lines[position:]:
                position += 1
                if at < since:
                    continue
                await response.prepare(request)
                await response.write(stamp(at) + b" " + text + b"\n")
                sent += 1
                if sent == cut_after:
                    await asyncio.sleep(0.01)  # what was written shall leave first
                    assert request.transport is not None
                    request.transport.abort()
                    return
            if "follow" not in query or not self.running or lines is not self.lines:
                await response.prepare(request)
                return
            await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class LogApi:
    """An API server that knows the logs of pods and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.pods: dict[str, ContainerLogs] = {}
        self._kubeconfig = folder / "logs.kubeconfig"

    def pod(self, name: str = "agent-1") -> ContainerLogs:
        """Return the log of a pod."""
        return self.pods.setdefault(name, ContainerLogs())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["LogApi"]:
        """Listen on a free loopback port."""
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/log", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._kubeconfig.write_text(json.dumps(kubeconfig(url, {"token": "first"})))
            yield self
        finally:
            for log in self.pods.values():
                log.end()
            await runner.cleanup()

    async def client(self) -> KubeClient:
        """Connect to it as the exporter would."""
        return await KubeClient.connect({"KUBECONFIG": str(self._kubeconfig)})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        return await self.pod(request.match_info["pod"]).answer(request)
