"""What NetworkPolicies let through, as Kubernetes defines it (kubernetes.io, "Network Policies").

A pod that a policy of a direction selects takes in that direction only what some such policy allows; policies add up.
A connection needs the egress of its source and the ingress of its destination. It knows TCP between pods only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.kube.selector import parse_selector

Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A pod as a policy sees it."""

    namespace: str
    labels: dict[str, str]
    namespace_labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """What its containers declare, by name."""


def selects(selector: Json | None, labels: dict[str, str]) -> bool:
    """Return whether a LabelSelector object matches; an empty one matches everything."""
    given = selector or {}
    parts = [f"{key}={value}" for key, value in given.get("matchLabels", {}).items()]
    for one in given.get("matchExpressions", []):
        values = ",".join(one.get("values", []))
        text = {"In": "{} in ({})", "NotIn": "{} notin ({})", "Exists": "{}", "DoesNotExist": "!{}"}[one["operator"]]
        parts.append(text.format(one["key"], values))
    return parse_selector(",".join(parts)).matches(labels)


def lets_through(policies: Sequence[Json], source: Place, destination: Place, port: int) -> bool:
    """Return whether a TCP connection to a port of a pod is allowed in both directions."""
    return all(_allows(policies, way, source, destination, port) for way in ("Egress", "Ingress"))


def _allows(policies: Sequence[Json], way: str, source: Place, destination: Place, port: int) -> bool:
    subject, peer = (source, destination) if way == "Egress" else (destination, source)
    chosen = [
        one["spec"]
        for one in policies
        if one["metadata"]["namespace"] == subject.namespace
        and way in one["spec"]["policyTypes"]
        and selects(one["spec"]["podSelector"], subject.labels)
    ]
    if not chosen:
        return True
    side = "from" if way == "Ingress" else "to"
    return any(
        _port_meant(rule.get("ports"), destination, port) and _peer_meant(rule.get(side), subject.namespace, peer)
        for spec in chosen
        for rule in spec.get(way.lower(), [])
    )


def _port_meant(ports: list[Json] | None, listening: Place, port: int) -> bool:
    """Without a list every port is meant; a name stands for what the listening pod declares under it."""
    return not ports or any(
        one.get("protocol", "TCP") == "TCP" and listening.ports.get(one["port"], one["port"]) == port for one in ports
    )


def _peer_meant(peers: list[Json] | None, namespace: str, peer: Place) -> bool:
    """Without a list everybody is meant. Blocks of addresses are for those outside of the cluster here."""
    for one in peers or [{"namespaceSelector": {}}]:
        if "ipBlock" in one:
            continue
        here = (
            selects(one["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace} | peer.namespace_labels)
            if "namespaceSelector" in one
            else peer.namespace == namespace
        )
        if here and selects(one.get("podSelector"), peer.labels):
            return True
    return False
