"""HTTPS: certificates that change, clients that must show one, and files that are no good."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from exporter.serve.errors import ServeError
from tests.fakes.certificates import Authority, private_pem
from tests.waiting import PATIENCE, eventually
from tests.web.serving import make_server, running, write


@dataclass(frozen=True, slots=True)
class Files:
    """The files the settings name, and those of a client."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return self.folder / f"{name}.pem"


@pytest.fixture
def authority() -> Authority:
    return Authority("first authority")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    files = Files(tmp_path)
    authority.write(files.ca)
    authority.issue("server-1", files.cert, files.key)
    return files


def tls(files: Files, *, client_ca: Path | None = None) -> dict[str, Any]:
    return {"cert_file": str(files.cert), "key_file": str(files.key), "client_ca_file": client_ca and str(client_ca)}


def trusting(ca: Path, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    if client is not None:
        context.load_cert_chain(*client)
    return context


@asynccontextmanager
async def https(address: str, context: ssl.SSLContext) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client whose every request is a new connection."""
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    async with aiohttp.ClientSession(f"https://{address}", connector=connector) as session:
        yield session


async def status(address: str, context: ssl.SSLContext, path: str = "/metrics") -> int:
    async with https(address, context) as client, client.get(path) as response:
        await response.read()
        return response.status


async def served_name(address: str, context: ssl.SSLContext) -> str:
    """Return the common name of the certificate a new connection is shown."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    subject = writer.get_extra_info("peercert")["subject"]
    writer.close()
    await writer.wait_closed()
    return str(dict(pair for part in subject for pair in part)["commonName"])


async def test_serves_https_only(files: Files) -> None:
    """A client that trusts the authority is served; one that speaks plain HTTP is not."""
    async with running(make_server(tls=tls(files))) as address:
        assert await status(address, trusting(files.ca)) == 200
        with pytest.raises(aiohttp.ClientError):
            async with aiohttp.ClientSession() as client, client.get(f"http://{address}/healthz"):
                pass


async def test_a_new_certificate_is_served_and_open_connections_stay(files: Files, authority: Authority) -> None:
    """After a rotation new connections see the new certificate; one that was open goes on with the old."""
    server = make_server(tls=tls(files), reload_interval=0.02)
    trusted = trusting(files.ca)
    opened = 0

    async def count(*_args: object) -> None:
        nonlocal opened
        opened += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    async with running(server) as address, aiohttp.ClientSession(f"https://{address}", trace_configs=[trace]) as kept:
        assert await served_name(address, trusted) == "server-1"
        async with kept.get("/healthz", ssl=trusted) as response:
            await response.read()
        authority.issue("server-2", files.cert, files.key)

        async def rotated() -> bool:
            return await served_name(address, trusted) == "server-2"

        await eventually(rotated)
        async with kept.get("/healthz", ssl=trusted) as response:
            assert await response.text() == "ok\n"
    assert opened == 1


async def test_a_certificate_that_came_before_its_key_is_not_used(files: Files, authority: Authority) -> None:
    """Two files are never replaced at one instant: until they match, the last good pair is served, said once."""
    old_key = files.key.read_bytes()
    with capture_logs() as logs:
        async with running(make_server(tls=tls(files), reload_interval=0.02)) as address:
            authority.issue("server-2", files.cert, files.new_key)
            await eventually(lambda: any(entry["log_level"] == "error" for entry in logs))
            assert await served_name(address, trusting(files.ca)) == "server-1"
            assert files.key.read_bytes() == old_key
            write(files.key, files.new_key.read_bytes())
            await eventually(lambda: any(entry["event"] == "changed files are loaded" for entry in logs))
            assert await served_name(address, trusting(files.ca)) == "server-2"
    errors = [entry["error"] for entry in logs if entry["log_level"] == "error"]
    assert errors == [f"web.tls: the key in {files.key} does not belong to the certificate in {files.cert}"]


async def test_clients_must_show_a_certificate_but_the_kubelet_need_not(files: Files, authority: Authority) -> None:
    """With a client authority, pages need its certificate; the health checks answer those that have none."""
    authority.issue("prometheus", files.client, files.client_key)
    stranger = Authority("stranger")
    stranger.issue("stranger", files.stranger, files.stranger_key)
    async with running(make_server(tls=tls(files, client_ca=files.ca))) as address:
        assert await status(address, trusting(files.ca, (files.client, files.client_key))) == 200
        bare = trusting(files.ca)
        assert await status(address, bare, "/healthz") == 200
        assert await status(address, bare, "/readyz") == 200
        async with https(address, bare) as client, client.get("/api/v1/fleets") as response:
            assert response.status == 403
            assert await response.json() == {"error": "a client certificate is required"}
        with pytest.raises(aiohttp.ClientError):
            await status(address, trusting(files.ca, (files.stranger, files.stranger_key)), "/healthz")


async def test_an_authority_taken_out_is_out(files: Files, authority: Authority) -> None:
    """After the clients' authority was exchanged, the old one's certificates are refused and the new one's served."""
    successor = Authority("second authority")
    authority.write(files.clients)
    authority.issue("old", files.old, files.old_key)
    successor.issue("new", files.new, files.new_key)
    old, new = trusting(files.ca, (files.old, files.old_key)), trusting(files.ca, (files.new, files.new_key))
    server = make_server(tls=tls(files, client_ca=files.clients), reload_interval=0.02)
    with capture_logs() as logs:
        async with running(server) as address:
            assert await status(address, old) == 200
            successor.write(files.clients)
            await eventually(lambda: any(entry["event"] == "changed files are loaded" for entry in logs))
            assert await status(address, new) == 200
            with pytest.raises(aiohttp.ClientError):
                await status(address, old)


async def test_a_connection_vouched_for_by_an_authority_taken_out_ends(files: Files, authority: Authority) -> None:
    """Authorities that are added end nothing; one taken out ends the connections it may have vouched for."""
    successor = Authority("second authority")
    write(files.clients, authority.pem)
    authority.issue("old", files.old, files.old_key)
    server = make_server(tls=tls(files, client_ca=files.clients), reload_interval=0.02)
    with capture_logs() as logs:
        async with running(server) as address:
            host, _, port = address.rpartition(":")
            reader, writer = await asyncio.open_connection(
                host, int(port), ssl=trusting(files.ca, (files.old, files.old_key))
            )

            async def ask() -> bytes:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                return await asyncio.wait_for(reader.readuntil(b"agents 1\n"), PATIENCE)

            assert (await ask()).startswith(b"HTTP/1.1 200 ")
            write(files.clients, authority.pem + successor.pem)
            await eventually(lambda: [entry["event"] for entry in logs].count("changed files are loaded") == 1)
            assert (await ask()).startswith(b"HTTP/1.1 200 ")
            write(files.clients, successor.pem)
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            writer.close()


async def test_a_resumed_session_shows_no_certificate(files: Files, authority: Authority) -> None:
    """TLS 1.2 lets a client resume a session without its certificate being verified; it does not count then."""
    authority.issue("client", files.client, files.client_key)
    context = trusting(files.ca, (files.client, files.client_key))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with running(make_server(tls=tls(files, client_ca=files.ca))) as address:
        host, _, port = address.rpartition(":")

        def ask(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None, bool | None]:
            with (
                socket.create_connection((host, int(port)), timeout=PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection,
            ):
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return connection.recv(12), connection.session, connection.session_reused

        status, session, _ = await asyncio.to_thread(ask, None)
        assert status == b"HTTP/1.1 200"
        status, _, resumed = await asyncio.to_thread(ask, session)
        assert resumed
        assert status == b"HTTP/1.1 403"


@pytest.mark.parametrize(
    ("broken", "content", "message"),
    [
        ("cert", None, "web.tls.cert_file: cannot read {cert}: No such file or directory"),
        ("key", None, "web.tls.key_file: cannot read {key}: No such file or directory"),
        ("cert", b"hello", "web.tls: {cert} and {key} must hold a certificate and its key in PEM form"),
        (
            "key",
            private_pem(ec.generate_private_key(ec.SECP256R1())),
            "web.tls: the key in {key} does not belong to the certificate in {cert}",
        ),
        (
            "key",
            private_pem(ec.generate_private_key(ec.SECP256R1()), b"password"),
            "web.tls.key_file: the key in {key} is encrypted; store it without a password",
        ),
        ("ca", b"hello", "web.tls.client_ca_file: {ca} holds no certificate in PEM form"),
    ],
)
async def test_files_that_are_no_good_stop_the_start(
    files: Files, broken: str, content: bytes | None, message: str
) -> None:
    """Each failure is one sentence that names the setting and the file; nothing asks for a password on a terminal."""
    write(getattr(files, broken), content)
    with pytest.raises(ServeError) as raised:
        await make_server(tls=tls(files, client_ca=files.ca)).run()
    assert str(raised.value) == message.format(cert=files.cert, key=files.key, ca=files.ca)
