"""A socket with an application behind it: binds, serves until it is cancelled, and is gone within two seconds."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from exporter.config.addresses import HostPort
from exporter.serve.connections import ConnectionLimits
from exporter.serve.errors import ServeError
from exporter.serve.handshakes import Handshakes, listen
from exporter.serve.reload import Reloaded
from exporter.serve.tls import ServerTls

log = structlog.get_logger(__name__)

_KEEP_ALIVE = 75.0
"""Seconds a connection may wait for its next request: above Prometheus' and KEDA's intervals, so each keeps its own."""
_SHUTDOWN = 0.5
"""Seconds a running request gets to end, and then again to be cancelled: together half of the two seconds there are."""
_LINGER = 1.0
"""Seconds to read the rest of an unneeded body, so that the client sees the response before the connection ends."""

_BIND_ERRORS = {
    errno.EADDRINUSE: "another process listens on this address; stop it or change {setting}",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; change {setting}",
    errno.EACCES: "ports below 1024 need a privilege that this process does not have; change {setting}",
}


class _OwnFaults(logging.Filter):
    """Lets no malformed request into the log: it is the client's fault, and answered with 400.

    aiohttp writes a traceback for each, with which any client could fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is of something else."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


_SERVER_LOG = logging.getLogger("exporter.serve.aiohttp")
_SERVER_LOG.addFilter(_OwnFaults())


class Listener:
    """Serves one application at one address."""

    def __init__(
        self,
        name: str,
        app: web.Application,
        listen: HostPort,
        setting: str,
        *,
        tls: ServerTls | None = None,
        files: Sequence[Reloaded] = (),
        limits: ConnectionLimits | None = None,
    ) -> None:
        """Take what to serve and where; `name` is for the log and `setting` the one that gave the address.

        `files` are kept up to date while it serves, as are those of `tls`.
        """
        self._name = name
        self._app = app
        self._listen = listen
        self._setting = setting
        self._tls = tls
        self._files = [*([tls.files] if tls is not None else []), *files]
        self._limits = limits if limits is not None else ConnectionLimits()
        self._address: HostPort | None = None
        self.started = asyncio.Event()
        if tls is not None:
            tls.files.on_loaded = self._end_outdated

    @property
    def address(self) -> HostPort | None:
        """Where it listens, with the port the system chose for port 0; None before `started`."""
        return self._address

    async def run(self, beside: Mapping[str, Callable[[], Awaitable[None]]] | None = None) -> None:
        """Serve until cancelled, and run `beside`, named tasks without an end, as long.

        Raises ServeError, a sentence for a person, if it cannot start.
        """
        for files in self._files:
            await files.load_now()
        tasks = {**{f"reload {files.what}": files.run for files in self._files}, **(beside or {})}
        runner = web.AppRunner(
            self._app,
            access_log=None,
            logger=_SERVER_LOG,
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_LINGER,
            shutdown_timeout=_SHUTDOWN,
        )
        await runner.setup()
        try:
            async with self._listening(runner) as accepting, asyncio.TaskGroup() as group:
                for name, task in {**tasks, **accepting}.items():
                    group.create_task(_awaited(task), name=f"{self._name}: {name}")
                await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def _listening(self, runner: web.AppRunner) -> AsyncIterator[Mapping[str, Callable[[], Awaitable[None]]]]:
        """Listen as long as the context lasts; yields what has to run meanwhile."""
        if runner.server is None:
            raise RuntimeError("the application is not set up")
        make = self._limits.protocol_factory(runner.server)
        async with AsyncExitStack() as stack:
            try:
                if self._tls is None:
                    server = await asyncio.get_running_loop().create_server(make, *self._listen)
                    stack.callback(server.close)
                    sockets, accepting = [*server.sockets], {}
                else:
                    sockets = [stack.enter_context(one) for one in await listen(self._listen)]
                    handshakes = Handshakes(
                        make,
                        self._tls.context,
                        timeout=self._limits.handshake_timeout,
                        most=self._limits.max_connections,
                    )
                    accepting = {
                        f"accept {number}": partial(handshakes.accept, one) for number, one in enumerate(sockets)
                    }
            except OSError as error:
                # Since Python 3.13, asyncio gives no number where an address is not this machine's.
                hint = _BIND_ERRORS.get(error.errno or errno.EADDRNOTAVAIL, "").format(setting=self._setting)
                reason = hint or error.strerror or str(error)
                raise ServeError(f"cannot listen on {self._listen}: {reason}") from None
            self._address = HostPort(*sockets[0].getsockname()[:2])
            log.info("server listens", server=self._name, address=str(self._address), tls=self._tls is not None)
            self.started.set()
            yield accepting

    def _end_outdated(self) -> None:
        """End connections of clients whose CA may no longer be trusted; a new one shows the current certificate."""
        tls = self._tls
        if tls is not None and tls.requests_client_cert:
            self._limits.retire(lambda connection: tls.outdated(connection.extra_info))


async def _awaited(part: Callable[[], Awaitable[None]]) -> None:
    await part()
