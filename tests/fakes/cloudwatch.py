"""A CloudWatch on a real socket that keeps PutMetricData's limits, remembers what it took, and fails on command.

moto takes 1,001 datums, NaN and any time; this one refuses what AWS refuses. It speaks the query protocol over HTTP.
"""

import asyncio
import gzip
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Self
from urllib.parse import parse_qsl

from aiohttp import web

from tests.waiting import PATIENCE

Labels = tuple[tuple[str, str], ...]


class Fault(Enum):
    """What goes wrong. Nothing is taken, except with CUT_AFTER."""

    NONE = auto()
    THROTTLE = auto()
    ERROR = auto()
    GATEWAY = auto()
    """502 with a page of HTML."""
    HANG = auto()
    CUT = auto()
    CUT_AFTER = auto()
    """The data is taken, but the connection ends before the answer."""
    EXPIRED = auto()
    DENIED = auto()
    UNKNOWN = auto()
    """An error nobody has heard of: no reason to throw data away."""


_ERRORS = {
    Fault.THROTTLE: (400, "Throttling", "Rate exceeded"),
    Fault.ERROR: (500, "InternalFailure", "We encountered an internal error"),
    Fault.EXPIRED: (403, "ExpiredToken", "The security token included in the request is expired"),
    Fault.UNKNOWN: (400, "SomethingNew", "No further information"),
    Fault.DENIED: (403, "AccessDenied", "User is not authorized to perform: cloudwatch:PutMetricData"),
}


@dataclass(frozen=True)
class Received:
    """One datum as it came over the wire."""

    metric: str
    dimensions: Labels
    time: float
    values: tuple[float, ...]
    counts: tuple[float, ...]
    unit: str
    resolution: int


@dataclass
class FakeCloudWatch:
    """An async context manager; `url` is the endpoint."""

    wall: Callable[[], float]
    poison: Callable[[Received], bool] = lambda datum: False
    """Datums that are refused as invalid, with the whole request they stand in."""
    fault: Fault = Fault.NONE
    taken: list[Received] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Datums in each request that was taken."""
    body_bytes: list[int] = field(default_factory=list)
    """Size of each request that came, uncompressed."""
    violations: list[str] = field(default_factory=list)
    namespaces: set[str] = field(default_factory=set)
    requests: int = 0
    url: str = ""

    async def __aenter__(self) -> Self:
        self._released = asyncio.Event()
        self.arrived = asyncio.Condition()
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post("/", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        self._port = 0
        await self.come_up()
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._runner.cleanup()

    async def go_down(self) -> None:
        """Take no more connections, and cut those there are at their next request."""
        await self._site.stop()
        self.fail(Fault.CUT)

    async def come_up(self) -> None:
        """Take connections, at the address there was before."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    def fail(self, fault: Fault) -> None:
        """Go wrong in this way from now on; requests that hang are cut off."""
        self.fault = fault
        self._released.set()
        self._released = asyncio.Event()

    async def until(self, enough: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until something holds that changes with requests."""
        async with asyncio.timeout(seconds), self.arrived:
            await self.arrived.wait_for(enough)

    def of(self, metric: str) -> list[Received]:
        """Return what was taken of one metric, in the order it came."""
        return [datum for datum in self.taken if datum.metric == metric]

    def times(self, metric: str) -> Counter[float]:
        """Return how often each time came."""
        return Counter(datum.time for datum in self.of(metric))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answered(request)
        finally:
            async with self.arrived:
                self.arrived.notify_all()

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        # As it was when the request came: one that hung does not go well in the end.
        fault = self.fault
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.body_bytes.append(len(body))
        assert "Authorization" in request.headers
        if fault is Fault.HANG:
            await self._released.wait()
        if fault is Fault.GATEWAY:
            return web.Response(status=502, text="<html><body>Bad gateway", content_type="text/html")
        if fault in {Fault.CUT, Fault.HANG}:
            return _cut(request)
        if fault in _ERRORS:
            return _error(*_ERRORS[fault])
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
        datums = read_datums(fields)
        problem = self._problem(datums, len(body))
        if problem is None and any(map(self.poison, datums)):
            problem = "a poisoned datum"
        elif problem is not None:
            self.violations.append(problem)
        if problem is not None:
            return _error(400, "InvalidParameterValue", problem)
        self.namespaces.add(fields["Namespace"])
        self.taken += datums
        self.sizes.append(len(datums))
        if fault is Fault.CUT_AFTER:
            return _cut(request)
        return web.Response(
            text='<PutMetricDataResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><ResponseMetadata>'
            "<RequestId>1</RequestId></ResponseMetadata></PutMetricDataResponse>",
            content_type="text/xml",
        )

    def _problem(self, datums: list[Received], size: int) -> str | None:
        """Return which limit of PutMetricData a request breaks."""
        return next(self._problems(datums, size), None)

    def _problems(self, datums: list[Received], size: int) -> Iterator[str]:
        if len(datums) > 1000:
            yield f"{len(datums)} datums"
        if size > 1024 * 1024:
            yield f"{size} bytes"
        for datum in datums:
            if not -14 * 24 * 3600 <= datum.time - self.wall() <= 2 * 3600:
                yield f"time {datum.time}"
            if not 1 <= len(datum.values) <= 150 or len(set(datum.values)) != len(datum.values):
                yield f"{len(datum.values)} values"
            if len(datum.counts) not in {0, len(datum.values)}:
                yield f"{len(datum.counts)} counts"
            if any(not math.isfinite(value) or abs(value) > 2.0**360 for value in datum.values + datum.counts):
                yield "a value out of range"
            texts = [(datum.metric, 255), *((n, 255) for n, _ in datum.dimensions)]
            texts += [(value, 1024) for _, value in datum.dimensions]
            if any(not re.fullmatch(rf"(?=.*\S)[ -~]{{1,{longest}}}", text) for text, longest in texts):
                yield "a name"
            if len(datum.dimensions) > 30 or datum.resolution not in {1, 60}:
                yield "dimensions or resolution"


def read_datums(fields: dict[str, str]) -> list[Received]:
    members: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        match = re.fullmatch(r"MetricData\.member\.(\d+)\.(.+)", name)
        if match:
            members.setdefault(int(match[1]), {})[match[2]] = value
    return [_datum(members[number]) for number in sorted(members)]


def _datum(member: dict[str, str]) -> Received:
    def listed(name: str) -> list[str]:
        found = {m[1]: v for k, v in member.items() if (m := re.fullmatch(rf"{name}\.member\.(\d+)", k))}
        return [found[number] for number in sorted(found, key=int)]

    dimensions: dict[int, dict[str, str]] = {}
    for key, value in member.items():
        match = re.fullmatch(r"Dimensions\.member\.(\d+)\.(Name|Value)", key)
        if match:
            dimensions.setdefault(int(match[1]), {})[match[2]] = value
    values = [member["Value"]] if "Value" in member else listed("Values")
    return Received(
        metric=member["MetricName"],
        dimensions=tuple((one["Name"], one["Value"]) for _, one in sorted(dimensions.items())),
        time=datetime.fromisoformat(member["Timestamp"]).timestamp(),
        values=tuple(map(float, values)),
        counts=tuple(map(float, listed("Counts"))),
        unit=member.get("Unit", ""),
        resolution=int(member.get("StorageResolution", 60)),
    )


def _error(status: int, code: str, message: str) -> web.Response:
    kind = "Sender" if status < 500 else "Receiver"
    text = (
        '<ErrorResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><Error>'
        f"<Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId>"
        "</ErrorResponse>"
    )
    return web.Response(status=status, text=text, content_type="text/xml")


def _cut(request: web.Request) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
