"""An HTTP proxy before one real server that makes answers late, false or impossible, as it is told.

It ends the server's TLS and serves plain HTTP on a loopback port, so that it can answer in the server's place. Watches
and other answers that take their time pass through it piece by piece.
"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiohttp
from aiohttp import hdrs, web

HOP_BY_HOP = {
    name.lower()
    for name in (hdrs.HOST, hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.TRANSFER_ENCODING, hdrs.CONTENT_LENGTH, hdrs.EXPECT)
}
"""Fields of a request that are this connection's alone; none of the rest is changed, since requests may be signed."""
SLOW_SECONDS = 0.3
MAX_BODY_BYTES = 1 << 24
PATIENCE_SECONDS = 10.0
"""For an answer of the server, and for what a watch has to say to begin with."""


class ProxyFault(StrEnum):
    """What happens to a request."""

    HANG = "hung before it was carried out"
    HANG_AFTER = "hung after it was carried out"
    LATE = "carried out after the sender gave up"
    SLOW = "slow"
    CONFLICT = "409"
    ERROR = "500"
    HTML = "502 with HTML"
    CUT = "cut before it was carried out"
    CUT_AFTER = "cut after it was carried out"


class ClientFault(StrEnum):
    """More of what happens to a request, which is not carried out."""

    FORBIDDEN = "403"
    GONE = "410"
    BUSY = "429"
    HTML_AS_SUCCESS = "200 with HTML"
    EMPTY_AS_SUCCESS = "200 with nothing"
    THROTTLED = "400 Throttling"


AnyFault = ProxyFault | ClientFault
Answer = Callable[[web.Request], web.Response]


def cut(request: web.Request) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _status(code: int, reason: str, **headers: str) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return lambda request: web.json_response(body, status=code, headers=headers)


def _html(code: int) -> Answer:
    return lambda request: web.Response(status=code, text="<html>Bad Gateway</html>", content_type="text/html")


def _throttled(request: web.Request) -> web.Response:
    text = (
        '<ErrorResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><Error><Type>Sender</Type>'
        "<Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
    return web.Response(status=400, text=text, content_type="text/xml")


INSTEAD: dict[AnyFault | None, Answer] = {
    ProxyFault.CONFLICT: _status(409, "Conflict"),
    ProxyFault.ERROR: _status(500, "InternalError"),
    ProxyFault.HTML: _html(502),
    ProxyFault.CUT: cut,
    ClientFault.FORBIDDEN: _status(403, "Forbidden"),
    ClientFault.GONE: _status(410, "Expired"),
    ClientFault.BUSY: _status(429, "TooManyRequests", **{"Retry-After": "1"}),
    ClientFault.HTML_AS_SUCCESS: _html(200),
    ClientFault.EMPTY_AS_SUCCESS: lambda request: web.Response(),
    ClientFault.THROTTLED: _throttled,
}
"""Answers for which the server is not asked."""


def _unnoted(exchange: "Exchange") -> None:
    """Take note of nothing."""


@dataclass(frozen=True)
class Exchange:
    """A request that was carried out."""

    arrived: float
    """When it came (CLOCK_MONOTONIC)."""
    body: bytes
    encoding: str
    """The coding of the body (Content-Encoding)."""
    status: int
    """Of the server's answer."""
    delivered: bool
    """Whether the answer is passed on."""


class FaultProxy:
    """One client's way to the server."""

    def __init__(
        self,
        upstream: str,
        ca_file: Path | None = None,
        *,
        noted: Callable[[Exchange], None] = _unnoted,
        own: Callable[[web.Request], web.Response | None] = lambda request: None,
    ) -> None:
        """Take the server's URL and the certificate authority it is verified with.

        `noted` gets each request that was carried out. `own` answers requests which the server has no part in; it gives
        None for those that it has.
        """
        self.upstream = upstream
        self.url = ""
        self.met: Counter[AnyFault] = Counter()
        """Requests that met a fault."""
        self._tls = ssl.create_default_context(cafile=str(ca_file)) if ca_file is not None else None
        self._noted, self._own = noted, own
        self._fault: AnyFault | None = None
        self._over = asyncio.Event()
        self._watches: list[web.Request] = []

    def begin(self, fault: AnyFault) -> None:
        """Let every request meet this fault until `end`; watches end, but that those which hang come to a halt."""
        self._fault = fault
        self._over = asyncio.Event()
        if fault not in {ProxyFault.HANG, ProxyFault.SLOW}:
            self.cut_watches()

    def end(self) -> None:
        """Let requests pass; those that hang are cut, those that are to come late are passed on now."""
        self._fault = None
        self._over.set()

    def cut_watches(self) -> None:
        """End all answers that are under way."""
        for request in self._watches:
            cut(request)

    async def go_away(self) -> None:
        """Take no more connections, and cut those that there are."""
        self.begin(ProxyFault.CUT)
        await self._site.stop()

    async def come_back(self) -> None:
        """Take connections again, on the same port."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self.end()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FaultProxy"]:
        """Listen on a free loopback port."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # What a sender gave up is carried out all the same; a watch ends when there is nobody to pass a piece on to.
        self._runner = web.AppRunner(app, shutdown_timeout=1, access_log=None, auto_decompress=False)
        await self._runner.setup()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE_SECONDS)
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=0)
        try:
            async with aiohttp.ClientSession(self.upstream, connector=connector, timeout=timeout) as self._session:
                self._port = 0
                await self.come_back()
                self._port = self._runner.addresses[0][1]
                self.url = f"http://127.0.0.1:{self._port}"
                yield self
                self.end()
                await self._runner.cleanup()
        finally:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault, over, arrived = self._fault, self._over, time.monotonic()
        body = await request.read()
        if fault is ProxyFault.CONFLICT and request.method == "GET":
            fault = None
        if fault is not None:
            self.met[fault] += 1
        if fault in INSTEAD:
            return INSTEAD[fault](request)
        if fault is ProxyFault.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        if fault in (ProxyFault.HANG, ProxyFault.LATE):
            await over.wait()
        if fault is ProxyFault.HANG:
            return cut(request)
        own = self._own(request)
        if own is not None:
            return own
        if "watch" in request.query:
            return await self._watch(request)
        response = await self._forward(request, body)
        # A server that is slow may answer when nobody waits any more.
        waits = request.transport is not None and not request.transport.is_closing()
        delivered = waits and fault not in (ProxyFault.HANG_AFTER, ProxyFault.CUT_AFTER)
        self._noted(Exchange(arrived, body, request.headers.get("Content-Encoding", ""), response.status, delivered))
        if fault is ProxyFault.HANG_AFTER:
            await over.wait()
        return response if delivered else cut(request)

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            self._session.request(request.method, request.path_qs, data=body, headers=headers) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        self._watches.append(request)
        try:
            async with self._session.get(request.path_qs, headers=headers) as answer:
                response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
                await response.prepare(request)
                # Either side may end it at any time, as watches do.
                with suppress(ConnectionError, aiohttp.ClientError):
                    async for piece in answer.content.iter_any():
                        if self._fault is ProxyFault.HANG:
                            await self._over.wait()
                        await response.write(piece)
            return response
        finally:
            self._watches = [one for one in self._watches if one is not request]
