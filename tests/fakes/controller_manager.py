"""The real controllers of a cluster: Deployments, ReplicaSets and the Horizontal Pod Autoscaler, sped up.

The binary is looked for beside those of the control plane.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.ports import free_port

PROGRAM = "kube-controller-manager"


def available(plane: ControlPlane) -> bool:
    """Return whether the binary is there."""
    return (plane.binaries / PROGRAM).exists()


@asynccontextmanager
async def controllers(plane: ControlPlane) -> AsyncIterator[None]:
    """Run the controllers, each as its service account in a cluster; the autoscaler looks three times a second."""
    flags = [
        f"--kubeconfig={plane.kubeconfig}",
        f"--secure-port={free_port()}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={plane.folder}",
        f"--service-account-private-key-file={plane.folder / 'service-account.key'}",
        f"--root-ca-file={plane.ca.certificate_file}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--controllers=deployment,replicaset,horizontalpodautoscaling,serviceaccount,serviceaccount-token",
        "--horizontal-pod-autoscaler-sync-period=300ms",
        "--horizontal-pod-autoscaler-downscale-stabilization=1s",
    ]
    if plane.version < (1, 24):
        # Later versions have no port without TLS that could be turned off.
        flags.append("--port=0")
    with (plane.folder / f"{PROGRAM}.log").open("ab") as log:
        process = subprocess.Popen([plane.binaries / PROGRAM, *flags], stdout=log, stderr=log)  # noqa: ASYNC220
    try:
        yield
        assert process.poll() is None, (plane.folder / f"{PROGRAM}.log").read_text(errors="replace")[-4000:]
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def create_deployment(
    admin: Admin,
    namespace: str,
    name: str,
    replicas: int,
    labels: dict[str, str],
    *,
    ports: Sequence[int] = (8080, 9464),
) -> None:
    """Make a Deployment of agents that drain for 12 hours, and that declare these ports."""
    container = {
        "name": "agent",
        "image": "agent:1",
        "ports": [{"containerPort": port} for port in ports],
        "resources": {"limits": {"memory": "4Gi", "cpu": "1"}, "requests": {"memory": "4Gi", "cpu": "1"}},
    }
    pod = {"terminationGracePeriodSeconds": 43200, "containers": [container]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await admin.call("POST", path, {"metadata": {"name": name}, "spec": spec})


async def replicas(admin: Admin, namespace: str, name: str) -> int:
    """Return the replicas a Deployment is asked to have."""
    found = await admin.call("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    return int(found["spec"]["replicas"])
