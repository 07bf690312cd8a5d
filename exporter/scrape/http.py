"""One HTTP/1.1 connection to one server: a request out, a response in, nothing else.

Why not a library's client: at a thousand agents every five seconds the process sleeps between any two scrapes and finds
its caches cold, so what counts is how much code a scrape runs through. With aiohttp's client it takes half as much CPU
again (docs/benchmarks.md). What is not needed here is what that is made of: redirects, cookies, proxies, TLS, uploads.

llhttp, the parser of Node.js, finds where a response begins and ends. Where RFC 9112 lets a recipient choose between
repairing and refusing, it refuses; what it has no limit for has one here. The server is never trusted.
Knows nothing of metrics pages: the caller's `Intake` decides which responses are read, and how.
"""

import asyncio
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from exporter.scrape.turns import ONE_GO_BYTES, Turns

# A server that needs more than this to describe its page's framing is no agent.
_MAX_FIELD_BYTES = 16 * 1024
"""All fields, trailers among them; and whatever else is not body, but for the lines of chunks."""
_FIELD_OVERHEAD = len(": \r\n")
_MAX_CHUNK_LINE_BYTES = 256
"""On average: size, extensions and line ends of a chunk."""
_MAX_PROVISIONAL = 10
# Each chunk costs about a microsecond whatever it holds; the bound keeps a page of tiny ones from holding up the loop.
_MAX_CHUNKS = 20_000
# An object takes forty bytes by itself, however few it holds.
_MAX_PIECES = 64
# What Linux begins with (tcp_rmem; it doubles the number). It would go on to 6 MB and more for each connection whose
# page waits for its turn, all of it in the pod's memory.
_UNREAD_BYTES = 64 * 1024
_START = b"HTTP/1."
_SWITCHING_PROTOCOLS = 101
_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding"})
_USED_FIELDS = _FRAMING_FIELDS | {b"content-encoding", b"content-type"}


class Head(NamedTuple):
    """Status and fields of a response."""

    status: int
    fields: dict[bytes, bytes]
    """Those that anything here asks for, by name in lower case; one that came several times is joined with commas
    (RFC 9110, section 5.3)."""

    def text(self, name: bytes, default: str) -> str:
        """Return a field as text; bytes that are no UTF-8 stay recognizable."""
        value = self.fields.get(name)
        return default if value is None else value.decode("utf-8", "surrogateescape")


_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Intake(Protocol[_T_co]):
    """What is made of one response.

    All of it is called while the event loop reads from the network, so it must be fast. Whatever it raises fails the
    request.
    """

    @property
    def in_steps(self) -> bool:
        """Whether the body must be read in steps, however little of it is left; known once its head is accepted."""

    def accept(self, head: Head) -> None:
        """Raise ScrapeError for a response whose body is not to be read."""

    def knows(self, body: bytes) -> bool:
        """Return whether a body that could be taken is like the one before, and so taken in no time."""

    def take(self, body: bytes) -> _T_co:
        """Return what is made of a body of at most `ONE_GO_BYTES`."""

    def feed(self, piece: bytes) -> None:
        """Take the next part of a body that is read in steps."""

    def step(self) -> bool:
        """Take one step. Returns whether there may be another one before more of the body has come."""

    def result(self) -> _T_co:
        """Return what was made of a body that was read in steps, when it is complete."""


