"""Answers in gzip, whole and in pieces, from a real server to a real client."""

import gzip
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession, hdrs, web
from aiohttp.test_utils import TestServer

from exporter.serve.compression import stream, whole

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
