"""What is stored of all fleets, as the watch of their ConfigMaps shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from exporter.history.encoding import Decoded, decode
from exporter.history.recorder import MAX_FLEETS, Recorder
from exporter.history.stored_fleet import StoredFleet
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)

MAX_READ = 2 * MAX_FLEETS
"""ConfigMaps that are looked at: more than any exporter writes."""


@dataclass(slots=True)
class _Entry:
    """One ConfigMap; its text is read when it is needed, and not kept."""

    config_map: StoredFleet
    decoded: Decoded


class StoredFleets:
    """The handler of the watch. What is stored is forgotten by the recorder; so is what was deleted."""

    def __init__(self, days: int, store: SnapshotStore, recorder: Recorder) -> None:
        self._days = days
        self._store = store
        self._recorder = recorder
        self._entries: dict[FleetKey, _Entry] = {}
        self._keys: dict[str, FleetKey] = {}
        """By UID."""
        self.listed = False
        """Whether all ConfigMaps have been seen."""
        self._foreign = Trouble(
            _log, "a ConfigMap is labeled as the history of a fleet and is not; ignored", remembered=ONCE_EACH
        )
        self._refused = Trouble(_log, "an entry of a fleet's history is not valid; ignored", remembered=ONCE_EACH)
        self._too_many = Trouble(_log, "there are too many ConfigMaps with history; some are ignored", limit=MAX_READ)

    def fleets(self) -> Sequence[FleetKey]:
        """Return the fleets of which something is stored."""
        return tuple(self._entries)

    def config_map(self, fleet: FleetKey) -> StoredFleet | None:
        """Return the ConfigMap of a fleet; None if there is none."""
        entry = self._entries.get(fleet)
        return entry.config_map if entry is not None else None

    def of(self, fleet: FleetKey) -> Decoded | None:
        """Return what is stored of a fleet; None if that is nothing."""
        entry = self._entries.get(fleet)
        if entry is None:
            return None
        config_map = entry.config_map
        if config_map.entries is not None:
            entry.decoded = decode(config_map.entries, self._store.wall_now(), self._days, entry.decoded)
            entry.config_map = replace(config_map, entries=None)
            for key, reason in entry.decoded.refused.items():
                kind = (config_map.name, key, reason)
                self._refused.report(kind, config_map=config_map.name, entry=key, reason=reason)
            self._recorder.saved(fleet, entry.decoded)
        return entry.decoded

    # -- the watch's side ---------------------------------------------------------------------------------------------

    def replaced(self, items: Mapping[str, StoredFleet]) -> None:
        """Take all ConfigMaps by UID."""
        for uid in self._keys.keys() - items.keys():
            self._drop(uid)
        for uid, item in items.items():
            self.upserted(uid, item)
        self.listed = True

    def upserted(self, uid: str, item: StoredFleet) -> None:
        """Take one ConfigMap that was added or changed."""
        if item.fleet is None:
            self._foreign.report(item.name, config_map=item.name)
            self._drop(uid)
        elif item.fleet in self._entries:
            self._keys[uid] = item.fleet
            self._entries[item.fleet].config_map = item
        elif len(self._entries) < MAX_READ:
            self._keys[uid] = item.fleet
            self._entries[item.fleet] = _Entry(item, Decoded())
        else:
            self._too_many.report()

    def deleted(self, uid: str, _last: StoredFleet) -> None:
        """Forget a ConfigMap that was deleted, and with it what was recorded so far: someone wants it forgotten."""
        self._drop(uid)

    def alive(self) -> None:
        """Do nothing: how old the past is shows in itself."""

    def _drop(self, uid: str) -> None:
        fleet = self._keys.pop(uid, None)
        if fleet is not None and self._entries[fleet].config_map.uid == uid:
            del self._entries[fleet]
            self._recorder.forget(fleet)