class HttpConnection(asyncio.Protocol):
    """Takes one request at a time. Any failure ends it."""

    def __init__(self, max_bytes: int, turns: Turns) -> None:
        self._max_bytes = max_bytes
        self._turns = turns
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Any] | None = None
        self.idle_since = 0.0
        self._reset(None)

    def _reset(self, intake: Intake[Any] | None) -> None:
        self._received = 0
        self._field_bytes = 0
        self._chunks = 0
        self._provisional = 0
        self._size = 0
        self._answering = False
        self._complete = False
        self._persistent = False
        self._expect(intake)

    def _expect(self, intake: Intake[Any] | None) -> None:
        """Keep nothing of the last response: a page of each agent would be more than all else in memory."""
        self._intake = intake
        self._head: Head | None = None
        self._fields: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._held = 0
        """Bytes of the body that are here."""
        self._in_steps = False

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and self._waiter is None

    @property
    def answering(self) -> bool:
        """Whether the head of the response has come."""
        return self._answering

    @property
    def silent(self) -> bool:
        """Whether nothing at all has come in answer to the request."""
        return not self._received

    async def ask(self, request: bytes, intake: Intake[_T], deadline: float) -> _T:
        """Send a request and return what `intake` makes of the response. A cancelled wait ends the connection.

        A small body is taken with its last byte, when all of the response is still warm. By the time the waiting task
        runs, the responses of fifty others have come in, and they would all have been kept. Of a large one no more is
        received before what is here was read.

        `deadline` is on the event loop's clock. Raises ScrapeError, what `intake` raises, and TimeoutError at the
        deadline.
        """
        transport = self._transport
        if transport is None:
            raise self._lost()
        self._reset(intake)
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
            # What it raises refers to this frame, and would be kept with it until the garbage collector comes around,
            # which is rare (service.py). The timer refers to a TimeoutError that may be what is raised.
            del waiter, timer
        return taken

    def abort(self) -> None:
        """End the connection at once."""
        self._waiter = None
        self._expect(None)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # -- asyncio's side -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, and begin to parse."""
        # uvloop's transports are none of asyncio's by class, only by what they do.
        self._transport = cast(asyncio.Transport, transport)
        if not transport.is_closing():  # a deadline may have come first
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BYTES)
        # It refers back to here. uvloop makes a protocol for each attempt to connect, and most of a dead agent fail.
        self._parser = HttpResponseParser(self)
        # Some servers write the size of a chunk in a field of fixed width; Prometheus reads them too.
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)

    def data_received(self, data: bytes) -> None:
        """Read on. An unsolicited response ends the connection: each response would then answer the request before."""
        if self._waiter is None:
            self.abort()
            return
        if not self._received and data[: len(_START)] != _START[: len(data)]:
            self._fail(not_http())
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError as error:
            # Raised by one of the callbacks below; behind a complete response it costs the connection only.
            if not self._complete:
                self._fail(error.__context__ or error)
                return
        except (HttpParserError, HttpParserUpgrade):
            self._fail(not_http())
            return
        if self._complete:
            self._finish()
        elif self._received - self._size > _MAX_FIELD_BYTES + self._chunks * _MAX_CHUNK_LINE_BYTES:
            self._fail(not_http())
        elif self._held > ONE_GO_BYTES or self._in_steps:
            self._read_in_steps()

    def connection_lost(self, exc: Exception | None) -> None:
        """Complete a body that has no other end (RFC 9112, section 6.3), or fail the request."""
        self._transport = None
        # It refers back to here; without the circle both are freed at once.
        del self._parser
        if self._waiter is None:
            return
        open_ended = self._head is not None and self._fields.keys().isdisjoint(_FRAMING_FIELDS)
        if open_ended and exc is None:
            self._complete = True
            self._finish()
        else:
            self._fail(self._lost())

    def _finish(self) -> None:
        """Take the body, which is complete."""
        intake = self._intake
        if intake is None or self._waiter is None:
            return
        if self._in_steps or self._held > ONE_GO_BYTES or intake.in_steps:
            self._read_in_steps()
        elif self._turns.crowded and not intake.knows(self._whole()):
            self._wait_for_turn()
        else:
            began = perf_counter()
            self._take(intake)
            self._turns.spend(perf_counter() - began)

    def _take(self, intake: Intake[Any]) -> None:
        """Take a small body as a whole."""
        self._settle(intake.take, self._whole())

    def _whole(self) -> bytes:
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def _read_in_steps(self) -> None:
        """Let what is here of a large body be read in steps."""
        assert self._intake is not None  # noqa: S101 - for mypy: a body comes after a request
        for piece in self._body:
            self._intake.feed(piece)
        self._body, self._held = [], 0
        self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Let what is here be read when it is its turn; nothing more is received meanwhile."""
        if self._transport is not None:
            self._transport.pause_reading()
        if not self._in_steps:
            self._in_steps = True
            self._turns.take(self._step)

    def _step(self) -> bool:
        """Read on. Returns whether there is more to read before more of the body comes."""
        intake = self._intake
        if intake is None or self._waiter is None:  # timed out, or cancelled
            return False
        try:
            if not self._body and intake.step():
                return True
        except Exception as error:  # noqa: BLE001 - raised again where the answer is waited for
            self._fail(error)
            return False
        self._in_steps = False
        if self._body:
            self._take(intake)
        elif self._complete:
            self._settle(intake.result)
        if self._transport is not None:
            self._transport.resume_reading()
        return False

    def _settle(self, result: Callable[..., object], *page: bytes) -> None:
        """End the exchange with what `result` returns or raises."""
        waiter = self._waiter
        self._waiter = None
        self._expect(None)
        if not self._persistent and self._transport is not None:
            self.abort()
        if waiter is None or waiter.done():
            return
        try:
            waiter.set_result(result(*page))
        except Exception as error:  # noqa: BLE001 - raised again where the answer is waited for
            waiter.set_exception(error)
        finally:
            del waiter  # as in `ask`

    def _fail(self, error: BaseException) -> None:
        waiter = self._waiter
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _lost(self) -> ScrapeError:
        where = "in the middle of the page" if self.answering else "while waiting for a response"
        return ScrapeError(ScrapeOutcome.CUT, f"connection lost {where}")

    # -- the parser's side --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Give the connection up for a further, unsolicited response."""
        if self._complete:
            self._persistent = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head if it is of use; a trailer only counts. Raises ScrapeError."""
        self._field_bytes += len(name) + len(value) + _FIELD_OVERHEAD
        if self._field_bytes > _MAX_FIELD_BYTES:
            raise not_http()
        name = name.lower()
        if name in _USED_FIELDS and self._head is None:
            before = self._fields.get(name)
            self._fields[name] = value if before is None else before + b", " + value

    def on_headers_complete(self) -> None:
        """Take in a head. Raises ScrapeError."""
        status = self._parser.get_status_code()
        if self._complete or status < 100:  # noqa: PLR2004 - the class of a status is its own name
            raise not_http()
        if status < 200 and status != _SWITCHING_PROTOCOLS:  # noqa: PLR2004 - as above
            self._provisional += 1
            if self._provisional > _MAX_PROVISIONAL:
                raise not_http()
            self._fields = {}
            return
        head = Head(status, self._fields)
        if self._intake is not None:
            self._intake.accept(head)
        # llhttp would read any other coding up to the end of the connection.
        if head.fields.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            raise not_http()
        if int(head.fields.get(b"content-length", 0)) > self._max_bytes:
            raise self._too_large()
        self._head = head
        self._answering = True

    def on_chunk_header(self) -> None:
        """Count a chunk. Raises ScrapeError."""
        self._chunks += 1
        if self._chunks > _MAX_CHUNKS:
            raise not_http()

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body. Raises ScrapeError."""
        self._size += len(piece)
        if self._size > self._max_bytes:
            raise self._too_large()
        self._held += len(piece)
        self._body.append(piece)
        if len(self._body) > _MAX_PIECES:
            self._body = [b"".join(self._body)]

    def on_message_complete(self) -> None:
        """Record the end of a response, unless it is provisional."""
        if self._head is not None:
            self._complete = True
            self._persistent = self._parser.should_keep_alive()

    def _too_large(self) -> ScrapeError:
        return ScrapeError(ScrapeOutcome.TOO_LARGE, f"page exceeds scrape.max_body_bytes = {self._max_bytes}")


def not_http() -> ScrapeError:
    """Return the error for a server that does not keep to the protocol."""
    return ScrapeError(ScrapeOutcome.NOT_HTTP, "the response is not HTTP")
