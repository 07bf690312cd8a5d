"""How a response is framed: what the HTTP parser by itself would let a server do, and the client does not."""

from collections.abc import AsyncIterator

import pytest

from exporter.config import ScrapeSettings
from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from tests.fakes import hostile
from tests.fakes.hostile import OTEL_PAGE, HostileServer, chunk, head, response
from tests.scrape.fetching import fetch

CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
LENGTH = f"Content-Length: {len(OTEL_PAGE)}"


@pytest.fixture
async def client() -> AsyncIterator[PageClient]:
    async with PageClient(ScrapeSettings()) as client:
        yield client


REFUSED = {
    "a length and chunks": head("200 OK", LENGTH, "Transfer-Encoding: chunked") + chunk(OTEL_PAGE) + chunk(b""),
    "chunks and a length": head("200 OK", "Transfer-Encoding: chunked", LENGTH) + chunk(OTEL_PAGE) + chunk(b""),
    "a coding within the chunks": head("200 OK", "Transfer-Encoding: gzip, chunked") + chunk(OTEL_PAGE) + chunk(b""),
    "a coding without chunks": head("200 OK", "Transfer-Encoding: gzip") + OTEL_PAGE,
    "chunks within chunks": (
        head("200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + chunk(chunk(OTEL_PAGE))
    ),
    "the same length twice": head("200 OK", LENGTH, LENGTH) + OTEL_PAGE,
    "a folded field": head("200 OK", "X: a\r\n b", LENGTH) + OTEL_PAGE,
    "a field with a space in its name": head("200 OK", "X : a", LENGTH) + OTEL_PAGE,
    "a field with a null byte": head("200 OK", "X: \0", LENGTH) + OTEL_PAGE,
    "lines that end with a line feed alone": response(OTEL_PAGE).replace(b"\r\n", b"\n"),
    "blank lines before it": b"\r\n" + response(OTEL_PAGE),
    "HTTP/0.9 with a head": response(OTEL_PAGE).replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/2 in text": response(OTEL_PAGE).replace(b"HTTP/1.1", b"HTTP/2.0"),
    "another protocol": response(OTEL_PAGE).replace(b"HTTP/1.1", b"RTSP/1.0"),
    "a status below all classes": response(OTEL_PAGE, "099 OK"),
    "eleven provisional answers": EARLY * 11 + response(OTEL_PAGE),
    "a provisional answer with a body": b"HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\nabc" + response(OTEL_PAGE),
    "a head of 17 KB": head("200 OK", "X: " + "x" * 17_000, LENGTH) + OTEL_PAGE,
    "a head of a thousand fields": head("200 OK", *(f"Field-{n}: {n:09}" for n in range(1000)), LENGTH) + OTEL_PAGE,
    "a chunk that is longer than it says": CHUNKED + b"3\r\n1234\r\n" + chunk(OTEL_PAGE) + chunk(b""),
    "a chunk beyond all numbers": CHUNKED + b"f" * 20 + b"\r\n" + OTEL_PAGE,
    "a chunk with 17 KB of extensions": CHUNKED + b"1;" + b"x" * 17_000,
    "a chunk size with 17 KB of zeros": CHUNKED + b"0" * 17_000,
    "17 KB of trailers": CHUNKED + chunk(OTEL_PAGE) + b"0\r\n" + b"Trailer: 1234567\r\n" * 1000 + b"\r\n",
    "more than 20,000 chunks": CHUNKED + chunk(b"\n") * 20_000 + chunk(b""),
    "bytes behind the last chunk": CHUNKED + chunk(OTEL_PAGE) + chunk(b"") + b"0\r\n",
    "bytes behind a page that ends its connection": response(OTEL_PAGE, "200 OK", "Connection: close") + b"more",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_framed_wrongly_is_refused(client: PageClient, data: bytes) -> None:
    """No page is made of what another program may read differently, and nothing grows without a bound."""
    async with HostileServer(hostile.answer(data)) as server:
        with pytest.raises(ScrapeError, match=r"^the response is not HTTP$") as caught:
            await fetch(client, server, 3.0)
    assert caught.value.outcome is ScrapeOutcome.NOT_HTTP


READ = {
    "a head of 15 KB": head("200 OK", "X: " + "x" * 15_000, LENGTH) + OTEL_PAGE,
    "ten provisional answers": EARLY * 10 + response(OTEL_PAGE),
    "chunks with extensions and trailers": (
        CHUNKED + b"1;a=b;c\r\n#\r\n1\r\n\n\r\n" + chunk(OTEL_PAGE) + b"0\r\nContent-Type: text/html\r\n\r\n"
    ),
    "sizes of chunks in a field of fixed width": CHUNKED
    + f"{len(OTEL_PAGE):<8x}\r\n".encode()
    + OTEL_PAGE
    + b"\r\n0\r\n\r\n",
    "20,000 chunks": CHUNKED + chunk(b"\n") * 19_998 + chunk(OTEL_PAGE) + chunk(b""),
    "no reason for its status": response(OTEL_PAGE, "200"),
    "fields in capitals": response(OTEL_PAGE, content_type="TEXT/PLAIN").replace(b"Content-", b"CONTENT-"),
}


@pytest.mark.parametrize("data", READ.values(), ids=READ.keys())
@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "in three pieces"])
async def test_what_is_framed_oddly_is_read(client: PageClient, data: bytes, *, in_pieces: bool) -> None:
    """Up to each bound, and wherever the network cuts it, a page is the page; the next is read as well."""
    behaviour = hostile.in_pieces(data[:9], data[9:-3], data[-3:]) if in_pieces else hostile.answer(data)
    async with HostileServer(behaviour) as server:
        for _ in range(2):
            assert (await fetch(client, server, 3.0)).endswith(OTEL_PAGE)
        assert server.connections == 1


BEHIND = {"whole": response(b"unasked\n"), "begun": b"HTTP/1.1 200 OK\r\nConte"}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
async def test_an_answer_behind_the_page_costs_the_connection_only(client: PageClient, behind: bytes) -> None:
    """It came with the page, which is good; it would be taken for the answer to the next request."""
    async with HostileServer(hostile.answer(response(OTEL_PAGE) + behind)) as server:
        for _ in range(2):
            assert await fetch(client, server, 3.0) == OTEL_PAGE
        assert server.connections == 2


async def test_a_refusal_on_a_kept_connection_is_no_reason_to_ask_again(client: PageClient) -> None:
    """Only silence may mean that the server closed the connection before the request came."""
    behaviour = hostile.in_turn(hostile.page(), hostile.answer(response(b"", "500 Internal Server Error")))
    async with HostileServer(behaviour) as server:
        assert await fetch(client, server, 3.0) == OTEL_PAGE
        with pytest.raises(ScrapeError, match=r"^HTTP 500$"):
            await fetch(client, server, 3.0)
        assert len(server.requests) == 2
