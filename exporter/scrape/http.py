"""One HTTP/1.1 connection to one server: a request out, a response in, nothing else.

Why not a library's client: at a thousand agents every five seconds the process sleeps between any two scrapes and finds
its caches cold, so what counts is how much code a scrape runs through. With aiohttp's client it takes half as much CPU
again (docs/benchmarks.md). What is not needed here is what that is made of: redirects, cookies, proxies, TLS, uploads.

Trusts the server with nothing. Where RFC 9112 lets a recipient choose between repairing and refusing, it refuses.
Knows nothing of metrics pages: the caller says in `accept` which responses it wants.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from exporter.scrape.outcome import Outcome, ScrapeError

# A server that needs more than this to say how its page is framed is no agent.
_MOST_HEAD_BYTES = 16 * 1024
_MOST_CHUNK_LINE_BYTES = 256
_MOST_PROVISIONAL = 10
# Each chunk costs about a microsecond whatever it holds; the bound keeps a page of tiny ones from holding up the loop.
_MOST_CHUNKS = 20_000
_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_HEAD = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*+)?(?:\r\n" + _NAME + rb":[^\r\n]*+)*+")
# Only the fields somebody asks for: a scrape has little else to do.
_FIELD = re.compile(rb"(?i)\r\n(connection|content-(?:encoding|length|type)|transfer-encoding):[ \t]*+([^\r\n]*+)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = (_SWITCHING_PROTOCOLS, 204, 304)


class Head(NamedTuple):
    """Status and fields of a response."""

    status: int
    fields: dict[bytes, bytes]
    """By name in lower case; a field that came several times is joined with commas (RFC 9110, section 5.3)."""
    persistent: bool
    """Whether the server keeps the connection for another request."""

    def text(self, name: bytes, default: str) -> str:
        """Return a field as text; bytes that are no UTF-8 stay recognisable."""
        value = self.fields.get(name)
        return default if value is None else value.decode("utf-8", "surrogateescape")


class Response(NamedTuple):
    """A complete response; the body is as it was sent, without the transfer coding."""

    head: Head
    body: bytes


Accept = Callable[[Head], None]
"""Raises ScrapeError for a response whose body is not wanted."""
_T = TypeVar("_T")


class Connection(asyncio.Protocol):
    """Takes one request at a time. Any failure ends it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Any] | None = None
        self._accept: Accept = lambda head: None
        self._take: Callable[[Response], object] = lambda response: response
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._unread = b""
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._length: int | None = None
        self._chunks: _Chunks | None = None
        self._provisional = 0

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and self._waiter is None

    @property
    def answering(self) -> bool:
        """Whether the head of the response is there."""
        return self._head is not None

    @property
    def silent(self) -> bool:
        """Whether nothing at all has come in answer to the request."""
        return self._head is None and not self._unread and not self._provisional

    async def ask(self, request: bytes, accept: Accept, take: Callable[[Response], _T], deadline: float) -> _T:
        """Send a request and return what `take` makes of the response. A cancelled wait ends the connection.

        `take` is called with the last byte, when all of the response is still warm. By the time whoever waits has its
        turn, the responses of fifty others have come in, and they would all have been kept.

        `deadline` is on the event loop's clock. Raises ScrapeError, what `take` raises, and TimeoutError at the
        deadline.
        """
        transport = self._transport
        if transport is None:
            raise self._lost()
        self._reset()
        self._accept, self._take = accept, take
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        # Half the cost of asyncio.timeout, and there is nothing here that would have to be cancelled.
        timer = loop.call_at(deadline, self._fail, TimeoutError())
        transport.write(request)
        try:
            taken: _T = await waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            timer.cancel()
        return taken

    def abort(self) -> None:
        """End the connection at once."""
        self._waiter = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # -- asyncio's side -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the connection."""
        # uvloop's transports are none of asyncio's by class, only by what they do.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read on. What nobody asked for ends the connection: the next answer would be the one before."""
        if self._waiter is None:
            self.abort()
            return
        try:
            complete = self._read(data)
        except ScrapeError as error:
            self._fail(error)
            return
        if complete:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Complete a body that has no other end (RFC 9112, section 6.3), or fail the request."""
        self._transport = None
        if self._waiter is None:
            return
        open_ended = self._head is not None and self._length is None and self._chunks is None
        if open_ended and exc is None:
            self._finish()
        else:
            self._fail(self._lost())

    def _finish(self) -> None:
        waiter, head, body = self._waiter, self._head, b"".join(self._body)
        self._waiter = None
        # A page of each agent would be more than all the rest of the exporter's memory.
        self._body = []
        if (head is None or not head.persistent) and self._transport is not None:
            self.abort()
        if waiter is None or head is None or waiter.done():
            return
        try:
            waiter.set_result(self._take(Response(head, body)))
        except Exception as error:  # noqa: BLE001 - raised again where the answer is waited for
            waiter.set_exception(error)

    def _fail(self, error: Exception) -> None:
        waiter = self._waiter
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _lost(self) -> ScrapeError:
        where = "in the middle of the page" if self.answering else "while waiting for an answer"
        return ScrapeError(Outcome.CUT, f"connection lost {where}")

    # -- the response -------------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> bool:
        """Take in some bytes; return whether the response is complete. Raises ScrapeError."""
        if self._head is None:
            rest = self._read_heads(self._unread + data if self._unread else data)
            if rest is None:
                return False
            data = rest
        if self._chunks is not None:
            complete = self._chunks.read(data, self._add)
            return complete and self._nothing_but_http_follows(self._chunks.rest)
        if self._length is None:
            self._add(data)
            return False
        missing = self._length - self._size
        if len(data) <= missing:
            self._add(data)
            return self._size == self._length
        self._add(data[:missing])
        return self._nothing_but_http_follows(data[missing:])

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most_bytes:
            raise self._too_large()
        self._body.append(piece)

    def _nothing_but_http_follows(self, rest: bytes) -> bool:
        """Return True; another response nobody asked for costs the connection, anything else the page."""
        if rest:
            if not rest.startswith(b"HTTP/"):
                raise not_http()
            if self._head is not None:
                self._head = self._head._replace(persistent=False)
        return True

    def _read_heads(self, data: bytes) -> bytes | None:
        """Read a head, and provisional ones before it; return what follows, None if it is not complete yet."""
        while (end := data.find(b"\r\n\r\n")) >= 0:
            if end > _MOST_HEAD_BYTES:
                raise not_http()
            head = _parsed(data[:end])
            data = data[end + 4 :]
            if head.status >= 200 or head.status == _SWITCHING_PROTOCOLS:  # noqa: PLR2004 - the class is its own name
                self._accept(head)
                self._frame(head)
                self._head = head
                self._unread = b""
                return data
            self._provisional += 1
            if self._provisional > _MOST_PROVISIONAL:
                raise not_http()
        if len(data) > _MOST_HEAD_BYTES or not (data.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(data)):
            raise not_http()
        self._unread = data
        return None

    def _frame(self, head: Head) -> None:
        """Tell from the head where the body ends."""
        length, coding = head.fields.get(b"content-length"), head.fields.get(b"transfer-encoding")
        if coding is not None:
            # Both at once is how requests are smuggled (RFC 9112, section 6.1); other codings nobody asked for.
            if length is not None or coding.lower() != b"chunked":
                raise not_http()
            self._chunks = _Chunks()
        elif head.status in _WITHOUT_BODY:
            self._length = 0
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise not_http()
            self._length = int(length)
            if self._length > self._most_bytes:
                raise self._too_large()

    def _too_large(self) -> ScrapeError:
        return ScrapeError(Outcome.TOO_LARGE, f"page exceeds scrape.max_body_bytes = {self._most_bytes}")


class _Chunks:
    """The chunked transfer coding (RFC 9112, section 7.1)."""

    __slots__ = ("_at_line_end", "_count", "_in_trailers", "_missing", "_trailer_bytes", "rest")

    def __init__(self) -> None:
        self.rest = b""
        """What has come in and is not read yet; once the body is complete, what follows it."""
        self._missing = 0
        """Bytes still to come of the current chunk."""
        self._at_line_end = False
        self._count = 0
        self._in_trailers = False
        self._trailer_bytes = 0

    def read(self, data: bytes, add: Callable[[bytes], None]) -> bool:
        """Hand the bytes of the chunks to `add`; return whether the body is complete. Raises ScrapeError."""
        if self.rest:
            data = self.rest + data
        position = 0
        while True:
            position = self._take(data, position, add)
            end = -1 if self._missing else data.find(b"\r\n", position)
            if end < 0:
                self.rest = data[position:]
                if len(self.rest) > _MOST_CHUNK_LINE_BYTES:
                    raise not_http()
                return False
            complete = self._read_line(data[position:end])
            position = end + 2
            if complete:
                self.rest = data[position:]
                return True

    def _take(self, data: bytes, position: int, add: Callable[[bytes], None]) -> int:
        """Hand over what there is of the current chunk; return where that ends."""
        if not self._missing:
            return position
        piece = data[position : position + self._missing]
        add(piece)
        self._missing -= len(piece)
        self._at_line_end = True
        return position + len(piece)

    def _read_line(self, line: bytes) -> bool:
        """Take in the line end of a chunk, the size of the next, or a trailer; return whether it was the last."""
        if self._at_line_end:
            if line:
                raise not_http()
            self._at_line_end = False
        elif not self._in_trailers:
            self._begin(line)
        else:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > _MOST_HEAD_BYTES:
                raise not_http()
            return not line
        return False

    def _begin(self, line: bytes) -> None:
        found = _CHUNK_SIZE.fullmatch(line)
        self._count += 1
        if found is None or self._count > _MOST_CHUNKS or len(line) > _MOST_CHUNK_LINE_BYTES:
            raise not_http()
        self._missing = int(found[1], 16)
        self._in_trailers = not self._missing


def _parsed(text: bytes) -> Head:
    """Read a head. Raises ScrapeError."""
    found = _HEAD.fullmatch(text)
    if found is None:
        raise not_http()
    fields: dict[bytes, bytes] = {}
    for written, padded in _FIELD.findall(text, found.end(2)):
        name, value = written.lower(), padded.rstrip(b" \t")
        fields[name] = fields[name] + b", " + value if name in fields else value
    connection = fields.get(b"connection", b"").lower()
    persistent = b"close" not in connection if found[1] == b"1" else b"keep-alive" in connection
    return Head(int(found[2]), fields, persistent)


def not_http() -> ScrapeError:
    """Return the error for a server that does not keep to the protocol."""
    return ScrapeError(Outcome.NOT_HTTP, "the answer is not HTTP")
