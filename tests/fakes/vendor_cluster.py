"""A real cluster with what the vendor's charts put into it: Deployments, their pods, and agents that answer in those.

The API server, the controllers and the sockets are real; what a kubelet would do is done here.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.vitals import CURRENT, LEGACY
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.controller_manager import controllers
from tests.fakes.simulated_agent import agent_at_work
from tests.fakes.vendor import Json, is_agent, vendor_objects
from tests.waiting import PATIENCE

NAMESPACE = "matillion"
TASKS = 5
_PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
}
_VERSIONED = {"HorizontalPodAutoscaler": "horizontalpodautoscalers", "PodDisruptionBudget": "poddisruptionbudgets"}
_OLD_ENOUGH = "2024-01-01T00:00:00Z"
_numbers = count(1)


async def apply(admin: Admin, *objects: Json) -> None:
    """Create objects of the kinds known here."""
    for one in objects:
        path = await _path(admin, one["kind"], one["metadata"]["namespace"])
        version = path.partition("/namespaces/")[0].removeprefix("/apis/").removeprefix("/api/")
        await admin.call("POST", path, one | {"apiVersion": version})


async def _path(admin: Admin, kind: str, namespace: str) -> str:
    """Return the path of a kind's collection."""
    if kind in _VERSIONED:
        return await admin.collection(_VERSIONED[kind], namespace)
    return _PATHS[kind].format(namespace)


@asynccontextmanager
async def beside_the_vendor(plane: ControlPlane, admin: Admin, name: str) -> AsyncIterator[None]:
    """Install a set of the vendor's objects into the namespace it names, and run every pod that comes of it."""
    namespaces = {one["metadata"]["name"] for one in (await admin.call("GET", "/api/v1/namespaces"))["items"]}
    if NAMESPACE not in namespaces:
        await admin.create_namespace(NAMESPACE)
    objects = vendor_objects(name)
    wanted = sum(one["spec"]["replicas"] for one in vendor_objects(name, "Deployment"))
    async with AsyncExitStack() as stack:
        # Erased once no controller runs: one that does not yet know of a deletion creates anew what was deleted.
        stack.push_async_callback(_erase, admin)
        await stack.enter_async_context(controllers(plane))
        await apply(admin, *objects)
        async with asyncio.timeout(PATIENCE):
            while len(pods := (await admin.call("GET", _pods()))["items"]) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        for pod in pods:
            await _run(admin, pod, stack)
        yield


def _pods(name: str = "") -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/pods{name and '/'}{name}"


async def _run(admin: Admin, pod: Json, stack: AsyncExitStack) -> None:
    """Bind a pod to a node and report it as running for long; if it is an agent, let one answer at its address."""
    name, number = pod["metadata"]["name"], next(_numbers)
    (container,) = pod["spec"]["containers"]
    host = f"127.93.{os.getpid() % 256}.{number}"
    if is_agent({"spec": {"template": pod}}):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        otel = ports.get("otel-metrics")
        agent = agent_at_work(number, "vendor", name, CURRENT if otel else LEGACY, tasks=TASKS)
        server = AgentServer(agent, Place(host, otel or 9464, ports["metrics"]), clock=lambda: 100.0)
        await server.follow()
        stack.push_async_callback(server.close)
    binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "node-1"}}
    await admin.call("POST", f"{_pods(name)}/binding", binding)
    state = {"name": container["name"], "ready": True, "restartCount": 0, "image": container["image"], "imageID": ""}
    running = {"running": {"startedAt": _OLD_ENOUGH}}
    status = {
        "phase": "Running",
        "podIP": host,
        "podIPs": [{"ip": host}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": _OLD_ENOUGH}],
        "containerStatuses": [state | {"state": running}],
    }
    await admin.set_status(NAMESPACE, name, status)


async def _erase(admin: Admin) -> None:
    """Take everything out of the namespace; what owns goes before what it owns."""
    for kind in ("HorizontalPodAutoscaler", "Deployment", "NetworkPolicy", "PodDisruptionBudget"):
        await admin.call("DELETE", await _path(admin, kind, NAMESPACE))
    for kind in ("RoleBinding", "Role", "ServiceAccount"):
        await admin.call("DELETE", await _path(admin, kind, NAMESPACE))
    await admin.call("DELETE", f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets")
    await admin.call("DELETE", f"{_pods()}?gracePeriodSeconds=0")
