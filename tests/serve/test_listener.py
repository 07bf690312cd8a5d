"""Clients that mean no good, on a listener as both ports have it: over plain HTTP and over TLS."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from exporter.config.addresses import HostPort
from exporter.serve.connections import ConnectionLimits
from exporter.serve.delivery import deliver_in
from exporter.serve.listener import Listener
from exporter.serve.tls import ServerTls
from tests.fakes.background import background
from tests.fakes.certificates import Authority
from tests.waiting import PATIENCE

PROBE = b"GET /healthz HTTP/1.1\r\nHost: 10.0.3.7\r\nConnection: close\r\n\r\n"
"""What the kubelet asks."""
KEPT = PROBE.replace(b"Connection: close\r\n", b"")
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The beginning of a TLS handshake (RFC 8446, 5.1 and 4.1.2)."""
MOST = 10


@dataclass(frozen=True, slots=True)
class Port:
    """A listening port, and how a good client speaks to it."""

    host: str
    number: int
    context: ssl.SSLContext | None

    async def connect(self, *, secured: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; with TLS where the port has it, unless only TCP is asked for."""
        context = self.context if secured else None
        return await asyncio.open_connection(self.host, self.number, ssl=context)

    async def probe(self) -> bytes:
        """Return what the kubelet gets."""
        reader, writer = await self.connect()
        writer.write(PROBE)
        answer = await ended(reader)
        writer.close()
        return answer


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what still came until the server closed the connection."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""


@asynccontextmanager
async def listening(folder: Path, *, secure: bool, **times: float) -> AsyncIterator[Port]:
    """Serve a health check on a free port; `times` are those of the limits."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application(middlewares=[deliver_in(5.0)])
    app.router.add_get("/healthz", healthz)
    tls = context = None
    if secure:
        authority, files = Authority("ca"), (folder / "tls.crt", folder / "tls.key")
        authority.issue("127.0.0.1", *files)
        tls = ServerTls("web.tls", *files)
        context = ssl.create_default_context(cadata=authority.pem.decode())
        context.check_hostname = False
    limits = ConnectionLimits(max_connections=MOST, **times)
    listener = Listener("server", app, HostPort("127.0.0.1", 0), "web.listen", tls=tls, limits=limits)
    async with background(listener.run()):
        await listener.started.wait()
        address = listener.address
        assert address is not None
        yield Port(address.host, address.port, context)


both = pytest.mark.parametrize("secure", [False, True], ids=["HTTP", "HTTPS"])
pytestmark = pytest.mark.slow


@both
async def test_a_header_that_drips_in_is_cut_off(tmp_path: Path, *, secure: bool) -> None:
    """A byte now and then does not extend the time for a header."""
    async with listening(tmp_path, secure=secure, header_timeout=0.5) as port:
        reader, writer = await port.connect()
        writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
        closing = asyncio.create_task(ended(reader))
        while not closing.done():
            writer.write(b"a")
            await asyncio.wait({closing}, timeout=0.05)
        assert await closing == b""
        writer.close()
        assert (await port.probe()).startswith(b"HTTP/1.1 200")


@both
async def test_a_silent_client_is_cut_off(tmp_path: Path, *, secure: bool) -> None:
    """One that connects, or shakes hands, and says nothing."""
    async with listening(tmp_path, secure=secure, header_timeout=0.3) as port:
        reader, writer = await port.connect()
        assert await ended(reader) == b""
        writer.close()


async def test_a_handshake_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    """Silence, half of a hello, a byte now and then: each has the time of one handshake."""
    async with listening(tmp_path, secure=True, handshake_timeout=0.5) as port:
        silent, half, dripping = [await port.connect(secured=False) for _ in range(3)]
        half[1].write(HELLO)
        closing = asyncio.create_task(ended(dripping[0]))
        for byte in HELLO + bytes(1000):
            dripping[1].write(bytes([byte]))
            if (await asyncio.wait({closing}, timeout=0.05))[0]:
                break
        assert await closing == b""
        for reader, writer in (silent, half, dripping):
            assert await ended(reader) == b""
            writer.close()
        assert (await port.probe()).startswith(b"HTTP/1.1 200")


async def test_a_flood_of_handshakes_pushes_out_its_own_oldest(tmp_path: Path) -> None:
    """Connections that never shake hands are bounded, and whoever does is served among them."""
    async with listening(tmp_path, secure=True, handshake_timeout=100 * PATIENCE) as port:
        flood = [await port.connect(secured=False) for _ in range(3 * MOST)]
        for _, writer in flood[::2]:
            writer.write(HELLO)
        for reader, _ in flood[: 2 * MOST]:
            assert await ended(reader) == b"", "the oldest made room"
        assert (await port.probe()).startswith(b"HTTP/1.1 200")
        for reader, writer in flood[2 * MOST + 1 :]:
            assert not reader.at_eof(), "the newest were left alone"
            writer.close()


@both
async def test_idle_connections_push_out_each_other_and_not_the_kubelet(tmp_path: Path, *, secure: bool) -> None:
    """Kept connections that ask nothing more are bounded, the one idle longest goes first, and a probe is answered."""
    async with listening(tmp_path, secure=secure) as port:
        kept = []
        for _ in range(3 * MOST):
            reader, writer = await port.connect()
            writer.write(KEPT)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
            kept.append((reader, writer))
        for reader, _ in kept[: 2 * MOST]:
            assert await ended(reader) == b""
        assert (await port.probe()).startswith(b"HTTP/1.1 200")
        kept[-1][1].write(KEPT)
        assert (await kept[-1][0].readuntil(b"ok\n")).startswith(b"HTTP/1.1 200"), "the newest were left alone"
        for _, writer in kept:
            writer.close()


@both
async def test_a_body_without_end_ends_its_connection(tmp_path: Path, *, secure: bool) -> None:
    """Nobody needs a body here: it is answered before, and who goes on sending is cut off."""
    async with listening(tmp_path, secure=secure) as port:
        reader, writer = await port.connect()
        writer.write(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        answering = asyncio.create_task(ended(reader))
        while not answering.done():
            writer.write(b"x" * 100)
            await asyncio.wait({answering}, timeout=0.02)
        assert (await answering)[:12] in (b"HTTP/1.1 405", b"")
        writer.close()
        assert (await port.probe()).startswith(b"HTTP/1.1 200")


@both
@pytest.mark.parametrize(
    "malformed",
    [
        b"GET / HTTP/1.a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x1b[2J / HTTP/1.1\r\n\r\n",
    ],
    ids=["version", "long header", "two lengths", "terminal escape"],
)
async def test_a_malformed_request_writes_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, malformed: bytes, *, secure: bool
) -> None:
    """It is the client's fault and told to the client: a log that anybody fills with tracebacks is none."""
    async with listening(tmp_path, secure=secure) as port:
        reader, writer = await port.connect()
        writer.write(malformed)
        assert (await ended(reader))[:12] in (b"HTTP/1.0 400", b"HTTP/1.1 400", b"")
        writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_plain_http_on_a_port_with_tls_gets_nothing(tmp_path: Path) -> None:
    """Its connection ends, and the next client is served."""
    async with listening(tmp_path, secure=True) as port:
        reader, writer = await port.connect(secured=False)
        writer.write(PROBE)
        assert b"HTTP" not in await ended(reader)
        writer.close()
        assert (await port.probe()).startswith(b"HTTP/1.1 200")


async def test_the_end_does_not_wait_for_handshakes(tmp_path: Path) -> None:
    """They end with the server."""
    async with listening(tmp_path, secure=True, handshake_timeout=100 * PATIENCE) as port:
        silent = [await port.connect(secured=False) for _ in range(3)]
        assert (await port.probe()).startswith(b"HTTP/1.1 200")
    for reader, writer in silent:
        assert await ended(reader) == b""
        writer.close()


@pytest.mark.parametrize(
    "behaviour",
    [
        test_a_handshake_that_never_ends_is_cut_off,
        test_a_flood_of_handshakes_pushes_out_its_own_oldest,
        test_plain_http_on_a_port_with_tls_gets_nothing,
        test_the_end_does_not_wait_for_handshakes,
    ],
)
def test_holds_on_uvloop_too(behaviour: Callable[[Path], Coroutine[None, None, None]], tmp_path: Path) -> None:
    """What rests on the loop's transports holds on both loops the service may run on."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(behaviour(tmp_path))
