"""An HTTP proxy before one real server that makes answers late, false or impossible, as it is told.

It ends the server's TLS and serves plain HTTP on a loopback port, so that it can answer in the server's place.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import aiohttp
from aiohttp import web

PASSED_ON = ("Authorization", "Accept", "Content-Type")
SLOW_SECONDS = 0.3


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


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _status(code: int, reason: str) -> Callable[[web.Request], web.Response]:
    return lambda request: web.json_response({"kind": "Status", "code": code, "reason": reason}, status=code)


INSTEAD: dict[ProxyFault | None, Callable[[web.Request], web.Response]] = {
    ProxyFault.CONFLICT: _status(409, "Conflict"),
    ProxyFault.ERROR: _status(500, "InternalError"),
    ProxyFault.HTML: lambda request: web.Response(
        status=502, text="<html>Bad Gateway</html>", content_type="text/html"
    ),
    ProxyFault.CUT: _cut,
}
"""Answers for which the server is not asked."""


class FaultProxy:
    """One client's way to the server."""

    def __init__(self, upstream: str, ca_file: Path) -> None:
        """Take the server's URL and the certificate authority it is verified with."""
        self.upstream = upstream
        self.url = ""
        self.met: Counter[ProxyFault] = Counter()
        """Requests that met a fault."""
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        self._fault: ProxyFault | None = None
        self._over = asyncio.Event()

    def begin(self, fault: ProxyFault) -> None:
        """Let every request meet this fault until `end`."""
        self._fault = fault
        self._over = asyncio.Event()

    def end(self) -> None:
        """Let requests pass; those that hang are cut, those that are to come late are passed on now."""
        self._fault = None
        self._over.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FaultProxy"]:
        """Listen on a free loopback port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=1, access_log=None)
        await runner.setup()
        timeout = aiohttp.ClientTimeout(total=10)
        connector = aiohttp.TCPConnector(ssl=self._tls)
        try:
            async with aiohttp.ClientSession(self.upstream, connector=connector, timeout=timeout) as self._session:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield self
                self.end()
                await runner.cleanup()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault, over = self._fault, self._over
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
            return _cut(request)
        response = await self._forward(request, body)
        if fault is ProxyFault.HANG_AFTER:
            await over.wait()
        return _cut(request) if fault in (ProxyFault.HANG_AFTER, ProxyFault.CUT_AFTER) else response

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        async with self._session.request(request.method, request.path_qs, data=body, headers=headers) as answer:
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                content_type=answer.content_type,
            )
