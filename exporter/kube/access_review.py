"""What somebody may do, as the API server judges it: a SubjectAccessReview, remembered for a moment.

No answer is no permission. It must not know how the user was recognised.
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
"""Seconds an answer counts; Kubernetes' own aggregated servers keep permissions for as long."""
FAILURE_REMEMBERED = 1.0
"""Seconds a failure counts, so that many requests while the API server is away make few questions of it."""
TIMEOUT = 3.0
"""Seconds for one question: the one who asks waits."""
MOST_REMEMBERED = 1024
"""Answers kept; the ones not asked for longest go first. An HPA asks one question, a cluster has dozens of them."""
MOST_AT_ONCE = 16
"""Questions under way at one time; what is beyond is refused without being asked."""

_GRANT = "bind the ClusterRole system:auth-delegator to the exporter's service account"


@dataclass(frozen=True, slots=True)
class ResourceAccess:
    """What is to be done to which resource."""

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
    """What is to be done to which path that is no resource."""

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
    """Asks the API server, and remembers."""

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
        self._asking: dict[tuple[User, Access], asyncio.Lock] = {}
        self._trouble = Trouble(
            _log, "permissions cannot be reviewed, requests are denied", "permissions can be reviewed again"
        )

    async def judge(self, user: User, access: Access) -> Verdict:
        """Return whether `user` may do it. Never raises for want of an answer: that is a refusal with its reason."""
        key = (user, access)
        if (verdict := self._recall(key)) is not None:
            return verdict
        lock = self._asking.get(key)
        if lock is None:
            if len(self._asking) >= MOST_AT_ONCE:
                return Verdict(False, "too many concurrent permission reviews")
            lock = self._asking[key] = asyncio.Lock()
        async with lock:
            # Who waited for the same question has its answer now.
            if (verdict := self._recall(key)) is not None:
                return verdict
            try:
                return await self._ask(key)
            finally:
                if self._asking.get(key) is lock:
                    del self._asking[key]

    def _recall(self, key: tuple[User, Access]) -> Verdict | None:
        known = self._verdicts.get(key)
        if known is None or self._monotonic() >= known.until:
            return None
        self._verdicts.move_to_end(key)
        return known.verdict

    async def _ask(self, key: tuple[User, Access]) -> Verdict:
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
        while len(self._verdicts) > MOST_REMEMBERED:
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
    # Only the word itself is a permission: an answer of another shape is none.
    allowed = status.get("allowed") is True and status.get("denied") is not True
    reason = str(status.get("reason") or status.get("evaluationError") or "")
    return Verdict(allowed, reason)
