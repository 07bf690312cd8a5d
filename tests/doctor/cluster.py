"""A cluster as the doctor meets it: an API server that answers by path, and a report to look into."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from exporter.config import Settings
from exporter.doctor.check import Finding
from exporter.doctor.command import examine
from exporter.doctor.report import Report
from tests.fakes.kube_api import ScriptedKubeApi, status

Json = dict[str, Any]

PODS = "/api/v1/namespaces/matillion/pods"
ALL_PODS = "/api/v1/pods"
METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/matillion/pods"
HPAS = "/apis/autoscaling/v2/namespaces/matillion/horizontalpodautoscalers"
BUDGETS = "/apis/policy/v1/namespaces/matillion/poddisruptionbudgets"
DEPLOYMENTS = "/apis/apps/v1/deployments"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/matillion/networkpolicies"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/matillion-fleet-exporter"
FRONT_PROXY = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
MAY = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

Said = tuple[int, Json] | Callable[[], tuple[int, Json]]


class Cluster:
    """Answers by path; what nothing was said for is not found."""

    def __init__(self, api: ScriptedKubeApi) -> None:
        self._api = api
        self.denied: set[tuple[str, str]] = set()
        """Verb and resource (with its subresource) that nobody may."""
        self.said: dict[str, Said] = {
            WHO: (201, {"status": {"userInfo": {"username": "system:serviceaccount:monitoring:exporter"}}}),
            PODS: (200, {"items": []}),
            ALL_PODS: (200, {"items": []}),
            METRICS: (200, {"items": []}),
            HPAS: (200, {"items": []}),
            POLICIES: (200, {"items": []}),
            BUDGETS: (200, {"items": []}),
            DEPLOYMENTS: (200, {"items": []}),
        }
        api.script([self._answer])

    @property
    def kubeconfig(self) -> Path:
        """Where the way to it is written down."""
        return self._api.kubeconfig

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._api.url

    def queries(self, path: str) -> list[dict[str, str]]:
        """Return the queries that came for a path."""
        return [dict(request.query) for request in self._api.requests if request.path == path]

    def refuse(self, path: str, code: int, reason: str, message: str = "said the test") -> None:
        """Answer with an error."""
        self.said[path] = (code, status(code, reason, message))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == MAY and MAY not in self.said:
            review = await request.json()
            asked = review["spec"]["resourceAttributes"]
            resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
            review["status"] = {"allowed": (asked["verb"], resource) not in self.denied}
            return web.json_response(review, status=201)
        said = self.said.get(request.path, (404, status(404, "NotFound")))
        code, body = said() if callable(said) else said
        return web.json_response(body, status=code)


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Serve a cluster that allows everything and has nothing in it."""
    async with ScriptedKubeApi(folder).serving() as api:
        yield Cluster(api)


def settings(**sections: Any) -> Settings:
    """Return settings with a web server on a port where nobody listens."""
    return Settings.model_validate({"web": {"listen": "127.0.0.1:1"}} | sections)


async def examined(
    given: Settings, cluster: Cluster | None = None, *, in_pod: bool = False, file: Path | None = None
) -> "Seen":
    """Run the doctor."""
    environ = {"KUBECONFIG": "/nowhere" if cluster is None else str(cluster.kubeconfig)}
    # What the kubelet sets; without a service account's token the kubeconfig is used all the same.
    return Seen(await examine(given, file, environ | ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"} if in_pod else {})))


class Seen:
    """A report by names."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._findings = {
            (one.check.subject, finding.name): finding for one in report.examined for finding in one.findings
        }

    def __getitem__(self, key: tuple[str, str]) -> Finding:
        """Return what was found, by subject and name."""
        assert key in self._findings, f"{key} is not among {sorted(self._findings)}"
        return self._findings[key]

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Whether anything of that name was found."""
        return key in self._findings
