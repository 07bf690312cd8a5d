"""Authentication of requests that the API server proxies for its users.

The API server forwards a request with its own client certificate and the user in headers. The CAs of that certificate,
its allowed names and the names of the headers are in a ConfigMap that every API server keeps up to date (kubernetes.io,
"Configure the Aggregation Layer"). Headers count only after the certificate is verified. Independent of how TLS does
that, and of the user's permissions.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import structlog

from exporter.kube.api import Json, KubeError, KubeGetter, Resource
from exporter.kube.json_text import parse_json
from exporter.kube.read_pace import ReadPace
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

AUTHENTICATION = Resource("", "v1", "configmaps", "kube-system", "extension-apiserver-authentication")
"""The ConfigMap that describes how to authenticate the API server."""
READ_AGAIN = 30.0
"""Seconds between two reads. A rotation keeps the old CA beside the new one for far longer."""
RETRY_FIRST = 1.0
"""Maximum seconds to the second attempt before the first success; then as `read_pace` says."""

_GRANT = (
    "bind the Role extension-apiserver-authentication-reader of namespace kube-system to the exporter's service account"
)
"""The Role is the one that Kubernetes provides for reading the ConfigMap."""


class FrontProxyError(KubeError):
    """The ConfigMap does not describe how to authenticate the API server."""


class Headers(Protocol):
    """The headers of a request; lookups ignore case."""

    def get(self, key: str, /) -> str | None:
        """Return the first value of a header."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """Return every value of a header."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return every header with every value."""


@dataclass(frozen=True, slots=True)
class User:
    """The user of a request, as the API server reports it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Further attributes by name, sorted."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How to authenticate the API server, and which headers name the user."""

    client_cas: str
    """CA certificates in PEM form; one of them must have signed the client's."""
    allowed_names: frozenset[str]
    """Common names that the client's certificate may have; an empty list allows all."""
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]
    uid_headers: tuple[str, ...] = ()

    @classmethod
    def of(cls, config_map: Json) -> "FrontProxy":
        """Read the ConfigMap. Raises FrontProxyError."""
        data = config_map.get("data")
        if not isinstance(data, dict):
            raise FrontProxyError(f"Cannot use {AUTHENTICATION}: it has no data.")
        client_cas = data.get("requestheader-client-ca-file")
        if not isinstance(client_cas, str) or not _holds_certificates(client_cas):
            raise FrontProxyError(
                f"Cannot use {AUTHENTICATION}: requestheader-client-ca-file holds no certificate. Check that the API "
                "server runs with --requestheader-client-ca-file, that is, that its aggregation layer is configured."
            )
        users = _names(data, "requestheader-username-headers")
        if not users:
            raise FrontProxyError(f"Cannot use {AUTHENTICATION}: requestheader-username-headers names no header.")
        return cls(
            client_cas=client_cas,
            allowed_names=frozenset(_names(data, "requestheader-allowed-names")),
            user_headers=users,
            group_headers=_names(data, "requestheader-group-headers"),
            extra_prefixes=_names(data, "requestheader-extra-headers-prefix"),
            uid_headers=_names(data, "requestheader-uid-headers"),
        )

    def allows(self, common_name: str) -> bool:
        """Return whether a verified certificate with this common name is the API server's."""
        return not self.allowed_names or common_name in self.allowed_names

    def user(self, headers: Headers) -> User | None:
        """Return the user of a request from a verified front proxy; None without one."""
        name = next(filter(None, map(headers.get, self.user_headers)), None)
        if name is None:
            return None
        groups = [value for header in self.group_headers for value in headers.getall(header, []) if value]
        uid = next(filter(None, map(headers.get, self.uid_headers)), "")
        return User(name, tuple(groups), uid, self._extra(headers))

    def _extra(self, headers: Headers) -> tuple[tuple[str, tuple[str, ...]], ...]:
        extra: dict[str, list[str]] = {}
        for header, value in headers.items():
            for prefix in self.extra_prefixes:
                if header.lower().startswith(prefix.lower()):
                    extra.setdefault(unquote(header[len(prefix) :].lower()), []).append(value)
        return tuple(sorted((key, tuple(values)) for key, values in extra.items()))


def common_name(certificate: Mapping[str, Any]) -> str:
    """Return the common name of a certificate as `ssl` describes it, the last if there are several; "" without one."""
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return str(names[-1]) if names else ""


def expired(certificate: Mapping[str, Any], wall_now: float) -> bool:
    """Return whether a certificate that was valid when its connection was opened has expired (Unix time)."""
    return ssl.cert_time_to_seconds(certificate["notAfter"]) < wall_now


class FrontProxySource:
    """Follows the ConfigMap; the last valid version stays in use while it cannot be read or is invalid."""

    def __init__(
        self,
        api: KubeGetter,
        use: Callable[[FrontProxy], Awaitable[None]],
        *,
        read_again: float = READ_AGAIN,
        retry_first: float = RETRY_FIRST,
    ) -> None:
        """Pass every change to `use`, which raises KubeError if it fails; it is then retried."""
        self._api = api
        self._use = use
        self._read_again = read_again
        self._pace = ReadPace(retry_first, read_again)
        self._in_use: FrontProxy | None = None
        self._trouble = Trouble(
            _log,
            "front proxy configuration cannot be read, the last valid one stays in use",
            "front proxy configuration can be read again",
        )

    async def run(self) -> None:
        """Read periodically until cancelled. No answer of the API server ends it."""
        while True:
            pause = self._read_again
            try:
                await self._read()
            except KubeError as error:
                if self._in_use is None:
                    pause = self._pace.after(error)
                unknown = (
                    "front proxy configuration cannot be read, all requests are denied" if self._in_use is None else ""
                )
                self._trouble.report(type(error), unknown, **error.fields(_GRANT))
            await asyncio.sleep(pause)

    async def _read(self) -> None:
        found = FrontProxy.of(await self._api.get(AUTHENTICATION))
        if found != self._in_use:
            await self._use(found)
            _log.info(
                "front proxy configured" if self._in_use is None else "front proxy configuration changed",
                allowed_names=sorted(found.allowed_names),
            )
            self._in_use = found
        self._trouble.resolve()


def _names(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Read a JSON list of names; a missing key is an empty list. Raises FrontProxyError."""
    text = data.get(key)
    try:
        names = [] if text is None else parse_json(text) if isinstance(text, str) else None
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FrontProxyError(f"Cannot use {AUTHENTICATION}: {key} is not a JSON list of names.")
    return tuple(names)


def _holds_certificates(pem: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        return False
    return True
