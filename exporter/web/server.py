"""The HTTP server: binds, serves until it is cancelled, and is gone within two seconds."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from exporter.config.addresses import HostPort
from exporter.config.settings import WebSettings
from exporter.web.app import ANSWER_TIMEOUT, build_app
from exporter.web.auth import Access
from exporter.web.connections import ConnectionLimits
from exporter.web.errors import WebError
from exporter.web.history import History
from exporter.web.reload import INTERVAL as RELOAD_INTERVAL
from exporter.web.tls import ServerTls
from exporter.web.view import FleetView

log = structlog.get_logger(__name__)

_KEEP_ALIVE = 75.0
"""Seconds a connection may wait for its next request: above Prometheus' and KEDA's intervals, so each keeps its own."""
_SHUTDOWN = 0.5
"""Seconds a running request gets to end, and then again to be cancelled: together half of the two seconds there are."""
_LINGER = 1.0
"""Seconds to read the rest of a body nobody wants, so that the client sees the answer before the end."""
_HANDSHAKE = 5.0
"""Seconds for a TLS handshake."""

_BIND_ERRORS = {
    errno.EADDRINUSE: "another program listens there; stop it or change web.listen",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; change web.listen",
    errno.EACCES: "ports below 1024 need a privilege this process does not have; change web.listen",
}


class WebServer:
    """Serves the pages of `build_app` as the `web` settings say.

    `metrics` answers `/metrics`. The other arguments are for tests: how often changed files are looked for and how long
    an answer may take, in seconds, the limits on connections, and the clock that people's times are read from.
    """

    def __init__(
        self,
        settings: WebSettings,
        view: FleetView,
        metrics: Handler,
        *,
        reload_interval: float = RELOAD_INTERVAL,
        answer_timeout: float = ANSWER_TIMEOUT,
        limits: ConnectionLimits | None = None,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self._listen = settings.listen
        self._tls = ServerTls(settings.tls, reload_interval) if settings.tls is not None else None
        client_certificates = self._tls is not None and self._tls.client_certificates
        self._access = Access(settings, client_certificates=client_certificates, reload_interval=reload_interval)
        self._reloaded = [*([self._tls.files] if self._tls is not None else []), *self._access.files]
        self._limits = limits if limits is not None else ConnectionLimits()
        self.history = History(view, wall_clock=wall_clock)
        self._app = build_app(
            view,
            metrics,
            self.history,
            access=self._access.middleware,
            wall_clock=wall_clock,
            answer_timeout=answer_timeout,
        )
        self._address: HostPort | None = None
        self.started = asyncio.Event()

    @property
    def address(self) -> HostPort | None:
        """Where the server listens, with the port the system chose for port 0; None before `started`."""
        return self._address

    async def run(self) -> None:
        """Serve until cancelled. Raises WebError, a sentence for a person, if the server cannot start."""
        for files in self._reloaded:
            await files.start()
        runner = web.AppRunner(
            self._app,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_LINGER,
            shutdown_timeout=_SHUTDOWN,
        )
        await runner.setup()
        try:
            async with self._listening(runner), asyncio.TaskGroup() as group:
                group.create_task(self.history.run(), name="web-history")
                for files in self._reloaded:
                    group.create_task(files.run(), name=f"web-reload-{files.what}")
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def _listening(self, runner: web.AppRunner) -> AsyncIterator[None]:
        """Listen as long as the context lasts."""
        if runner.server is None:
            raise RuntimeError("the application is not set up")
        try:
            server = await asyncio.get_running_loop().create_server(
                self._limits.protocol_factory(runner.server),
                self._listen.host,
                self._listen.port,
                ssl=self._tls.context if self._tls is not None else None,
                ssl_handshake_timeout=_HANDSHAKE if self._tls is not None else None,
            )
        except OSError as error:
            reason = _BIND_ERRORS.get(error.errno or 0) or error.strerror or str(error)
            raise WebError(f"cannot listen on {self._listen}: {reason}") from None
        try:
            self._address = HostPort(*server.sockets[0].getsockname()[:2])
            log.info("HTTP server listens", address=str(self._address), tls=self._tls is not None)
            self.started.set()
            yield
        finally:
            server.close()
