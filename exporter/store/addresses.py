"""Which target responds at an address that several targets claim.

A pod's IP is reused within seconds, even while its former owner is still listed: on a dead node, or terminating
(prometheus/prometheus#2266). Of several live pods with one address, the newest one responds there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from exporter.fleet.model import Target


@dataclass(frozen=True, slots=True)
class _Claim:
    """One target at an address, and its order: by Kubernetes' creation time, then by arrival."""

    uid: str
    name: str
    port: int | None
    """None if the default ports are tried."""
    order: tuple[float, int]


class AddressBook:
    """The claims on every address, across all sources, namespaces and fleets."""

    def __init__(self) -> None:
        self._at: dict[str, dict[str, _Claim]] = {}
        self._addresses: dict[str, str] = {}
        self._arrivals = count()

    def claim(self, target: Target) -> Iterable[str]:
        """Record a target's current address. Returns the targets whose result may have changed, including itself."""
        before = self._at.get(target.address or "", {}).get(target.uid)
        affected = set(self.drop(target.uid)) | {target.uid}
        if target.address is not None:
            created = target.facts.created_time if target.facts is not None else None
            arrival = next(self._arrivals) if before is None else before.order[1]
            order = (float("-inf") if created is None else created, arrival)
            port = target.endpoint.port if target.endpoint is not None else None
            claims = self._at.setdefault(target.address, {})
            claims[target.uid] = _Claim(target.uid, f"{target.namespace}/{target.pod}", port, order)
            self._addresses[target.uid] = target.address
            affected |= claims.keys()
        return affected

    def drop(self, uid: str) -> Iterable[str]:
        """Remove a target's claim. Returns the others at its address."""
        address = self._addresses.pop(uid, None)
        if address is None:
            return ()
        claims = self._at[address]
        del claims[uid]
        if not claims:
            del self._at[address]
        return tuple(claims)

    def displaced_by(self, uid: str) -> str | None:
        """Return the `namespace/pod` that responds at this target's address; None if it is the target itself."""
        address = self._addresses.get(uid)
        if address is None:
            return None
        claims = self._at[address]
        own = claims[uid]
        # Most addresses have one claim.
        rivals = [claim for claim in claims.values() if claim is not own and _same_port(claim, own)]
        winner = max(rivals, key=lambda claim: claim.order, default=own)
        return winner.name if winner.order > own.order else None


def _same_port(one: _Claim, other: _Claim) -> bool:
    return one.port is None or other.port is None or one.port == other.port
