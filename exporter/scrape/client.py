"""Fetches one metrics page from one agent, which is not trusted.

Every failure is a `ScrapeError` with a `ScrapeOutcome` for the counter and a readable message. Has no schedule and no
state: the poller decides which page to fetch when.
"""

import asyncio
import math
import zlib
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address
from types import TracebackType
from typing import Generic, Self, TypeVar

from yarl import URL

from exporter import __version__
from exporter.config import ScrapeSettings
from exporter.fleet.dialect import NAMES
from exporter.fleet.model import Dialect, Endpoint
from exporter.scrape.http import Head, HttpConnection
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from exporter.scrape.pages import Blocks
from exporter.scrape.turns import BLOCK_BYTES, Turns

_TEXT, _OPENMETRICS = "text/plain", "application/openmetrics-text"
# OpenMetrics 1.0: "Expositions MUST end with EOF"; the line feed behind it is the writer's choice.
_OPENMETRICS_ENDS = (b"# EOF\n", b"# EOF", b"# EOF\r\n")
_LONGEST_END = len(b"# EOF\r\n")
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
# The rest is for whatever else is a file: clients, watches, the spool.
_SHARE_OF_FILES = 0.75
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

    def __init__(self, settings: ScrapeSettings, *, files: float = math.inf) -> None:
        """Take how many files the process may have open: with more agents than that, some are connected to anew."""
        self._most_connections = files * _SHARE_OF_FILES
        self._asking = 0
        self._connect_timeout = settings.timeout * _CONNECT_SHARE
        self._max_bytes = settings.max_body_bytes
        # Longer than two intervals, or each scrape would open a connection of its own.
        self._keepalive = settings.interval * 2 + settings.timeout
        self._turns = Turns()
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

    async def fetch(
        self,
        url: URL,
        *,
        within: float,
        take: Callable[[bytes], _T],
        knows: Callable[[bytes], bool],
        in_blocks: Callable[[], Blocks[_T]],
    ) -> _T:
        """Return what is made of the page at `url`, complete and decompressed, within `within` seconds.

        A page that is not larger than usual is handed to `take` as a whole, any other one to `in_blocks` as it comes.
        `knows` tells which pages `take` reads in no time: these are read at once whatever else there is to read.
        They are called while the event loop reads from the network, so they must be fast. Raises ScrapeError, and what
        they raise.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        place = (url.raw_host or "", url.port or 0)
        request = f"GET {url.raw_path_qs} HTTP/1.1\r\nHost: {url.raw_authority}\r\n{_FIELDS}".encode("ascii")
        # One for both attempts: where there is a second one, nothing came in answer to the first.
        intake = _Intake(take, knows, in_blocks, self._max_bytes)
        connection = self._idle.pop(place, None)
        self._asking += 1
        try:
            if connection is not None and connection.usable:
                try:
                    return await self._send(place, connection, request, intake, started + within)
                except ScrapeError:
                    # The server may have closed the connection just before the request reached it.
                    if not connection.silent:
                        raise
            connection = None
            connection = await self._connect(place, started + within)
            return await self._send(place, connection, request, intake, started + within)
        except TimeoutError:
            waiting_for = "the rest of the page" if connection is not None and connection.answering else "an answer"
            raise ScrapeError(ScrapeOutcome.TIMEOUT, f"waited {round(within, 1):g} s for {waiting_for}") from None
        finally:
            self._asking -= 1

    async def _send(
        self, place: _Place, connection: HttpConnection, request: bytes, intake: "_Intake[_T]", deadline: float
    ) -> _T:
        """Ask over `connection`, and keep it for the next time if it can be."""
        try:
            return await connection.ask(request, intake, deadline)
        finally:
            if connection.usable and place not in self._idle:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle[place] = connection
            else:
                connection.abort()

    async def _connect(self, place: _Place, deadline: float) -> HttpConnection:
        """Return a new connection. Raises ScrapeError, and TimeoutError at the deadline."""
        if self._idle and self._asking + len(self._idle) > self._most_connections:
            # The agent that was read last is the one whose connection is needed last.
            self._idle.popitem()[1].abort()
        loop = asyncio.get_running_loop()
        soon = loop.time() + self._connect_timeout
        try:
            async with asyncio.timeout_at(min(soon, deadline)):
                _, connection = await loop.create_connection(
                    lambda: HttpConnection(self._max_bytes, self._turns), *place
                )
        except TimeoutError:
            if deadline <= soon:
                raise
            raise ScrapeError(ScrapeOutcome.TIMEOUT, f"no connection within {self._connect_timeout:g} s") from None
        except OSError as error:
            raise ScrapeError(ScrapeOutcome.CONNECT, _connect_reason(error)) from error
        return connection


class _Intake(Generic[_T]):
    """Makes of one response what its caller wants: checks it, decompresses it, hands it on."""

    __slots__ = ("_content_type", "_decompress", "_in_blocks", "_large", "_max_bytes", "_take", "knows")

    def __init__(
        self,
        take: Callable[[bytes], _T],
        knows: Callable[[bytes], bool],
        in_blocks: Callable[[], Blocks[_T]],
        max_bytes: int,
    ) -> None:
        self._take = take
        self.knows = knows
        self._in_blocks = in_blocks
        self._max_bytes = max_bytes
        self._content_type = _TEXT
        self._decompress: zlib._Decompress | None = None
        self._large: _LargePage[_T] | None = None

    @property
    def in_steps(self) -> bool:
        """Whether the page is large, or its size is only known once it is decompressed."""
        return self._large is not None or self._decompress is not None

    def accept(self, head: Head) -> None:
        """Reject anything but a metrics page before its body is read. Raises ScrapeError."""
        self._content_type = _checked_content_type(head)
        if b"content-encoding" in head.fields:
            self._decompress = _decompressor(head.text(b"content-encoding", "identity").strip().lower())

    def take(self, body: bytes) -> _T:
        """Return what is made of a small page. Raises ScrapeError if it is not whole."""
        _check_end(self._content_type, body)
        return self._take(body)

    def feed(self, piece: bytes) -> None:
        """Take the next part of a large page."""
        self._large_page().feed(piece)

    def step(self) -> bool:
        """Read or decompress a block. Raises ScrapeError."""
        return self._large_page().step()

    def result(self) -> _T:
        """Return what was made of a large page. Raises ScrapeError if it is not whole."""
        large = self._large_page()
        large.check_end(self._content_type)
        return large.blocks.result()

    def _large_page(self) -> "_LargePage[_T]":
        if self._large is None:
            self._large = _LargePage(self._in_blocks(), self._decompress, self._max_bytes)
        return self._large


class _LargePage(Generic[_T]):
    """A page that is read as it comes; if it is compressed, no more is inflated at a time than one step reads."""

    def __init__(self, blocks: Blocks[_T], decompress: "zlib._Decompress | None", max_bytes: int) -> None:
        self.blocks = blocks
        self._decompress = decompress
        self._max_bytes = max_bytes
        self._packed = b""
        self._full = False
        """Whether zlib may have more to give even though it has taken in all there was."""
        self._size = 0
        self._end = b""

    def feed(self, piece: bytes) -> None:
        if self._decompress is None:
            self._hand_on(piece)
        else:
            self._packed += piece

    def step(self) -> bool:
        if self.blocks.step():
            return True
        if self._decompress is None or not (self._packed or self._full):
            return False
        inflated = _inflated(self._decompress, self._packed, BLOCK_BYTES)
        self._packed = self._decompress.unconsumed_tail
        self._full = len(inflated) == BLOCK_BYTES
        self._size += len(inflated)
        if self._size > self._max_bytes:
            raise ScrapeError(ScrapeOutcome.TOO_LARGE, f"page exceeds scrape.max_body_bytes = {self._max_bytes}")
        self._hand_on(inflated)
        return True

    def check_end(self, content_type: str) -> None:
        if self._decompress is not None and not self._decompress.eof:
            raise ScrapeError(ScrapeOutcome.CUT, "compressed data is truncated")
        _check_end(content_type, self._end)

    def _hand_on(self, text: bytes) -> None:
        self._end = (self._end + text[-_LONGEST_END:])[-_LONGEST_END:]
        self.blocks.feed(text)


def _checked_content_type(head: Head) -> str:
    """Return the content type of a metrics page. Raises ScrapeError for any other response."""
    if 300 <= head.status < 400:  # noqa: PLR2004 - the class of HTTP status codes is its own name
        raise ScrapeError(ScrapeOutcome.REDIRECT, f"redirects are not followed (HTTP {head.status})")
    if head.status != 200:  # noqa: PLR2004 - as above
        raise ScrapeError(ScrapeOutcome.HTTP_STATUS, f"HTTP {head.status}")
    content_type = _content_type(head)
    if content_type not in (_TEXT, _OPENMETRICS):
        raise ScrapeError(ScrapeOutcome.CONTENT_TYPE, f"content type {content_type[:60]!r} is not a metrics page")
    return content_type


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
