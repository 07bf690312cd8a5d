"""Follows one collection of the Kubernetes API: list, watch, and retry without end.

A `Reflector` reports the collection's objects to a handler, by UID, independent of what they are for. The handler keeps
its state while the API server is unreachable. The rule for failures: a watch that ended as requested is resumed where
it stopped; after anything else the collection is listed again, because a list is always correct. Raw objects are not
kept, only their UIDs and versions.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NoReturn, Protocol, TypeVar

import structlog

from exporter.kube.api import (
    AccessDeniedError,
    ExpiredError,
    InactiveError,
    Json,
    KubeError,
    KubeReader,
    Resource,
    api_error,
)
from exporter.kube.collection import OutOfStepError, identity_of, read_event, read_page, version_of
from exporter.kube.read_pace import ReadPace, requested_wait
from exporter.retry import Backoff
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)

MAX_TYPE_LENGTH = 40
"""Characters of an unknown type of event, of which some are remembered."""
EVENTS_PER_TURN = 50
"""Events handled before other tasks run. Fifty pods of 8 KB take some 5 ms; a rollout brings thousands."""

T = TypeVar("T")
_Listed = tuple[dict[str, T], dict[str, str], str]
"""Objects and versions by UID, and the version of the list."""
T_contra = TypeVar("T_contra", contravariant=True)


class RestartReason(StrEnum):
    """Why a watch was restarted."""

    ENDED = "ended"
    """The server ended the watch without an error, as it does after the requested time."""
    EXPIRED = "expired"
    """The version to resume from was too old for the server (410)."""
    INACTIVE = "inactive"
    """The watch received nothing, not even a bookmark, for longer than a healthy server stays silent."""
    FORBIDDEN = "forbidden"
    """The server rejected the credentials or denied permission (401, 403)."""
    ERROR = "error"
    """Anything else: no connection, a truncated answer, a server error, an invalid line."""


class WatchHandler(Protocol[T_contra]):
    """Receives the objects of a collection. Called on the event loop, so it must not block."""

    def replaced(self, items: Mapping[str, T_contra]) -> None:
        """Take the whole collection by UID; any other object is gone."""

    def upserted(self, uid: str, item: T_contra) -> None:
        """Take one object that was added or changed."""

    def deleted(self, uid: str, last: T_contra) -> None:
        """Record that one object is gone, or no longer selected; `last` is its final version."""

    def alive(self) -> None:
        """Record that the known objects are current now."""


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """Timeouts and delays of a Reflector, in seconds unless stated otherwise."""

    page_size: int = 100
    """Objects per page. A page of 100 pods is about 1 MB, whose parsing blocks the event loop for some 10 ms;
    client-go's 500 would block it for more than 50."""
    list_timeout: float = 30.0
    """For one page. The API server's own timeout is 60."""
    beside_after: float = 1.5
    """After this long without a page a list is tried a second time beside the first: that one's connection may lead to
    a server that is gone, which shows only after `list_timeout`."""
    beside_timeout: float = 3.0
    """For a page of such an attempt; others follow. A server that is back is met within the sum of both."""
    watch_min: float = 300.0
    """Minimum requested duration of a watch, as in client-go."""
    watch_max: float = 600.0
    """Maximum; random between the two, so that many watches do not end at once."""
    inactivity: float = 70.0
    """Silence after which a watch counts as dead: the API server sends a bookmark about every 60 s."""
    overtime: float = 30.0
    """How much longer than requested a watch may last before the client ends it."""
    short_watch: float = 5.0
    """A watch that ends sooner than this counts as a failure, even without an error."""
    settled: float = 30.0
    """A watch that lasted this long resets the backoff."""
    backoff_first: float = 0.8
    backoff_max: float = 30.0
    """After failed watches, each of which costs a list. Failed lists are repeated sooner (`read_pace`)."""
    relist_after: float = 3600.0
    """Maximum time between lists: repairs what no error reveals, such as an event that a proxy dropped."""


def _no_hook(_reason: RestartReason) -> None:
    """Default for `on_restart`: do nothing."""


