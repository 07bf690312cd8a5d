"""Fetches one metrics page from one agent, which is not trusted.

Every failure is a `ScrapeError` with a `ScrapeOutcome` for the counter and a readable message. Has no schedule and no
state: the poller decides which page to fetch when.
"""

import asyncio
import zlib
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address
from types import TracebackType
from typing import Self, TypeVar

from yarl import URL

from exporter import __version__
from exporter.config import ScrapeSettings
from exporter.fleet.dialect import NAMES
from exporter.fleet.model import Dialect, Endpoint
from exporter.scrape.http import Head, HttpConnection, Response
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome

_TEXT, _OPENMETRICS = "text/plain", "application/openmetrics-text"
# OpenMetrics 1.0: "Expositions MUST end with EOF"; the line feed behind it is the writer's choice.
_OPENMETRICS_ENDS = (b"# EOF\n", b"# EOF", b"# EOF\r\n")
_FIELDS = (
    # Underscored names are what a server that can write dotted ones should send: they are read fastest, and lines
    # without quoted names are what every tool understands. client_java splits the whole header at semicolons and takes
    # the first `escaping`, so a semicolon has to follow it.
    f"Accept: {_TEXT};version=0.0.4;escaping=underscores;q=1,{_OPENMETRICS};escaping=underscores;q=0.5\r\n"
    # A page is some 30 KB on a pod network: compressing it costs both sides more than sending it.
    "Accept-Encoding: identity\r\n"
    f"User-Agent: fleet-exporter/{__version__}\r\n\r\n"
)
_T = TypeVar("_T")
_Place = tuple[str, int]
"""Host and port."""
_FILTER_PARAMETER = {Dialect.OTEL: "name[]", Dialect.LEGACY: "includedNames"}
# A lost SYN is sent again after 1 s (RFC 6298), so half of the usual 3 s allows for one; a pod whose packets are
# dropped then leaves the other half of the scrape to its second endpoint.
_CONNECT_SHARE = 0.5
# zlib's window size, plus "expect a gzip or zlib header": both are sent under the names gzip and deflate.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


def page_url(address: str, endpoint: Endpoint, *, filtered: bool) -> URL:
    """Return the URL of an agent's page; `filtered` requests only the needed families."""
    authority = host_port(address, endpoint.port)
    url = URL.build(scheme="http", authority=authority, path=endpoint.path, encoded=True)
    if not filtered:
        return url
    names, parameter = NAMES[endpoint.kind], _FILTER_PARAMETER[endpoint.kind]
    if endpoint.kind is Dialect.LEGACY:
        return url.with_query({parameter: ",".join(names)})
    return url.with_query([(parameter, name) for name in names])


def host_port(address: str, port: int) -> str:
    """Return the host and port of a URL: an IPv6 address goes into brackets."""
    try:
        return f"[{IPv6Address(address)}]:{port}"
    except ValueError:
        return f"{address}:{port}"


