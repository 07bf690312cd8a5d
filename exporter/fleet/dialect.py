"""Converts the samples of a page to one `Reading`, in either of the agent's two vocabularies.

Names and labels: the vendor's EKS guide for the legacy endpoint, its public deployment library for OpenTelemetry. The
dialect is detected from the page itself, not from its port.

The name of an OpenTelemetry family depends on the libraries that write the page: the suffix for a unit has changed
before (open-telemetry/opentelemetry-java#8237: unit `1` gave `_ratio`, then nothing), and dots become underscores or
stay. So each family is known by all its spellings. If a page has several, the first in the order below counts,
underscores before dots: they repeat the same figure, never parts of it. Only for the count of executing tasks, which
everything depends on, is the next spelling tried if the first has no usable value.

An agent's page has the same series each time, and only their values change. So what depends on the series alone is
worked out once for each agent, and kept in a few hundred bytes, however long its labels are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from math import isfinite
from typing import NamedTuple, TypeGuard

from exporter.fleet.exposition import (
    FamilyFilter,
    Outline,
    Page,
    Sample,
    digest,
    outline,
    plain,
    samples_of,
    underscored,
)
from exporter.fleet.model import Dialect, Reading

Places = tuple[int, ...]
"""Indexes of a page's values."""
_CONNECTED = {0.0: False, 1.0: True}


Family = tuple[bytes, ...]
"""The spellings of one family, with underscores, best first; none if a dialect lacks it."""


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The names one dialect has for what a `Reading` holds."""

    tasks_active: Family
    tasks_queued: Family
    status: Family
    connected: Family
    requests_active: Family
    sessions_open: Family
    busyness_score: Family
    version: Family
    heap_used: Family
    heap_limit: Family
    heap_label: str
    """The label that identifies heap pools."""

    def own(self) -> Family:
        """Return every name that only an agent exposes; every JVM exposes its heap."""
        return (
            *self.tasks_active,
            *self.tasks_queued,
            *self.status,
            *self.connected,
            *self.requests_active,
            *self.sessions_open,
            *self.busyness_score,
            *self.version,
        )

    def names(self) -> Family:
        """Return every name this dialect is read from."""
        return (*self.own(), *self.heap_used, *self.heap_limit)


def _gauge(name: bytes) -> Family:
    """Return the spellings of an instrument whose unit is `unit`, an annotation, or 1."""
    return (name + b"_unit", name, name + b"_ratio")


def _memory(name: bytes) -> Family:
    """Return the spellings of an instrument that counts bytes."""
    return (name + b"_bytes", name)


_VOCABULARIES: Mapping[Dialect, _Vocabulary] = {
    Dialect.OTEL: _Vocabulary(
        tasks_active=_gauge(b"matillion_agent_task_running"),
        tasks_queued=_gauge(b"matillion_agent_task_queued"),
        status=_gauge(b"matillion_agent_status"),
        connected=_gauge(b"matillion_agent_connected"),
        requests_active=_gauge(b"matillion_agent_request_active"),
        sessions_open=_gauge(b"matillion_agent_open_sessions"),
        busyness_score=_gauge(b"matillion_agent_busyness_score"),
        version=_gauge(b"matillion_agent_version"),
        heap_used=_memory(b"jvm_memory_used"),
        heap_limit=_memory(b"jvm_memory_limit"),
        heap_label="jvm_memory_type",
    ),
    # Micrometer's names have been the same on every image.
    Dialect.LEGACY: _Vocabulary(
        tasks_active=(b"app_active_task_count",),
        tasks_queued=(),
        status=(b"app_agent_status",),
        connected=(b"app_agent_connected",),
        requests_active=(b"app_active_request_count",),
        sessions_open=(b"app_open_sessions_count",),
        busyness_score=(),
        version=(b"app_version_info", b"app_version"),
        heap_used=(b"jvm_memory_used_bytes",),
        heap_limit=(b"jvm_memory_max_bytes",),
        heap_label="area",
    ),
}

NAMES: Mapping[Dialect, tuple[str, ...]] = {
    dialect: tuple(name.decode() for name in vocabulary.names()) for dialect, vocabulary in _VOCABULARIES.items()
}
"""The names each dialect is read from: what to request from a server that can filter by name.

