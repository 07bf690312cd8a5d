"""What the HTTP client makes of servers that are well, ill, or hostile."""

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from yarl import URL

from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint
from exporter.scrape.client import PageClient, host_port, page_url
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from tests.fakes import hostile
from tests.fakes.hostile import (
    LEGACY_PAGE,
    MIB,
    OTEL_PAGE,
    Behaviour,
    HostileServer,
    chunk,
    head,
    refusing_port,
    response,
    silent_port,
)
from tests.waiting import PATIENCE

LIMIT = ScrapeSettings().max_body_bytes
TIMEOUT = 0.4
CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
GZIP = "Content-Encoding: gzip"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture
async def client() -> AsyncIterator[PageClient]:
    async with PageClient(ScrapeSettings(timeout=TIMEOUT)) as client:
        yield client


async def fetch(client: PageClient, server: HostileServer, within: float = TIMEOUT) -> bytes:
    return await client.fetch(URL(f"http://{server.host}:{server.port}/metrics"), within=within, take=bytes)


async def refusal(client: PageClient, behaviour: Behaviour, within: float = TIMEOUT) -> ScrapeError:
    async with HostileServer(behaviour) as server:
        with pytest.raises(ScrapeError) as caught:
            await fetch(client, server, within)
    return caught.value


GOOD = {
    "with its length": response(OTEL_PAGE),
    "in chunks": CHUNKED + chunk(OTEL_PAGE[:50]) + chunk(OTEL_PAGE[50:]) + chunk(b""),
    "in chunks of one byte": CHUNKED + b"".join(chunk(bytes([byte])) for byte in OTEL_PAGE) + chunk(b""),
    "gzipped unasked": response(gzip.compress(OTEL_PAGE), "200 OK", GZIP),
    "gzipped by its old name": response(gzip.compress(OTEL_PAGE), "200 OK", "content-encoding: X-GZIP"),
    "deflated unasked": response(zlib.compress(OTEL_PAGE), "200 OK", "Content-Encoding: deflate"),
    "said to be identity": response(OTEL_PAGE, "200 OK", "Content-Encoding: identity"),
    "without a content type": response(OTEL_PAGE, content_type=None),
    "after provisional answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + response(OTEL_PAGE),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
async def test_a_page_is_read_however_it_is_framed(client: PageClient, data: bytes) -> None:
    """Length, chunks, compression nobody asked for: the bytes of the page come out the same."""
    async with HostileServer(hostile.answer(data)) as server:
        assert await fetch(client, server) == OTEL_PAGE


async def test_a_page_may_end_with_its_connection(client: PageClient) -> None:
    """HTTP/1.0 servers announce no length (RFC 9112, section 6.3)."""
    async with HostileServer(hostile.cut(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + OTEL_PAGE)) as server:
        assert await fetch(client, server) == OTEL_PAGE


async def test_an_empty_page_is_a_page(client: PageClient) -> None:
    """What it lacks is not the client's to judge."""
    async with HostileServer(hostile.answer(response(b""))) as server:
        assert await fetch(client, server) == b""


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


async def test_a_redirect_is_refused_and_not_followed(client: PageClient) -> None:
    """An agent cannot send the exporter to another host, such as a cloud's metadata service."""
    async with HostileServer(hostile.page(), host="127.0.0.2") as elsewhere:
        for status in ("301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"):
            location = f"Location: http://127.0.0.2:{elsewhere.port}/metrics"
            error = await refusal(client, hostile.answer(response(b"", status, location)))
            assert error.outcome is ScrapeOutcome.REDIRECT
            assert str(error) == f"redirects are not followed (HTTP {status[:3]})"
        assert elsewhere.connections == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is for the way out of a cluster; agents are inside it."""
    async with HostileServer(hostile.page(LEGACY_PAGE)) as proxy, HostileServer(hostile.page()) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with PageClient(ScrapeSettings(timeout=TIMEOUT)) as client:
            assert await fetch(client, server) == OTEL_PAGE
        assert proxy.connections == 0


async def test_cookies_are_not_kept(client: PageClient) -> None:
    """What one agent says is not carried to the next request, nor to another agent on the same host."""
    async with HostileServer(hostile.answer(response(OTEL_PAGE, "200 OK", "Set-Cookie: a=b; Path=/"))) as server:
        for _ in range(3):
            await fetch(client, server)
        assert not any("cookie" in sent.lower() for sent in server.heads)


async def test_one_connection_serves_all_scrapes(client: PageClient) -> None:
    """Keep-alive is really used, after pages of any framing and after an error with a small body."""
    behaviour = hostile.in_turn(
        hostile.page(),
        hostile.answer(GOOD["in chunks"]),
        hostile.answer(GOOD["gzipped unasked"]),
        hostile.page(),
    )
    async with HostileServer(behaviour) as server:
        for _ in range(10):
            assert await fetch(client, server) == OTEL_PAGE
        assert (server.connections, len(server.requests)) == (1, 10)


async def test_a_connection_that_was_closed_meanwhile_is_made_again(client: PageClient) -> None:
    """A server may end an idle connection; that is no failed scrape."""
    async with HostileServer(hostile.cut(response(OTEL_PAGE))) as server:
        for _ in range(3):
            assert await fetch(client, server) == OTEL_PAGE
        assert server.connections == 3


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["with the page", "behind the page"])
@pytest.mark.slow
async def test_an_unsolicited_response_is_never_read(client: PageClient, pause: float) -> None:
    """A server that sends two answers would otherwise be one ahead, and every page as old as the scrape before."""
    count, sent = 0, asyncio.Event()

    async def twice(exchange: hostile.Exchange) -> None:
        nonlocal count
        count += 1
        await exchange.send(response(f"page {count}\n".encode()))
        await asyncio.sleep(pause)
        await exchange.send(response(f"unasked {count}\n".encode()))
        sent.set()

    async with HostileServer(twice) as server:
        for _ in range(3):
            sent.clear()
            assert await fetch(client, server) == f"page {count}\n".encode()
            await sent.wait()
            # Timers run after what has arrived.
            await asyncio.sleep(0.01)


async def test_a_page_that_failed_leaves_its_connection_unused(client: PageClient) -> None:
    """What is still to come of a refused page never becomes part of the next one."""
    too_large = response(b"#\n" * LIMIT)
    async with HostileServer(hostile.in_turn(hostile.answer(too_large), hostile.page())) as server:
        with pytest.raises(ScrapeError):
            await fetch(client, server, 5.0)
        assert await fetch(client, server) == OTEL_PAGE
        assert server.connections == 2


async def test_a_port_that_refuses_is_distinguished_from_one_that_drops(client: PageClient) -> None:
    """Nothing listens, or a NetworkPolicy drops the packets: two causes, two sentences."""
    with refusing_port() as port, pytest.raises(ScrapeError, match=r"^connection refused$") as refused:
        await client.fetch(URL(f"http://127.0.0.1:{port}/"), within=TIMEOUT, take=bytes)
    assert refused.value.outcome is ScrapeOutcome.CONNECT
    with silent_port() as port, pytest.raises(ScrapeError, match=r"^no connection within 0\.2 s$") as silent:
        await client.fetch(URL(f"http://127.0.0.1:{port}/"), within=TIMEOUT, take=bytes)
    assert silent.value.outcome is ScrapeOutcome.TIMEOUT


async def test_a_fetch_that_is_cancelled_closes_its_connection(client: PageClient) -> None:
    """A removed agent's scrape ends at once and leaves no socket behind."""
    asked, closed = asyncio.Event(), asyncio.Event()

    async def watch(exchange: hostile.Exchange) -> None:
        asked.set()
        await exchange.reader.read()
        closed.set()

    async with HostileServer(watch) as server:
        task = asyncio.create_task(fetch(client, server, 10.0))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), PATIENCE)


