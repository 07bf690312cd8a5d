"""The past of the fleets in ConfigMaps, one for each fleet, in the exporter's own namespace.

Every replica records the demand, and follows the ConfigMaps. What it provides is only what is stored there, so that all
replicas have the same past. The leader adds what it recorded, every 15 minutes, and when it ends. An addition is the
maximum of both in each five minutes, over the version that was read: a change by another client is read again and added
to. So no order and no repetition of writes does harm, and a new leader adds what the last one could not.

A ConfigMap that is deleted is forgotten by all replicas; the next one begins with the demand recorded after that.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from math import inf

import structlog

from exporter.config import ForecastSettings
from exporter.history.encoding import Decoded, Entries, decode, updated
from exporter.history.past import Past
from exporter.history.recorder import USUAL, Pace, Recorder, keep_adding
from exporter.history.stored_fleet import ForeignConfigMapError, StoredFleet, filled, name, selector
from exporter.history.stored_fleets import StoredFleets
from exporter.kube.api import Json, KubeCollections, KubeError, Resource
from exporter.kube.config_maps import CHANGED_MEANWHILE, read_or_new, write
from exporter.kube.election import Leadership
from exporter.kube.fields import mapping
from exporter.kube.watch import Reflector, RestartReason
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)

VERBS = ("get", "list", "watch", "create", "update", "delete")
"""What is needed on ConfigMaps of the exporter's namespace; `delete` for fleets that are gone for good."""

_OF_THE_OBJECT = (400, 413, 422)
_LAST_AT_ONCE = 16
"""Additions at one time at the end: a month of 100 fleets takes 0.4 s. Each more needs a connection of its own."""
_ATTEMPTS = 5
"""Of one addition, where each time another client was faster."""


