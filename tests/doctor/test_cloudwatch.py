"""AWS, without publishing anything: region, endpoint, clock, credentials, and the permission to publish."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from exporter.doctor.check import Outcome
from exporter.doctor.report import document
from tests.doctor.cluster import Seen, examined, settings
from tests.fakes.answering import answering
from tests.fakes.cloudwatch import FakeCloudWatch, Fault
from tests.fakes.hostile import silent_port
from tests.fakes.moto import moto_server, reader

pytestmark = pytest.mark.slow
"""Making an AWS client takes a good part of a second."""

# The AWS libraries take most of a second before they ask anything.
pytestmark = pytest.mark.slow

SUBJECT = "CloudWatch"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
STATIC = {"static": {"targets": [{"address": "127.98.0.1"}]}}


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give credentials of no real account, and nothing of the machine's own."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_SESSION_TOKEN",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCloudWatch]:
    """Serve a CloudWatch that refuses what the real one refuses; nobody is at STS."""
    async with FakeCloudWatch(time.time) as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
        yield served


async def look(url: str | None, tmp_path: Path, *, in_pod: bool = False, **more: Any) -> Seen:
    """Run the doctor with CloudWatch on."""
    cloudwatch = {
        "enabled": True,
        "region": "eu-west-1",
        "endpoint_url": url,
        "spool": {"path": str(tmp_path / "s.db")},
    }
    given = settings(cluster="test", discovery=STATIC, cloudwatch=cloudwatch | more)
    return await examined(given, in_pod=in_pod)


async def test_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto's AWS: each check says what it found, whose the credentials are, and nothing is published."""
    async with moto_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        seen = await look(url, tmp_path)
        async with reader(url) as client:
            published = (await client.list_metrics())["Metrics"]
    assert seen[SUBJECT, "region"].found == "eu-west-1 (cloudwatch.region)"
    assert seen[SUBJECT, "endpoint"].found.startswith(f"{url} answers in ")
    assert seen[SUBJECT, "clock"].outcome is Outcome.OK
    assert seen[SUBJECT, "credentials"].found == "found: environment variables"
    assert seen[SUBJECT, "identity"].outcome is Outcome.OK
    assert seen[SUBJECT, "identity"].found.startswith("arn:aws:")
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.OK
    assert "nothing was published" in seen[SUBJECT, "permission to publish"].found
    assert seen[SUBJECT, "spool"].outcome is Outcome.OK
    assert published == []


async def test_nothing_secret_shows(fake: FakeCloudWatch, tmp_path: Path) -> None:
    """Neither keys nor tokens stand in the report, however a check ends."""
    for fault in (Fault.NONE, Fault.DENIED, Fault.EXPIRED):
        fake.fail(fault)
        shown = repr(document((await look(fake.url, tmp_path)).report))
        assert SECRET not in shown
        assert "AKIAIOSFODNN7EXAMPLE" not in shown


async def test_what_aws_quotes_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS may quote a request it refuses, headers with tokens and all: only the first line of what it says is told."""
    message = (
        "The request signature does not match.\n\nThe Canonical String should have been\nx-amz-security-token:T0KEN"
    )
    async with refusing(403, "SignatureDoesNotMatch", message) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        seen = await look(url, tmp_path)
    for name in ("identity", "permission to publish"):
        assert "The request signature does not match." in seen[SUBJECT, name].found
    assert "T0KEN" not in repr(document(seen.report))


async def test_an_empty_request_is_refused_for_being_empty(tmp_path: Path) -> None:
    """The real CloudWatch's answer to who has the right: the one thing wrong is that there are no data."""
    async with refusing(400, "MissingParameter", "The parameter MetricData is required.") as url:
        found = (await look(url, tmp_path))[SUBJECT, "permission to publish"]
    assert found.outcome is Outcome.OK


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.EXPIRED])
async def test_no_right(fake: FakeCloudWatch, tmp_path: Path, fault: Fault) -> None:
    """What AWS denies is a failure, in AWS's words, with what to grant; the rest is looked at all the same."""
    fake.fail(fault)
    seen = await look(fake.url, tmp_path)
    found = seen[SUBJECT, "permission to publish"]
    assert found.outcome is Outcome.FAILED
    assert "HTTP 403" in found.found
    assert "cloudwatch:PutMetricData" in found.fix
    assert seen[SUBJECT, "endpoint"].outcome is Outcome.OK
    assert seen[SUBJECT, "credentials"].outcome is Outcome.OK
    assert fake.taken == []


async def test_throttled(fake: FakeCloudWatch, tmp_path: Path) -> None:
    """Too many requests are no want of a right."""
    fake.fail(Fault.THROTTLE)
    assert (await look(fake.url, tmp_path))[SUBJECT, "permission to publish"].outcome is Outcome.WARNING


async def test_sts_is_not_needed(fake: FakeCloudWatch, tmp_path: Path) -> None:
    """With EKS Pod Identity nobody needs a way to STS: whose the credentials are is not known then, and that is all."""
    seen = await look(fake.url, tmp_path)
    assert seen[SUBJECT, "identity"].outcome is Outcome.NOT_CHECKED
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.OK


