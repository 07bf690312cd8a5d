"""Who may ask the external metrics API, and what rotates under it."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from yarl import URL

from tests.factories import make_fleet
from tests.fakes.aggregation import BASE, DEMAND, HPA, Answer, World, aggregated, demand, exchange
from tests.fakes.certificates import Authority
from tests.fakes.kube_api import reply, status
from tests.waiting import PATIENCE, eventually

MASTERS = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters", "Authorization": "Bearer x"}
"""What an intruder would say to be let in."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with aggregated(tmp_path, [make_fleet(name="prod")]) as running:
        yield running


def refused(answer: Answer, reason: str) -> None:
    """Check that an answer is 401 in Kubernetes' words, with the reason."""
    body = answer.json
    assert (answer.status, body["kind"], body["reason"], body["code"]) == (401, "Status", "Unauthorized", 401)
    assert reason in body["message"]


# -- who is recognised -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [demand(), BASE, "/openapi/v2", "/apis", "/nothing"])
async def test_without_a_certificate_headers_mean_nothing(world: World, path: str) -> None:
    """Whatever a client without a certificate says of itself, it is nobody, on every path but the kubelet's."""
    refused(await world.ask(path, HPA, context=world.bare_context()), "has no certificate")
    refused(await world.ask(path, None, context=world.bare_context(), headers=MASTERS), "has no certificate")
    assert not world.control.reviews, "nobody is asked about"


async def test_a_certificate_with_another_name_is_not_the_front_proxy(world: World) -> None:
    """An allowed authority signs for others too; a name that is not listed is refused, and told."""
    with capture_logs() as logs:
        for _ in range(3):
            refused(await world.ask(demand(), context=world.context(name="kubelet")), "'kubelet' is not allowed")
    assert [entry["event"] for entry in logs] == ["request without the front proxy's certificate is rejected"]


async def test_where_no_name_is_listed_every_one_is_allowed(world: World) -> None:
    """As Kubernetes defines an empty list of names."""
    world.control.data["requestheader-allowed-names"] = "[]"

    async def allowed() -> bool:
        return (await world.ask(demand(), context=world.context(name="kubelet"))).status == 200

    await eventually(allowed)


async def test_a_certificate_of_another_authority_ends_the_handshake(world: World) -> None:
    """Not even a 401 is read by who shows a certificate that does not verify, the same name in it or not."""
    stranger = Authority("front-proxy-ca")
    with pytest.raises(aiohttp.ClientError):
        await world.ask(demand(), context=world.context(stranger))
    with pytest.raises(aiohttp.ClientError):
        await world.ask(demand(), context=world.context(world.serving_authority))
    assert not world.control.reviews
    assert not world.counter.codes


async def test_an_expired_certificate_ends_the_handshake(world: World) -> None:
    """A certificate that has run out is none."""
    with pytest.raises(aiohttp.ClientError):
        await world.ask(demand(), context=world.context(until=timedelta(seconds=-5)))


async def test_a_certificate_that_runs_out_on_an_open_connection(world: World) -> None:
    """A connection lives longer than its certificate may; from its end on it vouches for nobody."""
    context = world.context(until=timedelta(hours=1))
    async with world.session(context) as session:
        world.view.wall = None
        assert (await exchange(session, demand())).status == 200
        world.view.wall = 4_102_444_800.0  # 2100
        refused(await exchange(session, demand()), "has expired")


async def test_a_server_certificate_is_none_for_a_client(world: World) -> None:
    """A certificate made for servers alone does not vouch for a client, whoever signed it."""
    context = world.bare_context()
    cert, key = world.folder / "s.crt", world.folder / "s.key"
    world.front_proxy.issue("front-proxy-client", cert, key, client=False)
    context.load_cert_chain(cert, key)
    with pytest.raises(aiohttp.ClientError):
        await world.ask(demand(), context=context)


