"""Where the past comes from: a Prometheus with and without it, and the permission to read from CloudWatch."""

import json
import os
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
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only looked at


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
    """With the forecast disabled nothing is asked."""
    forecast = {"source": "prometheus", "prometheus_url": "http://127.0.0.1:1"}
    seen = await examined(settings(discovery=STATIC, forecast=forecast))
    assert "forecast" not in {check["subject"] for check in document(seen.report)["checks"]}


@pytest.mark.parametrize(
    ("place", "outcome", "part"),
    [
        ("history.json", Outcome.OK, "is writable and has"),
        ("var/lib/history.json", Outcome.OK, "does not exist yet; the exporter makes it"),
        ("taken/history.json", Outcome.FAILED, "taken is not a folder"),
        ("folder", Outcome.FAILED, "folder is a folder"),
        ("/proc/none/history.json", Outcome.FAILED, "/proc cannot be written to"),
    ],
)
async def test_the_folder_of_a_history_file(tmp_path: Path, place: str, outcome: Outcome, part: str) -> None:
    """It is written to, or will be made where that is possible; nothing stays there, and a file in use is not read."""
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder").mkdir()
    forecast = {"enabled": True, "path": str(tmp_path / place)}
    found = (await examined(settings(discovery=STATIC, forecast=forecast)))["forecast", "history file"]
    assert found.outcome is outcome
    assert part in found.found
    assert outcome is Outcome.OK or "forecast.path" in found.fix
    assert sorted(os.listdir(tmp_path)) == ["folder", "taken"]  # noqa: PTH208 - as blocking as the other


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs Linux")
async def test_a_history_file_that_goes_with_the_container() -> None:
    """In a pod, one that no volume keeps is a warning."""
    forecast = {"enabled": True, "path": str(SHARED_MEMORY / "history.json")}
    seen = await examined(settings(discovery=STATIC, forecast=forecast), in_pod=True)
    found = seen["forecast", "history file"]
    assert (found.outcome, "tmpfs" in found.found) == (Outcome.WARNING, True)


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