class PageClient:
    """The HTTP client of all scrapes: keeps a connection to each agent open.

    Does not follow redirects, use proxies, keep cookies or decompress beyond `max_body_bytes`.
    """

    def __init__(self, settings: ScrapeSettings) -> None:
        self._connect_timeout = settings.timeout * _CONNECT_SHARE
        self._max_bytes = settings.max_body_bytes
        # Longer than two intervals, or each scrape would open a connection of its own.
        self._keepalive = settings.interval * 2 + settings.timeout
        self._idle: dict[_Place, HttpConnection] = {}
        self._closing: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._close_idle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._closing is not None:
            self._closing.cancel()
        for connection in self._idle.values():
            connection.abort()
        self._idle.clear()

    def _close_idle(self) -> None:
        """Close connections that are no longer used: those of agents that are gone."""
        loop = asyncio.get_running_loop()
        expired = loop.time() - self._keepalive
        for place in [place for place, connection in self._idle.items() if connection.idle_since < expired]:
            self._idle.pop(place).abort()
        self._closing = loop.call_later(self._keepalive, self._close_idle)

    async def fetch(self, url: URL, *, within: float, take: Callable[[bytes], _T]) -> _T:
        """Return the result of `take` for the page at `url`, complete and decompressed, within `within` seconds.

        `take` is called while the event loop reads from the network, so it must be fast. Raises ScrapeError, and what
        `take` raises.
        """

        def take_response(response: Response) -> _T:
            return take(self._body(response))

        loop = asyncio.get_running_loop()
        started = loop.time()
        place = (url.raw_host or "", url.port or 0)
        request = f"GET {url.raw_path_qs} HTTP/1.1\r\nHost: {url.raw_authority}\r\n{_FIELDS}".encode("ascii")
        connection = self._idle.pop(place, None)
        try:
            if connection is not None and connection.usable:
                try:
                    return await self._send(place, connection, request, take_response, started + within)
                except ScrapeError:
                    # The server may have closed the connection just before the request reached it.
                    if not connection.silent:
                        raise
            connection = None
            connection = await self._connect(place, started + within)
            return await self._send(place, connection, request, take_response, started + within)
        except TimeoutError:
            waiting_for = "the rest of the page" if connection is not None and connection.answering else "an answer"
            raise ScrapeError(ScrapeOutcome.TIMEOUT, f"waited {round(within, 1):g} s for {waiting_for}") from None

    async def _send(
        self,
        place: _Place,
        connection: HttpConnection,
        request: bytes,
        take: Callable[[Response], _T],
        deadline: float,
    ) -> _T:
        """Ask over `connection`, and keep it for the next time if it can be."""
        try:
            return await connection.ask(request, _check_head, take, deadline)
        finally:
            if connection.usable and place not in self._idle:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle[place] = connection
            else:
                connection.abort()

    def _body(self, response: Response) -> bytes:
        """Return the body of a response, decompressed. Raises ScrapeError if it is not whole."""
        body = self._decompressed(response)
        _check_end(_content_type(response.head), body)
        return body

    async def _connect(self, place: _Place, deadline: float) -> HttpConnection:
        """Return a new connection. Raises ScrapeError, and TimeoutError at the deadline."""
        loop = asyncio.get_running_loop()
        soon = loop.time() + self._connect_timeout
        try:
            async with asyncio.timeout_at(min(soon, deadline)):
                _, connection = await loop.create_connection(lambda: HttpConnection(self._max_bytes), *place)
        except TimeoutError:
            if deadline <= soon:
                raise
            raise ScrapeError(ScrapeOutcome.TIMEOUT, f"no connection within {self._connect_timeout:g} s") from None
        except OSError as error:
            raise ScrapeError(ScrapeOutcome.CONNECT, _connect_reason(error)) from error
        return connection

    def _decompressed(self, response: Response) -> bytes:
        if b"content-encoding" not in response.head.fields:
            return response.body
        encoding = response.head.text(b"content-encoding", "identity").strip().lower()
        decompress = _decompressor(encoding)
        if decompress is None:
            return response.body
        # One byte more than allowed is enough to know; what is not asked for is never inflated.
        body = _inflated(decompress, response.body, self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise ScrapeError(ScrapeOutcome.TOO_LARGE, f"page exceeds scrape.max_body_bytes = {self._max_bytes}")
        if not decompress.eof:
            raise ScrapeError(ScrapeOutcome.CUT, "compressed data is truncated")
        return body


def _check_head(head: Head) -> None:
    """Reject anything but a metrics page before its body is read. Raises ScrapeError."""
    if 300 <= head.status < 400:  # noqa: PLR2004 - the class of HTTP status codes is its own name
        raise ScrapeError(ScrapeOutcome.REDIRECT, f"redirects are not followed (HTTP {head.status})")
    if head.status != 200:  # noqa: PLR2004 - as above
        raise ScrapeError(ScrapeOutcome.HTTP_STATUS, f"HTTP {head.status}")
    content_type = _content_type(head)
    if content_type not in (_TEXT, _OPENMETRICS):
        raise ScrapeError(ScrapeOutcome.CONTENT_TYPE, f"content type {content_type[:60]!r} is not a metrics page")
    if b"content-encoding" in head.fields:
        _decompressor(head.text(b"content-encoding", "identity").strip().lower())


def _content_type(head: Head) -> str:
    value = head.fields.get(b"content-type")
    return _TEXT if value is None else _media_type(value)


@lru_cache(maxsize=32)
def _media_type(value: bytes) -> str:
    """Return a content type without its parameters; bytes that are no UTF-8 stay recognisable."""
    return value.decode("utf-8", "surrogateescape").partition(";")[0].strip().lower()


def _check_end(content_type: str, body: bytes) -> None:
    """Refuse a page that was cut where HTTP cannot detect it. Raises ScrapeError.

    A wrong Content-Length and a body that ends with its connection both look complete, and `… 17` cut to `… 1` is a
    count. Both formats end their last line, so a page that does not is not whole.
    """
    if not body:
        return
    if not body.endswith((b"\n", b"# EOF")):
        raise ScrapeError(ScrapeOutcome.CUT, "the page ends in the middle of a line")
    if content_type == _OPENMETRICS and not body.endswith(_OPENMETRICS_ENDS):
        raise ScrapeError(ScrapeOutcome.CUT, "the OpenMetrics page has no # EOF at its end")


def _decompressor(encoding: str) -> "zlib._Decompress | None":
    """Return the decompressor for `encoding`, None if not compressed. Raises ScrapeError."""
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(_GZIP_OR_ZLIB)
    raise ScrapeError(ScrapeOutcome.ENCODING, f"content encoding {encoding[:60]!r} was not asked for")


def _inflated(decompress: "zlib._Decompress", chunk: bytes, max_bytes: int) -> bytes:
    """Return the next `max_bytes` bytes at most of what `chunk` expands to. Raises ScrapeError.

    gzip may hold several members (RFC 1952, section 2.2). No HTTP server sends a page so, and one that ends early must
    not be taken for a whole one: what follows the first member is damage.
    """
    try:
        inflated = decompress.decompress(chunk, max_bytes)
    except zlib.error as error:
        raise ScrapeError(ScrapeOutcome.ENCODING, "compressed data is corrupt") from error
    if decompress.unused_data:
        raise ScrapeError(ScrapeOutcome.ENCODING, "trailing data after the compressed page")
    return inflated


def _connect_reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return f"cannot connect: {error.strerror or type(error).__name__}"
