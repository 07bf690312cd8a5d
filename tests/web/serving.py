"""A running `WebServer` on a free port of 127.0.0.1, over a view whose content the test sets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from exporter.config.settings import WebSettings
from exporter.fleet.departure import Departure
from exporter.fleet.model import Fleet, IgnoredPod
from exporter.web.server import WebServer
from tests.factories import NOW, WALL_NOW


@dataclass(slots=True)
class StaticDepartures:
    """A record of the last hour that says what it was told."""

    gone: Sequence[Departure] = ()
    since: float = WALL_NOW - 3600

    def latest(self) -> Sequence[Departure]:
        """Return the agents that left."""
        return self.gone


@dataclass(slots=True)
class StaticView:
    """A store that says what it was told."""

    shown: Sequence[Fleet] = ()
    reason: str | None = None
    instant: float = NOW
    failing: Exception | None = field(default=None)
    others: Sequence[IgnoredPod] = ()
    departures: StaticDepartures = field(default_factory=StaticDepartures)

    def fleets(self) -> Sequence[Fleet]:
        """Return the fleets, or fail as asked."""
        if self.failing is not None:
            raise self.failing
        return self.shown

    def fleet_keys(self) -> Sequence[tuple[str, str]]:
        """Return which fleets there are."""
        return [(fleet.namespace, fleet.name) for fleet in self.shown]

    def fleet(self, key: tuple[str, str]) -> Fleet | None:
        """Return one of the fleets."""
        return next((fleet for fleet in self.fleets() if (fleet.namespace, fleet.name) == key), None)

    def ignored_pods(self) -> Sequence[IgnoredPod]:
        """Return what is no agent."""
        return self.others

    def now(self) -> float:
        """Return the instant."""
        return self.instant

    def not_ready_reason(self) -> str | None:
        """Return the reason."""
        return self.reason


async def metrics(_request: web.Request) -> web.StreamResponse:
    """Answer as the metrics page would."""
    return web.Response(text="matillion_fleet_agents 1\n")


def make_server(
    view: StaticView | None = None,
    *,
    handler: Any = metrics,
    wall_clock: Callable[[], float] = lambda: WALL_NOW,
    **given: Any,
) -> WebServer:
    """Return a server; keywords the `web` settings have go there, the others to the server."""
    settings = {name: given.pop(name) for name in tuple(given) if name in WebSettings.model_fields}
    validated = WebSettings.model_validate({"listen": "127.0.0.1:0"} | settings)
    given = {"machine_clock": wall_clock} | given
    return WebServer(validated, view or StaticView(), handler, wall_clock=wall_clock, **given)


@asynccontextmanager
async def running(server: WebServer) -> AsyncIterator[str]:
    """Run the server as long as the context lasts; yields `host:port`. A server that fails to start fails the test."""
    task = asyncio.create_task(server.run(), name="web")
    started = asyncio.create_task(server.started.wait())
    try:
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield str(server.address)
    finally:
        started.cancel()
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


@asynccontextmanager
async def serve(view: StaticView | None = None, **given: Any) -> AsyncIterator[str]:
    """Run a server made by `make_server`; yields its base URL over plain HTTP."""
    async with running(make_server(view, **given)) as address:
        yield f"http://{address}"


def write(path: Path, content: str | bytes | None) -> None:
    """Replace a file's content; None removes the file."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