class Reflector(Generic[T]):
    """Keeps a handler up to date with one collection."""

    def __init__(
        self,
        client: KubeReader,
        resource: Resource,
        handler: WatchHandler[T],
        *,
        read: Callable[[Json], T],
        label_selector: str = "",
        on_restart: Callable[[RestartReason], None] = _no_hook,
        timing: WatchTiming | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Follow `resource` (a collection); `read` converts a raw object for the handler."""
        self._client = client
        self._resource = resource
        self._handler = handler
        self._read = read
        self._selector = [("labelSelector", label_selector)] if label_selector else []
        self._on_restart = on_restart
        self._timing = timing or WatchTiming()
        self._rng = rng or random.Random()  # noqa: S311 — it spreads load, it keeps no secret
        self._backoff = Backoff(self._timing.backoff_first, self._timing.backoff_max, rng=self._rng)
        self._list_pace = ReadPace(self._timing.backoff_first, self._timing.backoff_max, rng=self._rng)
        self._version: str | None = None
        """Version to resume a watch from; None if a list is required."""
        self._known: dict[str, str] = {}
        """The last version of each object, by UID. Versions are opaque: they are compared for equality only."""
        self._listed_at = 0.0
        self._page_at = 0.0
        """When a page of the list came last, or the list began."""
        self._list_failed = False
        self._watch_began: float | None = None
        self._failed_watches = 0
        self._expired_before = False
        self._list_trouble = Trouble(
            _log,
            "list failed; the last known state is kept",
            "list works again",
            resource=str(resource),
        )
        self._watch_trouble = Trouble(
            _log,
            "watch failed; falling back to repeated lists",
            "watch works again",
            resource=str(resource),
        )
        self._unknown_types = Trouble(
            _log, "watch event of unknown type ignored", remembered=ONCE_EACH, resource=str(resource)
        )

    async def run(self) -> NoReturn:
        """List and watch until cancelled. No answer of the API server ends it."""
        while True:
            error = await self._follow()
            delay = self._delay(error)
            self._on_restart(_reason(error))
            await asyncio.sleep(delay)

    async def _follow(self) -> KubeError | None:
        """List unless there is a version to resume from, then watch. Returns why it ended, None without an error."""
        self._watch_began = None
        if self._version is None:
            try:
                await self._list()
            except KubeError as error:
                self._list_failed = True
                self._report(self._list_trouble, error)
                return error
            self._list_failed = False
            self._list_pace.reset()
        try:
            await self._watch()
        except KubeError as error:
            self._version = None
            self._watch_failed(error)
            return error
        return None

    def _delay(self, error: KubeError | None) -> float:
        """Evaluate the last round, and return the seconds to wait before the next."""
        now = asyncio.get_running_loop().time()
        lasted = 0.0 if self._watch_began is None else now - self._watch_began
        if lasted >= self._timing.settled:
            self._backoff.reset()
            self._expired_before = False
        if error is None and lasted >= self._timing.short_watch:
            self._watch_is_well()
            if now - self._listed_at >= self._timing.relist_after:
                self._version = None
            return 0.0
        if error is None:
            self._version = None
            self._watch_failed(OutOfStepError(f"Each watch of {self._resource} is closed by the server immediately."))
        if isinstance(error, ExpiredError) and not self._expired_before:
            self._expired_before = True
            return 0.0
        if error is not None and self._list_failed:
            return self._list_pace.after(error)
        return max(self._backoff.next(), requested_wait(error))

    async def _list(self) -> None:
        """Read the collection, on a second connection too while the first one brings nothing. Raises KubeError."""
        self._page_at = asyncio.get_running_loop().time()
        first = asyncio.create_task(self._read_all(self._timing.list_timeout), name="list")
        beside = asyncio.create_task(self._read_beside(), name="list beside it")
        try:
            done, _ = await asyncio.wait((first, beside), return_when=asyncio.FIRST_COMPLETED)
            items, self._known, self._version = (first if first in done else beside).result()
        finally:
            first.cancel()
            beside.cancel()
            await asyncio.gather(first, beside, return_exceptions=True)
        self._listed_at = asyncio.get_running_loop().time()
        self._list_trouble.resolve()
        self._handler.replaced(items)

    async def _read_beside(self) -> "_Listed[T]":
        """Return the collection once an attempt of its own succeeds; what makes one fail, the first one reports."""
        clock = asyncio.get_running_loop().time
        due = self._page_at + self._timing.beside_after
        while True:
            await asyncio.sleep(due - clock())
            if clock() >= self._page_at + self._timing.beside_after:
                with suppress(KubeError):
                    return await self._read_all(self._timing.beside_timeout)
            due = max(self._page_at, clock()) + self._timing.beside_after

    async def _read_all(self, timeout: float) -> "_Listed[T]":
        """Return all objects of the collection and their versions, by UID, and the list's version. Raises KubeError."""
        items: dict[str, T] = {}
        known: dict[str, str] = {}
        version: str | None = None
        more: list[tuple[str, str]] = []
        while True:
            query = [("limit", str(self._timing.page_size)), *self._selector, *more]
            page = await self._client.get(self._resource, query, timeout=timeout)
            objects, page_version, token = read_page(self._resource, page)
            self._page_at = asyncio.get_running_loop().time()
            before = len(items)
            for obj in objects:
                uid, known_version = identity_of(obj)
                known[uid] = known_version
                items[uid] = self._read(obj)
            version = version or page_version
            if not token:
                return items, known, version
            if len(items) == before:
                raise OutOfStepError(f"The list of {self._resource} never ends: a page contained nothing new.")
            more = [("continue", token)]

    async def _watch(self) -> None:
        timing = self._timing
        seconds = round(self._rng.uniform(timing.watch_min, timing.watch_max))
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version or ""),
            ("timeoutSeconds", str(seconds)),
            *self._selector,
        ]
        opened = self._client.stream(
            self._resource, query, idle_timeout=timing.inactivity, total_timeout=seconds + timing.overtime
        )
        async with opened as lines:
            self._watch_began = asyncio.get_running_loop().time()
            taken = 0
            async for line in lines:
                if line.strip():
                    self._take(line)
                    taken += 1
                    if taken % EVENTS_PER_TURN == 0:
                        await asyncio.sleep(0)

    def _take(self, line: bytes) -> None:
        """Handle one event. Raises KubeError if the watch cannot continue."""
        kind, obj = read_event(line)
        if kind == "ERROR":
            code = obj.get("code")
            raise api_error("watch", self._resource, code if isinstance(code, int) else 500, obj)
        if kind == "BOOKMARK":
            self._version = version_of(obj)
            self._handler.alive()
        elif kind in {"ADDED", "MODIFIED", "DELETED"}:
            self._apply(kind, obj)
        else:
            kind = kind[:MAX_TYPE_LENGTH]
            self._unknown_types.report(kind, type=kind)
        if self._watch_began is not None and (
            asyncio.get_running_loop().time() - self._watch_began >= self._timing.settled
        ):
            self._watch_is_well()

    def _apply(self, kind: str, obj: Json) -> None:
        """Apply a change, unless it shows that events were lost, repeated or out of order.

        Versions cannot be ordered. But a consistent server adds only unknown objects and changes only known ones:
        anything else (a deleted object that returns as MODIFIED, a known one ADDED in another version) is not applied,
        and the collection is listed again.
        """
        uid, version = identity_of(obj)
        known = self._known.get(uid)
        if kind == "DELETED":
            self._known.pop(uid, None)
            self._handler.deleted(uid, self._read(obj))
        elif known == version:
            self._handler.alive()
        elif (known is None) == (kind == "ADDED"):
            self._known[uid] = version
            self._handler.upserted(uid, self._read(obj))
        else:
            raise OutOfStepError(f"The watch of {self._resource} is out of step: {kind} came for object {uid}.")
        self._version = version

    def _watch_failed(self, error: KubeError) -> None:
        """Log a change of state. A single failure is none, since the list after it repairs it."""
        self._failed_watches += 1
        if self._failed_watches > 1 or isinstance(error, AccessDeniedError):
            self._report(self._watch_trouble, error)

    def _watch_is_well(self) -> None:
        self._failed_watches = 0
        self._watch_trouble.resolve()

    def _report(self, trouble: Trouble, error: KubeError) -> None:
        reason = _reason(error)
        trouble.report(reason, reason=reason, **error.fields(self._resource.grant("list", "watch")))


def _reason(error: KubeError | None) -> RestartReason:
    match error:
        case None:
            return RestartReason.ENDED
        case ExpiredError():
            return RestartReason.EXPIRED
        case InactiveError():
            return RestartReason.INACTIVE
        case AccessDeniedError():
            return RestartReason.FORBIDDEN
        case _:
            return RestartReason.ERROR