async def test_a_resumed_session_is_no_certificate(world: World) -> None:
    """TLS 1.2 resumes a session without verifying anything; it vouches for nobody."""
    context = world.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    address = world.server.address
    assert address is not None

    def ask(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
        with (
            socket.create_connection((address.host, address.port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection,
        ):
            head = f"GET {demand()} HTTP/1.1\r\nHost: x\r\nX-Remote-User: {HPA}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            return connection.recv(12), connection.session

    answer, session = await asyncio.to_thread(ask, None)
    assert answer == b"HTTP/1.1 200"
    answer, _ = await asyncio.to_thread(ask, session)
    assert answer == b"HTTP/1.1 401"


async def test_a_front_proxy_without_a_user(world: World) -> None:
    """Without a user there is nobody to ask about."""
    refused(await world.ask(demand(), None), "the user it acts for")
    refused(await world.ask(demand(), None, headers={"X-Remote-Group": "system:masters"}), "the user it acts for")


# -- who is allowed ----------------------------------------------------------------------------------------------------


async def test_an_unauthorized_client(world: World) -> None:
    """A user the API server refuses gets 403 with the deed named, and the fleets stay unseen."""
    answer = await world.ask(demand(), "eve")
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    assert answer.json["message"] == (
        f"user 'eve' may not list {DEMAND}.external.metrics.k8s.io in namespace 'matillion'"
    )
    assert (await world.ask(demand(metric="no_such_metric"), "eve")).status == 403, "not even what there is"


@pytest.mark.parametrize("probe", ["system:kube-aggregator", "system:aggregator"])
async def test_the_probes_see_the_description_only(world: World, probe: str) -> None:
    """The API server's own probes need no permission to look, and may not read a value for it."""
    for path in (BASE, "/apis/external.metrics.k8s.io", "/openapi/v2", "/openapi/v3"):
        assert (await world.ask(path, probe)).status == 200
    assert not world.control.reviews
    assert (await world.ask(demand(), probe)).status == 403


async def test_others_need_a_permission_for_the_description(world: World) -> None:
    """What is open to the API server's probes is asked about for everybody else."""
    assert (await world.ask(BASE, "eve")).status == 403
    world.control.allowed.add("alice")
    assert (await world.ask(BASE, "alice")).status == 200
    assert world.control.reviews[-1]["nonResourceAttributes"] == {"verb": "get", "path": BASE}


@pytest.mark.parametrize(
    "tricky",
    [
        f"{BASE}/namespaces/matillion%2F..%2Fother/{DEMAND}",
        f"{BASE}/namespaces/other%2Fmatillion/{DEMAND}",
        f"{BASE}/namespaces/*/{DEMAND}",
        f"{BASE}/namespaces/matillion%00/{DEMAND}",
        f"{BASE}/namespaces/Matillion/{DEMAND}",
        f"{BASE}/namespaces/other/{DEMAND}?namespace=matillion&labelSelector=fleet%3Dprod",
        f"{BASE}/namespaces/other/{DEMAND}?labelSelector=namespace%3Dmatillion",
        f"{BASE}/namespaces/matillion/{DEMAND}%2Fstatus",
        f"{BASE}/namespaces/matillion/*",
    ],
)
async def test_what_is_reviewed_is_what_is_answered(world: World, tricky: str) -> None:
    """No path is reviewed as one namespace or metric and answered as another; the query names neither."""
    url = URL(f"https://{world.server.address}{tricky}", encoded=True)
    async with world.session() as session, session.get(url, headers={"X-Remote-User": HPA}) as response:
        assert response.status in (400, 404)
    for review in world.control.reviews:
        place = review["resourceAttributes"]
        assert (place["namespace"], place["resource"]) != ("matillion", DEMAND)


@pytest.mark.parametrize(
    "trouble",
    [
        reply(500, status(500)),
        reply(403, status(403, "Forbidden")),
        reply(201, {"status": {"allowed": "yes"}}),
        reply(200, "<html>"),
        reply(201, {"status": {"allowed": True}}, after=8.0),
    ],
    ids=["500", "403", "senseless", "html", "too late"],
)
@pytest.mark.slow
async def test_no_clear_permission_is_none(world: World, trouble: Callable[[web.Request], Any]) -> None:
    """Whatever the review comes back with, only a permission opens, and within seconds."""
    world.control.review_answer = trouble
    answer = await world.ask(demand())
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")


@pytest.mark.slow
async def test_while_the_api_server_is_down(world: World) -> None:
    """Who was allowed a moment ago still is; who was not asked about is refused; afterwards all is as before."""
    assert (await world.ask(demand())).status == 200
    world.control.up = False
    assert (await world.ask(demand())).status == 200, "within the ten seconds a permission counts"
    answer = await world.ask(demand("other"))
    assert answer.status == 403
    assert "did not review" in answer.json["message"]
    assert (await world.ask(BASE, "system:kube-aggregator")).status == 200, "the front proxy stays known"
    world.control.up = True

    async def served() -> bool:
        return (await world.ask(demand("other"))).status == 404

    await eventually(served)


async def test_an_api_server_that_is_down_at_the_start(tmp_path: Path) -> None:
    """The exporter starts without it, lets nobody in, says that it is not ready, and needs no restart."""
    async with aggregated(tmp_path, [make_fleet(name="prod")], known=False) as world:
        bare = world.bare_context()
        assert (await world.ask("/healthz", None, context=bare)).status == 200
        answer = await world.ask("/readyz", None, context=bare)
        assert (answer.status, answer.text) == (503, "the API server's front proxy configuration is not loaded yet\n")
        refused(await world.ask(demand(), None, context=bare, headers=MASTERS), "not loaded yet")
        with pytest.raises(aiohttp.ClientError):
            await world.ask(demand())
        world.control.up = True

        async def served() -> bool:
            try:
                return (await world.ask(demand())).status == 200
            except aiohttp.ClientError:
                return False

        await eventually(served)


# -- what rotates ------------------------------------------------------------------------------------------------------


async def test_the_front_proxys_authority_rotates(world: World) -> None:
    """Old and new side by side: no connection ends. The old one out: its connections end, unnoticed by their owner."""
    successor = Authority("front-proxy-ca")
    connections = 0

    async def count(*_args: object) -> None:
        nonlocal connections
        connections += 1

    old, new = world.context(), world.context(successor)
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    url = f"https://{world.server.address}"

    async def accepts(context: ssl.SSLContext) -> bool:
        try:
            return (await world.ask(demand(), context=context)).status == 200
        except aiohttp.ClientError:
            return False

    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=old), trace_configs=[trace]) as kept:
        assert (await exchange(kept, demand())).status == 200
        assert not await accepts(new)
        world.control.trust(world.front_proxy, successor)
        await eventually(lambda: accepts(new))
        assert (await exchange(kept, demand())).status == 200
        assert await accepts(old)
        assert connections == 1, "the connection lived through it"

        world.control.trust(successor)

        async def old_is_out() -> bool:
            return not await accepts(old)

        await eventually(old_is_out)
        with pytest.raises(aiohttp.ClientError):
            await exchange(kept, demand())
        assert await accepts(new)


async def test_the_answer_under_way_arrives_although_its_authority_goes(world: World) -> None:
    """A connection whose authority is taken out ends after the answer it is waiting for, not before."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        begun.set()
        await go.wait()
        return web.json_response({"status": {"allowed": True}}, status=201)

    world.control.review_answer = slow
    successor = Authority("another")
    async with world.session(world.context()) as session:
        asking = asyncio.create_task(exchange(session, demand()))
        await begun.wait()
        world.control.trust(successor)

        async def successor_in() -> bool:
            try:
                return (await world.ask(BASE, "system:aggregator", context=world.context(successor))).status == 200
            except aiohttp.ClientError:
                return False

        await eventually(successor_in)
        go.set()
        assert (await asking).status == 200
        with pytest.raises(aiohttp.ClientError):
            await exchange(session, demand())


async def test_a_config_map_that_makes_no_sense_changes_nothing(world: World) -> None:
    """The last good authority stays in use, whatever is written over it."""
    with capture_logs() as logs:
        world.control.data["requestheader-client-ca-file"] = "hello"

        async def noticed() -> bool:
            return any("cannot be read" in entry["event"] for entry in logs)

        await eventually(noticed)
        assert (await world.ask(demand())).status == 200
    assert "requestheader-client-ca-file holds no certificate" in logs[0]["error"]


async def test_the_serving_certificate_rotates(world: World) -> None:
    """New connections see the new certificate; one that was open goes on, and the front proxy is still recognised."""
    assert world.server.address is not None
    host, port = world.server.address
    context = world.context()

    async def served_name() -> str:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
        await writer.wait_closed()
        return str(dict(pair for part in subject for pair in part)["commonName"])

    connections = 0

    async def count(*_args: object) -> None:
        nonlocal connections
        connections += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    url = f"https://{world.server.address}"
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=context), trace_configs=[trace]) as kept:
        assert (await exchange(kept, demand())).status == 200
        assert await served_name() == "exporter.matillion.svc"
        world.serving_authority.issue("renewed", world.cert_file, world.key_file)

        async def renewed() -> bool:
            return await served_name() == "renewed"

        await eventually(renewed)
        assert (await exchange(kept, demand())).status == 200
    assert connections == 1
    assert (await world.ask(demand())).status == 200, "the new certificate came with the old trust"


async def test_a_rotation_while_the_files_are_half_replaced(world: World) -> None:
    """An authority that comes while certificate and key do not match is put in use once they do."""
    successor = Authority("another")
    good_key = world.key_file.read_bytes()
    with capture_logs() as logs:
        world.serving_authority.issue("renewed", world.cert_file, world.folder / "new.key")
        world.control.trust(world.front_proxy, successor)

        async def told() -> bool:
            return any("The CA of the front proxy cannot be loaded yet" in json.dumps(entry) for entry in logs)

        await eventually(told)
        assert (await world.ask(demand())).status == 200
        assert world.key_file.read_bytes() == good_key
        world.key_file.write_bytes((world.folder / "new.key").read_bytes())

        async def accepted() -> bool:
            try:
                return (await world.ask(demand(), context=world.context(successor))).status == 200
            except aiohttp.ClientError:
                return False

        await eventually(accepted)
