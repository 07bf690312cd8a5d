"""What an administrator installs for an external metrics API, and the API itself in this process, on a real cluster.

The rights are exactly those that docs/scaling.md lists.
"""

import base64
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.config import CapacitySettings, KubernetesSettings, ScrapeSettings
from exporter.config.settings import DEFAULT_ENDPOINTS, ExternalMetricsSettings
from exporter.discovery.pods import PodDiscovery
from exporter.discovery.scalers import ScalerDiscovery
from exporter.fleet.model import Endpoint
from exporter.kube.client import KubeClient
from exporter.publish.external_metrics import ExternalMetricsServer
from exporter.scrape.client import PageClient
from exporter.scrape.poller import Poller
from exporter.store.snapshots import SnapshotStore
from tests.fakes.aggregation import Counter
from tests.fakes.background import background
from tests.fakes.certificates import Authority
from tests.fakes.control_plane import Admin, ControlPlane
from tests.waiting import eventually

RBAC = "/apis/rbac.authorization.k8s.io/v1"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices"
GROUP = "external.metrics.k8s.io"
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
READ_HPAS = {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list", "watch"]}
READ_METRICS = {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "list"]}
HPA = {"kind": "ServiceAccount", "namespace": "kube-system", "name": "horizontal-pod-autoscaler"}


class Observer:
    """Counts scrapes."""

    def __init__(self) -> None:
        self.scrapes = 0

    def scraped(self, _outcome: str, _seconds: float, _rejected_lines: int) -> None:
        """Count one."""
        self.scrapes += 1


@dataclass(slots=True)
class Running:
    """The parts of an exporter that serves external metrics of one namespace."""

    server: ExternalMetricsServer
    store: SnapshotStore
    counter: Counter
    kube: KubeClient
    kubeconfig: Path
    serving_authority: Authority
    service: str

    @property
    def port(self) -> int:
        """Where the API listens."""
        assert self.server.address is not None
        return self.server.address.port


async def bind_cluster_role(admin: Admin, name: str, role: str, subject: dict[str, str]) -> None:
    """Bind a ClusterRole to a subject."""
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
    await admin.call("POST", f"{RBAC}/clusterrolebindings", binding)


async def grant_what_the_api_needs(admin: Admin, namespace: str, account: str) -> None:
    """Let a service account see agents and HPAs, recognise the front proxy and ask for reviews; nothing else."""
    await admin.grant(namespace, account, "exporter-pods", [READ_PODS, READ_HPAS])
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": account}
    binding = {
        "metadata": {"name": f"{namespace}-front-proxy"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "extension-apiserver-authentication-reader",
        },
        "subjects": [subject],
    }
    await admin.call("POST", f"{RBAC}/namespaces/kube-system/rolebindings", binding)
    await bind_cluster_role(admin, f"{namespace}-reviews", "system:auth-delegator", subject)


async def let_the_hpa_read(admin: Admin, name: str) -> None:
    """Let the HPA's controller read external metrics: newer versions bring this along."""
    await admin.call("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": [READ_METRICS]})
    await bind_cluster_role(admin, name, name, HPA)


@asynccontextmanager
async def registered(admin: Admin, namespace: str, running: Running, *, port: int | None = None) -> AsyncIterator[None]:
    """Register the API with the aggregation layer, for as long as the context lasts; at its own port or another."""
    service = {"metadata": {"name": running.service}, "spec": {"type": "ExternalName", "externalName": "localhost"}}
    await admin.call("POST", f"/api/v1/namespaces/{namespace}/services", service)
    spec = {
        "group": GROUP,
        "version": "v1beta1",
        "service": {"name": running.service, "namespace": namespace, "port": port or running.port},
        "caBundle": base64.b64encode(running.serving_authority.pem).decode(),
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    name = f"v1beta1.{GROUP}"
    await admin.call("POST", API_SERVICE, {"metadata": {"name": name}, "spec": spec})
    try:
        yield
    finally:
        await admin.call("DELETE", f"{API_SERVICE}/{name}")


async def api_service_condition(admin: Admin) -> dict[str, Any]:
    """Return what the aggregation layer says of the API."""
    found = await admin.call("GET", f"{API_SERVICE}/v1beta1.{GROUP}")
    conditions = found.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == "Available"), {})


@dataclass(frozen=True, slots=True)
class Installed:
    """What the replicas of one installation have in common."""

    namespace: str
    kubeconfig: Path
    authority: Authority
    cert: Path
    key: Path
    service: str = "matillion-fleet-exporter"


async def installed(
    plane: ControlPlane, admin: Admin, namespace: str, folder: Path, *, granted: bool = True
) -> Installed:
    """Make a service account of the namespace, with its rights, and a serving certificate."""
    token = await admin.service_account_token(namespace, "exporter")
    if granted:
        await grant_what_the_api_needs(admin, namespace, "exporter")
    kubeconfig = plane.kubeconfig_for_token(f"{namespace}-exporter", token)
    made = Installed(namespace, kubeconfig, Authority("serving-ca"), folder / "tls.crt", folder / "tls.key")
    made.authority.issue("exporter", made.cert, made.key, hosts=(f"{made.service}.{namespace}.svc",))
    return made


@asynccontextmanager
async def external_metrics(
    plane: ControlPlane, admin: Admin, namespace: str, folder: Path, *, granted: bool = True
) -> AsyncIterator[Running]:
    """Run discovery, scraping and the API as a service account of the namespace."""
    async with replica(await installed(plane, admin, namespace, folder, granted=granted)) as running:
        if granted:
            await eventually(lambda: running.server.ready)
        yield running


@asynccontextmanager
async def replica(made: Installed, endpoints: Sequence[Endpoint] = DEFAULT_ENDPOINTS) -> AsyncIterator[Running]:
    """Run one of the installation's exporters, which reads agents at these endpoints."""
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(await KubeClient.connect({"KUBECONFIG": str(made.kubeconfig)}))
        capacity = CapacitySettings(stale_after=1.5, forget_after=600)
        store = SnapshotStore(capacity.policy, monotonic=time.monotonic, wall=time.time)
        agents = KubernetesSettings(namespaces=(made.namespace,))
        discovery = PodDiscovery(agents, kube, store, on_restart=lambda _reason: None)
        scalers = ScalerDiscovery(agents, kube, store, on_restart=lambda _reason: None)
        store.expect(discovery.sources)
        scraping = ScrapeSettings(interval=0.2, timeout=0.15, endpoints=tuple(endpoints))
        pages = await stack.enter_async_context(PageClient(scraping))
        phases = random.Random(1)  # noqa: S311 — it spreads scrapes over time, it keeps no secret
        poller = Poller(scraping, store, pages, Observer(), monotonic=time.monotonic, phases=phases)
        settings = ExternalMetricsSettings.model_validate(
            {"enabled": True, "listen": "127.0.0.1:0", "cert_file": str(made.cert), "key_file": str(made.key)}
        )
        counter = Counter()
        server = ExternalMetricsServer(settings, "test", store, kube, counter, front_proxy_interval=0.5)
        parts = (discovery.run(), scalers.run(), poller.run(), server.run())
        async with background(*parts):
            await server.started.wait()
            yield Running(server, store, counter, kube, made.kubeconfig, made.authority, made.service)
