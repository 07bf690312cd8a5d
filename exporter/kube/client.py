"""The connection to the Kubernetes API server: credentials, TLS, deadlines, and errors a person can act on.

It hands out raw JSON and must not know what the objects mean. kubernetes_asyncio does the part that is hard to get
right (kubeconfig, exec plugins, rotating tokens, TLS) and is imported only by a process that connects: it costs 35 MB.
Its models are left alone, since 1,000 pods as models are slow and big; and because its REST client has no deadline of
its own, every request here carries one.

The errors:

    KubeError
    ├── CredentialsError       no way to log in: no kubeconfig, no token, an exec plugin that fails
    ├── UnreachableError       no whole answer came: refused, timed out, cut off, or not Kubernetes' JSON
    │   └── InactiveError      a stream on which nothing came for too long
    └── ApiError               the server answered, and the answer is an error (`status`, `reason`, `retry_after`)
        ├── AccessDeniedError  401 or 403: its text says which rule to grant
        └── ExpiredError       410: the resourceVersion or continue token is too old, list anew
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import quote

import aiohttp

from exporter import __version__

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, Configuration

Json = dict[str, Any]
"""One JSON object as the API server sent it."""
Query = Sequence[tuple[str, str]]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token and the cluster's CA (kubernetes.io, "Accessing the API from a Pod")."""
CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 30.0
"""For a whole answer. client-go's users set 30 s too; the API server itself gives up after 60."""
LOGIN_SECONDS = 30.0
"""For reading a kubeconfig, which may run an exec plugin such as `aws eks get-token`."""
LINE_BYTES = 8 * 1024 * 1024
"""Longest line of a stream. etcd holds objects up to 1.5 MiB; as JSON they are larger."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ADVICE = {
    404: "Check that it exists and that its name and namespace are right; an API that is not installed answers so too.",
    409: "It was changed by someone else meanwhile: read it again before changing it.",
    429: "The API server asks to slow down.",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection of the API, or one object in it, as it is written in a path, in a message and in a Role."""

    group: str
    """API group; "" is the core group."""
    version: str
    plural: str
    namespace: str | None = None
    """None for every namespace, and for what has none."""
    name: str | None = None
    subresource: str | None = None

    def within(self, namespace: str | None) -> "Resource":
        """Return the same in one namespace (None: in all)."""
        return replace(self, namespace=namespace)

    def named(self, name: str, subresource: str | None = None) -> "Resource":
        """Return one object of the collection, or a part of it such as `status` or `log`."""
        return replace(self, name=name, subresource=subresource)

    @property
    def path(self) -> str:
        """Path below the server's URL."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespace is not None:
            parts += ["namespaces", self.namespace]
        parts.append(self.plural)
        parts += [part for part in (self.name, self.subresource) if part is not None]
        return "".join("/" + quote(part, safe="") for part in parts)

    @property
    def kind(self) -> str:
        """The resource as a Role's `resources` names it, for example `pods/log`."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural

    def grant(self, *verbs: str) -> str:
        """Say in words which RBAC rule allows `verbs` here, and where to put it."""
        rule = f'{{apiGroups: ["{self.group}"], resources: ["{self.kind}"], verbs: {json.dumps(list(verbs))}}}'
        where = "a ClusterRole" if self.namespace is None else f"a Role in namespace {self.namespace!r}"
        return f"add the rule {rule} to {where} that is bound to the exporter's service account"

    def __str__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"{self.kind}{name} " + (
            "cluster-wide" if self.namespace is None else f"in namespace {self.namespace!r}"
        )


class KubeError(Exception):
    """Something between this process and the Kubernetes API went wrong; the text says what, where and what to do."""


class CredentialsError(KubeError):
    """There is no way to log in to a cluster, or the way there was no longer works."""


class UnreachableError(KubeError):
    """No whole answer came from the API server."""


class InactiveError(UnreachableError):
    """A stream stayed silent for longer than it may."""


class ApiError(KubeError):
    """The API server answered with an error."""

    def __init__(
        self, verb: str, resource: Resource, *, status: int, reason: str, message: str, retry_after: float | None
    ) -> None:
        self.verb = verb
        self.resource = resource
        self.status = status
        """HTTP status code."""
        self.reason = reason
        """Kubernetes' own word for it, such as `Conflict`; empty where the answer had none."""
        self.retry_after = retry_after
        """Seconds the server asks to wait, or None."""
        text = f"Cannot {verb} {resource}: {message} (HTTP {status}{f', {reason}' if reason else ''})."
        advice = self._advice()
        super().__init__(f"{text} {advice}" if advice else text)

    def _advice(self) -> str:
        return _ADVICE.get(self.status, "")


class AccessDeniedError(ApiError):
    """The API server does not know who asks (401), or does not allow it (403)."""

    def _advice(self) -> str:
        grant = self.resource.grant(self.verb)
        if self.status == 401:  # noqa: PLR2004 — an HTTP status is its own name
            return (
                "The API server does not accept the credentials: check that the service account's token (or the "
                f"kubeconfig's user) belongs to this cluster and has not expired. The permission needed is: {grant}."
            )
        return f"To allow it, {grant}."


