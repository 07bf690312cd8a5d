"""One fake agent on real sockets.

What a connection meets is decided by the agent's state alone, which is changed elsewhere: `follow` brings the sockets
in line with it. Knows nothing of fleets, load or scenarios.
"""

import asyncio
import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from aiohttp import web

from exporter.fleet.model import Dialect
from exporter.simulator.pages import OPENMETRICS, TEXT, actuator_info, page_of
from exporter.simulator.vitals import Behaviour, Image, Vitals

DEFAULT_BASE = IPv4Address("127.20.0.0")
"""The first agent is at 127.20.0.1."""
DEFAULT_FIRST_PORT = 20_000
OTEL_PATH = "/metrics"
LEGACY_PATH = "/actuator/prometheus"
INFO_PATH = "/actuator/info"
OPENMETRICS_TYPE = "application/openmetrics-text"
QUALITY = re.compile(r"[01](\.\d{0,3})?")
"""A weight in an Accept header (RFC 9110, 12.4.2)."""
SLOW_SECONDS = 2.0
"""How late a slow agent answers: later than any healthy one, within the usual 3 s of patience."""
SHUTDOWN_SECONDS = 0.05
"""How long an answer under way may still take when the agent ends. (To aiohttp, 0 would mean for ever.)"""
BACKLOG = 16


class SimulatorError(Exception):
    """The simulator cannot do what is requested; the text states why and what to do."""


class WrongUseError(SimulatorError):
    """What was asked for makes no sense on any machine: the command line is wrong."""


class Subject(Protocol):
    """What a server must be able to ask its agent. An image decides which ports exist, and never changes."""

    @property
    def image(self) -> Image:
        """The build it runs."""

    @property
    def behaviour(self) -> Behaviour:
        """How its ports behave now."""

    def vitals(self, now: float) -> Vitals:
        """Return what it reports at `now`, in simulated seconds."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent listens: one host, one port per endpoint."""

    host: str
    otel_port: int = 9464
    legacy_port: int = 8080


class AgentServer:
    """The listening sockets of one agent. `clock` gives simulated seconds."""

    def __init__(self, subject: Subject, place: Place, clock: Callable[[], float]) -> None:
        self._subject = subject
        self.place = place
        self._clock = clock
        self._server: web.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._changed = asyncio.Event()
        self._seen = Behaviour.CLOSED

    async def follow(self) -> None:
        """Bring the sockets in line with the agent's behaviour. Raises SimulatorError if a port is not to be had."""
        behaviour = self._subject.behaviour
        if behaviour is self._seen:
            return
        self._seen = behaviour
        if behaviour is Behaviour.CLOSED:
            await self.close()
        elif self._server is None:
            await self._open()
        # Requests that wait for a hung agent look again.
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """Stop listening and drop every connection, as the end of a process would."""
        self._seen = Behaviour.CLOSED
        listeners, self._listeners = self._listeners, []
        server, self._server = self._server, None
        for listener in listeners:
            listener.close()
        if server is not None:
            await server.shutdown(timeout=SHUTDOWN_SECONDS)
        for listener in listeners:
            await listener.wait_closed()

    async def _open(self) -> None:
        self._server = web.Server(self._answer, access_log=None)
        ports = [self.place.legacy_port]
        if self._subject.image.otel:
            ports.append(self.place.otel_port)
        for port in ports:
            try:
                self._listeners.append(await self._listen(self._server, port))
            except OSError as error:
                await self.close()
                raise SimulatorError(_why(error, self.place.host, port)) from error

    async def _listen(self, server: web.Server, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(server, self.place.host, port, backlog=BACKLOG)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        while self._subject.behaviour is Behaviour.HUNG:
            await self._changed.wait()
        if self._subject.behaviour is Behaviour.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        if self._subject.behaviour is Behaviour.ERRORING:
            return web.json_response({"status": 500, "error": "Internal Server Error"}, status=500)
        return self._page(request)

    def _page(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            return web.Response(status=405, headers={"Allow": "GET"})
        image, vitals = self._subject.image, self._subject.vitals(self._clock())
        endpoint = (self._port_of(request), request.path)
        if endpoint == (self.place.otel_port, OTEL_PATH):
            names = frozenset(request.query.getall("name[]", ()))
            # client_java looks for the name in the header and never at its weight.
            openmetrics = OPENMETRICS_TYPE in request.headers.get("Accept", "")
            return _metrics(image, Dialect.OTEL, vitals, names, openmetrics)
        if endpoint == (self.place.legacy_port, LEGACY_PATH):
            names = frozenset(filter(None, request.query.get("includedNames", "").split(",")))
            return _metrics(image, Dialect.LEGACY, vitals, names, _prefers_openmetrics(request))
        if endpoint == (self.place.legacy_port, INFO_PATH):
            return web.Response(body=actuator_info(image, vitals), content_type="application/json")
        return web.Response(status=404)

    def _port_of(self, request: web.BaseRequest) -> int | None:
        """Return the port that the connection was made to; None when it is gone already."""
        name = None if request.transport is None else request.transport.get_extra_info("sockname")
        return None if name is None else int(name[1])


def _metrics(image: Image, dialect: Dialect, vitals: Vitals, names: frozenset[str], openmetrics: bool) -> web.Response:
    body = page_of(image, dialect).render(vitals, openmetrics=openmetrics, names=names)
    return web.Response(body=body, headers={"Content-Type": OPENMETRICS if openmetrics else TEXT})


def _prefers_openmetrics(request: web.BaseRequest) -> bool:
    """Whether the Accept header weighs OpenMetrics higher than plain text, as Spring negotiates it."""
    weights = {"text/plain": 0.0, OPENMETRICS_TYPE: 0.0}
    for offer in request.headers.get("Accept", "").split(","):
        kind, *parameters = (part.strip() for part in offer.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        if kind in weights:
            weights[kind] = float(quality) if QUALITY.fullmatch(quality) else 0.0
    return weights[OPENMETRICS_TYPE] > weights["text/plain"]


def _why(error: OSError, host: str, port: int) -> str:
    """Return in one sentence why a port could not be had, and what helps."""
    if error.errno == errno.EADDRINUSE:
        return f"{host}:{port} is in use, perhaps by another simulator: end that, or choose other addresses with --base"
    if error.errno in {None, errno.EADDRNOTAVAIL}:  # None since Python 3.13: asyncio gives no number then
        return f"this machine has no address {host}: use --layout ports, which takes ports of one address instead"
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return (
            f"no more files can be opened (at {host}:{port}): start fewer agents, or raise the limit with `ulimit -n`"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"this user may not listen on {host}:{port}"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"