Servers that write dotted names also accept the underscored form (client_java's `getPrometheusName`). If one does not,
its filtered page lacks families, and the whole page is requested instead.
"""

AGENT_FAMILIES = FamilyFilter(name for vocabulary in _VOCABULARIES.values() for name in vocabulary.names())
"""The families to read from any agent's page."""

_AGENTS_OWN = frozenset(name for vocabulary in _VOCABULARIES.values() for name in vocabulary.own())
_BUILD_NAMES = frozenset(name for vocabulary in _VOCABULARIES.values() for name in vocabulary.version)
_VERSION, _COMMIT = "version", "commit_hash"
_SEVERAL = 2

MAX_SERIES = 1_000
"""An agent's page is read for about 30. The bound is for a hostile page: each of them takes 200 bytes meanwhile."""
# Eight times the series that an agent's page is read for. What is kept of a page with more of them could be large.
_MAX_REMEMBERED = 256

# From here up a double does not count by ones any more, so no count can be that high; the bound also keeps the sum over
# a fleet finite.
_HIGHEST_COUNT = 2.0**53
# Longer than any version or commit hash; the bound is for a hostile page, since both become labels.
_MAX_VERSION_LENGTH = 128
_NO_LIMIT = -1.0
"""Micrometer's value for a pool without a limit, from Java's MemoryUsage; OpenTelemetry has no series for it.

G1 gives the limit of the whole heap to its old generation and none to the others, so those that have one add up.
"""


class NotAnAgentError(Exception):
    """The page has no family of an agent: something else answers there."""


class TooManySeriesError(Exception):
    """The page has more than `MAX_SERIES` series of an agent's families."""


class NoTaskCountError(Exception):
    """The page is an agent's but has no usable count of executing tasks, so nothing can be concluded from it."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where on pages of one shape the values of a dialect are, and what their labels contain."""

    dialect: Dialect
    tasks_active: Places
    tasks_queued: Places
    status: Places
    connected: Places
    requests_active: Places
    sessions_open: Places
    busyness_score: Places
    heap_used: Places
    heap_limit: Places
    version: str | None
    commit: str | None


@dataclass(frozen=True, slots=True)
class _Shape:
    """What pages with the same series have in common."""

    layouts: tuple[_Layout, ...]
    """One for each dialect and spelling of its count of tasks, best first."""
    agents: bool
    """Whether there is any family that only an agent has."""


class PageReading(NamedTuple):
    """What a page says."""

    reading: Reading
    rejected_lines: int


class AgentPages:
    """Reads the pages of one endpoint of one agent, each in one step.

    Remembers the shape of the last one. So an agent whose labels are new on every page costs itself time, and nobody
    memory; and no agent drives out what is known of another.
    """

    __slots__ = ("_hash", "_shape")

    def __init__(self) -> None:
        self._hash: int | None = None
        self._shape = _Shape((), agents=False)

    def knows(self, page: bytes) -> bool:
        """Return whether a page differs from the last one in its values only, and is read in no time."""
        return self._is_known(outline(AGENT_FAMILIES.lines(page)))

    def _is_known(self, seen: Outline | None) -> TypeGuard[Outline]:
        return seen is not None and seen.hash == self._hash

    def read(self, page: bytes) -> PageReading:
        """Return the reading on a page. Raises NotAnAgentError, NoTaskCountError or TooManySeriesError."""
        lines = AGENT_FAMILIES.lines(page)
        seen = outline(lines)
        if self._is_known(seen):
            return PageReading(_reading(self._shape, seen.values), 0)
        samples = samples_of(lines, AGENT_FAMILIES)
        figures = PageFigures()
        figures.add(samples)
        shape = figures.shape()
        if seen is not None and len(lines) <= _MAX_REMEMBERED and plain(lines, samples):
            self._hash, self._shape = seen.hash, _shared(shape)
        return PageReading(_reading(shape, figures.values), samples.rejected_lines)


class PageFigures:
    """The figures of one page, added up to here: a value for each sample, and no label that is only compared."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._rejected_lines = 0
        self._by_name: dict[bytes, dict[bytes, int]] = {}
        """The place of each series, by its name and the digest of its labels."""
        self._heap: dict[str, set[int]] = {names.heap_label: set() for names in _VOCABULARIES.values()}
        self._builds: dict[bytes, dict[str, set[str]]] = {}

    def add(self, page: Page) -> None:
        """Add the samples of a page, or of the next part of it. Raises TooManySeriesError."""
        self._rejected_lines += page.rejected_lines
        if len(self.values) + len(page.samples) > MAX_SERIES:
            raise TooManySeriesError
        for sample in page.samples:
            self._add(sample)

    def _add(self, sample: Sample) -> None:
        place = len(self.values)
        self.values.append(sample.value)
        # The same series twice: the later line counts, it is not a second agent.
        self._by_name.setdefault(sample.name, {})[digest(repr(sample.labels).encode())] = place
        for label, places in self._heap.items():
            if (label, "heap") in sample.labels:
                places.add(place)
        if underscored(sample.name) in _BUILD_NAMES:
            builds = self._builds.setdefault(sample.name, {_VERSION: set(), _COMMIT: set()})
            for label, text in sample.labels:
                # Two texts are as good as many: which one is true is unknown.
                if text and label in builds and len(builds[label]) < _SEVERAL:
                    builds[label].add(text[: _MAX_VERSION_LENGTH + 1])

    def result(self) -> PageReading:
        """Return the reading on the page. Raises NotAnAgentError or NoTaskCountError."""
        return PageReading(_reading(self.shape(), self.values), self._rejected_lines)

    def shape(self) -> _Shape:
        """Return what does not depend on the values."""
        written: dict[bytes, list[bytes]] = {}
        for name in sorted(self._by_name, reverse=True):  # "_" before "."
            written.setdefault(underscored(name), []).append(name)
        layouts = chain.from_iterable(
            self._layouts(dialect, names, written) for dialect, names in _VOCABULARIES.items()
        )
        return _Shape(tuple(layouts), agents=not _AGENTS_OWN.isdisjoint(written))

    def _layouts(
        self, dialect: Dialect, names: _Vocabulary, written: Mapping[bytes, Sequence[bytes]]
    ) -> Iterator[_Layout]:
        def spellings(family: Family) -> Iterator[bytes]:
            return (name for spelling in family for name in written.get(spelling, ()))

        def all_places(family: Family) -> Iterator[Places]:
            return (tuple(self._by_name[name].values()) for name in spellings(family))

        def places(family: Family) -> Places:
            return next(all_places(family), ())

        def heap(family: Family) -> Places:
            of_heap = self._heap[names.heap_label]
            pools = (tuple(place for place in found if place in of_heap) for found in all_places(family))
            return next(filter(None, pools), ())

        builds = [self._builds[name] for name in spellings(names.version)]
        layout = _Layout(
            dialect=dialect,
            tasks_active=(),
            tasks_queued=places(names.tasks_queued),
            status=places(names.status),
            connected=places(names.connected),
            requests_active=places(names.requests_active),
            sessions_open=places(names.sessions_open),
            busyness_score=places(names.busyness_score),
            heap_used=heap(names.heap_used),
            heap_limit=heap(names.heap_limit),
            version=_agreed_text(build[_VERSION] for build in builds),
            commit=_agreed_text(build[_COMMIT] for build in builds),
        )
        return (replace(layout, tasks_active=count) for count in all_places(names.tasks_active))


@lru_cache(maxsize=256)
def _shared(shape: _Shape) -> _Shape:
    """Return one object for equal shapes: the agents of an image write pages of one shape."""
    return shape


def interpret(page: Page) -> Reading:
    """Return the reading on the page. Raises NotAnAgentError, NoTaskCountError or TooManySeriesError."""
    figures = PageFigures()
    figures.add(page)
    return figures.result().reading


def _reading(shape: _Shape, values: Sequence[float]) -> Reading:
    """Return the reading on a page of this shape.

    A family in several series is the sum where it counts something, and must agree where it does not: an agent that is
    both connected and not connected is unknown. NaN, infinities and negative counts are unknown, and
    with them the sum they are part of.

    Raises NotAnAgentError or NoTaskCountError.
    """
    layout, tasks_active = _chosen(shape, values)
    limited = [place for place in layout.heap_limit if values[place] != _NO_LIMIT]
    status, connected = _agreed(values, layout.status), _agreed(values, layout.connected)
    return Reading(
        dialect=layout.dialect,
        tasks_active=tasks_active,
        tasks_queued=_total(values, layout.tasks_queued),
        status=int(status) if status is not None and status.is_integer() else None,
        connected=_CONNECTED.get(connected) if connected is not None else None,
        requests_active=_total(values, layout.requests_active),
        sessions_open=_total(values, layout.sessions_open),
        busyness_score=_agreed(values, layout.busyness_score),
        heap_used_bytes=_total(values, layout.heap_used),
        heap_limit_bytes=_total(values, limited),
        version=layout.version,
        commit=layout.commit,
    )


def _chosen(shape: _Shape, values: Sequence[float]) -> tuple[_Layout, float]:
    """Return the layout to read a page in, and its count of executing tasks.

    On a page with both dialects, OpenTelemetry has more figures and is preferred if its count is usable.
    """
    for layout in shape.layouts:
        tasks_active = _total(values, layout.tasks_active)
        if tasks_active is not None:
            return layout, tasks_active
    raise NoTaskCountError if shape.agents else NotAnAgentError


def _total(values: Sequence[float], places: Sequence[int]) -> float | None:
    """Return the sum of a count's series; unknown if there is none or one of them is no count."""
    if not places:
        return None
    total = 0.0
    for place in places:
        value = values[place]
        # NaN is in no range.
        if not 0 <= value < _HIGHEST_COUNT:
            return None
        total += value
    return total


def _agreed(values: Sequence[float], places: Places) -> float | None:
    """Return the one value of all series; unknown if they differ, or it is no number."""
    if not places:
        return None
    value = values[places[0]]
    if len(places) > 1 and any(values[place] != value for place in places):
        return None
    return value if isfinite(value) else None


def _agreed_text(builds: Iterable[Iterable[str]]) -> str | None:
    """Return the one text of a label that is given.

    Unknown if there are several, or if it cannot be one: it is too long, or has characters that a terminal obeys.
    """
    texts = set(chain.from_iterable(builds))
    text = texts.pop() if len(texts) == 1 else None
    return text if text is not None and len(text) <= _MAX_VERSION_LENGTH and text.isprintable() else None
