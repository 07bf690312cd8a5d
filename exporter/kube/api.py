"""The Kubernetes API for its users: resources, errors, and the protocols of a connection.

Sends no requests itself, and is independent of how they are sent.

The errors:

    KubeError
    ├── CredentialsError       no way to log in: no kubeconfig, no token, an exec plugin that fails
    ├── UnreachableError       no whole answer came: refused, timed out, cut off, or not Kubernetes' JSON
    │   └── InactiveError      a stream on which nothing came for too long
    └── ApiError               the server answered, and the answer is an error (`status`, `reason`, `retry_after`)
        ├── AccessDeniedError  401 or 403: its text names the rule to grant
        └── ExpiredError       410: the resourceVersion or continue token is too old, list again
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote

from exporter.kube.fields import line

Json = dict[str, Any]
"""One JSON object as the API server sent it."""
Query = Sequence[tuple[str, str]]

MAX_MESSAGE_LENGTH = 500
"""Characters of a server's words in an error."""
REQUEST_SECONDS = 30.0
"""For a whole answer. client-go's users set 30 s too; the API server's own timeout is 60."""

_ADVICE = {
    404: (
        "Check that it exists and that its name and namespace are right; an API that is not installed answers the same."
    ),
    409: "It was changed concurrently: read it again before changing it.",
    429: "The API server throttles requests.",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection of the API, or one object in it, as it appears in a path, in a message and in a Role."""

    group: str
    """API group; "" is the core group."""
    version: str
    plural: str
    namespace: str | None = None
    """None for all namespaces, and for cluster-scoped resources."""
    name: str | None = None
    subresource: str | None = None

    def within(self, namespace: str | None) -> "Resource":
        """Return the same collection in one namespace (None: in all)."""
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
        """Describe the RBAC rule that allows `verbs` here, and where to add it."""
        rule = f'{{apiGroups: ["{self.group}"], resources: ["{self.kind}"], verbs: {json.dumps(list(verbs))}}}'
        where = "a ClusterRole" if self.namespace is None else f"a Role in namespace {self.namespace!r}"
        return f"add the rule {rule} to {where} that is bound to the exporter's service account"

    def __str__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"{self.kind}{name} " + (
            "cluster-wide" if self.namespace is None else f"in namespace {self.namespace!r}"
        )


class KubeError(Exception):
    """A request to the Kubernetes API failed; the text states what failed, where and what to do."""

    status = 0
    """The HTTP status; 0 where there was no answer."""

    @property
    def kind(self) -> tuple[type["KubeError"], int]:
        """Identifies the kind of failure, regardless of the details."""
        return type(self), self.status

    def fields(self, grant: str) -> dict[str, str]:
        """Return the fields of a log event; `grant` is the fix if a permission is missing."""
        return {"error": str(self), **({"fix": grant} if isinstance(self, AccessDeniedError) else {})}


class CredentialsError(KubeError):
    """There are no credentials for a cluster, or they no longer work."""


class UnreachableError(KubeError):
    """The API server sent no complete answer."""


class InactiveError(UnreachableError):
    """A stream exceeded its idle timeout."""


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
        """Kubernetes' reason, such as `Conflict`; empty if the answer had none."""
        self.retry_after = retry_after
        """The server's Retry-After in seconds, or None."""
        text = f"Cannot {verb} {resource}: {message} (HTTP {status}{f', {reason}' if reason else ''})."
        advice = self._advice()
        super().__init__(f"{text} {advice}" if advice else text)

    def _advice(self) -> str:
        return _ADVICE.get(self.status, "")


class AccessDeniedError(ApiError):
    """The API server rejects the credentials (401) or denies permission (403)."""

    def _advice(self) -> str:
        grant = self.resource.grant(self.verb)
        if self.status == 401:  # noqa: PLR2004 — an HTTP status is its own name
            return (
                "The API server does not accept the credentials: check that the service account's token (or the "
                f"kubeconfig's user) belongs to this cluster and has not expired. The permission needed is: {grant}."
            )
        return f"To allow it, {grant}."


class ExpiredError(ApiError):
    """The version to continue from is too old for the server: list again."""


def api_error(verb: str, resource: Resource, status: int, body: Json, *, retry_after: float | None = None) -> ApiError:
    """Return the error for a Kubernetes `Status` object, or for any other body of an HTTP error."""
    classes: dict[int, type[ApiError]] = {401: AccessDeniedError, 403: AccessDeniedError, 410: ExpiredError}
    message = line(body.get("message"), MAX_MESSAGE_LENGTH).rstrip(".") or "no reason given"
    reason = line(body.get("reason"), MAX_MESSAGE_LENGTH)
    kind = classes.get(status, ApiError)
    return kind(verb, resource, status=status, reason=reason, message=message, retry_after=retry_after)


class KubeGetter(Protocol):
    """The part of `KubeClient` for single reads."""

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = REQUEST_SECONDS) -> Json:
        """Return one object, or a list of them. Raises KubeError."""


class KubeReader(KubeGetter, Protocol):
    """The reading half of `KubeClient`: what a list + watch needs."""

    def stream(
        self,
        resource: Resource,
        query: Query = (),
        *,
        idle_timeout: float,
        total_timeout: float | None = None,
        keep: int | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream an answer by lines; of each line the first `keep` bytes, if given. Raises KubeError."""


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
        """Send an object, a change or a DELETE; return the answer. Raises KubeError."""


class KubeObjects(KubeGetter, KubeWriter, Protocol):
    """The part of `KubeClient` that reads and writes single objects."""


class KubeCollections(KubeReader, KubeWriter, Protocol):
    """All of `KubeClient`: lists, watches and writes."""