class ConfigMapHistory:
    """A `PastSource`. `run` is for every replica, `write` for the leader."""

    def __init__(
        self,
        settings: ForecastSettings,
        lease_name: str,
        store: SnapshotStore,
        api: KubeCollections,
        leadership: Leadership,
        *,
        place: Resource,
        on_restart: Callable[[RestartReason], None],
        pace: Pace = USUAL,
    ) -> None:
        """Take the `place` of the ConfigMaps: their collection in the exporter's namespace."""
        self._days = settings.days
        self._lease_name = lease_name
        self._store = store
        self._api = api
        self._leadership = leadership
        self._place = place
        self._pace = pace
        self._recorder = Recorder(store, days=settings.days)
        self._stored = StoredFleets(settings.days, store, self._recorder)
        self._reflector = Reflector(
            api,
            place,
            self._stored,
            read=lambda config_map: StoredFleet.of(config_map, lease_name),
            label_selector=selector(lease_name),
            on_restart=on_restart,
        )
        event = "history cannot be stored; it is kept in memory, and lost if no replica is left; will retry"
        self._trouble = Trouble(_log, event, "history can be stored again", remembered=ONCE_EACH)
        self._undeleted = Trouble(_log, "history of a fleet that is gone cannot be deleted")

    def past(self, fleet: FleetKey) -> Past | None:
        """Return what is stored of a fleet; None if that is nothing, or has not been read yet."""
        found = self._stored.of(fleet)
        return None if found is None else found.past(self._store.wall_now())

    async def run(self) -> None:
        """Follow the ConfigMaps and record the demand until cancelled. No answer of the API server ends it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reflector.run(), name="stored history")
            tasks.create_task(self._recorder.run(self._pace.sample_every), name="recording of demand")

    async def write(self) -> None:
        """Store what is recorded until cancelled. No answer of the API server ends it. May be run again after that."""
        began, next_round = self._store.now(), -inf
        todo: Collection[FleetKey] = ()

        def ready() -> bool:
            known = self._stored.listed or self._store.now() >= began + self._pace.patience
            return known and bool(todo or self._recorder.unsaved()) and self._leadership.is_leader()

        async def add() -> bool:
            nonlocal todo, next_round
            now = self._store.now()
            if not todo or now >= next_round:
                todo = await self._make_room()
                next_round = now + self._pace.until_next_write(self._store.wall_now())
            todo = await self._add_all(todo)
            return not todo

        try:
            await keep_adding(self._store, self._pace, add, ready)
        finally:
            # Whether it still leads does not matter: an addition only adds.
            few = asyncio.Semaphore(_LAST_AT_ONCE)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.last_timeout):
                    await asyncio.gather(*(self._add_last(fleet, few) for fleet in self._recorder.unsaved()))

    async def _make_room(self) -> Collection[FleetKey]:
        """Delete what is obsolete; return the fleets whose additions there is room for."""
        known_until: dict[FleetKey, float] = {}
        for fleet in self._stored.fleets():
            if (found := self._stored.of(fleet)) is not None:
                # What cannot be read is not deleted: it may be of a later version.
                known_until[fleet] = inf if found.refused else found.known_until
            await asyncio.sleep(0)
        obsolete, admitted = self._recorder.room(known_until)
        for fleet in obsolete:
            await self._delete(fleet)
        return admitted

    async def _delete(self, fleet: FleetKey) -> None:
        """Delete what is stored of a fleet, in the version that was seen."""
        stored = self._stored.config_map(fleet)
        if stored is None:
            return
        preconditions = {"uid": stored.uid, "resourceVersion": stored.version}
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        try:
            await self._api.send("DELETE", self._place.named(stored.name), body, timeout=self._pace.timeout)
        except KubeError as error:
            if error.status not in CHANGED_MEANWHILE:
                self._undeleted.report(error.kind, **error.fields(self._place.grant("delete")))
        else:
            self._undeleted.resolve()
            _log.info("history of a fleet that is gone deleted", fleet=fleet[1], namespace=fleet[0])

    async def _add_all(self, fleets: Collection[FleetKey]) -> Collection[FleetKey]:
        """Add what is recorded of these fleets; return those for which that failed."""
        failed = []
        for fleet in fleets:
            try:
                await self._add(fleet)
            except (KubeError, ForeignConfigMapError) as error:
                failed.append(fleet)
                self._report(fleet, error)
        if not failed:
            self._trouble.resolve()
        return failed

    async def _add_last(self, fleet: FleetKey, few: asyncio.Semaphore) -> None:
        with suppress(KubeError, ForeignConfigMapError):
            async with few:
                await self._add(fleet)

    async def _add(self, fleet: FleetKey) -> None:
        """Add what is recorded of one fleet to what is stored of it. Raises KubeError or ForeignConfigMapError."""
        place = self._place.named(name(self._lease_name, fleet))
        attempts = _ATTEMPTS
        while True:
            stored = await read_or_new(self._api, place, timeout=self._pace.timeout)
            config_map = filled(stored, self._lease_name, fleet, self._entries(stored, fleet))
            attempts -= 1
            try:
                answer = await write(self._api, place, config_map, timeout=self._pace.timeout)
            except KubeError as error:
                if error.status not in CHANGED_MEANWHILE or not attempts:
                    raise
            else:
                self._recorder.saved(fleet, self._decoded(answer, fleet))
                return

    def _entries(self, stored: Json, fleet: FleetKey) -> Entries:
        now, entries = self._store.wall_now(), mapping(stored.get("data"))
        addition, starts = self._recorder.addition(fleet), self._store.starts(fleet)
        return updated(entries, addition, starts, now=now, days=self._days)

    def _decoded(self, config_map: Json, fleet: FleetKey) -> Decoded:
        return decode(mapping(config_map.get("data")), self._store.wall_now(), self._days, self._stored.of(fleet))

    def _report(self, fleet: FleetKey, error: KubeError | ForeignConfigMapError) -> None:
        if isinstance(error, ForeignConfigMapError):
            self._trouble.report((fleet, type(error)), error=str(error))
        else:
            # What the server says of the object concerns this fleet alone, such as its size.
            kind = (fleet, error.kind) if error.status in _OF_THE_OBJECT else error.kind
            self._trouble.report(kind, **error.fields(self._place.grant(*VERBS)))
