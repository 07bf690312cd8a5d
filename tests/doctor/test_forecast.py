"""Where the past comes from: a Prometheus with and without it, and the permission to read from CloudWatch."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.doctor.check import Outcome
from exporter.doctor.report import document
from tests.doctor.cluster import examined, settings
from tests.fakes.answering import answering
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.moto import moto_server

STATIC = {"static": {"targets": [{"address": "127.98.0.1"}]}}
PAST = ("forecast", "past")


def matrix(*series: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})


async def look(url: str) -> Any:
    forecast = {"enabled": True, "source": "prometheus", "prometheus_url": url}
    return (await examined(settings(discovery=STATIC, forecast=forecast)))[PAST]


async def test_a_prometheus_with_the_past() -> None:
    """The fleets that it has are named."""
    value = [time.time() // 300 * 300 - 600.001, "12"]
    series = [{"metric": {"namespace": "matillion", "fleet": name}, "values": [value]} for name in ("b", "a")]
    async with answering(200, matrix(*series)) as url:
        found = await look(url)
        assert (found.outcome, found.found) == (Outcome.OK, f"{url} has the demand of matillion/a, matillion/b")


async def test_a_prometheus_without_it() -> None:
    """Nothing to forecast from is a warning: an exporter that was just installed has no past yet."""
    async with answering(200, matrix()) as url:
        found = await look(url)
    assert found.outcome is Outcome.WARNING
    assert "no demand of any fleet" in found.found
    assert "honorLabels" in found.fix


async def test_a_prometheus_that_refuses() -> None:
    """The reason and the fix are those of the exporter's log."""
    async with answering(403, "") as url:
        found = await look(url)
    assert (found.outcome, found.found) == (Outcome.FAILED, "HTTP 403")
    assert "prometheus_token_file" in found.fix


async def test_nothing_to_check() -> None:
    """A past that the exporter records itself is not asked for, nor is any with the forecast disabled."""
    for forecast in ({"enabled": True}, {"source": "prometheus", "prometheus_url": "http://127.0.0.1:1"}):
        seen = await examined(settings(discovery=STATIC, forecast=forecast))
        assert "forecast" not in {check["subject"] for check in document(seen.report)["checks"]}


@pytest.mark.slow
async def test_the_permission_to_read_from_cloudwatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that finds nothing shows that it is allowed, and AWS's refusal that it is not."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    cloudwatch = {"enabled": True, "region": "eu-west-1", "spool": {"path": str(tmp_path / "s.db")}}
    forecast = {"enabled": True, "source": "cloudwatch"}

    async def ask(url: str) -> Any:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        given = settings(
            cluster="test", discovery=STATIC, forecast=forecast, cloudwatch=cloudwatch | {"endpoint_url": url}
        )
        return (await examined(given))["forecast", "permission to read"]

    async with moto_server() as url:
        assert (await ask(url)).outcome is Outcome.OK
    refusal = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    async with answering(403, refusal, "text/xml") as url:
        found = await ask(url)
    assert (found.outcome, found.found) == (Outcome.FAILED, "AccessDenied: no (HTTP 403)")
    assert "cloudwatch:GetMetricData" in found.fix
