"""The external metrics API, `external.metrics.k8s.io/v1beta1`: what the Horizontal Pod Autoscaler asks for.

An aggregated API server: kube-apiserver passes requests on to it, and vouches for the user by its client certificate.
Without that certificate the user is unknown, whatever the headers contain. A known user may do what a
SubjectAccessReview allows; the API server's own probes may read the API's description, and nothing else. Every error is
a Kubernetes `Status`.

It must not know where fleets come from. What is answered is decided in `external_metrics_values`.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from exporter import __version__
from exporter.config.addresses import HostPort
from exporter.config.settings import ExternalMetricsSettings
from exporter.kube.access_review import Access, AccessReview, PathAccess, ResourceAccess
from exporter.kube.api import KubeError, KubeObjects
from exporter.kube.front_proxy import (
    READ_AGAIN,
    RETRY_FIRST,
    FrontProxy,
    FrontProxySource,
    User,
    common_name,
    expired,
)
from exporter.publish import external_metrics_documents as documents
from exporter.publish.external_metrics_documents import StaticDocument
from exporter.publish.external_metrics_log import ExternalMetricsLog
from exporter.publish.external_metrics_values import EXTERNAL_METRICS, Knowledge, Question, RefusalError, items
from exporter.serve.delivery import broken_off, deliver_in
from exporter.serve.errors import ServeError
from exporter.serve.interruption import INTACT_SINCE
from exporter.serve.listener import Listener
from exporter.serve.reload import INTERVAL as RELOAD_INTERVAL
from exporter.serve.tls import ServerTls
from exporter.store.snapshots import SnapshotStore

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT = 10.0
"""Seconds from a request's header to the last byte the client takes; kube-aggregator itself waits 5 for a probe."""
PROBES = frozenset({"system:kube-aggregator", "system:aggregator"})
"""The names under which kube-apiserver looks whether an aggregated API is there, and reads its description."""
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Open to everybody: the kubelet has no certificate."""


class Observer(Protocol):
    """Records what happens, for the exporter's own metrics."""

    def external_metrics_requested(self, code: int) -> None:
        """Count one request that was answered with this HTTP status."""


