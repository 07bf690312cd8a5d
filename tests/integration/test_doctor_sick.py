"""The doctor on a real API server whose pods do not run: each reason is told once, with its meaning and its fix."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.doctor.check import Outcome
from tests.doctor.cluster import Seen
from tests.fakes.control_plane import Admin, ControlPlane, Json
from tests.fakes.kubelet import FakeKubelet
from tests.integration.test_doctor import AGENTS, LABELS, LEASE, Pod, as_admin, watching
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NO_ROOM = "0/5 nodes are available: 5 Insufficient memory."
PULL = 'Back-off pulling image "agent:99"'


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def container(state: Json, *, ended: Json | None = None, restarts: int = 0) -> Json:
    """Make the status of a pod whose container is in a state; `ended` is how its last run ended."""
    last = {} if ended is None else {"terminated": {"startedAt": ago(minutes=3), "finishedAt": ago(minutes=2), **ended}}
    one: Json = {"name": "agent", "ready": False, "restartCount": restarts, "image": "agent:1", "imageID": ""}
    scheduled = {"type": "PodScheduled", "status": "True"}
    return {
        "phase": "Pending" if ended is None else "Running",
        "conditions": [scheduled],
        "containerStatuses": [{**one, "state": state, "lastState": last}],
    }


def waits(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


CRASHING = container(waits("CrashLoopBackOff", "back-off 5m0s"), ended={"reason": "Error", "exitCode": 1}, restarts=9)
KILLED = container(
    {"running": {"startedAt": ago(minutes=1)}}, ended={"reason": "OOMKilled", "exitCode": 137}, restarts=2
)
NO_IMAGE = container(waits("ImagePullBackOff", PULL))
UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_ROOM}],
}
SICK: dict[str, Json] = {"crash": CRASHING, "oom": KILLED, "pull": NO_IMAGE, "room": UNSCHEDULABLE}


async def sick_pod(admin: Admin, namespace: str, name: str, status: Json, fleet: str = "prod") -> None:
    """Make a pod that no kubelet runs, in a state that one would report."""
    labels = LABELS | {"app.kubernetes.io/instance": fleet}
    agent: Json = {"name": "agent", "image": "agent:1", "ports": [{"containerPort": 8080}]}
    spec: Json = {"containers": [{**agent, "resources": {"limits": {"memory": "4Gi"}}}]}
    if status is not UNSCHEDULABLE:
        spec["nodeName"] = "node-1"
    pod = {"metadata": {"name": name, "labels": labels}, "spec": spec}
    await admin.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    await admin.set_status(namespace, name, status)


async def in_its_pod(plane: ControlPlane, admin: Admin, namespace: str, folder: Path, **sections: Any) -> Seen:
    """Run the doctor with the exporter's rights."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "rights", [*AGENTS, *LEASE])
    return await Pod(plane, folder, namespace, token).examine(watching(namespace, **sections))


async def test_four_of_seven_agents_are_sick(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """Each reason has its count, its pods, its meaning and its fix; three agents serve, so nothing has failed."""
    async with FakeKubelet(admin, namespace, tasks=5) as kubelet:
        for number in range(3):
            await admin.create_pod(namespace, f"well-{number}", labels=LABELS)
        await eventually(lambda: len(kubelet.pods) == 3, seconds=30)
        await kubelet.pause()
        for name, status in SICK.items():
            await sick_pod(admin, namespace, name, status)
        seen = await in_its_pod(control_plane, admin, namespace, tmp_path)
    for reason, pod, *parts in (
        ("CrashLoopBackOff", "crash", "last exit Error", "exit code 1", "9 restarts", "ends soon after each start"),
        (
            "OOMKilled",
            "oom",
            "memory limit 4 GiB",
            "running again",
            "every task on it was lost",
            "exit code 137 (killed)",
        ),
        ("ImagePullBackOff", "pull", "image agent:1", "cannot get the image", PULL),
        ("Unschedulable", "room", "no node has room", NO_ROOM.rstrip(".")),
    ):
        found = seen["agents", reason]
        assert found.outcome is Outcome.WARNING
        assert found.found.startswith(f"1 agent in {namespace}/prod: {pod}"), found.found
        for part in parts:
            assert part in found.found
        assert f"kubectl -n {namespace} " in found.fix
        assert "runbook: /runbooks/Matillion" in found.fix
    fleet = seen["agents", f"{namespace}/prod"]
    assert "3 of 7 agents answer (3 otel), 3 connected, 15 tasks running, 4 not started; degraded: " in fleet.found
    assert "1 of 7 agents is crash looping (last exit Error): crash" in fleet.found
    assert seen.report.good
    assert "logs crash --previous" in seen["agents", "CrashLoopBackOff"].fix


async def test_nobody_serves(control_plane: ControlPlane, admin: Admin, namespace: str) -> None:
    """From an administrator's machine, too: what Kubernetes reports needs no way to the pods. Two fleets, told once."""
    for fleet in ("etl", "prod"):
        for number in range(2):
            await sick_pod(admin, namespace, f"{fleet}-{number}", NO_IMAGE, fleet)
    seen = await as_admin(control_plane, watching(namespace))
    found = seen["agents", "ImagePullBackOff"]
    assert found.outcome is Outcome.FAILED
    assert found.found.startswith(
        f"4 agents in {namespace}/etl (2), {namespace}/prod (2): etl-0, etl-1, prod-0 and 1 more"
    )
    fleets = seen["agents", f"{namespace}/etl, {namespace}/prod"]
    assert fleets.outcome is Outcome.FAILED
    assert fleets.found == "0 of 2 agents answer, 2 not started; down: none of its 2 agents serves"
    assert not seen.report.good


def test_it_names_no_file_of_the_repository() -> None:
    """The image has none: runbooks are served, and the documentation's pages are called by their names."""
    root = Path(__file__).parents[2]
    runbooks = json.loads((root / "exporter" / "web" / "runbooks.json").read_text())
    for source in (root / "exporter" / "doctor").glob("*.py"):
        text = source.read_text()
        told = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
        assert not re.search(r"\bcurl\b|\w/\w+\.md\b", told), source
        for page in re.findall(r"documentation: (\w+)", told):
            assert (root / "docs" / f"{page}.md").is_file(), (source, page)
        for alert in re.findall(r"\bMatillion(?:Agent|Fleet|Exporter|Task|Scaler)\w+", told):
            assert alert in runbooks, (source, alert)
