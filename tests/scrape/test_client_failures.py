"""Each way in which a server can fail: its outcome, its sentence, and what it costs."""

import gzip
import time
import tracemalloc
from dataclasses import dataclass

import pytest

from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeOutcome
from tests.fakes import hostile
from tests.fakes.hostile import (
    GZIP,
    MIB,
    OTEL_PAGE,
    Behaviour,
    chunk,
    head,
    response,
)
from tests.scrape.fetching import CHUNKED, LIMIT, OPENMETRICS, TIMEOUT, refusal


@dataclass(frozen=True)
class Case:
    """A way to fail, and what is to be said of it."""

    behaviour: Behaviour
    outcome: ScrapeOutcome
    reason: str


TOO_LARGE = f"page exceeds scrape.max_body_bytes = {LIMIT}"
HANGS_BEFORE = Case(hostile.hang(), ScrapeOutcome.TIMEOUT, "waited 0.4 s for an answer")
BAD = {
    "never answers": HANGS_BEFORE,
    "hangs in the head": Case(hostile.hang(b"HTTP/1.1 200 OK\r\nConte"), ScrapeOutcome.TIMEOUT, HANGS_BEFORE.reason),
    "hangs in the body": Case(
        hostile.hang(response(OTEL_PAGE)[:-9]), ScrapeOutcome.TIMEOUT, "waited 0.4 s for the rest of the page"
    ),
    "drips a head": Case(
        hostile.drip(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.05), ScrapeOutcome.TIMEOUT, HANGS_BEFORE.reason
    ),
    "drips a body": Case(
        hostile.drip(head("200 OK", "Content-Length: 9999"), b"#\n", 0.05),
        ScrapeOutcome.TIMEOUT,
        "waited 0.4 s for the rest of the page",
    ),
    "drips chunks": Case(
        hostile.drip(CHUNKED, chunk(b"#\n"), 0.05), ScrapeOutcome.TIMEOUT, "waited 0.4 s for the rest of the page"
    ),
    "closes at once": Case(hostile.cut(b""), ScrapeOutcome.CUT, "connection lost while waiting for a response"),
    "resets at once": Case(hostile.reset(b""), ScrapeOutcome.CUT, "connection lost while waiting for a response"),
    "closes in the head": Case(
        hostile.cut(b"HTTP/1.1 200 OK\r\nConte"), ScrapeOutcome.CUT, "connection lost while waiting for a response"
    ),
    "closes in the body": Case(
        hostile.cut(response(OTEL_PAGE)[:-9]), ScrapeOutcome.CUT, "connection lost in the middle of the page"
    ),
    "resets in the body": Case(
        hostile.reset(response(OTEL_PAGE)[:-9]), ScrapeOutcome.CUT, "connection lost in the middle of the page"
    ),
    "closes before the last chunk": Case(
        hostile.cut(CHUNKED + chunk(OTEL_PAGE)), ScrapeOutcome.CUT, "connection lost in the middle of the page"
    ),
    "closes in the middle of a line, no length given": Case(
        hostile.cut(head() + OTEL_PAGE[:-4]), ScrapeOutcome.CUT, "the page ends in the middle of a line"
    ),
    "announces too much": Case(
        hostile.cut(head("200 OK", "Content-Length: 99999") + OTEL_PAGE),
        ScrapeOutcome.CUT,
        "connection lost in the middle of the page",
    ),
    "announces too little": Case(
        hostile.answer(head("200 OK", f"Content-Length: {len(OTEL_PAGE) - 4}") + OTEL_PAGE),
        ScrapeOutcome.NOT_HTTP,
        "the response is not HTTP",
    ),
    "announces too little, and sends the rest later": Case(
        hostile.drip(response(OTEL_PAGE[:-4]), OTEL_PAGE[-4:], 0.2),
        ScrapeOutcome.CUT,
        "the page ends in the middle of a line",
    ),
    "OpenMetrics without its end": Case(
        hostile.answer(response(OTEL_PAGE, content_type=OPENMETRICS)),
        ScrapeOutcome.CUT,
        "the OpenMetrics page has no # EOF at its end",
    ),
    "bad chunk": Case(
        hostile.answer(CHUNKED + b"zz\r\n" + OTEL_PAGE), ScrapeOutcome.NOT_HTTP, "the response is not HTTP"
    ),
    "Content-Length not a number": Case(
        hostile.answer(head("200 OK", "Content-Length: many") + OTEL_PAGE),
        ScrapeOutcome.NOT_HTTP,
        "the response is not HTTP",
    ),
    "Content-Length negative": Case(
        hostile.answer(head("200 OK", "Content-Length: -1") + OTEL_PAGE),
        ScrapeOutcome.NOT_HTTP,
        "the response is not HTTP",
    ),
    "Content-Length beyond all numbers": Case(
        hostile.answer(head("200 OK", f"Content-Length: {10**30}") + OTEL_PAGE),
        ScrapeOutcome.NOT_HTTP,
        "the response is not HTTP",
    ),
    "two Content-Lengths": Case(
        hostile.answer(head("200 OK", "Content-Length: 5", "Content-Length: 6") + OTEL_PAGE),
        ScrapeOutcome.NOT_HTTP,
        "the response is not HTTP",
    ),
    "HTTP/0.9": Case(hostile.cut(OTEL_PAGE), ScrapeOutcome.NOT_HTTP, "the response is not HTTP"),
    "garbage before the status line": Case(
        hostile.answer(b"\x16\x03\x01" + response(OTEL_PAGE)), ScrapeOutcome.NOT_HTTP, "the response is not HTTP"
    ),
    "a status that is none": Case(
        hostile.answer(response(b"", "9z9 x")), ScrapeOutcome.NOT_HTTP, "the response is not HTTP"
    ),
    "a header line without an end": Case(
        hostile.flood(b"HTTP/1.1 200 OK\r\nX: ", b"x"), ScrapeOutcome.NOT_HTTP, "the response is not HTTP"
    ),
    "headers without an end": Case(
        hostile.flood(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), ScrapeOutcome.NOT_HTTP, "the response is not HTTP"
    ),
    "a switch of protocols": Case(
        hostile.answer(head("101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade")),
        ScrapeOutcome.HTTP_STATUS,
        "HTTP 101",
    ),
    "HTTP 500": Case(
        hostile.answer(response(b"oops", "500 Internal Server Error")), ScrapeOutcome.HTTP_STATUS, "HTTP 500"
    ),
    "HTTP 500 with an agent's page": Case(
        hostile.answer(response(OTEL_PAGE, "500 Internal Server Error")), ScrapeOutcome.HTTP_STATUS, "HTTP 500"
    ),
    "HTTP 404": Case(hostile.answer(response(b"", "404 Not Found")), ScrapeOutcome.HTTP_STATUS, "HTTP 404"),
    "HTTP 204": Case(hostile.answer(head("204 No Content")), ScrapeOutcome.HTTP_STATUS, "HTTP 204"),
    "HTTP 206": Case(hostile.answer(response(OTEL_PAGE, "206 Partial Content")), ScrapeOutcome.HTTP_STATUS, "HTTP 206"),
    "HTML": Case(
        hostile.answer(response(b"<html></html>\n", content_type="text/html; charset=utf-8")),
        ScrapeOutcome.CONTENT_TYPE,
        "content type 'text/html' is not a metrics page",
    ),
    "an unprintable content type": Case(
        hostile.answer(response(OTEL_PAGE, content_type="\xff\xfe" + "x" * 100)),
        ScrapeOutcome.CONTENT_TYPE,
        f"content type '\\udcff\\udcfe{'x' * 58}' is not a metrics page",
    ),
    "an unknown encoding": Case(
        hostile.answer(response(OTEL_PAGE, "200 OK", "Content-Encoding: br")),
        ScrapeOutcome.ENCODING,
        "content encoding 'br' was not asked for",
    ),
    "an encoding in an encoding": Case(
        hostile.answer(response(gzip.compress(hostile.gzip_bomb(MIB)), "200 OK", "Content-Encoding: gzip, gzip")),
        ScrapeOutcome.ENCODING,
        "content encoding 'gzip, gzip' was not asked for",
    ),
    "damaged gzip": Case(
        hostile.answer(response(gzip.compress(OTEL_PAGE)[:-9] + b"123456789", "200 OK", GZIP)),
        ScrapeOutcome.ENCODING,
        "compressed data is corrupt",
    ),
    "no gzip at all": Case(
        hostile.answer(response(OTEL_PAGE, "200 OK", GZIP)), ScrapeOutcome.ENCODING, "compressed data is corrupt"
    ),
    "gzip that ends early": Case(
        hostile.answer(response(gzip.compress(OTEL_PAGE)[:-9], "200 OK", GZIP)),
        ScrapeOutcome.CUT,
        "compressed data is truncated",
    ),
    "gzip of several members": Case(
        hostile.answer(response(gzip.compress(OTEL_PAGE) + hostile.gzip_bomb(MIB), "200 OK", GZIP)),
        ScrapeOutcome.ENCODING,
        "trailing data after the compressed page",
    ),
    "too large by its length": Case(
        hostile.hang(head("200 OK", f"Content-Length: {LIMIT + 1}")), ScrapeOutcome.TOO_LARGE, TOO_LARGE
    ),
    "too large": Case(hostile.answer(response(b"#\n" * (LIMIT // 2 + 1))), ScrapeOutcome.TOO_LARGE, TOO_LARGE),
    "chunks without an end": Case(hostile.flood(CHUNKED, chunk(b"#\n" * 512)), ScrapeOutcome.TOO_LARGE, TOO_LARGE),
    "a body without an end": Case(hostile.flood(head(), b"#\n"), ScrapeOutcome.TOO_LARGE, TOO_LARGE),
    "gzip bomb": Case(
        hostile.answer(response(hostile.gzip_bomb(64 * MIB), "200 OK", GZIP)), ScrapeOutcome.TOO_LARGE, TOO_LARGE
    ),
    "deflate bomb": Case(
        hostile.answer(response(hostile.deflate_bomb(64 * MIB), "200 OK", "Content-Encoding: deflate")),
        ScrapeOutcome.TOO_LARGE,
        TOO_LARGE,
    ),
    "gzip that says nothing for ever": Case(
        hostile.flood(head("200 OK", GZIP) + hostile.silent_deflate(99), b"\x00\x00\x00\xff\xff"),
        ScrapeOutcome.TOO_LARGE,
        TOO_LARGE,
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
async def test_each_way_to_fail_has_its_outcome_and_its_sentence(client: PageClient, case: Case) -> None:
    """Whatever a server does, the caller gets one error with a counter's label and words for a person."""
    error = await refusal(client, case.behaviour, within=5.0 if case.reason == TOO_LARGE else TIMEOUT)
    assert (error.outcome, str(error)) == (case.outcome, case.reason)


async def test_a_bad_chunk_after_good_ones_fails_the_page(client: PageClient) -> None:
    """What came before it is not taken for the page."""
    error = await refusal(client, hostile.drip(CHUNKED + chunk(OTEL_PAGE), b"zz\r\n", 0.05))
    assert error.outcome is ScrapeOutcome.NOT_HTTP


FLOODS = {
    "provisional answers": hostile.flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk extensions": hostile.flood(CHUNKED + b"1;", b"x"),
    "trailers": hostile.flood(CHUNKED + chunk(OTEL_PAGE) + b"0\r\n", b"X: y\r\n"),
    "tiny chunks": hostile.flood(CHUNKED, chunk(b"\n")),
}


@pytest.mark.parametrize("behaviour", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_ends_with_the_timeout_at_the_latest_and_fills_no_memory(
    client: PageClient, behaviour: Behaviour
) -> None:
    """What never ends is cut off, and not kept meanwhile."""
    tracemalloc.start()
    try:
        started = time.monotonic()
        error = await refusal(client, behaviour)
        elapsed = time.monotonic() - started
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.outcome in (ScrapeOutcome.TIMEOUT, ScrapeOutcome.CUT, ScrapeOutcome.NOT_HTTP, ScrapeOutcome.TOO_LARGE)
    assert elapsed < TIMEOUT + 2.0
    assert peak < 4 * LIMIT
