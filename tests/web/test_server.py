"""The server's life: binding, ending, and clients that mean no good."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from exporter.serve.connections import ConnectionLimits
from exporter.serve.errors import ServeError
from tests.factories import make_fleet, make_snapshot
from tests.waiting import PATIENCE, eventually
from tests.web.serving import StaticView, make_server, metrics, running, serve

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def ended(reader: asyncio.StreamReader, seconds: float = PATIENCE) -> bytes:
    """Return what still came until the server closed the connection."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_a_taken_port_is_one_sentence_with_the_address() -> None:
    """A second server on the same port fails at once, naming address and setting."""
    async with running(make_server()) as address:
        with pytest.raises(ServeError) as raised:
            await make_server(listen=address).run()
    assert str(raised.value) == (
        f"cannot listen on {address}: another process listens on this address; stop it or change web.listen"
    )


async def test_an_address_of_another_machine_is_one_sentence() -> None:
    """An address that is not ours, and a name nobody knows, are named."""
    with pytest.raises(ServeError, match=r"cannot listen on 192\.0\.2\.1:9850: no interface of this machine has"):
        await make_server(listen="192.0.2.1:9850").run()
    with pytest.raises(ServeError, match=r"cannot listen on no-such-host\.invalid:9850: "):
        await make_server(listen="no-such-host.invalid:9850").run()


async def test_listens_on_ipv6() -> None:
    """An IPv6 address is bound and shown in brackets."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with running(make_server(listen="[::1]:0")) as address, aiohttp.ClientSession() as client:
        assert address.startswith("[::1]:")
        async with client.get(f"http://{address}/healthz") as response:
            assert response.status == 200


@pytest.mark.slow
async def test_ends_quickly_with_connections_open() -> None:
    """Idle, half-asked and half-answered connections do not hold up the end; the port is free afterwards."""
    begun = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = make_server(handler=never)
    async with running(server) as address:
        idle, half = await connect(address), await connect(address)
        idle[1].write(REQUEST)
        await idle[0].readuntil(b"ok\n")
        half[1].write(b"GET / HTTP/1.1\r\nHost:")
        asking = await connect(address)
        asking[1].write(REQUEST.replace(b"/healthz", b"/metrics"))
        await begun.wait()
        started = time.monotonic()
    # aiohttp alone would wait for a minute.
    assert time.monotonic() - started < 30
    for reader, writer in (idle, half, asking):
        await ended(reader)
        writer.close()
    async with running(make_server(listen=address)):
        pass


async def test_a_request_under_way_is_answered_before_the_end() -> None:
    """An answer that takes a moment still arrives when the server is told to end."""
    begun = asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.sleep(0.1)
        return web.Response(text="whole")

    async def ask(url: str) -> str:
        async with aiohttp.ClientSession(url) as client, client.get("/metrics") as response:
            return await response.text()

    async with serve(handler=slow) as url:
        asking = asyncio.create_task(ask(url))
        await begun.wait()
    assert await asking == "whole"


async def test_a_header_that_drips_in_is_cut_off() -> None:
    """A client that sends a byte now and then has the time of one header, not the time of its bytes."""
    server = make_server(limits=ConnectionLimits(header_timeout=0.3))
    async with running(server) as address:
        reader, writer = await connect(address)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        closing = asyncio.create_task(ended(reader))
        while not closing.done():
            writer.write(b"a")
            await asyncio.wait({closing}, timeout=0.02)
        assert await closing == b""
        writer.close()


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("path", ["dark/demand", "gone/demand", "gone"])
async def test_an_error_ends_its_connection_and_a_good_answer_does_not(path: str, *, ready: bool) -> None:
    """A scaler that keeps its connection to one replica finds another by the next one, and only then."""
    dark = make_fleet([make_snapshot("dark-1", age=99.0)], name="dark")
    async with running(make_server(StaticView([dark], None if ready else "first round"))) as address:
        reader, writer = await connect(address)
        for _ in range(2):
            writer.write(REQUEST)
            assert b"connection: close" not in (await reader.readuntil(b"ok\n")).lower()
        writer.write(REQUEST.replace(b"/healthz", f"/api/v1/fleets/matillion/{path}".encode()))
        answer = await ended(reader)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 503", b"HTTP/1.1 404"))
        assert b"connection: close" in head.lower()
        assert "error" in json.loads(body), "the answer is whole"
        writer.close()


@pytest.mark.slow
async def test_a_request_in_time_stops_the_clock() -> None:
    """The deadline is for the first header only: a connection that asked may be kept for the next request."""
    server = make_server(limits=ConnectionLimits(header_timeout=1.0))
    async with running(server) as address:
        reader, writer = await connect(address)
        for pause in (1.2, 0.0):
            writer.write(REQUEST)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(pause)
        writer.close()


async def test_too_many_connections_cost_the_one_idle_longest() -> None:
    """A flood of silent connections pushes out its own oldest ones; who asks is answered, who is answered stays."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def held(request: web.Request) -> web.StreamResponse:
        begun.set()
        await release.wait()
        return await metrics(request)

    server = make_server(handler=held, limits=ConnectionLimits(max_connections=10))
    async with running(server) as address:
        working = await connect(address)
        working[1].write(REQUEST.replace(b"/healthz", b"/metrics"))
        await begun.wait()
        silent = [await connect(address) for _ in range(50)]
        for _ in range(3):
            reader, writer = await connect(address)
            writer.write(REQUEST)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
            writer.close()
        assert await ended(silent[0][0]) == b""
        release.set()
        assert (await working[0].readuntil(b"agents 1\n")).startswith(b"HTTP/1.1 200")
        for _, writer in (working, *silent):
            writer.close()


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(5000)) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"POST /api/v1/fleets HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["long line", "long header", "many headers", "TLS", "endless body", "two lengths"],
)
@pytest.mark.slow
async def test_hostile_requests_are_refused_and_the_server_goes_on(hostile: bytes) -> None:
    """What is too large or malformed gets a 4xx or a closed connection, and the next client is served."""
    async with running(make_server()) as address:
        reader, writer = await connect(address)
        writer.write(hostile)
        answer = await ended(reader)
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        writer.close()
        reader, writer = await connect(address)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.slow
async def test_a_client_that_never_reads_is_let_go() -> None:
    """A list longer than all buffers waits for its reader only so long, and holds no more than a slice meanwhile."""
    view = StaticView([make_fleet([make_snapshot(f"agent-{number:05}") for number in range(10_000)])])
    with capture_logs() as logs, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        async with running(make_server(view, answer_timeout=1.0)) as address:
            host, _, port = address.rpartition(":")
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (host, int(port)))
            await loop.sock_sendall(client, REQUEST.replace(b"/healthz", b"/api/v1/agents"))
            await eventually(lambda: any("not read in time" in entry["event"] for entry in logs))
            received = b""
            async with asyncio.timeout(PATIENCE):
                with suppress(ConnectionResetError):
                    while piece := await loop.sock_recv(client, 1 << 20):
                        received += piece
    assert received.startswith(b"HTTP/1.1 200")
    assert not received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "behaviour",
    [
        test_a_taken_port_is_one_sentence_with_the_address,
        test_an_address_of_another_machine_is_one_sentence,
        test_ends_quickly_with_connections_open,
        test_a_header_that_drips_in_is_cut_off,
        test_too_many_connections_cost_the_one_idle_longest,
        test_a_client_that_never_reads_is_let_go,
    ],
)
@pytest.mark.slow
def test_holds_on_uvloop_too(behaviour: Callable[[], Coroutine[None, None, None]]) -> None:
    """What rests on the loop's transports holds on both loops the service may run on."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(behaviour())
