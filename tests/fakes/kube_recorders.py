"""Take down what a watch or a discovery delivers, and wait for it."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from exporter.fleet.model import IgnoredPod, PodFacts, Target
from exporter.fleet.scaler import Scaler
from exporter.kube.api import KubeReader, Resource
from exporter.kube.watch import Reflector, RestartReason, WatchTiming
from tests.fakes.background import background

FAST = WatchTiming(backoff_first=0.1, backoff_max=0.5)
"""Tries again sooner than in life, where nobody waits for it."""


class RecordingHandler:
    """A watch handler that holds what it was told."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.last: dict[str, dict[str, Any]] = {}
        """Final version of each deleted object."""
        self.calls: list[str] = []
        self.restarts: list[RestartReason] = []

    def replaced(self, items: Mapping[str, dict[str, Any]]) -> None:
        self.calls.append("replaced")
        self.items = dict(items)

    def upserted(self, uid: str, item: dict[str, Any]) -> None:
        self.calls.append(f"upserted {uid}")
        self.items[uid] = item

    def deleted(self, uid: str, last: dict[str, Any]) -> None:
        self.calls.append(f"deleted {uid}")
        self.items.pop(uid, None)
        self.last[uid] = last

    def alive(self) -> None:
        self.calls.append("alive")

    @property
    def versions(self) -> dict[str, str]:
        """The version held of each object."""
        return {uid: item["metadata"]["resourceVersion"] for uid, item in self.items.items()}


@asynccontextmanager
async def reflectors(client: KubeReader) -> AsyncIterator[Callable[..., RecordingHandler]]:
    """Yield what starts a reflector of a collection and returns what hears from it; all end with the context."""

    def start(resource: Resource, timing: WatchTiming, *, label_selector: str = "") -> RecordingHandler:
        handler = RecordingHandler()
        reflector = Reflector(
            client,
            resource,
            handler,
            read=lambda obj: obj,
            label_selector=label_selector,
            on_restart=handler.restarts.append,
            timing=timing,
        )
        run(reflector.run())
        return handler

    async with background() as run:
        yield start


class RecordingSink:
    """Holds the targets of each source and the scalers of each namespace, as a store does."""

    def __init__(self) -> None:
        self.sources: dict[str, dict[str, Target]] = {}
        self.ended: dict[str, PodFacts] = {}
        """Final state of each pod that ended, by UID."""
        self.others: dict[str, tuple[IgnoredPod, ...]] = {}
        self.scalers: dict[str | None, tuple[Scaler, ...]] = {}
        self.calls: list[str] = []
        self.restarts: list[RestartReason] = []

    def replace(self, source: str, targets: Iterable[Target], finished: Mapping[str, PodFacts]) -> None:
        self.calls.append(f"replace {source}")
        self.sources[source] = {target.uid: target for target in targets}
        self.ended.update(finished)

    def upsert(self, source: str, target: Target) -> None:
        self.calls.append(f"upsert {source}")
        self.sources[source][target.uid] = target

    def remove(self, source: str, uid: str, last: PodFacts | None) -> None:
        self.calls.append(f"remove {source}")
        if last is not None:
            self.ended[uid] = last
        self.sources[source].pop(uid, None)

    def set_ignored(self, source: str, pods: tuple[IgnoredPod, ...]) -> None:
        self.others[source] = pods

    def synced(self, source: str) -> None:
        self.calls.append(f"synced {source}")

    def scalers_seen(self, namespace: str | None, scalers: tuple[Scaler, ...]) -> None:
        self.calls.append(f"scalers {namespace}")
        self.scalers[namespace] = scalers

    def scaler(self, namespace: str, name: str) -> Scaler | None:
        """Return one scaler; None where it was not told of."""
        return next((scaler for scaler in self.scalers.get(namespace, ()) if scaler.name == name), None)

    def scaler_names(self, namespace: str = "matillion") -> list[str]:
        """Return the scalers of a namespace."""
        return [scaler.name for scaler in self.scalers.get(namespace, ())]

    def pods(self, source: str) -> dict[str, Target]:
        """Return the targets of a source by pod name; none before its first list."""
        return {target.pod: target for target in self.sources.get(source, {}).values()}
