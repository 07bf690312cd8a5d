"""Who asks, when the API server asks on somebody's behalf: authentication by front proxy.

The API server passes a request on with its own client certificate and says in headers who sent it. What that
certificate must be signed by, the names it may have and the names of the headers stand in a ConfigMap that every API
server keeps up to date (kubernetes.io, "Configure the Aggregation Layer"). Headers mean nothing before the certificate
is verified; this module must not know how TLS does that, nor what the user then may do.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import structlog

from exporter.kube.api import Json, KubeError, KubeGetter, Resource
from exporter.retry import Backoff
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

AUTHENTICATION = Resource("", "v1", "configmaps", "kube-system", "extension-apiserver-authentication")
"""Where the API server says by whom it can be recognised."""
READ_AGAIN = 30.0
"""Seconds between two looks. A rotation keeps the old authority beside the new one for far longer."""
RETRY_FIRST = 1.0
"""Seconds to the second attempt at most, as long as there never was a good one; doubled up to `READ_AGAIN`."""

_GRANT = (
    "bind the Role extension-apiserver-authentication-reader of namespace kube-system to the exporter's service account"
)
"""The Role is one that Kubernetes itself provides for reading the ConfigMap."""


class FrontProxyError(KubeError):
    """The ConfigMap does not say how to recognise the API server."""


class Headers(Protocol):
    """The headers of a request, looked up without regard to case."""

    def get(self, key: str, /) -> str | None:
        """Return the first value of a header."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """Return every value of a header."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return every header with every value."""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, in the API server's words."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Further attributes by name, sorted."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How to recognise the API server, and where it says on whose behalf it asks."""

    authorities: str
    """Certificates in PEM form; the client's must be signed by one of them."""
    allowed_names: frozenset[str]
    """Common names the client's certificate may have; none at all allows every one."""
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
        authorities = data.get("requestheader-client-ca-file")
        if not isinstance(authorities, str) or not _holds_certificates(authorities):
            raise FrontProxyError(
                f"Cannot use {AUTHENTICATION}: requestheader-client-ca-file holds no certificate. Check that the API "
                "server runs with --requestheader-client-ca-file, that is, that its aggregation layer is configured."
            )
        users = _names(data, "requestheader-username-headers")
        if not users:
            raise FrontProxyError(f"Cannot use {AUTHENTICATION}: requestheader-username-headers names no header.")
        return cls(
            authorities=authorities,
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
        """Return on whose behalf a verified front proxy asks; None where it does not say."""
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
    """Return whether a certificate, good as its connection was made, has run out by now (Unix time)."""
    return ssl.cert_time_to_seconds(certificate["notAfter"]) < wall_now


class FrontProxySource:
    """Keeps up with the ConfigMap; what was good last stays in use while it cannot be read, or makes no sense."""

    def __init__(
        self,
        api: KubeGetter,
        use: Callable[[FrontProxy], Awaitable[None]],
        *,
        read_again: float = READ_AGAIN,
        retry_first: float = RETRY_FIRST,
    ) -> None:
        """Hand every change to `use`, which raises KubeError if it cannot take it; it is then tried again."""
        self._api = api
        self._use = use
        self._read_again = read_again
        self._backoff = Backoff(retry_first, read_again)
        self._in_use: FrontProxy | None = None
        self._trouble = Trouble(
            _log,
            "front proxy configuration cannot be read, the last valid one stays in use",
            "front proxy configuration can be read again",
        )

    async def run(self) -> None:
        """Read again and again until cancelled. No answer of the API server ends it."""
        while True:
            try:
                await self._read()
            except KubeError as error:
                unknown = (
                    "front proxy configuration cannot be read, all requests are denied" if self._in_use is None else ""
                )
                self._trouble.report(type(error), unknown, **error.fields(_GRANT))
            await asyncio.sleep(self._backoff.next() if self._in_use is None else self._read_again)

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
    """Read a list of names in JSON; a key that is not there lists none. Raises FrontProxyError."""
    text = data.get(key)
    try:
        names = [] if text is None else json.loads(text)
    except (TypeError, ValueError):
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
