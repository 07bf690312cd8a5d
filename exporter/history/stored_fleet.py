"""The ConfigMap that has the past of one fleet: its name, its labels, and what of it is believed.

Its name is derived from what it is of, and its label from the exporter it is of. One that does not have both was made
by a person or another program, and is left alone.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.history.encoding import Entries
from exporter.kube.api import Json
from exporter.kube.fields import mapping, text
from exporter.store.restarts import FleetKey

INSTANCE_LABEL = "matillion-fleet-exporter/history-of"
"""Its value is the Lease that the exporter's replicas compete for, so two exporters never mix what they record."""
NAMESPACE, FLEET = "matillion-fleet-exporter/namespace", "matillion-fleet-exporter/fleet"
DESCRIPTION = "kubernetes.io/description"
"""A well-known annotation, for the reader of `kubectl describe`."""

_MAX_NAME = 253
_MAX_LABEL = 63
_HASH_LENGTH = 10
_UNFIT = re.compile(r"[^a-z0-9]+")


class ForeignConfigMapError(Exception):
    """A ConfigMap has the name of a fleet's history and is something else."""


def name(lease_name: str, fleet: FleetKey) -> str:
    """Return the name of a fleet's ConfigMap: what a person recognizes, and a hash that makes it unique."""
    digest = _digest(lease_name, *fleet)
    readable = "-".join(_UNFIT.sub("-", part.lower()).strip("-") for part in (lease_name[:100], "history", *fleet))
    return f"{readable[: _MAX_NAME - _HASH_LENGTH - 1].rstrip('-')}-{digest}"


def instance(lease_name: str) -> str:
    """Return the label's value for an exporter; a Lease may have a longer name than a label may."""
    if len(lease_name) <= _MAX_LABEL:
        return lease_name
    return f"{lease_name[: _MAX_LABEL - _HASH_LENGTH - 1].rstrip('-.')}-{_digest(lease_name)}"


def selector(lease_name: str) -> str:
    """Return the selector of an exporter's ConfigMaps."""
    return f"{INSTANCE_LABEL}={instance(lease_name)}"


@dataclass(frozen=True, slots=True)
class StoredFleet:
    """A ConfigMap as the API server has it."""

    name: str
    uid: str
    version: str
    fleet: FleetKey | None
    """None if it is not what its label says."""
    entries: Mapping[str, object] | None
    """What it has; None once that was read."""

    @classmethod
    def of(cls, config_map: Json, lease_name: str) -> "StoredFleet":
        """Read a ConfigMap of any content."""
        metadata = mapping(config_map.get("metadata"))
        annotations = mapping(metadata.get("annotations"))
        namespace, fleet = text(annotations.get(NAMESPACE)), text(annotations.get(FLEET))
        found = str(metadata.get("name") or "")
        key = (namespace, fleet) if namespace and fleet and name(lease_name, (namespace, fleet)) == found else None
        return cls(
            name=found,
            uid=str(metadata.get("uid") or ""),
            version=str(metadata.get("resourceVersion") or ""),
            fleet=key,
            entries=mapping(config_map.get("data")),
        )


def filled(config_map: Json, lease_name: str, fleet: FleetKey, entries: Entries) -> Json:
    """Return a new or stored ConfigMap with these entries; all else in it stays.

    Raises ForeignConfigMapError if it is stored and not of this fleet and exporter.
    """
    metadata = mapping(config_map.get("metadata"))
    labels, annotations = mapping(metadata.get("labels")), mapping(metadata.get("annotations"))
    ours = {NAMESPACE: fleet[0], FLEET: fleet[1]}
    if "resourceVersion" in metadata:
        same = all(annotations.get(key) == value for key, value in ours.items())
        if not same or labels.get(INSTANCE_LABEL, instance(lease_name)) != instance(lease_name):
            raise ForeignConfigMapError(
                f"ConfigMap {metadata.get('name')!r} is not the history of fleet {fleet[1]!r} in namespace "
                f"{fleet[0]!r} and is left as it is; delete or rename it"
            )
    ours[DESCRIPTION] = (
        f"Demand of fleet {fleet[1]} in namespace {fleet[0]}, for its forecast: the maximum in each five minutes of a "
        "day (UTC), in tasks. It is forgotten when this is deleted."
    )
    return {
        **config_map,
        "metadata": {
            **metadata,
            "labels": {**labels, INSTANCE_LABEL: instance(lease_name)},
            "annotations": {**annotations, **ours},
        },
        "data": dict(entries),
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="backslashreplace")).hexdigest()[:_HASH_LENGTH]
