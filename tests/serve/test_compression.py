"""Answers in gzip, whole and in pieces, from a real server to a real client."""

import gzip
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientError, ClientSession, hdrs, web
from aiohttp.test_utils import TestServer

from exporter.serve.compression import stream, whole
from exporter.serve.delivery import deliver_in
from exporter.serve.interruption import INTACT_SINCE

PIECES = [b"", b"one " * 1000, b"two", b"", b"three " * 1000]
BODY = b"".join(PIECES)
HEADERS = {"Content-Type": "text/plain", "Vary": "Accept-Encoding"}


async def streamed(request: web.Request) -> web.StreamResponse:
    return await stream(request, iter(PIECES), HEADERS)


async def at_once(request: web.Request) -> web.StreamResponse:
    return whole(request, BODY if request.query_string != "short" else b"short", 203, HEADERS)


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.add_routes([web.get("/streamed", streamed), web.get("/whole", at_once)])
    async with TestServer(app) as running:
        yield running


async def get(server: TestServer, path: str, accepts: str, method: str = "GET") -> tuple[int, str | None, bytes]:
    """Return status, content encoding and the body as it came."""
    async with ClientSession(auto_decompress=False) as client:
        headers = {hdrs.ACCEPT_ENCODING: accepts}
        async with client.request(method, server.make_url(path), headers=headers) as answer:
            assert answer.headers["Vary"] == "Accept-Encoding"
            return answer.status, answer.headers.get(hdrs.CONTENT_ENCODING), await answer.read()


@pytest.mark.parametrize("path", ["/streamed", "/whole"])
async def test_the_same_body_with_gzip_and_without(server: TestServer, path: str) -> None:
    """Pieces that are empty, at the beginning or between, end nothing."""
    status = 200 if path == "/streamed" else 203
    assert await get(server, path, "identity") == (status, None, BODY)
    assert await get(server, path, "gzip;q=0") == (status, None, BODY)
    got, encoding, body = await get(server, path, "deflate, gzip")
    assert (got, encoding, gzip.decompress(body)) == (status, "gzip", BODY)
    assert len(body) < len(BODY) / 10


async def test_what_fits_a_packet_goes_as_it_is(server: TestServer) -> None:
    """Compression would only make it longer."""
    assert await get(server, "/whole?short", "gzip") == (203, None, b"short")


@pytest.mark.parametrize("accepts", ["identity", "gzip"])
async def test_head_makes_no_piece(accepts: str) -> None:
    """It gets the headers that GET would get; what nobody reads is not made."""

    def pieces() -> Iterator[bytes]:
        raise AssertionError("a piece was made")
        yield b""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await stream(request, pieces(), HEADERS)

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    async with TestServer(app) as running:
        encoding = "gzip" if accepts == "gzip" else None
        assert await get(running, "/", accepts, "HEAD") == (200, encoding, b"")


async def test_each_piece_is_made_once_the_one_before_is_written() -> None:
    """An answer without an end needs no memory but its present piece: the client reads the first while it is made."""
    made = 0

    def pieces() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 65536

    async def answer(request: web.Request) -> web.StreamResponse:
        return await stream(request, pieces(), HEADERS)

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    async with TestServer(app) as running, ClientSession() as client, client.get(running.make_url("/")) as response:
        assert await response.content.readexactly(10) == b"x" * 10
        response.close()
    assert made < 1000


@pytest.mark.parametrize("streamed", [True, False], ids=["in pieces", "whole"])
async def test_an_answer_that_a_stall_interrupts_is_cut_off(streamed: bool) -> None:
    """It would say as of now what was true before; the connection ends, and the next request is answered."""
    stalled_at = 0.0
    # aiohttp's client asks a second time by itself where no head has come.
    stalls = 1 if streamed else 2

    def made() -> Iterator[bytes]:
        nonlocal stalled_at, stalls
        yield b"age 1"
        if stalls:
            stalled_at, stalls = time.monotonic(), stalls - 1
        yield b", and so on"

    async def answer(request: web.Request) -> web.StreamResponse:
        if streamed:
            return await stream(request, made(), HEADERS)
        return whole(request, b"".join(made()), 200, HEADERS)

    app = web.Application(middlewares=[deliver_in(10.0)])
    app[INTACT_SINCE] = lambda: stalled_at
    app.router.add_get("/", answer)
    async with TestServer(app) as server, ClientSession() as client:
        with pytest.raises(ClientError):
            async with client.get(server.make_url("/")) as response:
                await response.read()
        async with client.get(server.make_url("/")) as response:
            assert await response.read() == b"age 1, and so on"
