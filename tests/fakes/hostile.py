"""Raw HTTP servers that do what no library would let them: the agents nobody should trust.

A behaviour gets the connection after each request and does what it likes with it; ending the connection is up to it
too. What a server saw is kept, so that a test can tell who connected how often.

    async with HostileServer(answer(page())) as server:
        ...server.port, server.connections, server.requests
"""

import asyncio
import gzip
import socket
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self

OTEL_PAGE = (
    b"# TYPE matillion_agent_task_running_unit gauge\n"
    b'matillion_agent_status_unit{account_id="a"} 1.0\n'
    b'matillion_agent_connected_unit{account_id="a"} 1.0\n'
    b'matillion_agent_task_running_unit{matillion_agent_cloud_provider="aws"} 7.0\n'
    b'matillion_agent_task_queued_unit{matillion_agent_cloud_provider="aws"} 2.0\n'
)
"""A small page of an OpenTelemetry agent with 7 tasks running and 2 queued."""
LEGACY_PAGE = b"app_agent_status 1.0\napp_agent_connected 1.0\napp_active_task_count 5.0\n"
"""A page of a legacy agent with 5 tasks running."""
TEXT = "text/plain; version=0.0.4; charset=utf-8"
GZIP = "Content-Encoding: gzip"
MIB = 1024 * 1024
FLOOD = 64 * 1024
"""Bytes a flooding server writes at once."""


