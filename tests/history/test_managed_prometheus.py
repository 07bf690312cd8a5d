"""Amazon Managed Prometheus: which URLs are one, and requests signed as AWS checks them."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from aiohttp import web

from exporter.aws.endpoints import managed_prometheus_region
from exporter.config import ForecastSettings
from exporter.history.periodic import SourceError, Span
from exporter.history.prometheus import PrometheusReader
from tests.fakes.cloudwatch_publishing import CREDENTIALS

HOST = "aps-workspaces.eu-west-1.amazonaws.com"
WORKSPACE = f"http://{HOST}/workspaces/ws-1a2b"
"""Not https, so that a proxy sees the request."""
SPAN = Span(5_890_752, 5_890_760)
EMPTY = '{"status": "success", "data": {"resultType": "matrix", "result": []}}'


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (f"https://{HOST}/workspaces/ws-1", "eu-west-1"),
        (f"https://{HOST.upper()}:443/workspaces/ws-1", "eu-west-1"),
        ("https://aps-workspaces-fips.us-gov-west-1.amazonaws.com/workspaces/ws-1", "us-gov-west-1"),
        ("https://aps-workspaces.us-east-1.api.aws/workspaces/ws-1", "us-east-1"),
        ("https://vpce-0a-1b.aps-workspaces.us-east-2.vpce.amazonaws.com/workspaces/ws-1", "us-east-2"),
        ("http://prometheus.monitoring:9090", None),
        (f"https://{HOST}.evil.example/workspaces/ws-1", None),
        (f"https://evil.example/{HOST}", None),
        (f"https://evil-{HOST}/", None),
        (f"https://evil.{HOST}/", None),
        ("https://aps-workspaces.eu-west-1xamazonaws.com/", None),
        ("https://aps.eu-west-1.amazonaws.com/", None),
    ],
)
def test_which_urls_are_amazons(url: str, region: str | None) -> None:
    """Only hosts of AWS get a signature, for the region in their name."""
    assert managed_prometheus_region(url) == region


@pytest.fixture
def _credentials(aws_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a/session+token==")


class Workspace:
    """Checks signatures as AWS documents them, without its library, and answers as the service does.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.accepted: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        if not self._is_signed(request.method, request.raw_path, request.headers):
            return web.json_response({"message": "The request signature we calculated does not match"}, status=403)
        self.accepted.append(request.headers["Authorization"])
        return web.Response(text=EMPTY, content_type="application/json")

    def _is_signed(self, method: str, target: str, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        parts = dict(part.strip().split("=", 1) for part in given.split(",") if "=" in part)
        _, *scope = parts.get("Credential", "").split("/")
        signed = parts.get("SignedHeaders", "").split(";")
        if scheme != "AWS4-HMAC-SHA256" or scope[1:] != ["eu-west-1", "aps", "aws4_request"]:
            return False
        if not {"host", "x-amz-date", "x-amz-security-token"} <= set(signed):
            return False
        url = urlsplit(target)
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(url.query))
        canonical = "\n".join(
            [
                method,
                url.path,
                "&".join(f"{name}={value}" for name, value in pairs),
                *(f"{name}:{headers[name].strip()}" for name in signed),
                "",
                ";".join(signed),
                hashlib.sha256(b"").hexdigest(),
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = "\n".join([scheme, headers["X-Amz-Date"], "/".join(scope), digest])
        key = f"AWS4{self.secret}".encode()
        for part in (*scope, to_sign):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.compare_digest(key.hex(), parts["Signature"])


@asynccontextmanager
async def proxied(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> AsyncIterator[None]:
    """Serve the workspace as a proxy, which gets what is for AWS's host."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", workspace.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        for name in ("NO_PROXY", "no_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield
    finally:
        await runner.cleanup()


def settings(**fields: object) -> ForecastSettings:
    return ForecastSettings(prometheus_url=WORKSPACE, prometheus_matchers='cluster="a b+c/ü",x=~"y.*"', **fields)


@pytest.mark.slow
@pytest.mark.usefixtures("_credentials")
async def test_requests_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS accepts the signature of a query with every character that is encoded; one of another key is a 403."""
    workspace = Workspace(CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    async with proxied(monkeypatch, workspace), PrometheusReader(settings()) as reader:
        assert (await reader.read([SPAN], None)).histories == {}
        assert "Credential=AKIDEXAMPLE/" in workspace.accepted[0]
        workspace.secret = "rotated"
        with pytest.raises(SourceError) as denied:
            await reader.read([SPAN], None)
        # What was denied is not used again.
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rotated")
        await reader.read([SPAN], None)
    assert denied.value.reason == "HTTP 403: The request signature we calculated does not match"
    assert "aps:QueryMetrics" in denied.value.fix
    assert len(workspace.accepted) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("_credentials")
async def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any, nothing is sent; once there are some, they are found."""
    workspace = Workspace("secret")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    async with proxied(monkeypatch, workspace), PrometheusReader(settings()) as reader:
        with pytest.raises(SourceError) as missing:
            await reader.read([SPAN], None)
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        await reader.read([SPAN], None)
    assert missing.value.reason == "no AWS credentials: there are no AWS credentials"
    assert len(workspace.accepted) == 1
