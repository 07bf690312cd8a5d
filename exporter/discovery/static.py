"""Agents at known addresses: those written in the settings, and those of a file that is read again when it changes.

Two sources, "static" and "static-file", so that a file which went bad makes its own agents' membership old and not that
of the inline ones. Knows nothing of Kubernetes: these targets have no pod facts.
"""

import asyncio
import logging
from pathlib import Path

import structlog

from exporter.config import DEFAULT_ENDPOINTS, ConfigError, StaticSettings, StaticTarget, load_targets
from exporter.config.problems import Problem
from exporter.fleet.model import Dialect, Endpoint, Target
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

INLINE = "static"
FILE = "static-file"

CHECK_INTERVAL = 2.0
"""Seconds between two looks at the file, each one stat call; a mounted ConfigMap itself lags up to a minute."""

RETRY_INTERVAL = 30.0
"""Seconds after which a bad file is read again although it looks unchanged: its disk may have been what was bad."""

_SHOWN_PROBLEMS = 5
_DEFAULTS = {endpoint.kind: endpoint for endpoint in DEFAULT_ENDPOINTS}

_log = structlog.get_logger(__name__)


class StaticDiscovery:
    """Delivers static targets to a store and keeps saying that they are current, for as long as they are."""

    def __init__(
        self, settings: StaticSettings, store: SnapshotStore, *, check_interval: float = CHECK_INTERVAL
    ) -> None:
        self._inline = tuple(map(to_target, settings.targets))
        self._file = settings.file
        self._store = store
        self._check_interval = check_interval

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that will deliver."""
        return (*((INLINE,) if self._inline else ()), *((FILE,) if self._file else ()))

    async def run(self) -> None:
        """Deliver the targets and keep them current, until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._inline:
                group.create_task(self._confirm_inline(), name="inline static targets")
            if self._file is not None:
                watch = _FileWatch(self._file, self._inline, self._store, self._check_interval)
                group.create_task(watch.run(), name="file of static targets")

    async def _confirm_inline(self) -> None:
        self._store.replace(INLINE, self._inline)
        while True:
            await asyncio.sleep(self._check_interval)
            self._store.synced(INLINE)


class _FileWatch:
    """Follows one file. A file that cannot be used leaves the last good targets in place, and is logged once."""

    def __init__(self, file: Path, inline: tuple[Target, ...], store: SnapshotStore, check_interval: float) -> None:
        self._file = file
        self._taken = {target.uid for target in inline}
        self._store = store
        self._check_interval = check_interval
        self._trouble = Trouble(
            _log,
            "static targets file is invalid, the last valid targets stay in use",
            "static targets file is valid again",
            level=logging.ERROR,
            file=str(file),
        )
        self._delivered: tuple[Target, ...] | None = None

    async def run(self) -> None:
        """Read the file at once, then whenever it has changed and stayed the same from one look to the next.

        The second look is for files written in place: the first half of a list is a list, too.
        """
        loop = asyncio.get_running_loop()
        read = seen = await asyncio.to_thread(signature, self._file)
        await self._read()
        retry_at = loop.time() + RETRY_INTERVAL
        while True:
            await asyncio.sleep(self._check_interval)
            before, seen = seen, await asyncio.to_thread(signature, self._file)
            if (seen != read and seen == before) or (self._trouble.active and loop.time() >= retry_at):
                read = seen
                await self._read()
                retry_at = loop.time() + RETRY_INTERVAL
            elif seen == read and not self._trouble.active:
                self._store.synced(FILE)

    async def _read(self) -> None:
        try:
            targets = tuple(map(to_target, await asyncio.to_thread(load_targets, self._file)))
            self._refuse_taken(targets)
        except ConfigError as error:
            self._keep(error)
        else:
            self._deliver(targets)

    def _refuse_taken(self, targets: tuple[Target, ...]) -> None:
        twice = [(index, target) for index, target in enumerate(targets) if target.uid in self._taken]
        if twice:
            message = "this agent is already listed in discovery.static.targets"
            raise ConfigError(str(self._file), [Problem((index,), message) for index, _ in twice])

    def _deliver(self, targets: tuple[Target, ...]) -> None:
        if not self._trouble.active and targets != self._delivered:
            _log.info("static targets file loaded", file=str(self._file), targets=len(targets))
        self._trouble.resolve(targets=len(targets))
        self._delivered = targets
        self._store.replace(FILE, targets)

    def _keep(self, error: ConfigError) -> None:
        problems = tuple(map(str, error.problems))
        self._trouble.report(
            problems,
            kept_targets=len(self._delivered or ()),
            problems=problems[:_SHOWN_PROBLEMS],
            more_problems=max(0, len(problems) - _SHOWN_PROBLEMS),
        )


def signature(file: Path) -> tuple[int, ...] | None:
    """Return what changes whenever a file may have; None while there is none.

    Symbolic links are followed, so that a ConfigMap's swapped `..data` link shows as another inode; the change time
    shows a file whose permissions were corrected.
    """
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def to_target(given: StaticTarget) -> Target:
    """Return the agent that a static target of the settings means."""
    host, port = given.host_and_port
    return Target(
        uid="/".join(("static", *given.identity)),
        namespace=given.namespace,
        fleet=given.fleet,
        pod=given.pod_name,
        address=host,
        endpoint=None if port is None else _endpoint(port, given.path, given.kind),
    )


def _endpoint(port: int, path: str | None, kind: Dialect | None) -> Endpoint:
    if kind is None:
        legacy = "/actuator" in path if path is not None else port == _DEFAULTS[Dialect.LEGACY].port
        kind = Dialect.LEGACY if legacy else Dialect.OTEL
    return Endpoint(kind, port, path if path is not None else _DEFAULTS[kind].path)