class Exchange:
    """One request on one connection, and the means to answer it."""

    def __init__(self, request: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = request
        """The request line, such as `GET /metrics HTTP/1.1`."""
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write, as fast as the other side reads."""
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """End the connection properly (FIN)."""
        self.writer.close()

    def reset(self) -> None:
        """Tear the connection down (RST)."""
        self.writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


class HostileServer:
    """Listens on one port of one loopback address and treats each request as its behaviour says."""

    def __init__(self, behaviour: Behaviour, host: str = "127.0.0.1", port: int = 0) -> None:
        self.behaviour = behaviour
        self.host = host
        self.port = port
        self.connections = 0
        self.requests: list[str] = []
        self.heads: list[str] = []
        """Request line and header of each request."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                self.requests.append(head.partition("\r\n")[0])
                await self.behaviour(Exchange(self.requests[-1], reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side hung up, as it should
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's streams would report a cancelled handler as an error
        finally:
            writer.transport.abort()


@contextmanager
def refusing_port(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port that refuses connections while the context lasts: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind((host, 0))
        yield taken.getsockname()[1]


@contextmanager
def silent_port(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port on which no connection comes about: its queue is full, and Linux then drops what arrives."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield listener.getsockname()[1]


def head(status: str = "200 OK", *fields: str, content_type: str | None = TEXT) -> bytes:
    """Return a response head."""
    lines = [f"HTTP/1.1 {status}", *([f"Content-Type: {content_type}"] if content_type else []), *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def response(body: bytes, status: str = "200 OK", *fields: str, content_type: str | None = TEXT) -> bytes:
    """Return a complete response."""
    return head(status, *fields, f"Content-Length: {len(body)}", content_type=content_type) + body


def chunk(data: bytes) -> bytes:
    """Return data as one chunk of the chunked transfer coding."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


# -- behaviours --------------------------------------------------------------------------------------------------------


def answer(data: bytes) -> Behaviour:
    """Send the same bytes to every request and keep the connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)

    return behave


def page(body: bytes = OTEL_PAGE) -> Behaviour:
    """Serve a page as a good agent does."""
    return answer(response(body))


def cut(data: bytes) -> Behaviour:
    """Send some bytes, then end the connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)
        exchange.close()

    return behave


def reset(data: bytes) -> Behaviour:
    """Send some bytes, then reset the connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)
        await asyncio.sleep(0.02)  # a reset overtakes what the other side has not read yet
        exchange.reset()

    return behave


def hang(data: bytes = b"") -> Behaviour:
    """Send some bytes, or none, and then nothing for ever."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)
        await asyncio.Event().wait()

    return behave


def in_pieces(*pieces: bytes, pause: float = 0.02) -> Behaviour:
    """Send the pieces one by one, so that the network cuts the answer there."""

    async def behave(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            await asyncio.sleep(pause)

    return behave


def streamed(data: bytes) -> Behaviour:
    """Send the same bytes to every request, and hold no copy of what was not received yet."""

    async def behave(exchange: Exchange) -> None:
        for begin in range(0, len(data), FLOOD):
            await exchange.send(data[begin : begin + FLOOD])

    return behave


def drip(start: bytes, drop: bytes, every: float) -> Behaviour:
    """Begin well, then add a few bytes now and then, for ever."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(start)
        while True:
            await asyncio.sleep(every)
            await exchange.send(drop)

    return behave


def flood(start: bytes, piece: bytes) -> Behaviour:
    """Begin well, then send the same piece for ever, as fast as it is read."""
    data = piece * max(1, FLOOD // len(piece))

    async def behave(exchange: Exchange) -> None:
        await exchange.send(start)
        while True:
            await exchange.send(data)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Treat the first request one way, the second another way, and all that follow like the last."""
    turns = list(behaviours)

    async def behave(exchange: Exchange) -> None:
        await (turns.pop(0) if len(turns) > 1 else turns[0])(exchange)

    return behave


def by_filter(filtered: Behaviour, whole: Behaviour) -> Behaviour:
    """Treat requests that filter by name one way, the others another way."""

    async def behave(exchange: Exchange) -> None:
        await (filtered if "?" in exchange.request else whole)(exchange)

    return behave


# -- bodies ------------------------------------------------------------------------------------------------------------


@cache
def gzip_bomb(size: int) -> bytes:
    """Return a gzip body that expands a thousand times, to `size` bytes of blank lines."""
    return gzip.compress(b"\n" * size)


def deflate_bomb(size: int) -> bytes:
    """Return the same in the zlib format, which HTTP calls deflate."""
    return zlib.compress(b"\n" * size)


def silent_deflate(size: int) -> bytes:
    """Return `size` bytes of valid gzip data that expand to nothing: one empty stored block after the other."""
    empty_block = b"\x00\x00\x00\xff\xff"  # RFC 1951, 3.2.4: no final bit, stored, length 0 and its complement
    return gzip.compress(b"")[:10] + empty_block * (size // len(empty_block))


# -- kinds of hostile agents -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hostility:
    """One way in which an agent that is asked for its page misbehaves."""

    treat: Callable[[bytes], Behaviour]
    """From the page that a good agent would have sent now."""
    readable: bool = False
    """Whether a reader may take the page all the same: its figures are what the agent says."""


def _wrong_count(value: bytes) -> Hostility:
    """Return pages on which the count of tasks is this."""

    def treat(page: bytes) -> Behaviour:
        lines = page.splitlines(keepends=True)
        return answer(response(b"".join(_replaced(line, value) if _COUNT in line else line for line in lines)))

    return Hostility(treat)


_COUNT = b"task"
"""In the name of every count of tasks, running or queued, of both kinds of pages."""


def _replaced(line: bytes, value: bytes) -> bytes:
    return line.rpartition(b" ")[0] + b" " + value + b"\n" if not line.startswith(b"#") else line


@cache
def _bomb(make: Callable[[int], bytes], size: int) -> bytes:
    return make(size)


@cache
def _samples(number: int, width: int) -> bytes:
    """Return series of a family that is read, each with labels of its own; `@@@@@@@@` is where a page puts its mark."""
    padding = b"x" * width
    return b"".join(b'jvm_memory_used_bytes{area="heap",id="@@@@@@@@%d%s"} 1.0\n' % (n, padding) for n in range(number))


def _with_samples(number: int, width: int = 0) -> Hostility:
    def treat(page: bytes) -> Behaviour:
        mark = b"%08x" % zlib.crc32(page)
        return answer(response(page + _samples(number, width).replace(b"@@@@@@@@", mark)))

    return Hostility(treat, readable=True)


def _flipped(page: bytes) -> Behaviour:
    """Serve a page with families of both kinds, the other kind's count being absurd, cut off or absent by turns."""
    other = (
        b"app_active_task_count NaN\n"
        if b"matillion_agent_task" in page
        else b"matillion_agent_task_running_unit NaN\n"
    )
    return answer(response(other + page))


NEVER_ENDING = 50 * MIB

KINDS: Mapping[str, Hostility] = {
    "hangs": Hostility(lambda page: hang()),
    "hangs in the page": Hostility(lambda page: hang(response(page)[:-9])),
    "drips": Hostility(lambda page: drip(head("200 OK", "Content-Length: 9999"), b"#\n", 0.2)),
    "drips a head": Hostility(lambda page: drip(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.2)),
    "resets in the page": Hostility(lambda page: reset(response(page)[:-9])),
    "closes at once": Hostility(lambda page: cut(b"")),
    "500": Hostility(lambda page: answer(response(b"Internal Server Error", "500 Internal Server Error"))),
    "200 with HTML": Hostility(lambda page: answer(response(b"<html>503</html>", content_type="text/html"))),
    "redirects": Hostility(lambda page: answer(response(page, "302 Found", "Location: http://127.0.0.1:9464/metrics"))),
    "garbage": Hostility(lambda page: cut(bytes(range(255, -1, -1)) * 64)),
    "a page of garbage": Hostility(lambda page: answer(response(bytes(range(256)) * 256))),
    "50 MB": Hostility(lambda page: flood(head("200 OK", f"Content-Length: {NEVER_ENDING}"), page)),
    "50 MB without a length": Hostility(lambda page: flood(head("200 OK", "Connection: close"), page)),
    "a gzip bomb": Hostility(
        lambda page: answer(response(_bomb(gzip_bomb, NEVER_ENDING), "200 OK", "Content-Encoding: gzip"))
    ),
    "a deflate bomb": Hostility(
        lambda page: answer(response(_bomb(deflate_bomb, NEVER_ENDING), "200 OK", "Content-Encoding: deflate"))
    ),
    "gzip that expands to nothing": Hostility(
        lambda page: answer(response(_bomb(silent_deflate, 3 * MIB), "200 OK", "Content-Encoding: gzip"))
    ),
    "1e999 tasks": _wrong_count(b"1e999"),
    "negative tasks": _wrong_count(b"-5"),
    "NaN tasks": _wrong_count(b"NaN"),
    "100,000 samples": _with_samples(100_000),
    "4,900 new series of 700 bytes": _with_samples(4_900, 650),
    "labels of 1 MB": Hostility(
        lambda page: answer(response(page + b'jvm_memory_used_bytes{id="' + b"x" * MIB + b'"} 1.0\n')), readable=True
    ),
    "both kinds of names": Hostility(_flipped, readable=True),
    "a flood of 1xx": Hostility(lambda page: flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    "nine 1xx first": Hostility(
        lambda page: answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + response(page)), readable=True
    ),
    "a head of 64 KB": Hostility(lambda page: answer(response(page, "200 OK", "X: " + "x" * 64 * 1024))),
    "an answer nobody asked for": Hostility(
        lambda page: answer(response(page) + response(OTEL_PAGE.replace(b" 7.0", b" 999.0"))), readable=True
    ),
    "a length and chunks": Hostility(
        lambda page: answer(
            head("200 OK", f"Content-Length: {len(page)}", "Transfer-Encoding: chunked") + chunk(page) + chunk(b"")
        )
    ),
}
"""Every kind, by its name."""
