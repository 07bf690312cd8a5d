"""The external metrics API behind a real API server: its aggregation layer, its RBAC, its clients."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.publish.external_metrics_values import EXTERNAL_METRICS
from exporter.simulator.vitals import Behaviour
from tests.fakes.aggregation_layer import (
    READ_METRICS,
    Running,
    api_service_condition,
    external_metrics,
    grant_what_the_api_needs,
    registered,
)
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.kubelet import FakeKubelet
from tests.waiting import PATIENCE, eventually
from tools.programs import MissingError, programs

pytestmark = pytest.mark.slow

AGENT = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
BASE = "/apis/external.metrics.k8s.io/v1beta1"


def demand(namespace: str, query: str = "") -> str:
    return f"{BASE}/namespaces/{namespace}/matillion_fleet_demand_tasks{query}"


@pytest.fixture
async def running(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> AsyncIterator[Running]:
    """Run the API, registered with the API server."""
    async with external_metrics(control_plane, admin, namespace, tmp_path) as api, registered(admin, namespace, api):
        yield api


@pytest.fixture
async def kubelet(admin: Admin, namespace: str) -> AsyncIterator[FakeKubelet]:
    async with FakeKubelet(admin, namespace, tasks=12) as kubelet:
        yield kubelet


async def ask(session: Admin, path: str) -> tuple[int, Any]:
    """Return status and body of an answer, good or not."""
    async with session._session.get(path) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


async def served(admin: Admin, path: str, expected: int = 200, seconds: float = PATIENCE) -> Any:
    """Return what is at a path as soon as it has the status."""
    status, body = 0, None
    async with asyncio.timeout(seconds):
        while status != expected:
            await asyncio.sleep(0.1)
            status, body = await ask(admin, path)
    return body


async def says(admin: Admin, namespace: str, value: str) -> None:
    """Wait until the demand is said to be so much."""

    async def said() -> bool:
        status, body = await ask(admin, demand(namespace))
        return status == 200 and [item["value"] for item in body["items"]] == [value]

    await eventually(said)


async def kubectl(kubeconfig: Path, *arguments: str) -> tuple[int, str, str]:
    try:
        program = programs() / "kubectl"
    except MissingError as error:
        pytest.skip(str(error))
    process = await asyncio.create_subprocess_exec(
        program, "--kubeconfig", str(kubeconfig), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_aggregation_layer_takes_it_for_available(running: Running, admin: Admin, namespace: str) -> None:
    """The API server's probe comes with the front proxy's certificate, and finds what it wants; so do its readers."""

    async def available() -> bool:
        condition = await api_service_condition(admin)
        return (condition.get("status"), condition.get("reason")) == ("True", "Passed")

    await eventually(available)
    resources = await served(admin, BASE)
    assert resources["kind"] == "APIResourceList"
    assert {one["name"] for one in resources["resources"]} == EXTERNAL_METRICS.keys()
    assert set(running.counter.codes) <= {200, 304, 404}, "no probe is refused"

    async def described() -> bool:
        _, document = await ask(admin, "/openapi/v2")
        return any(path.startswith(BASE) for path in document["paths"])

    await eventually(described)


async def test_a_person_reads_the_metric_with_kubectl(
    running: Running, control_plane: ControlPlane, admin: Admin, namespace: str, kubelet: FakeKubelet
) -> None:
    """`kubectl get --raw` shows the demand, the error where there is none, and a changed count at once."""
    await served(admin, BASE)
    code, _, err = await kubectl(control_plane.kubeconfig, "get", "--raw", demand(namespace))
    assert code == 1
    assert f"no fleet is known in namespace '{namespace}'" in err or "not ready yet" in err

    await admin.create_pod(namespace, "prod-1", labels=AGENT)
    await says(admin, namespace, "12")
    code, out, err = await kubectl(
        control_plane.kubeconfig, "get", "--raw", demand(namespace, "?labelSelector=fleet%3Dprod")
    )
    assert code == 0, err
    (item,) = json.loads(out)["items"]
    assert (item["metricLabels"], item["value"]) == ({"fleet": "prod", "cluster": "test"}, "12")
    assert item["timestamp"].endswith("Z")

    kubelet.set_tasks(19)
    await says(admin, namespace, "19")
    code, _, err = await kubectl(control_plane.kubeconfig, "get", "--raw", demand(namespace, "?labelSelector=a%20b"))
    assert code == 1
    assert "cannot be parsed" in err

    await kubelet.behave(kubelet.serving[0], Behaviour.CLOSED)
    body = await served(admin, demand(namespace), 503)
    assert (body["kind"], body["reason"]) == ("Status", "ServiceUnavailable")
    assert "only 0 of 1 agents respond" in body["message"]


async def test_rbac_of_the_cluster_decides(
    running: Running, control_plane: ControlPlane, admin: Admin, namespace: str, kubelet: FakeKubelet
) -> None:
    """A service account without a rule is refused; with `list` in one namespace it reads the metric there alone."""
    await admin.create_pod(namespace, "prod-1", labels=AGENT)
    await says(admin, namespace, "12")
    token = await admin.service_account_token(namespace, "reader")
    reader = control_plane.kubeconfig_for_token(f"{namespace}-reader", token)
    code, _, err = await kubectl(reader, "get", "--raw", demand(namespace))
    assert code == 1
    assert "Forbidden" in err
    await admin.grant(namespace, "reader", "reader", [READ_METRICS])

    async def allowed() -> bool:
        return (await kubectl(reader, "get", "--raw", demand(namespace)))[0] == 0

    await eventually(allowed)
    assert (await kubectl(reader, "get", "--raw", demand("default")))[0] == 1


async def test_without_its_own_permissions_it_refuses_all_and_reports_the_grant(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """Each missing right is named in the log; once it is granted, the API works without a restart."""
    with capture_logs() as logs:
        async with (
            external_metrics(control_plane, admin, namespace, tmp_path, granted=False) as running,
            registered(admin, namespace, running),
        ):
            await eventually(lambda: any("fix" in entry and "authentication-reader" in entry["fix"] for entry in logs))
            assert not running.server.ready
            await served(admin, demand(namespace), 503)
            await grant_what_the_api_needs(admin, namespace, "exporter")
            await eventually(lambda: running.server.ready)
            await served(admin, BASE)


async def test_the_api_server_restarts_under_it(
    running: Running, control_plane: ControlPlane, admin: Admin, namespace: str, kubelet: FakeKubelet
) -> None:
    """After a crash of the API server everything works again by itself, and meanwhile nothing here ends."""
    await admin.create_pod(namespace, "prod-1", labels=AGENT)
    await says(admin, namespace, "12")
    await kubelet.pause()
    await asyncio.to_thread(control_plane.stop_api_server)
    await asyncio.sleep(2)
    assert running.server.ready, "the last good front proxy stays known"
    await asyncio.to_thread(control_plane.start_api_server)
    await says(admin, namespace, "12")
