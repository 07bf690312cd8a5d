"""Which names the web port answers to: no page in a browser may read it under a name of its own (DNS rebinding)."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from exporter.web.runbooks import Installation
from tests.fakes.certificates import Authority
from tests.web.serving import make_server, running, serve

SERVED = [
    "127.0.0.1:9850",
    "10.0.3.7",
    "[::1]:9850",
    "[2600:1f13::7]",
    "localhost:9850",
    "LocalHost",
    "localhost.",
    "matillion-fleet-exporter",
    "matillion-fleet-exporter:9850",
    "matillion-fleet-exporter.matillion",
    "matillion-fleet-exporter.matillion.svc:9850",
    "matillion-fleet-exporter.matillion.svc.",
    "another.namespace.svc.cluster.local:9850",
    "ip-10-0-3-7.eu-west-1.compute.internal",
    "",
]
"""What the kubelet, Prometheus, KEDA, a port-forward and a load balancer's check send."""
REFUSED = [
    "evil.example:9850",
    "evil.example.",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "a.svc.evil.example",
    "matillion-fleet-exporter.other",
    "evilsvc.com",
    "printer.local",
    "10.0.3.7.9",
    "127.1",
]
"""Names that somebody may own, and spellings of addresses that no browser sends."""
MALFORMED = ["<script>", "a b", "user@localhost", "localhost:port", "[::1", "localhost/../x", "x" * 300]
GUARDED = ["/", "/metrics", "/api/v1/fleets", "/api/v1/agents", "/runbooks/", "/static/page.js", "/nothing"]
FIX = "set web.external_url to the URL that people open, or list the name in web.hosts"


async def status(url: str, host: str, path: str = "/api/v1/agents") -> int:
    async with aiohttp.ClientSession(url) as client, client.get(path, headers={"Host": host}) as response:
        return response.status


@pytest.mark.parametrize("host", SERVED)
async def test_addresses_and_names_that_nobody_owns_are_served(host: str) -> None:
    """Upper case, the root's dot and a port make no difference."""
    async with serve() as url:
        assert await status(url, host) == 200


@pytest.mark.parametrize("host", REFUSED)
async def test_a_name_that_somebody_may_own_is_refused(host: str) -> None:
    """With the reason and the two settings that end it, and nothing else of ours."""
    name = host.partition(":")[0].removesuffix(".")
    async with (
        serve() as url,
        aiohttp.ClientSession(url) as client,
        client.get("/api/v1/agents", headers={"Host": host}) as response,
    ):
        assert response.status == 421
        assert await response.json() == {"error": f"{name} is not a known name of this exporter: {FIX}"}


@pytest.mark.parametrize("host", MALFORMED)
async def test_a_malformed_host_is_a_bad_request(host: str) -> None:
    """It is repeated nowhere."""
    async with (
        serve() as url,
        aiohttp.ClientSession(url) as client,
        client.get("/metrics", headers={"Host": host}) as response,
    ):
        assert response.status == 400
        assert host not in await response.text()


@pytest.mark.parametrize("path", GUARDED)
async def test_every_path_but_health_is_guarded(path: str) -> None:
    """The page, its files, the figures and even what there is not."""
    async with serve() as url:
        assert await status(url, "evil.example", path) == 421


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_told_under_every_name(path: str) -> None:
    """A load balancer's check sends what it likes, and an answer discloses nothing."""
    async with serve() as url:
        assert await status(url, "evil.example", path) == 200


@pytest.mark.parametrize(
    "given",
    [
        {"external_url": "https://Fleets.Example.com/eks/"},
        {"external_url": "https://fleets.example.com:8443"},
        {"hosts": ["other.example", "FLEETS.example.com"]},
        {"hosts": ["*"]},
    ],
    ids=["external_url", "external_url with a port", "hosts", "every name"],
)
async def test_names_of_the_settings_are_served(given: dict[str, Any]) -> None:
    """An ingress needs one setting."""
    async with serve(**given) as url:
        assert await status(url, "fleets.example.com") == 200
        assert await status(url, "evil.example") == (200 if given == {"hosts": ["*"]} else 421)


async def test_the_service_is_known_by_its_own_name_and_namespace() -> None:
    """As KEDA may name it; a namespace may be called like a top-level domain, so no other pair of names is served."""
    async with running(make_server(installation=Installation(namespace="dev", name="fleets"))) as address:
        assert await status(f"http://{address}", "fleets.dev:9850") == 200
        assert await status(f"http://{address}", "evil.dev") == 421


async def test_credentials_make_the_name_irrelevant(tmp_path: Path) -> None:
    """A browser has no credentials for the attacker's name, so an ingress in front needs no setting."""
    token = tmp_path / "token"
    token.write_text("secret")
    async with serve(bearer_token_file=str(token)) as url, aiohttp.ClientSession(url) as client:
        assert await status(url, "fleets.example.com") == 401
        headers = {"Host": "fleets.example.com", "Authorization": "Bearer secret"}
        async with client.get("/api/v1/agents", headers=headers) as response:
            assert response.status == 200


async def test_a_certificate_makes_the_name_irrelevant(tmp_path: Path) -> None:
    """A browser does not take our certificate for the attacker's name."""
    authority, files = Authority("ca"), (tmp_path / "tls.crt", tmp_path / "tls.key")
    authority.issue("exporter.test", *files)
    server = make_server(tls={"cert_file": str(files[0]), "key_file": str(files[1])})
    async with (
        running(server) as address,
        aiohttp.ClientSession(f"https://{address}") as client,
        client.get("/metrics", headers={"Host": "fleets.example.com"}, ssl=False) as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize(
    ("hosts", "answer"),
    [([], b"HTTP/1.0 200"), (["localhost"], b"HTTP/1.0 200"), (["localhost", "evil.example"], b"HTTP/1.0 4")],
    ids=["none", "one", "a good and a bad one"],
)
async def test_no_host_is_no_browser_and_a_second_one_does_not_hide(hosts: list[str], answer: bytes) -> None:
    """HTTP/1.0 needs no host; of two, both must be good."""
    async with running(make_server()) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("\r\n".join(["GET /metrics HTTP/1.0", *(f"Host: {one}" for one in hosts), "", ""]).encode())
        assert (await reader.read()).startswith(answer)
        writer.close()


async def test_refused_names_are_logged_once_and_a_flood_of_them_is_not() -> None:
    """An operator reads what to set; an attacker writes ten lines at most."""
    async with serve() as url:
        with capture_logs() as logs:
            for number in range(30):
                for _ in range(2):
                    await status(url, f"{number}.evil.example")
    assert [entry["host"] for entry in logs] == [f"{number}.evil.example" for number in range(10)]
    assert {(entry["event"], entry["fix"]) for entry in logs} == {("request for an unknown host is refused", FIX)}
