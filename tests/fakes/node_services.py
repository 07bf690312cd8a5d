"""What a real API server passes requests on to, as small servers over TLS: a kubelet's logs, and a metrics-server."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.container_logs import ContainerLogs
from tests.fakes.control_plane import Admin, ControlPlane

METRICS_API = "/apis/metrics.k8s.io/v1beta1"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices"
API_SERVICE_NAME = "v1beta1.metrics.k8s.io"

TLS_GOODBYE_SECONDS = 0.1
"""Both sides of a TLS connection take leave before their sockets close."""

Json = dict[str, Any]


@asynccontextmanager
async def serving(
    plane: ControlPlane, name: str, routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]
) -> AsyncIterator[int]:
    """Serve routes over TLS on a free loopback port, which is given."""
    certificate, key = plane.ca.issue(name, name, hosts=("127.0.0.1", "localhost"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
        await asyncio.sleep(TLS_GOODBYE_SECONDS)


class Kubelet:
    """The logs of the pods on a node."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str], ContainerLogs] = {}

    def log(self, namespace: str, pod: str) -> ContainerLogs:
        """Return the log of a pod's only container."""
        return self._logs.setdefault((namespace, pod), ContainerLogs())

    @asynccontextmanager
    async def running(self, plane: ControlPlane, admin: Admin, node: str = "node-1") -> AsyncIterator["Kubelet"]:
        """Serve, and register the node, so that the API server finds its way here."""
        async with serving(plane, "kubelet", {"/containerLogs/{namespace}/{pod}/{container}": self._answer}) as port:
            await admin.call("POST", "/api/v1/nodes", {"metadata": {"name": node}})
            try:
                status = {
                    "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                }
                path, merge = f"/api/v1/nodes/{node}", "application/strategic-merge-patch+json"
                await admin.call("PATCH", f"{path}/status", {"status": status}, merge)
                yield self
            finally:
                for log in self._logs.values():
                    log.end()
                await admin.call("DELETE", f"/api/v1/nodes/{node}")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        return await self.log(request.match_info["namespace"], request.match_info["pod"]).answer(request)


class MetricsServer:
    """An aggregated API with the memory that tests give their pods."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, str], str] = {}
        """Memory of each pod's agent, as a quantity, by namespace and name."""
        self.taken: datetime | None = None
        """When all of it was measured; just now if not given."""
        self.refusing = False
        self.selectors: list[str | None] = []

    @asynccontextmanager
    async def running(self, plane: ControlPlane, admin: Admin, namespace: str) -> AsyncIterator["MetricsServer"]:
        """Serve it to the cluster: an APIService that leads to a Service that leads to this machine."""
        routes = {
            METRICS_API: self._resources,
            METRICS_API + "/namespaces/{namespace}/pods": self._pods,
        }
        async with serving(plane, "metrics-server", routes) as port:
            services = f"/api/v1/namespaces/{namespace}/services"
            spec: Json = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
            await admin.call("POST", services, {"metadata": {"name": "metrics-server"}, "spec": spec})
            spec = {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "service": {"namespace": namespace, "name": "metrics-server", "port": port},
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            }
            await admin.call("POST", API_SERVICE, {"metadata": {"name": API_SERVICE_NAME}, "spec": spec})
            try:
                yield self
            finally:
                await admin.call("DELETE", f"{API_SERVICE}/{API_SERVICE_NAME}")
                await admin.call("DELETE", f"{services}/metrics-server")

    async def _resources(self, _: web.Request) -> web.Response:
        pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
        body = {"kind": "APIResourceList", "groupVersion": "metrics.k8s.io/v1beta1", "resources": [pods]}
        return web.json_response(body)

    async def _pods(self, request: web.Request) -> web.Response:
        self.selectors.append(request.query.get("labelSelector"))
        await asyncio.sleep(0)
        if self.refusing:
            body = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "not you"}
            return web.json_response(body, status=403)
        taken = (self.taken or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "metadata": {"name": pod, "namespace": namespace},
                "timestamp": taken,
                "window": "15s",
                "containers": [{"name": "agent", "usage": {"cpu": "1", "memory": used}}],
            }
            for (namespace, pod), used in self.used.items()
            if namespace == request.match_info["namespace"]
        ]
        return web.json_response({"kind": "PodMetricsList", "metadata": {}, "items": items})