async def test_credentials_that_aws_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of a user who is gone."""
    async with refusing(403, "InvalidClientTokenId", "The security token included in the request is invalid.") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        seen = await look(url, tmp_path)
    assert seen[SUBJECT, "identity"].outcome is Outcome.FAILED
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.FAILED


async def test_no_credentials(fake: FakeCloudWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any it says how a pod gets some, and does not ask for the right."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    seen = await look(fake.url, tmp_path)
    assert seen[SUBJECT, "credentials"].outcome is Outcome.FAILED
    assert "eks.amazonaws.com/role-arn" in seen[SUBJECT, "credentials"].fix
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.NOT_CHECKED
    assert fake.requests == 0


async def test_a_role_that_cannot_be_taken(
    fake: FakeCloudWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IRSA whose trust policy does not name the service account fails where the role is assumed."""
    token = tmp_path / "token"
    token.write_text("a.web.identity")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/exporter")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    message = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    async with refusing(403, "AccessDenied", message) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        found = (await look(fake.url, tmp_path))[SUBJECT, "credentials"]
    assert found.outcome is Outcome.FAILED
    assert message in found.found
    assert "trust policy" in found.fix


async def test_a_missing_role(fake: FakeCloudWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way to STS that swallows packets is not waited for as long as the libraries would."""
    token = tmp_path / "token"
    token.write_text("a.web.identity")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/exporter")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    with silent_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
        seen = await look(fake.url, tmp_path)
    assert seen[SUBJECT, "credentials"].outcome is Outcome.FAILED
    assert "a VPC endpoint for sts" in seen[SUBJECT, "credentials"].fix
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.NOT_CHECKED
    assert seen[SUBJECT, "endpoint"].outcome is Outcome.OK


async def test_a_role_of_the_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IRSA that works is called by its name."""
    token = tmp_path / "token"
    token.write_text("a.web.identity")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/exporter")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    async with moto_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        seen = await look(url, tmp_path, in_pod=True)
    assert seen[SUBJECT, "credentials"].found == "found: IRSA (web identity)"
    assert seen[SUBJECT, "credentials"].outcome is Outcome.OK


async def test_keys_in_a_pod(fake: FakeCloudWatch, tmp_path: Path) -> None:
    """Keys that last have no place in a pod; on a person's machine they are usual."""
    assert (await look(fake.url, tmp_path, in_pod=True))[SUBJECT, "credentials"].outcome is Outcome.WARNING
    assert (await look(fake.url, tmp_path))[SUBJECT, "credentials"].outcome is Outcome.OK


async def test_no_region(fake: FakeCloudWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a region nothing can be asked; one of the environment will do."""
    seen = await look(fake.url, tmp_path, region=None)
    assert seen[SUBJECT, "region"].outcome is Outcome.FAILED
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.NOT_CHECKED
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    seen = await look(fake.url, tmp_path, region=None)
    assert seen[SUBJECT, "region"].found == "eu-central-1 (from the environment)"
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.OK


async def test_an_endpoint_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody at the endpoint: what may be in the way."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    seen = await look("http://127.0.0.1:1", tmp_path)
    assert seen[SUBJECT, "endpoint"].outcome is Outcome.FAILED
    assert "VPC endpoint" in seen[SUBJECT, "endpoint"].fix
    assert seen[SUBJECT, "permission to publish"].outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("ahead", "outcome", "part"),
    [
        (0, Outcome.OK, "within 2 s"),
        (120, Outcome.WARNING, "behind AWS's"),
        (-400, Outcome.FAILED, "ahead of AWS's"),
        (None, Outcome.NOT_CHECKED, "no Date header"),
    ],
)
async def test_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float | None, outcome: Outcome, part: str
) -> None:
    """A clock that is minutes off spoils every signature; the endpoint's own date tells."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    async with refusing(400, "MissingParameter", "no data", ahead=ahead) as url:
        found = (await look(url, tmp_path))[SUBJECT, "clock"]
    assert found.outcome is outcome
    assert part in found.found


async def test_it_is_disabled() -> None:
    """Then nothing of AWS is looked at, and its libraries are not even loaded."""
    seen = await examined(settings(discovery=STATIC))
    assert seen[SUBJECT, "publishing"].found == "cloudwatch.enabled is false"


@asynccontextmanager
async def refusing(status: int, code: str, message: str, *, ahead: float | None = 0) -> AsyncIterator[str]:
    """Serve an AWS that refuses everything, with a date so many seconds from now, or with none."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"

    async def date(_: web.Request, response: web.StreamResponse) -> None:
        now = datetime.fromtimestamp(time.time() + (ahead or 0), UTC)
        response.headers["Date"] = "" if ahead is None else format_datetime(now, usegmt=True)

    text = f"<ErrorResponse>{error}</ErrorResponse>"
    async with answering(status, text, "text/xml", prepare=date) as url:
        yield url
