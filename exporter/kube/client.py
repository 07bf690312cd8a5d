"""The connection to the Kubernetes API server: TLS, deadlines, and actionable errors.

Returns raw JSON, independent of what the objects mean. kubernetes_asyncio does what is hard to get right (kubeconfig,
exec plugins, rotating tokens, TLS) and is imported only by a process that connects: it costs 35 MB. Its models are not
used, since 1,000 pods as models are slow and large. Its REST client has no timeout, so every request here has one. The
errors are those of `api`.
"""

import os
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from exporter import __version__
from exporter.kube.api import (
    REQUEST_SECONDS,
    ApiError,
    CredentialsError,
    InactiveError,
    Json,
    Query,
    Resource,
    UnreachableError,
    api_error,
)
from exporter.kube.credentials import SERVICE_ACCOUNT, LogIn, log_in
from exporter.kube.json_text import parse_json

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient

CONNECT_SECONDS = 10.0
ANSWER_BYTES = 32 * 1024 * 1024
"""Largest whole answer. A page of a hundred pods is about 1 MB; the metrics of ten thousand pods are 5 MB."""
LINE_BYTES = 8 * 1024 * 1024
"""Longest line of a stream. etcd holds objects up to 1.5 MiB; as JSON they are larger."""

_BUFFER_BYTES = 2 * 1024 * 1024
"""What is read ahead of a stream, as the library has it: objects are up to 1.5 MiB."""

PROBE_AFTER, PROBE_EVERY, PROBES = 15, 5, 3
"""Seconds, seconds and number of TCP's own probes of a stream that is silent: a server that is gone without a word, as
after a failed node or a forgotten NAT entry, is noticed after half a minute. client-go's pings take 45 s
(kubernetes/kubernetes#95981)."""