async def test_an_ipv6_address_is_scraped() -> None:
    """Pod IPs may be IPv6: in brackets in the URL, on a real socket."""
    try:
        server = HostileServer(hostile.page(), host="::1")
        await server.__aenter__()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    try:
        url = page_url("::1", Endpoint(Dialect.OTEL, server.port, "/metrics"), filtered=True)
        async with PageClient(ScrapeSettings()) as client:
            assert await client.fetch(url, within=3.0, take=bytes) == OTEL_PAGE
        assert f"host: [::1]:{server.port}" in server.heads[0].lower()
    finally:
        await server.__aexit__(None, None, None)


def test_urls_name_the_page_and_the_filter_of_its_dialect() -> None:
    """client_java takes `name[]` again and again, Spring Boot one `includedNames` with commas."""
    otel, legacy = ScrapeSettings().endpoints
    assert str(page_url("10.0.3.7", otel, filtered=False)) == "http://10.0.3.7:9464/metrics"
    assert str(page_url("fd00::7", legacy, filtered=False)) == "http://[fd00::7]:8080/actuator/prometheus"
    names = page_url("fd00::7", otel, filtered=True).query.getall("name[]")
    assert {"matillion_agent_task_running_unit", "jvm_memory_used_bytes"} <= set(names)
    included = page_url("10.0.3.7", legacy, filtered=True).query["includedNames"].split(",")
    assert {"app_active_task_count", "app_version", "app_version_info"} <= set(included)


def test_a_filter_asks_for_every_spelling_and_stays_short() -> None:
    """A server may call the count by any of its names; the whole request is far below the 8 KiB that servers allow."""
    otel, legacy = ScrapeSettings().endpoints
    names = page_url("10.0.3.7", otel, filtered=True).query.getall("name[]")
    count = "matillion_agent_task_running"
    assert {count, f"{count}_unit", f"{count}_ratio", "jvm_memory_used", "jvm_memory_used_bytes"} <= set(names)
    assert len(names) == len(set(names))
    for endpoint in (otel, legacy):
        assert len(str(page_url("fd00::7", endpoint, filtered=True))) < 2048


async def test_names_with_underscores_are_asked_for(client: PageClient) -> None:
    """Plain text first, in both formats with the names that need no quotes, in a form that client_java understands."""
    async with HostileServer(hostile.page()) as server:
        await fetch(client, server)
    [accept] = [line for line in server.heads[0].split("\r\n") if line.lower().startswith("accept:")]
    text, openmetrics = accept.partition(":")[2].strip().split(",")
    assert text == "text/plain;version=0.0.4;escaping=underscores;q=1"
    assert openmetrics == "application/openmetrics-text;escaping=underscores;q=0.5"
    # client_java: EscapingScheme.fromAcceptHeader.
    parameters = [part.split("=") for part in accept.split(";") if part.count("=") == 1]
    assert next(value.strip() for key, value in parameters if key.strip() == "escaping") == "underscores"


def test_an_ipv6_address_goes_into_brackets() -> None:
    """A host name and an IPv4 address do not."""
    assert host_port("fd00::7", 80) == "[fd00::7]:80"
    assert host_port("10.0.3.7", 80) == "10.0.3.7:80"
    assert host_port("agent.example", 80) == "agent.example:80"
