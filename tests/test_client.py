"""Asking a running exporter: the real web server, and everything that may stand in its place."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from exporter.client import Credentials, Status, StatusClient, StatusError
from exporter.fleet.model import IgnoredPod
from exporter.web.passwords import PasswordHash
from tests.factories import make_fleet
from tests.fakes.answering import answering
from tests.fakes.certificates import Authority
from tests.web.serving import StaticView, make_server, running, serve


async def read(url: str, **credentials: Any) -> Status:
    """Ask once."""
    async with StatusClient(url, Credentials(**credentials)) as client:
        return await client.read()


async def trouble(url: str, **credentials: Any) -> str:
    """Ask once, and return what went wrong: one sentence on one line."""
    with pytest.raises(StatusError) as caught:
        await read(url, **credentials)
    message = str(caught.value)
    assert "\n" not in message
    return message


async def test_what_it_reports() -> None:
    """Fleets and agents as the API has them, joined."""
    view = StaticView([make_fleet()], others=[IgnoredPod("matillion", "job-1", "it belongs to a Job")])
    async with serve(view) as url:
        document = (await read(url)).document()
    assert document["ready"] is True
    assert [fleet["fleet"] for fleet in document["fleets"]] == ["etl"]
    assert [agent["pod"] for agent in document["agents"]] == ["agent-1"]
    assert [pod["pod"] for pod in document["passed_over"]] == ["job-1"]
    assert len(document["remarks"]) == 1


async def test_not_ready_yet() -> None:
    """What is still missing is passed on."""
    async with serve(StaticView(reason="no list of pods yet")) as url:
        found = await read(url)
    assert (found.not_ready, found.fleets) == ("no list of pods yet", [])


async def test_no_server() -> None:
    """A refused connection says how to reach one in a cluster."""
    message = await trouble("http://127.0.0.1:1")
    assert message.startswith("http://127.0.0.1:1 cannot be reached (connection refused)")
    assert "port-forward" in message


async def test_an_unknown_name() -> None:
    """A host that does not resolve is named."""
    assert "http://no.such.host.invalid" in await trouble("http://no.such.host.invalid")


@pytest.mark.parametrize("url", ["localhost:9850", "ftp://x", "http://", "http://[::1", ""])
async def test_no_url(url: str) -> None:
    """What is no URL is said to be none, with one that is."""
    assert "such as http://127.0.0.1:9850" in await trouble(url)


async def test_credentials_in_a_url() -> None:
    """They would be seen in the list of processes, and are not repeated."""
    message = await trouble("http://me:geheim@127.0.0.1:1")
    assert "--user" in message
    assert "geheim" not in message


@pytest.mark.slow
async def test_credentials(tmp_path: Path) -> None:
    """A server that asks says by what; the right ones are let in, and wrong ones told apart from none."""
    users, token = tmp_path / "users", tmp_path / "token"
    users.write_text(f"me: {PasswordHash.make('geheim')}\n")
    token.write_text("T0KEN\n")
    settings = {"basic_auth": {"users_file": str(users)}, "bearer_token_file": str(token)}
    async with serve(StaticView([make_fleet()]), **settings) as url:
        assert (await trouble(url)).endswith("requires credentials; pass --bearer-token-file FILE or --user NAME")
        assert "rejects these credentials" in await trouble(url, user="me", password="falsch")
        assert "rejects these credentials" in await trouble(url, token="wrong")
        assert (await read(url, user="me", password="geheim")).fleets
        assert (await read(url, token="T0KEN")).fleets
    async with serve(StaticView(), bearer_token_file=str(token)) as url:
        assert (await trouble(url)).endswith("pass --bearer-token-file FILE")


def test_secrets_do_not_show() -> None:
    """Not in a traceback's variables either."""
    assert "geheim" not in repr(Credentials(user="me", password="geheim", token="geheim"))


async def test_tls(tmp_path: Path) -> None:
    """Over TLS the authority must be known, and a client's certificate shown where it is asked for."""
    ours, clients = Authority("servers"), Authority("clients")
    cert, key, ca, client_ca = (tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt", "clients.crt"))
    ours.issue("exporter", cert, key, hosts=("127.0.0.1",))
    ca.write_bytes(ours.pem)
    client_ca.write_bytes(clients.pem)
    client, client_key = tmp_path / "client.crt", tmp_path / "client.key"
    clients.issue("me", client, client_key, server=False)
    tls = {"cert_file": str(cert), "key_file": str(key), "client_ca_file": str(client_ca)}
    async with running(make_server(StaticView([make_fleet()]), tls=tls)) as address:
        url = f"https://{address}"
        assert "pass --ca-file" in await trouble(url)
        assert "requires a client certificate; pass --cert-file" in await trouble(url, ca_file=ca)
        assert (await read(url, ca_file=ca, cert_file=client, key_file=client_key)).fleets
        assert "its URL begins with https" in await trouble(f"http://{address}")


async def test_certificates_that_are_no_good(tmp_path: Path) -> None:
    """Files that cannot be used are named."""
    file = tmp_path / "ca.crt"
    assert f"the certificates in {file} cannot be used" in await trouble("https://127.0.0.1:1", ca_file=file)
    file.write_text("no certificate")
    assert f"the certificates in {file} cannot be used" in await trouble("https://127.0.0.1:1", ca_file=file)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>It works!</html>"),
        (200, "[]"),
        (200, "[" * 5000),
        (200, '{"fleets": [], "agents": []}'),
        (200, '{"time_seconds": 1, "fleets": [{"name": "x"}], "agents": []}'),
        (200, '{"time_seconds": 1, "fleets": {}, "agents": {}}'),
        (404, "nothing here"),
        (302, ""),
        (500, "{}"),
    ],
)
async def test_not_an_exporter(status: int, body: str) -> None:
    """Whatever else answers is not believed."""
    async with answering(status, body) as url:
        assert await trouble(url) == f"{url} responds, but is not an exporter; check the URL"


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        '{"interval_seconds": 300}',
        '{"interval_seconds": 300, "start_time_seconds": "x", "demand_tasks": []}',
        '{"interval_seconds": 300, "start_time_seconds": 0, "demand_tasks": 7}',
    ],
)
async def test_what_is_no_past(body: str) -> None:
    """It is not taken for one."""
    async with answering(200, body) as url, StatusClient(url, Credentials()) as client:
        with pytest.raises(StatusError, match="is not an exporter"):
            await client.past("matillion", "etl")


async def test_an_error_of_the_exporter() -> None:
    """What the exporter itself says is passed on."""
    async with answering(429, '{"error": "too many concurrent password checks; try again"}') as url:
        assert "too many concurrent password checks" in await trouble(url)


async def test_one_that_breaks_off() -> None:
    """A connection that ends without an answer."""

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert "closed the connection without a response" in await trouble(f"http://127.0.0.1:{port}")
