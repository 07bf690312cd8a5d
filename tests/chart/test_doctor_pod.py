"""`doctor`, `status` and the status page in the chart's pod: its image, user, files and read-only filesystem."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path

import aiohttp
import pytest

from tests.chart.pods import running
from tests.chart.rendering import SCENARIOS, Chart, Objects
from tests.fakes.built_image import Image
from tests.fakes.hostile import HostileServer, page
from tests.fakes.ports import free_port

pytestmark = pytest.mark.slow

CLOUDWATCH = {
    "config__cluster": "test",
    # Nobody listens there: what is looked at is the pod.
    "config__cloudwatch": {"enabled": True, "region": "eu-west-1", "endpoint_url": "http://127.0.0.1:9"},
    "extraEnv": [{"name": "AWS_ACCESS_KEY_ID", "value": "none"}, {"name": "AWS_SECRET_ACCESS_KEY", "value": "none"}],
}


def rendered(chart: Chart) -> Objects:
    """Render an exporter of listed addresses that publishes."""
    return chart.objects(
        SCENARIOS["static-targets"], config__web__listen=f"0.0.0.0:{free_port()}",
        config__discovery__kubernetes__enabled=False, config__leader_election__enabled=False, replicaCount=1,
        **CLOUDWATCH,
    )  # fmt: skip


@asynccontextmanager
async def agent() -> AsyncIterator[dict[str, dict[str, str]]]:
    """Run an agent; yields the ConfigMap that lists it."""
    async with HostileServer(page()) as server:
        target = {"address": f"127.0.0.1:{server.port}", "path": "/metrics", "fleet": "etl"}
        yield {"fleet-exporter-targets": {"targets.yaml": json.dumps([target])}}


async def said(
    objects: Objects, image: Image, folder: Path, given: dict[str, dict[str, str]], *args: str
) -> tuple[int, str]:
    """Run a command in the exporter's pod, as `kubectl exec` does; return exit code and output."""
    other = Objects(deepcopy(objects))
    other.container["args"] = list(args)
    async with running(other, image, folder, given=given) as pod:
        out, err = await pod.process.communicate()
    assert err == b"", err.decode()
    assert pod.process.returncode is not None
    return pod.process.returncode, out.decode()


async def test_beside_a_running_exporter(chart: Chart, image: Image, pod_folder: Path) -> None:
    """It finds the settings by itself, reads the agent, asks the exporter, and tries the spool's volume."""
    objects = rendered(chart)
    async with agent() as given, running(objects, image, pod_folder / "exporter", given=given) as pod:
        await pod.ready()
        code, report = await said(objects, image, pod_folder / "doctor", given, "doctor", "--json")
        url = f"http://127.0.0.1:{pod.ports['web']}"
        status_code, status = await said(objects, image, pod_folder / "status", given, "status", "--url", url)
        async with aiohttp.ClientSession(url) as session:
            for path in ("/", "/static/page.js", "/static/page.css", "/static/icon.svg"):
                async with session.get(path) as answer:
                    assert answer.status == 200, path
    found = {check["name"]: check for check in json.loads(report)["checks"]}
    assert found["settings"]["found"].startswith("/etc/fleet-exporter/config/config.yaml: good for the cluster test")
    assert found["running exporter"]["outcome"] == "ok", found["running exporter"]
    assert found["default/etl"]["outcome"] == "ok"
    assert found["spool"]["found"].startswith("/var/lib/fleet-exporter is writable")
    assert found["endpoint"]["outcome"] == "failed"
    assert code == 1
    assert status_code == 0
    assert "default/etl" in status
