"""The demo's own CloudWatch: it answers whoever comes, whenever, and nothing of the user's AWS is touched."""

import asyncio
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from botocore.session import Session

from exporter.simulator import cloudwatch
from exporter.simulator.agent import SimulatorError
from exporter.simulator.cloudwatch import SimulatedCloudWatch
from tests.fakes.background import background
from tests.fakes.cloudwatch_command_line import ask_cloudwatch
from tests.waiting import PATIENCE

USERS = {
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIDOFTHEUSER",
    "AWS_SESSION_TOKEN": "token",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/token",
    "AWS_ENDPOINT_URL_CLOUDWATCH": "https://monitoring.eu-west-1.amazonaws.com",
    "HTTP_PROXY": "http://192.0.2.1:3128",
    "PATH": "/usr/bin",
}
"""An environment in which AWS is configured."""


@asynccontextmanager
async def running() -> AsyncIterator[SimulatedCloudWatch]:
    """Run a CloudWatch for the time of the block."""
    async with SimulatedCloudWatch() as served, background(served.run()):
        yield served


def client(url: str) -> Any:
    """Return an AWS client that knows no more than the environment says."""
    return aioboto3.Session().client("cloudwatch", region_name=cloudwatch.REGION, endpoint_url=url)


@pytest.fixture
def users_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let AWS be configured as a user has it."""
    for name, value in USERS.items():
        monkeypatch.setenv(name, value)


def take(changes: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make changes to the environment."""
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)


def test_nothing_of_the_users_aws_is_found(users_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credentials nor profiles, tokens, endpoints or proxies; what has nothing to do with AWS stays."""
    changes = cloudwatch.environment("http://127.0.0.1:1234", USERS)
    assert changes["AWS_PROFILE"] is changes["AWS_SESSION_TOKEN"] is changes["HTTP_PROXY"] is None
    assert changes["AWS_ENDPOINT_URL_CLOUDWATCH"] is None
    assert "PATH" not in changes
    take(changes, monkeypatch)
    session = Session()
    found = session.get_credentials()
    assert found is not None
    assert (found.method, found.access_key, found.token) == ("env", "demo", None)
    assert session.full_config["profiles"] == {}
    assert session.create_client("s3", region_name="eu-west-1").meta.endpoint_url == "http://127.0.0.1:1234"
    assert urllib.request.proxy_bypass("127.0.0.1")


@pytest.mark.slow
def test_it_is_known_without_loading_it() -> None:
    """To ask whether moto is there imports nothing of it."""
    program = (
        "import sys; from exporter.simulator import cloudwatch; print(cloudwatch.is_installed(), 'moto' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "True False\n"


async def test_an_incomplete_moto_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, when it turns out too late to do without."""
    monkeypatch.setitem(sys.modules, "moto.backends", None)
    async with SimulatedCloudWatch() as served:
        with pytest.raises(SimulatorError, match=r"cannot be loaded .*moto.*: pip install '.*\[demo\]'"):
            await served.run()


def test_the_exporter_publishes_soon_and_to_it_alone(tmp_path: Path) -> None:
    """Seconds instead of a minute, kept apart by CloudWatch, and the spool where the demo has its files."""
    made = cloudwatch.settings("http://127.0.0.1:1234", tmp_path)
    assert (made.enabled, made.endpoint_url, made.region) == (True, "http://127.0.0.1:1234", cloudwatch.REGION)
    assert made.interval <= 10
    assert made.storage_resolution == 1
    assert made.spool.path.parent == tmp_path


@pytest.mark.slow
async def test_what_is_published_can_be_asked_for(users_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the commands that are shown, by a command line that has no credentials; who publishes too early waits."""
    dimensions = {"ClusterName": cloudwatch.CLUSTER, "Namespace": "matillion", "Fleet": "production"}
    datum = {
        "MetricName": "DemandTasks",
        "Value": 42.0,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }
    async with SimulatedCloudWatch() as served:
        take(cloudwatch.environment(served.url, USERS), monkeypatch)
        async with client(served.url) as publisher:
            early = asyncio.create_task(publisher.put_metric_data(Namespace="Matillion/AgentFleet", MetricData=[datum]))
            await asyncio.sleep(0.05)
            task = asyncio.create_task(served.run())
            await early
        listed = await ask_cloudwatch(" ".join(cloudwatch.list_command(served.url)))
        command = " \\\n  ".join(cloudwatch.statistics_command(served.url, "matillion", "production"))
        points = (await ask_cloudwatch(command))["Datapoints"]
        task.cancel()
        await asyncio.wait([task])
    assert [metric["MetricName"] for metric in listed["Metrics"]] == ["DemandTasks"]
    assert [point["Average"] for point in points] == [42.0]


@pytest.mark.slow
async def test_it_ends_at_any_time() -> None:
    """While moto is loaded, and while it serves: the port is free again and no thread serves it."""
    async with running() as early:
        urls = [early.url]
        await asyncio.sleep(0)
    async with running() as served:
        urls.append(served.url)
        assert await ask_cloudwatch(" ".join(cloudwatch.list_command(served.url))) == {"Metrics": []}
    for url in urls:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    for thread in threading.enumerate():
        if "process_request" in thread.name:
            # It has answered, and is about to end.
            thread.join(5)
            assert not thread.is_alive()
