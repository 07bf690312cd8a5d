"""A Lease: what it says, what that means for one who wants to hold it, and how it is read and written.

A Lease is only a note that all candidates agree to heed. `decide` is that agreement, pure; its rules are those of
Kubernetes' own components (client-go, tools/leaderelection). This module must not know what a leader does, nor when it
tries: that is `election`.

The times in a Lease come from other machines' clocks. They are kept as text here, so that nobody can compare them with
a clock: whether a holder is alive is judged by the record's changes alone, timed with one's own clock.
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
"""Duration written by who gives a lease up. An empty holder already frees it; the API allows no duration below 1."""

UNFIT_ANNOTATION = "matillion-fleet-exporter/unfit"
"""On the Lease of a holder that cannot do its work and holds it only because nobody else took it."""

_NOT_FOUND = 404
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
"""Kubernetes' MicroTime: RFC 3339 with exactly six digits of a second."""


class LeaseError(KubeError):
    """An answer that is not the Lease it should be, so that nothing follows from it."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says about who holds it."""

    holder: str = ""
    """Identity of the holder; empty when nobody holds it."""
    duration: int | None = None
    """Seconds the holder asks the others to wait after they last saw the record change; None when it does not say."""
    acquired: str = ""
    """When the holder says it got the lease. Text from another clock, for people."""
    renewed: str = ""
    """When the holder says it last renewed. Text from another clock: only that it changes means something."""
    transitions: int = 0
    """How often the lease went from one holder to another."""
    fit: bool = True
    """Whether the holder can do its work, by its own word."""

    @classmethod
    def of(cls, lease: Json) -> "LeaseRecord":
        """Read the record of a Lease object; what it leaves out, or has in another type, is unknown."""
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
    """What a candidate may do about a lease."""

    RENEW = "renew"
    """The lease is its own."""
    TAKE = "take"
    """Nobody holds the lease, or its holder has been silent for the whole of its duration."""
    STAND_BY = "stand by"
    """Somebody else holds it."""


def decide(
    record: LeaseRecord | None, observed_at: float, now: float, me: str, lease_duration: float, *, fit: bool = True
) -> Action:
    """Say what `me` may do about a lease.

    `record` is the last one seen (None: never any), `observed_at` the instant at which it was first seen so, `now` the
    instant of asking; both in seconds of one's own clock. `lease_duration`, in seconds, stands in for a record that
    says none, and is how long one that is not `fit` to do the work leaves a free lease to the others. Taking is only
    safe with a write that fails if the record has changed meanwhile.
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
    """Return the Lease as `me` writes it to take or renew it, and whether it is fit to do the work.

    Everything else in the object stays as it is. The renewal time always differs from the one before, even under a
    clock that stands still, since to the others only a change is a sign of life. A fraction of a second in
    `lease_duration` is rounded up: the field takes whole ones.
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
    """Return the Lease as its holder writes it to give it up."""
    now = _micro_time(wall)
    spec = {"holderIdentity": "", "leaseDurationSeconds": RELEASED_SECONDS, "renewTime": now, "acquireTime": now}
    return {**lease, "spec": {**mapping(lease.get("spec")), **spec}}


class LeaseStore:
    """One Lease on the API server. Every method raises KubeError, and none takes longer than `timeout` a request."""

    def __init__(self, api: KubeObjects, namespace: str, name: str, timeout: float) -> None:
        """Take where the Lease is; `timeout` in seconds."""
        self._api = api
        self._leases = LEASES.within(namespace)
        self._lease = self._leases.named(name)
        self._timeout = timeout

    @property
    def grant(self) -> str:
        """The RBAC rule that all of this takes, in words."""
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
        """Return a Lease that is not stored yet."""
        metadata = {"name": self._lease.name, "namespace": self._lease.namespace}
        return {"apiVersion": f"{LEASES.group}/{LEASES.version}", "kind": "Lease", "metadata": metadata}

    async def write(self, lease: Json) -> Json:
        """Create a Lease that is not stored yet, or replace the very version that was read; return what is stored.

        An ApiError with status 409 means that somebody else wrote meanwhile, or that an earlier attempt of one's own
        whose answer was lost has been carried out after all.
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
