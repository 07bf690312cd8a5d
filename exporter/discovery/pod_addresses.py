"""Which addresses of pods are never connected to, whatever Kubernetes reports of them.

A pod's address is written by the kubelet of its node, and so by whoever has taken over a node. It must not make the
exporter ask the services that AWS and Kubernetes offer on link-local addresses, such as the instance metadata at
169.254.169.254, for something. Nor is this exporter's own address that of an agent: an agent that has it is one of the
past, on a node that is gone. Static targets are settings, and not held to this.
"""

import os
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from exporter.kube.fields import line

POD_IPS = "POD_IPS"
"""The variable in which the chart gives the pod's addresses (`status.podIPs`), separated by commas."""
_AWS_LOCAL = IPv6Network("fd00:ec2::/32")
"""AWS' own services of an instance over IPv6: metadata, DNS, EKS Pod Identity (docs.aws.amazon.com, "Use IMDS")."""
_SHOWN = 60
"""Characters of what is no address."""

Address = IPv4Address | IPv6Address


def own_addresses(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the addresses of this process' pod; none outside a pod, where a loopback address may be an agent's."""
    return frozenset(filter(None, map(str.strip, environ.get(POD_IPS, "").split(","))))


def off_limits(text: str, own: Collection[str] = ()) -> str | None:
    """Return why a pod's address is never connected to; None for an address that may be an agent's.

    `own` are the addresses of this process' pod.
    """
    address = _parse(text)
    if address is None:
        return f"its address {line(text, _SHOWN)!r} is no IP address"
    if address in {*map(_parse, own)} or (own and address.is_loopback):
        return f"its address {text} is this exporter's own"
    kinds = {
        "link-local": address.is_link_local,
        "of AWS' services on the node": address in _AWS_LOCAL,
        "a multicast address": address.is_multicast,
        "unspecified": address.is_unspecified,
    }
    kind = next((kind for kind, holds in kinds.items() if holds), None)
    return None if kind is None else f"its address {text} is {kind}, which no agent has: it is never scraped"


def _parse(text: str) -> Address | None:
    """Return an address; an IPv4 address in IPv6's form (RFC 4291, 2.5.5.2) as what it is."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
