"""What an agent sends."""

import asyncio
import math
from collections.abc import Callable

from exporter.fleet.dialect import (
    AGENT_FAMILIES,
    AgentPages,
    NotAnAgentError,
    NoTaskCountError,
    PageReading,
    TooManySeriesError,
)
from exporter.fleet.exposition import read as read_page
from exporter.scrape.client import _Intake
from exporter.scrape.http import HttpConnection
from exporter.scrape.outcome import ScrapeError
from exporter.scrape.pages import PageInBlocks
from exporter.scrape.turns import Turns
from tests.fuzz.checks import is_short

_PAGE_BYTES = 1024 * 1024

_REFUSED = (NotAnAgentError, NoTaskCountError, TooManySeriesError)


def pages(data: bytes) -> None:
    """Read a metrics page in one go, a second time with its shape known, and in pieces of a size that it chooses."""
    size, page = 1 + data[0] * 16 if data else 1, data[1:]
    found = read_page(page, AGENT_FAMILIES)
    lines = page.count(b"\n") + 1
    assert len(found.samples) + found.rejected_lines <= lines
    whole = AgentPages()
    first, again = _read_page(whole.read, page), _read_page(whole.read, page)
    assert first == again, (first, again)
    assert first == _read_page(_in_pieces(size), page)
    if isinstance(first, PageReading):
        _check_reading(first)


def _read_page(read: Callable[[bytes], PageReading], page: bytes) -> PageReading | type[Exception]:
    try:
        return read(page)
    except _REFUSED as error:
        return type(error)


def _in_pieces(size: int) -> Callable[[bytes], PageReading]:
    def read(page: bytes) -> PageReading:
        reader = PageInBlocks()
        for start in range(0, len(page), size):
            reader.feed(page[start : start + size])
            while reader.step():
                pass
        return reader.result()

    return read


def _check_reading(page: PageReading) -> None:
    reading = page.reading
    for figure in (reading.tasks_active, reading.tasks_queued, reading.requests_active, reading.sessions_open,
                   reading.heap_used_bytes, reading.heap_limit_bytes):  # fmt: skip
        assert figure is None or (math.isfinite(figure) and figure >= 0), reading
    assert reading.busyness_score is None or math.isfinite(reading.busyness_score), reading
    assert reading.connected in {None, True, False}
    for text in (reading.version, reading.commit):
        assert text is None or 0 < len(text) <= 128


class _Socket:
    """Takes any option."""

    def setsockopt(self, *option: int) -> None: ...


class _Transport(asyncio.Transport):
    """A connection whose other side is the text."""

    def __init__(self) -> None:
        super().__init__({"socket": _Socket()})
        self.aborted = False

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True


_loop = asyncio.new_event_loop()


def http(data: bytes) -> None:
    """Read an answer that comes in one piece, and in pieces of a size that it chooses; both are the same page."""
    size, answer = 1 + data[0] if data else 1, data[1:]
    whole = _loop.run_until_complete(_answered(answer, max(1, len(answer))))
    pieces = _loop.run_until_complete(_answered(answer, size))
    if isinstance(whole, bytes) and isinstance(pieces, bytes):
        assert whole == pieces


async def _answered(answer: bytes, size: int) -> bytes | Exception:
    """Return the page of an answer, or why there is none."""
    transport = _Transport()
    connection = HttpConnection(_PAGE_BYTES, Turns())
    connection.connection_made(transport)
    intake = _Intake(bytes, lambda body: size % 2 == 0, _Gathered, _PAGE_BYTES)
    deadline = asyncio.get_running_loop().time() + 60
    asked = asyncio.ensure_future(connection.ask(b"GET / HTTP/1.1\r\n\r\n", intake, deadline))
    await asyncio.sleep(0)
    for start in range(0, len(answer), size):
        if transport.aborted:
            break
        connection.data_received(answer[start : start + size])
        await _steps(intake)
    if not transport.aborted:
        connection.connection_lost(None)
    await _steps(intake)
    try:
        page = await asked
    except ScrapeError as error:
        is_short(error)
        return error
    assert len(page) <= _PAGE_BYTES
    return page


async def _steps(intake: "_Intake[bytes]") -> None:
    """Let a page that is read in steps take them: each is a turn of the event loop."""
    await asyncio.sleep(0)
    for _ in range(2 * _PAGE_BYTES // (16 * 1024) if intake.in_steps else 0):
        await asyncio.sleep(0)


class _Gathered:
    """Keeps a large page as it comes."""

    def __init__(self) -> None:
        self._text = b""

    def feed(self, text: bytes) -> None:
        self._text += text

    def step(self) -> bool:
        return False

    def result(self) -> bytes:
        return self._text
