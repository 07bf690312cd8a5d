"""How many connections there may be, and how long one may take to shake hands and to send its request.

aiohttp bounds what a request may hold (a line, a header, their number) but not how long its header may take: a client
that sends one byte a minute keeps its connection for ever, and enough of them take every file descriptor of the
process, those of the scraper too. So a connection that has not sent a whole header in time is closed, and where there
are too many, the one that has been idle longest makes room. aiohttp itself ends a kept-alive connection that asks
nothing more.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

MAX_CONNECTIONS = 256
"""Room for two Prometheus servers, the kubelet, KEDA and dozens of browsers; a quarter of the usual 1,024 files."""
HEADER_TIMEOUT = 10.0
"""Seconds from connecting, or from the end of the handshake, to the end of the first request's header."""
HANDSHAKE_TIMEOUT = 5.0
"""Seconds for a TLS handshake."""


class TimedConnection(asyncio.Protocol):
    """One client's connection: passes everything on to aiohttp's handler, and times the arrival of a request."""

    def __init__(self, handler: asyncio.Protocol, limits: "ConnectionLimits") -> None:
        self._handler = handler
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock, and make room if this is one too many."""
        # A stream server's transports are these; uvloop's own type does not declare it.
        self._transport = cast(asyncio.Transport, transport)
        self._deadline = asyncio.get_running_loop().call_later(self._limits.header_timeout, self.abort)
        self._limits.add(self)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        self._limits.discard(self)
        self._handler.connection_lost(exc)

    def begin_request(self) -> None:
        """Record that a whole header has arrived and is being answered."""
        self._stop_clock()
        self._limits.busy(self)

    def end_request(self) -> None:
        """Record that the response is sent; from now on this connection is idle."""
        self._limits.idle(self)

    def abort(self) -> None:
        """Close at once, without sending what is left."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close in order, once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def extra_info(self, name: str) -> Any:
        """Return what the transport knows by that name, such as `ssl_object`; None where it does not."""
        return self._transport.get_extra_info(name) if self._transport is not None else None

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class ConnectionLimits:
    """The connections of one server."""

    def __init__(
        self,
        max_connections: int = MAX_CONNECTIONS,
        header_timeout: float = HEADER_TIMEOUT,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        self.max_connections = max_connections
        self.header_timeout = header_timeout
        self.handshake_timeout = handshake_timeout
        self._busy: set[TimedConnection] = set()
        # The one idle longest comes first.
        self._idle: dict[TimedConnection, None] = {}
        self._retiring: set[TimedConnection] = set()

    def protocol_factory(self, server: Callable[[], asyncio.Protocol]) -> Callable[[], TimedConnection]:
        """Return what makes the protocol of a new connection; `server` makes aiohttp's part of it."""
        return lambda: TimedConnection(server(), self)

    def add(self, connection: TimedConnection) -> None:
        """Count a new connection. If it is one too many, close the one idle longest: itself where all others work."""
        self._idle[connection] = None
        if len(self._busy) + len(self._idle) > self.max_connections:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.abort()

    def discard(self, connection: TimedConnection) -> None:
        """Forget a connection that is closed."""
        self._busy.discard(connection)
        self._idle.pop(connection, None)
        self._retiring.discard(connection)

    def busy(self, connection: TimedConnection) -> None:
        """Record that a request is being answered."""
        self._idle.pop(connection, None)
        self._busy.add(connection)

    def idle(self, connection: TimedConnection) -> None:
        """Record that no request is being answered any more."""
        if connection in self._busy:
            self._busy.remove(connection)
            self._idle[connection] = None
        if connection in self._retiring:
            connection.close()

    def retire(self, chosen: Callable[[TimedConnection], bool]) -> None:
        """Close the chosen connections: those that are idle now, the others after the answer they are waiting for."""
        for connection in filter(chosen, [*self._idle]):
            connection.close()
        self._retiring.update(filter(chosen, self._busy))


def connection_of(request: web.Request) -> TimedConnection | None:
    """Return the connection a request came on; None where it is gone already."""
    protocol = request.transport.get_protocol() if request.transport is not None else None
    return protocol if isinstance(protocol, TimedConnection) else None
