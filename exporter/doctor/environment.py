"""What the checks of all subjects share: the settings, where the doctor runs, and the way to the cluster."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exporter.config import Settings
from exporter.discovery.likeness import AGENT_ID, OTEL_PORT
from exporter.discovery.pods import PODS
from exporter.doctor.check import NotPossibleError, Once
from exporter.kube.api import ApiError, CredentialsError, Json, KubeError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.credentials import own_namespace
from exporter.kube.fields import mapping, mappings

REQUEST_SECONDS = 8.0
"""For one answer of the API server. A busy one takes a second; a check may ask twice."""

PAGE = 200
"""Objects of one answer: pods take 2 MB or so, as much as is in memory at once beside what is kept of each."""
WHO_AM_I = Resource("authentication.k8s.io", "v1", "selfsubjectreviews")
"""Since Kubernetes 1.28; every user may ask (kubernetes.io, "Authenticating")."""
_UNAUTHORIZED = 401
_LOCAL_VOLUMES = ("emptyDir", "hostPath")


@dataclass(slots=True)
class Environment:
    """Where the doctor looks from."""

    settings: Settings
    environ: Mapping[str, str]
    namespace: str
    """The exporter's own, as far as it can be known from here; "" where it cannot."""
    client: KubeClient | None
    no_client: str
    """Why there is no `client`; empty where there is one."""
    _user: Once[str] = field(init=False)
    _pods: dict[str | None, Once[Sequence[Json]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._user = Once(self._ask_user)

    @property
    def in_pod(self) -> bool:
        """Whether this is a pod: the kubelet sets the variable in every one (kubernetes.io, "Service")."""
        return bool(self.environ.get("KUBERNETES_SERVICE_HOST"))

    @property
    def namespaces(self) -> Sequence[str | None]:
        """The namespaces that are watched; None for the whole cluster."""
        return self.settings.discovery.kubernetes.namespaces or (None,)

    async def user(self) -> str:
        """Return our user name at the API server, requested once; "" if it gives none. Raises KubeError."""
        return await self._user.get()

    async def kube(self) -> KubeClient:
        """Return the cluster's client. Raises NotPossibleError without an answer; another check reports that."""
        try:
            await self.user()
        except KubeError:
            raise NotPossibleError("the API server does not respond, see above") from None
        return self._connected()

    def _connected(self) -> KubeClient:
        if self.client is None:
            raise CredentialsError(self.no_client)
        return self.client

    async def _ask_user(self) -> str:
        review = {"apiVersion": f"{WHO_AM_I.group}/{WHO_AM_I.version}", "kind": "SelfSubjectReview"}
        try:
            answer = await self._connected().send("POST", WHO_AM_I, review, timeout=REQUEST_SECONDS)
        except ApiError as error:
            if error.status == _UNAUTHORIZED:
                raise
            return ""  # it is too old for the question, which is an answer, too
        return str(answer.get("status", {}).get("userInfo", {}).get("username", ""))

    async def pods(self, namespace: str | None) -> Sequence[Json]:
        """Return the pods that the selector finds, asked for once. Raises KubeError and NotPossibleError."""
        once = self._pods.get(namespace)
        if once is None:
            once = self._pods[namespace] = Once(lambda: self._list(namespace))
        return await once.get()

    async def _list(self, namespace: str | None) -> Sequence[Json]:
        selector = self.settings.discovery.kubernetes.label_selector
        pods: list[Json] = []
        await self.look_at_pods(namespace, lambda pod: pods.append(lean(pod)), selector)
        return pods

    async def look_at_pods(self, namespace: str | None, take: Callable[[Json], None], selector: str = "") -> None:
        """Hand over each pod of a namespace (None: of the cluster). Raises KubeError and NotPossibleError."""
        await self.look_at(PODS.within(namespace), take, selector)

    async def look_at(self, resource: Resource, take: Callable[[Json], None], selector: str = "") -> None:
        """Hand over each object of a collection, page by page. Raises KubeError and NotPossibleError."""
        kube = await self.kube()
        more = ""
        while True:
            query = [("labelSelector", selector)] if selector else []
            query += [("limit", str(PAGE)), *([("continue", more)] if more else [])]
            answer = await kube.get(resource, query, timeout=REQUEST_SECONDS)
            for one in mappings(answer.get("items")):
                take(dict(one))
            more = mapping(answer.get("metadata")).get("continue") or ""
            if not more:
                return


def lean(pod: Json) -> Json:
    """Return a pod without what no check reads: most of it, by size. The doctor shares the exporter's memory.

    Of a container's environment only what identifies an agent is kept: the rest may be secret.
    """
    metadata, spec = ({**mapping(pod.get(part))} for part in ("metadata", "spec"))
    metadata.pop("managedFields", None)
    containers = [
        {**{key: one.get(key) for key in ("name", "image", "ports", "resources")}, "env": _marks(one.get("env"))}
        for one in mappings(spec.get("containers"))
    ]
    volumes = [{key: one[key] for key in _LOCAL_VOLUMES if key in one} for one in mappings(spec.get("volumes"))]
    kept = {key: spec.get(key) for key in ("nodeName", "schedulerName", "terminationGracePeriodSeconds")}
    return {**pod, "metadata": metadata, "spec": {**kept, "containers": containers, "volumes": volumes}}


def _marks(environment: object) -> list[Json]:
    kept = {AGENT_ID: ("name",), OTEL_PORT: ("name", "value")}
    return [
        {key: one.get(key) for key in kept[one["name"]]} for one in mappings(environment) if one.get("name") in kept
    ]


def uses_kubernetes(settings: Settings) -> bool:
    """Return whether an exporter with these settings connects to an API server."""
    return settings.discovery.kubernetes.enabled or settings.external_metrics.enabled


@asynccontextmanager
async def environment(
    settings: Settings, environ: Mapping[str, str], service_account: Path
) -> AsyncIterator[Environment]:
    """Look where this process runs, and connect to the cluster if the settings take one; want of it is no error."""
    client, no_client, namespace = None, "Kubernetes is not used by the settings", ""
    if uses_kubernetes(settings):
        try:
            client = await KubeClient.connect(environ, service_account)
            namespace = own_namespace(environ, service_account)
        except CredentialsError as error:
            no_client = str(error)
    try:
        yield Environment(settings, environ, namespace, client, no_client)
    finally:
        if client is not None:
            await client.close()


def described(error: KubeError) -> str:
    """Return an error as the sentence of a finding, without the full stop."""
    return str(error).rstrip(".")
