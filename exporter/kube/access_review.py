"""Authorization by SubjectAccessReview, with a short cache.

No answer means no permission. Independent of how the user was authenticated.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from exporter.kube.api import Json, KubeError, KubeWriter, Resource
from exporter.kube.front_proxy import User
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
REMEMBERED = 10.0
"""Seconds an answer is cached, as in Kubernetes' own aggregated servers."""
FAILURE_REMEMBERED = 1.0
"""Seconds a failure is cached, so that many requests during an outage of the API server cause few reviews."""
TIMEOUT = 3.0
"""Timeout of one review in seconds; the client is waiting."""
MAX_CACHED = 1024
"""Cached answers; the least recently used are evicted. An HPA needs one, a cluster has dozens of HPAs."""
MAX_CONCURRENT = 16
"""Concurrent reviews; requests beyond that are refused without a review."""

_GRANT = "bind the ClusterRole system:auth-delegator to the exporter's service account"


@dataclass(frozen=True, slots=True)
class ResourceAccess:
    """A verb on a resource."""

    verb: str
    group: str
    version: str
    resource: str
    namespace: str

    def attributes(self) -> Json:
        """Return it as a part of the review."""
        fields = {name: getattr(self, name) for name in ("verb", "group", "version", "resource", "namespace")}
        return {"resourceAttributes": fields}

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}.{self.group} in namespace {self.namespace!r}"


@dataclass(frozen=True, slots=True)
class PathAccess:
    """A verb on a non-resource path."""

    verb: str
    path: str

    def attributes(self) -> Json:
        """Return it as a part of the review."""
        return {"nonResourceAttributes": {"verb": self.verb, "path": self.path}}

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


Access = ResourceAccess | PathAccess


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is allowed, and why."""

    allowed: bool
    reason: str


@dataclass(slots=True)
class _Remembered:
    verdict: Verdict
    until: float


class AccessReview:
    """Requests reviews from the API server, and caches them."""

    def __init__(
        self,
        api: KubeWriter,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        remembered: float = REMEMBERED,
        failure_remembered: float = FAILURE_REMEMBERED,
        timeout: float = TIMEOUT,
    ) -> None:
        self._api = api
        self._monotonic = monotonic
        self._remembered = remembered
        self._failure_remembered = failure_remembered
        self._timeout = timeout
        self._verdicts: OrderedDict[tuple[User, Access], _Remembered] = OrderedDict()
        self._in_flight: dict[tuple[User, Access], asyncio.Lock] = {}
        self._trouble = Trouble(
            _log, "permissions cannot be reviewed, requests are denied", "permissions can be reviewed again"
        )

    async def authorize(self, user: User, access: Access) -> Verdict:
        """Return whether `user` has the permission. Never raises without an answer: that is a refusal with a reason."""
        key = (user, access)
        if (verdict := self._recall(key)) is not None:
            return verdict
        lock = self._in_flight.get(key)
        if lock is None:
            if len(self._in_flight) >= MAX_CONCURRENT:
                return Verdict(False, "too many concurrent permission reviews")
            lock = self._in_flight[key] = asyncio.Lock()
        async with lock:
            # Tasks that waited for the same review have its answer now.
            if (verdict := self._recall(key)) is not None:
                return verdict
            try:
                return await self._query(key)
            finally:
                if self._in_flight.get(key) is lock:
                    del self._in_flight[key]

    def _recall(self, key: tuple[User, Access]) -> Verdict | None:
        known = self._verdicts.get(key)
        if known is None or self._monotonic() >= known.until:
            return None
        self._verdicts.move_to_end(key)
        return known.verdict

    async def _query(self, key: tuple[User, Access]) -> Verdict:
        user, access = key
        try:
            answer = await self._api.send("POST", REVIEWS, _review(user, access), timeout=self._timeout)
        except KubeError as error:
            self._trouble.report(type(error), **error.fields(_GRANT))
            verdict, counts = Verdict(False, "the API server did not review the permission"), False
        else:
            verdict, counts = _verdict(answer), True
            self._trouble.resolve()
        until = self._monotonic() + (self._remembered if counts else self._failure_remembered)
        self._verdicts[key] = _Remembered(verdict, until)
        self._verdicts.move_to_end(key)
        while len(self._verdicts) > MAX_CACHED:
            self._verdicts.popitem(last=False)
        return verdict


def _review(user: User, access: Access) -> Json:
    spec: dict[str, Any] = {"user": user.name, **access.attributes()}
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra}
    return {"apiVersion": f"{REVIEWS.group}/{REVIEWS.version}", "kind": "SubjectAccessReview", "spec": spec}


def _verdict(answer: Json) -> Verdict:
    status = answer.get("status")
    status = status if isinstance(status, dict) else {}
    # Only the literal `true` is a permission, nothing else.
    allowed = status.get("allowed") is True and status.get("denied") is not True
    reason = str(status.get("reason") or status.get("evaluationError") or "")
    return Verdict(allowed, reason)