class ExpiredError(ApiError):
    """What was asked to be continued is too old for the server to know: list anew."""


def api_error(verb: str, resource: Resource, status: int, body: Json, *, retry_after: float | None = None) -> ApiError:
    """Make the error for a Kubernetes `Status` object, or for any other body that came with an HTTP error."""
    classes: dict[int, type[ApiError]] = {401: AccessDeniedError, 403: AccessDeniedError, 410: ExpiredError}
    message = str(body.get("message") or "no reason given").rstrip(".")
    reason = str(body.get("reason") or "")
    kind = classes.get(status, ApiError)
    return kind(verb, resource, status=status, reason=reason, message=message, retry_after=retry_after)


class KubeReader(Protocol):
    """The reading half of `KubeClient`: what a list + watch needs."""

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = REQUEST_SECONDS) -> Json:
        """Return one object, or a list of them."""

    def stream(
        self, resource: Resource, query: Query = (), *, idle_timeout: float, total_timeout: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open an answer that comes line by line."""


class KubeWriter(Protocol):
    """The writing half of `KubeClient`."""

    async def send(
        self,
        method: str,
        resource: Resource,
        body: Json | list[Json] | None,
        *,
        content_type: str = "application/json",
        query: Query = (),
        timeout: float = REQUEST_SECONDS,
    ) -> Json:
        """Send an object, a change or a DELETE; return the answer."""


class KubeClient:
    """One connection pool to one API server. Use it as an async context manager, or `close` it."""

    def __init__(self, api: "ApiClient", log_in: Callable[[], Awaitable[None]] | None = None) -> None:
        """Take a configured client, and what to call for fresh credentials when the server no longer takes the old."""
        self._api = api
        self._log_in = log_in

    @classmethod
    async def connect(cls, environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> Self:
        """Make a client with the pod's service account, or else from `KUBECONFIG` or `~/.kube/config`.

        Sends nothing to the API server, so that one that is down now does no harm; but loading the library holds up
        the event loop for about half a second, so connect before anything else runs. Raises CredentialsError.
        """
        from kubernetes_asyncio import config  # noqa: PLC0415 — costs 35 MB: only who connects shall pay
        from kubernetes_asyncio.client import ApiClient, Configuration  # noqa: PLC0415 — the same

        settings = Configuration()
        # Python 3.13 turns on OpenSSL's strict mode, which refuses CAs without an Authority Key Identifier, as many
        # clusters have. The chain and the name are verified all the same, as kubectl does.
        settings.disable_strict_ssl_verification = True
        if _in_cluster(environ, service_account):
            try:
                config.load_incluster_config(  # type: ignore[no-untyped-call]  # the library's function has no types
                    client_configuration=settings,
                    token_filename=str(service_account / "token"),
                    cert_filename=str(service_account / "ca.crt"),
                    environ=dict(environ),
                )
            except (config.ConfigException, OSError) as error:
                raise CredentialsError(
                    f"Cannot use the service account mounted at {service_account}: {error}. "
                    "Check the pod's serviceAccountName and automountServiceAccountToken."
                ) from error
            log_in = None
        else:
            log_in = _kubeconfig_login(settings, environ, service_account)
            await log_in()
        try:
            api = ApiClient(settings)
        except OSError as error:  # ssl.SSLError is one: certificate files that are not certificates
            raise CredentialsError(f"Cannot use the certificates for {settings.host}: {error}.") from error
        api.user_agent = f"matillion-fleet-exporter/{__version__}"
        return cls(api, log_in)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = REQUEST_SECONDS) -> Json:
        """Return one object, or a list of them. Raises KubeError."""
        return await self.send("GET", resource, None, query=query, timeout=timeout)

    async def send(
        self,
        method: str,
        resource: Resource,
        body: Json | list[Json] | None,
        *,
        content_type: str = "application/json",
        query: Query = (),
        timeout: float = REQUEST_SECONDS,
    ) -> Json:
        """Send an object (POST, PUT), a change (PATCH, with its own content type) or a DELETE; return the answer.

        Raises KubeError: an ApiError with status 409 when the object was changed meanwhile.
        """
        deadline = aiohttp.ClientTimeout(total=timeout, connect=CONNECT_SECONDS)
        request = _Request(method, resource, query, deadline, body, content_type)
        async with self._answer(request) as response:
            with self._translated(request):
                raw = await response.read()
        answer = _json_object(raw)
        if answer is None:
            raise UnreachableError(
                f"Cannot {request}: {self._api.configuration.host} answered with {response.content_type} that is not a "
                "JSON object. Check that the URL is that of the API server and that no proxy answers for it."
            )
        return answer

    @asynccontextmanager
    async def stream(
        self, resource: Resource, query: Query = (), *, idle_timeout: float, total_timeout: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open an answer that comes line by line; yields the lines without their ends.

        The lines raise InactiveError when nothing comes for `idle_timeout` seconds, UnreachableError when the answer is
        cut off or lasts longer than `total_timeout` seconds. A last line without an end is yielded like the others.
        """
        deadline = aiohttp.ClientTimeout(total=total_timeout, connect=CONNECT_SECONDS, sock_read=idle_timeout)
        request = _Request("GET", resource, query, deadline)
        async with self._answer(request) as response, aclosing(self._lines(request, response)) as lines:
            yield lines

    async def _lines(self, request: "_Request", response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        pending = bytearray()
        searched = 0
        with self._translated(request):
            async for chunk in response.content.iter_any():
                pending += chunk
                while (end := pending.find(b"\n", searched)) >= 0:
                    yield bytes(pending[:end])
                    del pending[: end + 1]
                    searched = 0
                searched = len(pending)
                if searched > LINE_BYTES:
                    raise UnreachableError(f"Cannot {request}: a line longer than {LINE_BYTES} bytes came.")
        if pending:
            yield bytes(pending)

    @asynccontextmanager
    async def _answer(self, request: "_Request") -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the head of a good answer; raise an error for any other."""
        response = await self._ask(request)
        if response.status == 401 and self._log_in is not None:  # noqa: PLR2004 — an HTTP status is its own name
            response.close()
            await self._log_in()
            response = await self._ask(request)
        try:
            if not response.ok:
                raise await self._refusal(request, response)
            yield response
        finally:
            response.close()

    async def _ask(self, request: "_Request") -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": request.content_type}
        try:
            token = (await self._api.configuration.auth_settings()).get("BearerToken")
        except Exception as error:  # reading a rotated token fails in whatever way the library finds
            raise CredentialsError(f"Cannot {request}: the token cannot be read again: {error}.") from error
        if token is not None:
            headers["Authorization"] = token["value"]
        with self._translated(request):
            response: aiohttp.ClientResponse = await self._api.call_api(
                request.resource.path,
                request.method,
                query_params=list(request.query),
                header_params=headers,
                body=request.body,
                _preload_content=False,
                _request_timeout=request.deadline,
            )
        return response

    async def _refusal(self, request: "_Request", response: aiohttp.ClientResponse) -> ApiError:
        with self._translated(request):
            body = _json_object(await response.read())
        if body is None:
            body = {"message": f"the answer is not from Kubernetes but {response.content_type}, {response.reason}"}
        wait = _seconds(response.headers.get("Retry-After"))
        return api_error(request.verb, request.resource, response.status, body, retry_after=wait)

    @contextmanager
    def _translated(self, request: "_Request") -> Iterator[None]:
        """Turn the HTTP client's many errors into ours."""
        host = self._api.configuration.host
        try:
            yield
        except aiohttp.SocketTimeoutError as error:
            raise InactiveError(f"Cannot {request}: nothing came from {host} for too long.") from error
        except TimeoutError as error:
            raise UnreachableError(f"Cannot {request}: {host} did not answer in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(
                f"Cannot {request}: {host} cannot be reached ({str(error) or type(error).__name__}). "
                "Check that the API server runs and that no firewall or NetworkPolicy is in the way."
            ) from error


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    resource: Resource
    query: Query
    deadline: aiohttp.ClientTimeout
    body: Json | list[Json] | None = None
    content_type: str = "application/json"

    @property
    def verb(self) -> str:
        """What RBAC calls the request."""
        if self.method != "GET":
            return _VERBS[self.method]
        if self.resource.name is not None:
            return "get"
        return "watch" if ("watch", "true") in self.query else "list"

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def _json_object(raw: bytes) -> Json | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header; Kubernetes sends whole seconds, so a date is as good as nothing."""
    return float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else None


def _in_cluster(environ: Mapping[str, str], service_account: Path) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (service_account / "token").is_file()


def _any_file(files: str) -> bool:
    """Whether one of the files exists; `KUBECONFIG` may name several."""
    return any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file)


def _kubeconfig_login(
    settings: "Configuration", environ: Mapping[str, str], service_account: Path
) -> Callable[[], Awaitable[None]]:
    """Return what reads the kubeconfig into `settings`: at first, and again when its credentials have run out."""
    from kubernetes_asyncio import config  # noqa: PLC0415 — costs 35 MB: only who connects shall pay

    files = environ.get("KUBECONFIG") or "~/.kube/config"

    async def log_in() -> None:
        if not _any_file(files):
            raise CredentialsError(
                f"No credentials for Kubernetes: there is no kubeconfig at {files}, and no service account at "
                f"{service_account}. Set KUBECONFIG, or in a pod mount its service account's token."
            )
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                # The file is a person's: what is renewed here is not written back.
                await config.load_kube_config(config_file=files, client_configuration=settings, persist_config=False)
        except Exception as error:  # the loader and its plugins raise whatever they trip over
            reason = str(error) or type(error).__name__
            raise CredentialsError(f"Cannot use the kubeconfig {files}: {reason}.") from error

    return log_in