class ExternalMetricsServer:
    """Serves the API as the `external_metrics` settings define.

    `cluster` is the value of the label of that name, None for none; `intact_since` is as in
    `serve.interruption`. The other arguments are for tests: seconds between two looks at the files and at the front
    proxy.
    """

    def __init__(
        self,
        settings: ExternalMetricsSettings,
        cluster: str | None,
        source: SnapshotStore,
        kube: KubeObjects,
        observer: Observer,
        *,
        intact_since: Callable[[], float] = lambda: 0.0,
        reload_interval: float = RELOAD_INTERVAL,
        front_proxy_interval: float = READ_AGAIN,
    ) -> None:
        """Take the settings; raises ServeError when they name no certificate."""
        if settings.cert_file is None or settings.key_file is None:
            raise ServeError("external_metrics needs cert_file and key_file: the API server requires TLS")
        self._source = source
        self._cluster = cluster
        self._observer = observer
        self._review = AccessReview(kube)
        self._intact_since = intact_since
        self._front_proxy: FrontProxy | None = None
        self._front_proxy_source = FrontProxySource(
            kube, self._trust, read_again=front_proxy_interval, retry_first=min(RETRY_FIRST, front_proxy_interval)
        )
        self._tls = ServerTls(
            "external_metrics",
            settings.cert_file,
            settings.key_file,
            requests_client_cert=True,
            reload_interval=reload_interval,
        )
        self._report = ExternalMetricsLog()
        self._listener = Listener(
            "external metrics API",
            self._build_app(),
            settings.listen,
            "external_metrics.listen",
            tls=self._tls,
        )

    @property
    def address(self) -> HostPort | None:
        """Where it listens, with the port the system chose for port 0; None before `started`."""
        return self._listener.address

    @property
    def started(self) -> asyncio.Event:
        """Set once it listens."""
        return self._listener.started

    @property
    def ready(self) -> bool:
        """Whether the API server would be recognised."""
        return self._front_proxy is not None

    async def run(self) -> None:
        """Serve until cancelled. Raises ServeError, a sentence for a person, if it cannot start."""
        await self._listener.run({"front proxy": self._front_proxy_source.run})

    def _build_app(self) -> web.Application:
        app = web.Application(middlewares=[deliver_in(ANSWER_TIMEOUT), self._answered, self._authenticated])
        app[INTACT_SINCE] = self._intact_since
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        described = StaticDocument.of(documents.openapi_v3(__version__))
        descriptions = {
            documents.GROUP_PATH: StaticDocument.of(documents.api_group()),
            documents.VERSION_PATH: StaticDocument.of(documents.api_resources(EXTERNAL_METRICS)),
            documents.OPENAPI_V2_PATH: StaticDocument.of(documents.openapi_v2(__version__)),
            documents.OPENAPI_V3_PATH: StaticDocument.of(documents.openapi_v3_index(described)),
            documents.OPENAPI_V3_GROUP_PATH: described,
        }
        for path, document in descriptions.items():
            app.router.add_get(path, self._describes(document), allow_head=False)
        app.router.add_get(
            f"{documents.VERSION_PATH}/namespaces/{{namespace}}/{{metric}}", self._list, allow_head=False
        )
        app.on_response_prepare.append(_common_headers)
        return app

    async def _trust(self, front_proxy: FrontProxy) -> None:
        """Recognise the API server by these settings from now on. Raises KubeError, and changes nothing."""
        try:
            await self._tls.trust(front_proxy.client_cas)
        except ServeError as error:
            raise KubeError(f"The CA of the front proxy cannot be loaded yet: {error}.") from error
        self._front_proxy = front_proxy

    # -- what holds for every request ---------------------------------------------------------------------------------

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give every error the form that Kubernetes knows, and count every answer but those to the kubelet."""
        try:
            response = await handler(request)
        except RefusalError as refusal:
            response = _status(refusal.status, refusal.message)
        except web.HTTPException as error:
            response = _http_error(request, error)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request failed", path=request.path)
            if request.writer.output_size:
                return broken_off(request)
            response = _status(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the exporter's log")
        if request.path not in HEALTH_PATHS:
            self._observer.external_metrics_requested(response.status)
        return response

    @web.middleware
    async def _authenticated(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse all but the kubelet and users that the front proxy vouches for."""
        if request.path not in HEALTH_PATHS:
            try:
                self._user(request)
            except RefusalError as refusal:
                self._report.stranger(refusal.message, request.remote)
                raise
        return await handler(request)

    def _user(self, request: web.Request) -> User:
        """Return the request's user. Raises RefusalError."""
        front_proxy = self._front_proxy
        if front_proxy is None:
            raise _unauthorized("the API server's front proxy configuration is not loaded yet")
        certificate = self._tls.client_certificate(request.get_extra_info)
        if certificate is None:
            raise _unauthorized("the connection has no certificate of the API server's front proxy")
        if not front_proxy.allows(common_name(certificate)):
            raise _unauthorized(f"the certificate of {common_name(certificate)!r} is not allowed for the front proxy")
        if expired(certificate, self._source.wall_now()):
            raise _unauthorized("the certificate has expired since the connection was opened")
        user = front_proxy.user(request.headers)
        if user is None:
            raise _unauthorized("the front proxy did not send the user it acts for")
        return user

    async def _must_be_allowed(self, user: User, access: Access) -> None:
        """Return if the user may do it. Raises RefusalError."""
        verdict = await self._review.authorize(user, access)
        if not verdict.allowed:
            why = f": {verdict.reason}" if verdict.reason else ""
            raise RefusalError(HTTPStatus.FORBIDDEN, f"user {user.name!r} may not {access}{why}")

    # -- routes -------------------------------------------------------------------------------------------------------

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._source.not_ready_reason()
        if not self.ready:
            reason = "the API server's front proxy configuration is not loaded yet"
        if reason is not None:
            return web.Response(text=f"{reason}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        return web.Response(text="ready\n")

    def _describes(self, document: StaticDocument) -> Handler:
        """Return the handler of a document that describes the API."""

        async def handle(request: web.Request) -> web.Response:
            user = self._user(request)
            if user.name not in PROBES:
                await self._must_be_allowed(user, PathAccess("get", request.path))
            if request.headers.get(hdrs.IF_NONE_MATCH) == document.tag:
                return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={hdrs.ETAG: document.tag})
            return web.Response(body=document.body, content_type="application/json", headers={hdrs.ETAG: document.tag})

        return handle

    async def _list(self, request: web.Request) -> web.Response:
        user = self._user(request)
        question = Question(
            request.match_info["metric"], request.match_info["namespace"], request.query.get("labelSelector", "")
        )
        access = ResourceAccess("list", documents.GROUP, documents.VERSION, question.metric, question.namespace)
        try:
            await self._must_be_allowed(user, access)
            _only_a_plain_list(request)
            answer = items(question, self._knowledge())
        except RefusalError as refusal:
            self._report.refused(question, user.name, refusal)
            raise
        self._report.served(question, user.name)
        return web.Response(body=documents.encode(documents.value_list(answer)), content_type="application/json")

    def _knowledge(self) -> Knowledge:
        source = self._source
        reason = source.not_ready_reason()
        return Knowledge(source.fleet_keys, source.fleet, reason, self._cluster)


def _only_a_plain_list(request: web.Request) -> None:
    """Refuse what would need another answer than a list of everything that matches: passing it over would be wrong."""
    query = request.query
    if len(query.getall("labelSelector", [])) > 1:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "labelSelector may appear only once")
    if query.get("fieldSelector"):
        raise RefusalError(HTTPStatus.BAD_REQUEST, "external metrics do not support fieldSelector: use labelSelector")
    if query.get("watch", "false").lower() not in {"", "0", "f", "false"}:
        raise RefusalError(HTTPStatus.METHOD_NOT_ALLOWED, "external metrics do not support watch")


def _unauthorized(message: str) -> RefusalError:
    return RefusalError(HTTPStatus.UNAUTHORIZED, message)


def _status(code: int, message: str) -> web.Response:
    body = documents.encode(documents.status(code, message))
    return web.Response(body=body, status=code, content_type="application/json")


def _http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return the answer for what aiohttp itself refuses."""
    message = error.text or error.reason
    if isinstance(error, web.HTTPMethodNotAllowed):
        message = f"{request.method} is not allowed here, only {', '.join(sorted(error.allowed_methods))}"
    elif error.status == HTTPStatus.NOT_FOUND:
        message = f"no resource at {request.path[:200]}"
    answer = _status(error.status, message)
    if allowed := error.headers.get(hdrs.ALLOW):
        answer.headers[hdrs.ALLOW] = allowed
    return answer


async def _common_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-cache, private")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers[hdrs.SERVER] = "fleet-exporter"