_KIND_LENGTH = 20
"""Characters of a proxy's URL that an error may show: behind them may be a password."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class KubeClient:
    """One connection pool to one API server. Use it as an async context manager, or `close` it."""

    def __init__(self, api: "ApiClient", renew: LogIn | None = None) -> None:
        """Take a configured client, and what to call for new credentials when the server rejects the old ones."""
        self._api = api
        self._renew = renew

    @classmethod
    async def connect(cls, environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> Self:
        """Return a client with the pod's service account, or else from `KUBECONFIG` or `~/.kube/config`.

        Sends nothing to the API server, which may be down; but loading the library blocks the event loop for about half
        a second, so connect before anything else runs. Raises CredentialsError.
        """
        from kubernetes_asyncio.client import ApiClient, Configuration  # noqa: PLC0415 — 35 MB: only for a connection

        settings = Configuration()
        # Python 3.13 turns on OpenSSL's strict mode, which refuses CAs without an Authority Key Identifier, as many
        # clusters have. The chain and the name are verified all the same, as kubectl does.
        settings.disable_strict_ssl_verification = True
        # The callers bound their streams; a full pool would make other requests wait for endless streams.
        settings.connection_pool_maxsize = 0
        renew = await log_in(settings, environ, service_account)
        settings.proxy = _proxy(settings.host or "", settings.proxy)
        try:
            api = ApiClient(settings)
        except OSError as error:  # ssl.SSLError is one: certificate files that are not certificates
            raise CredentialsError(f"Cannot use the certificates for {settings.host}: {error}.") from error
        _read_environment_once(api)
        api.user_agent = f"matillion-fleet-exporter/{__version__}"
        return cls(api, renew)

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
            raw = await self._body(request, response)
        answer = _json_object(raw)
        if answer is None:
            raise UnreachableError(
                f"Cannot {request}: {self._api.configuration.host} answered with {response.content_type} that is not a "
                "JSON object. Check that the URL is that of the API server and that no proxy answers for it."
            )
        return answer

    @asynccontextmanager
    async def stream(
        self,
        resource: Resource,
        query: Query = (),
        *,
        idle_timeout: float,
        total_timeout: float | None = None,
        keep: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Stream an answer by lines; yields the lines without their line breaks.

        Of each line, `keep` bytes are kept and the rest is discarded. Without it a line that is longer than any object
        raises UnreachableError.

        The iterator raises InactiveError after `idle_timeout` seconds without data, UnreachableError when the answer is
        cut off, when the server's host does not respond to TCP, or after `total_timeout` seconds. A last line without a
        line break is yielded too.
        """
        deadline = aiohttp.ClientTimeout(total=total_timeout, connect=CONNECT_SECONDS, sock_read=idle_timeout)
        request = _Request("GET", resource, query, deadline)
        async with self._answer(request) as response, aclosing(self._lines(request, response, keep)) as lines:
            _probe(response)
            yield lines

    async def _lines(
        self, request: "_Request", response: aiohttp.ClientResponse, keep: int | None
    ) -> AsyncGenerator[bytes, None]:
        pending = bytearray()
        searched = 0
        with self._translated(request):
            async for chunk in response.content.iter_any():
                pending += chunk
                while (end := pending.find(b"\n", searched)) >= 0:
                    yield bytes(pending[:end] if keep is None else pending[: min(end, keep)])
                    del pending[: end + 1]
                    searched = 0
                if keep is not None:
                    del pending[keep:]
                searched = len(pending)
                if searched > LINE_BYTES:
                    raise UnreachableError(f"Cannot {request}: a line longer than {LINE_BYTES} bytes came.")
        if pending:
            yield bytes(pending)

    @asynccontextmanager
    async def _answer(self, request: "_Request") -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the head of a successful answer; raise an error for any other."""
        response = await self._send(request)
        if response.status == 401 and self._renew is not None:  # noqa: PLR2004 — an HTTP status is its own name
            response.close()
            await self._renew()
            response = await self._send(request)
        try:
            if not response.ok:
                raise await self._refusal(request, response)
            yield response
        finally:
            response.close()

    async def _send(self, request: "_Request") -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": request.content_type}
        try:
            token = (await self._api.configuration.auth_settings()).get("BearerToken")
        except Exception as error:  # reading a rotated token fails in whatever way the library finds
            raise CredentialsError(f"Cannot {request}: the token cannot be reloaded: {error}.") from error
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
        body = _json_object(await self._body(request, response))
        if body is None:
            body = {"message": f"the response is not from Kubernetes but {response.content_type}, {response.reason}"}
        wait = _seconds(response.headers.get("Retry-After"))
        return api_error(request.verb, request.resource, response.status, body, retry_after=wait)

    async def _body(self, request: "_Request", response: aiohttp.ClientResponse) -> bytes:
        """Return a whole body. Raises UnreachableError for one that is larger than any answer."""
        body = bytearray()
        with self._translated(request):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise UnreachableError(f"Cannot {request}: the response is larger than {ANSWER_BYTES} bytes.")
        return bytes(body)

    @contextmanager
    def _translated(self, request: "_Request") -> Iterator[None]:
        """Convert the HTTP client's errors to ours."""
        host = self._api.configuration.host
        try:
            yield
        except aiohttp.SocketTimeoutError as error:
            raise InactiveError(f"Cannot {request}: {host} sent nothing for too long.") from error
        except TimeoutError as error:
            raise UnreachableError(f"Cannot {request}: {host} did not respond in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(
                f"Cannot {request}: {host} cannot be reached ({str(error) or type(error).__name__}). "
                "Check that the API server is running and that no firewall or NetworkPolicy blocks the connection."
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
        """The RBAC verb of the request."""
        if self.method != "GET":
            return _VERBS[self.method]
        if self.resource.name is not None:
            return "get"
        return "watch" if ("watch", "true") in self.query else "list"

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def _proxy(url: str, configured: str | None) -> str | None:
    """Return the URL of the proxy on the way to a server, if there is one.

    It is that of the kubeconfig (`proxy-url`), or else the environment's (`HTTPS_PROXY`, `NO_PROXY` and so on). Raises
    CredentialsError.
    """
    server = urlsplit(url)
    proxy = configured
    if not proxy and not proxy_bypass(server.hostname or ""):
        proxy = getproxies().get(server.scheme)
    if not proxy:
        return None
    kind, separator, _ = proxy.partition("://")
    if not separator:
        return f"http://{proxy}"  # as Go's HTTP client, and so kubectl, understands it
    if kind not in {"http", "https"}:
        raise CredentialsError(
            f"Cannot use the proxy for {url}: it is a {kind[:_KIND_LENGTH]}:// one, but must be http:// or https://. "
            "Change proxy-url in the kubeconfig or the environment variable HTTPS_PROXY, or add the host to NO_PROXY."
        )
    return proxy


def _read_environment_once(api: "ApiClient") -> None:
    """Keep the library from searching the environment for a proxy and `~/.netrc` for a password at each request.

    It does both in threads, which compete with the event loop for the interpreter. While many requests failed at once,
    they took half of its time.
    """
    rest = api.rest_client
    theirs = rest.pool_manager
    rest.pool_manager = aiohttp.ClientSession(connector=theirs.connector, read_bufsize=_BUFFER_BYTES)
    theirs.detach()


def _probe(response: aiohttp.ClientResponse) -> None:
    """Have TCP notice that the host of a silent stream is gone."""
    connection = response.connection
    transport = connection.transport if connection is not None else None
    # The options are Linux's; elsewhere the idle timeout is all there is, and a stream may be over by now.
    if sys.platform != "linux" or transport is None or transport.is_closing():
        return
    own = transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def _json_object(raw: bytes) -> Json | None:
    try:
        value = parse_json(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header; Kubernetes sends whole seconds, so a date is ignored."""
    return float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else None
