"""Discovers the HorizontalPodAutoscalers of the agents' namespaces by list and watch.

Nothing waits for them. Without permission, or if the server has none, they are unknown; that is logged once, and
retried periodically. `scaler_facts` parses an HPA; the store assigns it to a fleet.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import structlog

from exporter.config import KubernetesSettings
from exporter.discovery.scaler_facts import read_scaler
from exporter.fleet.scaler import Scaler
from exporter.kube.api import REQUEST_SECONDS, ApiError, Json, KubeReader, Query, Resource
from exporter.kube.watch import Reflector, RestartReason, WatchTiming
from exporter.retry import Backoff
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
VERSIONS = ("v2", "v2beta2", "v1")
"""Newest first: v2 is there since Kubernetes 1.23, v2beta2 from 1.12 to 1.25, v1 always, and with less in it."""
FIRST_PAUSE = 2.0
"""Maximum seconds to the second attempt: an API server that starts knows no permission for a moment."""
MAX_PAUSE = 300.0
"""Maximum seconds between two attempts without permission to read HPAs: it is rarely granted soon."""

_FORBIDDEN, _NOT_FOUND = 403, 404


class ScalerDiscovery:
    """Delivers the scalers to a store, for ever."""

    def __init__(
        self,
        settings: KubernetesSettings,
        client: KubeReader,
        store: SnapshotStore,
        *,
        on_restart: Callable[[RestartReason], None],
        max_pause: float = MAX_PAUSE,
        timing: WatchTiming | None = None,
    ) -> None:
        """Take where the agents are, and where to store their scalers; `on_restart` as for the pods."""
        namespaces = tuple(dict.fromkeys(settings.namespaces)) or (None,)
        self._reflectors = {
            namespace: Reflector(
                _PatientReader(AnyVersion(client), max_pause),
                HPAS.within(namespace),
                _NamespaceScalers(namespace, store),
                read=read_scaler,
                on_restart=on_restart,
                timing=timing,
            )
            for namespace in namespaces
        }

    async def run(self) -> None:
        """Follow the HPAs until cancelled. No answer of the API server ends it."""
        async with asyncio.TaskGroup() as tasks:
            for namespace, reflector in self._reflectors.items():
                tasks.create_task(reflector.run(), name=f"scalers in {namespace or 'the cluster'}")


class AnyVersion:
    """A `KubeReader` that asks for HPAs in the newest version of the API that the server has."""

    def __init__(self, client: KubeReader) -> None:
        self._client = client
        self._version = VERSIONS[0]
        """The one that answered last: a watch goes on in the version of its list."""

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = REQUEST_SECONDS) -> Json:
        """Return an HPA, or a list of them. Raises KubeError."""
        *others, last = sorted(VERSIONS, key=lambda version: version != self._version)
        for version in others:
            try:
                return await self._in_version(version, resource, query, timeout)
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
        return await self._in_version(last, resource, query, timeout)

    async def _in_version(self, version: str, resource: Resource, query: Query, timeout: float) -> Json:
        answer = await self._client.get(replace(resource, version=version), query, timeout=timeout)
        self._version = version
        return answer

    def stream(
        self,
        resource: Resource,
        query: Query = (),
        *,
        idle_timeout: float,
        total_timeout: float | None = None,
        keep: int | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a watch, as `KubeReader` defines."""
        resource = replace(resource, version=self._version)
        return self._client.stream(resource, query, idle_timeout=idle_timeout, total_timeout=total_timeout, keep=keep)


class _PatientReader:
    """A `KubeReader` whose list waits until it is permitted; every other error is raised to the caller."""

    def __init__(self, client: AnyVersion, max_pause: float) -> None:
        self._client = client
        self._max_pause = max_pause
        self._trouble = Trouble(
            _log,
            "autoscalers of the fleets are unknown: HorizontalPodAutoscalers cannot be read",
            "HorizontalPodAutoscalers can be read again",
        )
        self.stream = client.stream

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = REQUEST_SECONDS) -> Json:
        """Return the list as soon as the server gives it. Raises KubeError for what waiting long does not mend."""
        backoff = Backoff(min(FIRST_PAUSE, self._max_pause), self._max_pause)
        while True:
            try:
                answer = await self._client.get(resource, query, timeout=timeout)
            except ApiError as error:
                if error.status not in {_FORBIDDEN, _NOT_FOUND}:
                    raise
                self._report(resource, error)
                await asyncio.sleep(backoff.next())
            else:
                self._trouble.resolve(namespace=_where(resource))
                return answer

    def _report(self, resource: Resource, error: ApiError) -> None:
        level, fix = logging.INFO, "not needed if nothing scales the agents"
        if error.status == _FORBIDDEN:
            level, fix = logging.WARNING, resource.grant("list", "watch")
        fix = f"{fix}; or set scalers.enabled to false"
        self._trouble.report(True, "", level, namespace=_where(resource), error=str(error), fix=fix)


def _where(resource: Resource) -> str:
    return resource.namespace or "every namespace"


class _NamespaceScalers:
    """The handler of one namespace: one HPA's object in, all of the namespace's scalers out."""

    def __init__(self, namespace: str | None, store: SnapshotStore) -> None:
        self._namespace = namespace
        self._store = store
        self._by_uid: dict[str, Scaler | None] = {}
        self._scalers: tuple[Scaler, ...] = ()

    def replaced(self, items: Mapping[str, Scaler | None]) -> None:
        self._by_uid = dict(items)
        self._changed()

    def upserted(self, uid: str, item: Scaler | None) -> None:
        # Most changes are of what the metrics are just now, which is not part of what is kept.
        if uid in self._by_uid and self._by_uid[uid] == item:
            self.alive()
        else:
            self._by_uid[uid] = item
            self._changed()

    def deleted(self, uid: str, _last: Scaler | None) -> None:
        self._by_uid.pop(uid, None)
        self._changed()

    def alive(self) -> None:
        self._store.scalers_seen(self._namespace, self._scalers)

    def _changed(self) -> None:
        self._scalers = tuple(scaler for scaler in self._by_uid.values() if scaler is not None)
        self.alive()
