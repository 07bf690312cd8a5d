"""The latest snapshot of every agent, and the fleets they make.

The one place with state between discovery, which fills in the targets, the poller, which fills in the readings, and
everybody who reads fleets. No I/O; time comes from the clocks it is given.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from exporter.fleet.capacity import Policy, aggregate
from exporter.fleet.model import AgentSnapshot, Fleet, Reading, Target

Clock = Callable[[], float]
_FleetKey = tuple[str, str]

# With many agents every moment brings a new reading. A fleet is added up again at most this often, so that readers in
# a hurry cost no more than five times a second; what they see is at most this much older than what is known.
_RECOMPUTE_AFTER = 0.2
# Without a new reading a fleet still changes as readings grow old.
_RECOMPUTE_ANYWAY_AFTER = 1.0


@dataclass(slots=True)
class _Group:
    """The agents of one fleet, and the last `Fleet` made of them."""

    snapshots: dict[str, AgentSnapshot]
    changed: bool = True
    fleet: Fleet | None = None
    computed_at: float = 0.0


class SnapshotStore:
    """Latest `AgentSnapshot` per agent; a `TargetSink` for discovery and the source of `Fleet`s for readers."""

    def __init__(self, policy: Policy, *, monotonic: Clock, wall: Clock) -> None:
        self._policy = policy
        self._monotonic = monotonic
        self._wall = wall
        self._synced_at: dict[str, float | None] = {}
        self._sources: dict[str, str] = {}
        self._groups: dict[_FleetKey, _Group] = {}
        self._keys: dict[str, _FleetKey] = {}
        self._first_round: set[str] | None = None
        self.membership_changed: Callable[[], None] = lambda: None
        """Called after targets were added or removed; the poller sets it."""

    # -- discovery's side: a TargetSink -------------------------------------------------------------------------------

    def expect(self, sources: Iterable[str]) -> None:
        """Announce sources before they deliver: nothing is complete until each has."""
        for source in sources:
            self._synced_at.setdefault(source, None)

    def replace(self, source: str, targets: Iterable[Target]) -> None:
        """Make `targets` the whole membership of `source`."""
        wanted = {target.uid: target for target in targets}
        for uid in [uid for uid, owner in self._sources.items() if owner == source and uid not in wanted]:
            self._forget(uid)
        for target in wanted.values():
            self._take(source, target)
        self.synced(source)
        self.membership_changed()

    def upsert(self, source: str, target: Target) -> None:
        """Add one target of `source`, or take its newer facts."""
        known = target.uid in self._keys
        self._take(source, target)
        self.synced(source)
        if not known:
            self.membership_changed()

    def remove(self, source: str, uid: str) -> None:
        """Forget one target of `source`."""
        if self._sources.get(uid) == source:
            self._forget(uid)
            self.membership_changed()
        self.synced(source)

    def synced(self, source: str) -> None:
        """Take note that the membership of `source` was current just now."""
        self._synced_at[source] = self._monotonic()
        if self._first_round is None and None not in self._synced_at.values():
            self._first_round = {uid for uid in self._keys if self.snapshot(uid).target.address is not None}

    def _take(self, source: str, target: Target) -> None:
        key = (target.namespace, target.fleet)
        previous = self._keys.get(target.uid)
        snapshot = (
            AgentSnapshot(target=target) if previous is None else replace(self.snapshot(target.uid), target=target)
        )
        if previous not in (None, key):
            self._forget(target.uid)
        self._sources[target.uid] = source
        self._keys[target.uid] = key
        self._put(snapshot)

    def _forget(self, uid: str) -> None:
        key = self._keys.pop(uid)
        del self._sources[uid]
        group = self._groups[key]
        del group.snapshots[uid]
        group.changed = True
        if not group.snapshots:
            del self._groups[key]
        self._attempted(uid)

    # -- the poller's side --------------------------------------------------------------------------------------------

    def uids(self) -> Iterable[str]:
        """Return the agents there are to scrape."""
        return self._keys.keys()

    def snapshot(self, uid: str) -> AgentSnapshot:
        """Return the latest of an agent. Raises KeyError when it is gone."""
        return self._groups[self._keys[uid]].snapshots[uid]

    def scraped(self, uid: str, reading: Reading, *, url: str, seconds: float) -> None:
        """Take a good reading, complete just now. An agent that went away meanwhile is passed over."""
        if uid in self._keys:
            self._put(
                AgentSnapshot(
                    target=self.snapshot(uid).target,
                    reading=reading,
                    read_at=self._monotonic(),
                    read_time=self._wall(),
                    url=url,
                    scrape_seconds=seconds,
                )
            )
            self._attempted(uid)

    def failed(self, uid: str, error: str, *, seconds: float) -> bool:
        """Take note of a failed attempt; the last good reading stays, and grows old.

        Returns whether this is news: the attempt before succeeded, or failed in another way.
        """
        if uid not in self._keys:
            return False
        before = self.snapshot(uid)
        self._put(replace(before, error=error, scrape_seconds=seconds))
        self._attempted(uid)
        return before.error != error

    def _put(self, snapshot: AgentSnapshot) -> None:
        group = self._groups.setdefault(self._keys[snapshot.target.uid], _Group({}))
        group.snapshots[snapshot.target.uid] = snapshot
        group.changed = True

    def _attempted(self, uid: str) -> None:
        if self._first_round:
            self._first_round.discard(uid)

    # -- the readers' side --------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the instant, on the clock of every age in a snapshot."""
        return self._monotonic()

    def wall_now(self) -> float:
        """Return the present in Unix time."""
        return self._wall()

    def fleets(self) -> Sequence[Fleet]:
        """Return every fleet as of now, by namespace and name."""
        now = self._monotonic()
        return [self._fleet(key, now) for key in sorted(self._groups)]

    def _fleet(self, key: _FleetKey, now: float) -> Fleet:
        group = self._groups[key]
        age = now - group.computed_at
        due = _RECOMPUTE_AFTER if group.changed else _RECOMPUTE_ANYWAY_AFTER
        if group.fleet is None or age >= due:
            group.fleet = aggregate(
                *key, group.snapshots.values(), self._policy, now, sync_age=self._sync_age(group, now)
            )
            group.computed_at = now
            group.changed = False
        return group.fleet

    def _sync_age(self, group: _Group, now: float) -> float:
        sources = {self._sources[uid] for uid in group.snapshots}
        return max((now - at for source in sources if (at := self._synced_at[source]) is not None), default=0.0)

    def targets(self) -> int:
        """Return how many agents are known."""
        return len(self._keys)

    def sync_age(self) -> float | None:
        """Return the age of the oldest source's view; None while a source has not synced yet."""
        instants = [at for at in self._synced_at.values() if at is not None]
        if len(instants) < len(self._synced_at) or not instants:
            return None
        return self._monotonic() - min(instants)

    def not_ready_reason(self) -> str | None:
        """Return what is still missing before figures can be complete; None from the first full round on."""
        missing = sorted(source for source, at in self._synced_at.items() if at is None)
        if missing:
            return f"not synced yet: {', '.join(missing)}"
        if self._first_round:
            return f"first scrape round: {len(self._first_round)} agents to go"
        return None
