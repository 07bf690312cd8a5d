"""What the HTTP client makes of servers that are well, ill, or hostile."""

import asyncio
import gzip
import zlib
from contextlib import AsyncExitStack

import pytest
from yarl import URL

from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint
from exporter.scrape.client import PageClient, host_port, page_url
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from tests.fakes import hostile
from tests.fakes.hostile import (
    GZIP,
    LEGACY_PAGE,
    OTEL_PAGE,
    HostileServer,
    chunk,
    refusing_port,
    response,
    silent_port,
)
from tests.scrape.fetching import CHUNKED, LIMIT, TIMEOUT, fetch, fetch_url, refusal
from tests.waiting import PATIENCE

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


async def test_more_agents_than_open_files_are_all_read() -> None:
    """A quarter of the files is left for the rest. Whose connection had to go is connected to anew, and no more."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(PageClient(ScrapeSettings(timeout=TIMEOUT), files=4))
        servers = [await stack.enter_async_context(HostileServer(hostile.page())) for _ in range(5)]
        for _ in range(4):
            for server in servers:
                assert await fetch(client, server) == OTEL_PAGE
                assert len(client._idle) <= 3
        # Three of five could be kept; one that gives way for each that has none leaves two or three of them in use.
        assert 5 + 3 * 2 <= sum(server.connections for server in servers) <= 5 + 3 * 3


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
        await fetch_url(client, URL(f"http://127.0.0.1:{port}/"), TIMEOUT)
    assert refused.value.outcome is ScrapeOutcome.CONNECT
    with silent_port() as port, pytest.raises(ScrapeError, match=r"^no connection within 0\.2 s$") as silent:
        await fetch_url(client, URL(f"http://127.0.0.1:{port}/"), TIMEOUT)
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
            assert await fetch_url(client, url, 3.0) == OTEL_PAGE
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
