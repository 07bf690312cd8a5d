"""A Lease: its record, what it means for a candidate, and how it is read and written.

A Lease is an agreement between candidates. `decide` is that agreement, pure; its rules are those of Kubernetes' own
components (client-go, tools/leaderelection). What a leader does, and when it tries, is in `election`.

The times in a Lease come from other machines' clocks. They are kept as text here, so that they cannot be compared with
a clock: whether a holder is alive depends only on changes of the record, timed by the candidate's own clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from exporter.kube.api import ApiError, Json, KubeError, KubeObjects, Resource
from exporter.kube.fields import mapping

LEASES = Resource("coordination.k8s.io", "v1", "leases")
RELEASED_SECONDS = 1
"""Duration written on release. An empty holder already frees the Lease; the API allows no duration below 1."""

UNFIT_ANNOTATION = "matillion-fleet-exporter/unfit"
"""Annotates the Lease of a holder that cannot do its work and holds it only because no other candidate took it."""

_NOT_FOUND = 404
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
"""Kubernetes' MicroTime: RFC 3339 with exactly six digits of a second."""


class LeaseError(KubeError):
    """The answer is not the requested Lease."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The holder's record in a Lease."""

    holder: str = ""
    """Identity of the holder; empty without one."""
    duration: int | None = None
    """Seconds that the others must wait after the record's last change; None if unset."""
    acquired: str = ""
    """When the holder acquired the Lease, as text from its clock: for display only."""
    renewed: str = ""
    """When the holder last renewed, as text from its clock: only a change is meaningful."""
    transitions: int = 0
    """Number of changes of the holder."""
    fit: bool = True
    """Whether the holder reports that it can do its work."""

    @classmethod
    def of(cls, lease: Json) -> "LeaseRecord":
        """Read the record of a Lease object; missing or invalid fields are unknown."""
        spec = mapping(lease.get("spec"))
        duration = spec.get("leaseDurationSeconds")
        transitions = spec.get("leaseTransitions")
        return cls(
            holder=_text(spec.get("holderIdentity")),
            duration=duration if isinstance(duration, int) and duration > 0 else None,
            acquired=_text(spec.get("acquireTime")),
            renewed=_text(spec.get("renewTime")),
            transitions=transitions if isinstance(transitions, int) else 0,
            fit=UNFIT_ANNOTATION not in _annotations(lease),
        )


class Action(StrEnum):
    """What a candidate may do with a Lease."""

    RENEW = "renew"
    """The candidate holds the Lease."""
    TAKE = "take"
    """The Lease has no holder, or was not renewed for its whole duration."""
    STAND_BY = "stand by"
    """Another candidate holds it."""


def decide(
    record: LeaseRecord | None, observed_at: float, now: float, me: str, lease_duration: float, *, fit: bool = True
) -> Action:
    """Return what `me` may do with a Lease.

    `record` is the last observed one (None: none yet), `observed_at` when it was first observed, `now` the current
    time; both in seconds of the candidate's own clock. `lease_duration`, in seconds, applies to a record without one,
    and is how long a candidate that is not `fit` leaves a free Lease to the others. Taking is only safe with a write
    that fails if the record has changed meanwhile.
    """
    if record is None:
        return Action.TAKE
    if record.holder == me:
        return Action.RENEW
    patience = 0.0 if fit else lease_duration
    if record.holder:
        patience += lease_duration if record.duration is None else record.duration
    return Action.TAKE if now - observed_at >= patience else Action.STAND_BY


def claimed(lease: Json, me: str, lease_duration: float, wall: datetime, *, fit: bool = True) -> Json:
    """Return the Lease that `me` writes to take or renew it, with whether `me` is fit.

    Everything else in the object is unchanged. The renewal time always differs from the previous one, even if the clock
    stands still, since only a change shows the others that the holder is alive. `lease_duration` is rounded up to whole
    seconds, as the field requires.
    """
    record = LeaseRecord.of(lease)
    renewed = _micro_time(wall)
    if renewed == record.renewed:
        renewed = _micro_time(wall + timedelta(microseconds=1))
    spec = {"holderIdentity": me, "leaseDurationSeconds": math.ceil(lease_duration), "renewTime": renewed}
    if record.holder != me:
        spec["acquireTime"] = renewed
        spec["leaseTransitions"] = record.transitions + 1 if "spec" in lease else 0
    annotations = {name: value for name, value in _annotations(lease).items() if name != UNFIT_ANNOTATION}
    if not fit:
        annotations[UNFIT_ANNOTATION] = "true"
    metadata = {name: value for name, value in mapping(lease.get("metadata")).items() if name != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    return {**lease, "metadata": metadata, "spec": {**mapping(lease.get("spec")), **spec}}


def released(lease: Json, wall: datetime) -> Json:
    """Return the Lease that its holder writes to release it."""
    now = _micro_time(wall)
    spec = {"holderIdentity": "", "leaseDurationSeconds": RELEASED_SECONDS, "renewTime": now, "acquireTime": now}
    return {**lease, "spec": {**mapping(lease.get("spec")), **spec}}


class LeaseStore:
    """One Lease on the API server. Every method raises KubeError and takes at most `timeout` per request."""

    def __init__(self, api: KubeObjects, namespace: str, name: str, timeout: float) -> None:
        """Take the Lease's location; `timeout` in seconds."""
        self._api = api
        self._leases = LEASES.within(namespace)
        self._lease = self._leases.named(name)
        self._timeout = timeout

    @property
    def grant(self) -> str:
        """The RBAC rule that these methods need, in words."""
        return self._leases.grant("get", "create", "update")

    def __str__(self) -> str:
        return str(self._lease)

    async def read(self) -> Json | None:
        """Return the Lease, or None if there is none."""
        try:
            answer = await self._api.get(self._lease, timeout=self._timeout)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return self._checked("get", answer)

    def new(self) -> Json:
        """Return a new, unsaved Lease."""
        metadata = {"name": self._lease.name, "namespace": self._lease.namespace}
        return {"apiVersion": f"{LEASES.group}/{LEASES.version}", "kind": "Lease", "metadata": metadata}

    async def write(self, lease: Json) -> Json:
        """Create a new Lease, or replace exactly the version that was read; return the stored Lease.

        An ApiError with status 409 means that another candidate wrote meanwhile, or that an earlier write whose answer
        was lost succeeded after all.
        """
        stored = "resourceVersion" in lease["metadata"]
        method, resource, verb = ("PUT", self._lease, "update") if stored else ("POST", self._leases, "create")
        answer = self._checked(verb, await self._api.send(method, resource, lease, timeout=self._timeout))
        wrote, got = LeaseRecord.of(lease), LeaseRecord.of(answer)
        if (wrote.holder, wrote.renewed) != (got.holder, got.renewed):
            raise LeaseError(f"Cannot {verb} {self._lease}: the server reported success but stored something else.")
        return answer

    def _checked(self, verb: str, answer: Json) -> Json:
        version = mapping(answer.get("metadata")).get("resourceVersion")
        if answer.get("kind") != "Lease" or not isinstance(version, str) or not version:
            raise LeaseError(
                f"Cannot {verb} {self._lease}: the response is not a Lease. Check that no proxy answers in its place."
            )
        return answer


def _micro_time(wall: datetime) -> str:
    return wall.astimezone(UTC).strftime(_TIME_FORMAT)


def _annotations(lease: Json) -> Mapping[str, object]:
    return mapping(mapping(lease.get("metadata")).get("annotations"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
