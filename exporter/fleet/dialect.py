"""What the samples of a page mean: one `Reading`, whichever of the two vocabularies the agent speaks.

Names and labels: the vendor's EKS guide for the legacy endpoint, its public deployment library for OpenTelemetry. The
dialect is told from the page itself, not from the port it came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from exporter.fleet.exposition import Labels, Page, Series, Wanted
from exporter.fleet.model import Dialect, Reading

Places = tuple[int, ...]
"""Which of a page's values."""
Values = tuple[float, ...]
_CONNECTED = {0.0: False, 1.0: True}


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The names one dialect has for what a `Reading` holds; None for what it cannot say."""

    tasks_active: bytes
    tasks_queued: bytes | None
    status: bytes
    connected: bytes
    requests_active: bytes
    sessions_open: bytes
    busyness_score: bytes | None
    version: tuple[bytes, ...]
    heap_used: bytes
    heap_limit: bytes
    heap_label: str
    """The label that tells heap pools from others."""

    def names(self) -> tuple[bytes, ...]:
        """Return every family this dialect is read from."""
        single = (
            self.tasks_active,
            self.tasks_queued,
            self.status,
            self.connected,
            self.requests_active,
            self.sessions_open,
            self.busyness_score,
            self.heap_used,
            self.heap_limit,
        )
        return (*(name for name in single if name is not None), *self.version)


_VOCABULARIES: Mapping[Dialect, _Vocabulary] = {
    Dialect.OTEL: _Vocabulary(
        tasks_active=b"matillion_agent_task_running_unit",
        tasks_queued=b"matillion_agent_task_queued_unit",
        status=b"matillion_agent_status_unit",
        connected=b"matillion_agent_connected_unit",
        requests_active=b"matillion_agent_request_active_unit",
        sessions_open=b"matillion_agent_open_sessions_unit",
        busyness_score=b"matillion_agent_busyness_score",
        version=(b"matillion_agent_version_unit",),
        heap_used=b"jvm_memory_used_bytes",
        heap_limit=b"jvm_memory_limit_bytes",
        heap_label="jvm_memory_type",
    ),
    Dialect.LEGACY: _Vocabulary(
        tasks_active=b"app_active_task_count",
        tasks_queued=None,
        status=b"app_agent_status",
        connected=b"app_agent_connected",
        requests_active=b"app_active_request_count",
        sessions_open=b"app_open_sessions_count",
        busyness_score=None,
        version=(b"app_version_info", b"app_version"),
        heap_used=b"jvm_memory_used_bytes",
        heap_limit=b"jvm_memory_max_bytes",
        heap_label="area",
    ),
}

NAMES: Mapping[Dialect, tuple[str, ...]] = {
    dialect: tuple(name.decode() for name in vocabulary.names()) for dialect, vocabulary in _VOCABULARIES.items()
}
"""The families each dialect is read from: what to ask a server for that can filter by name."""

WANTED = Wanted(name for vocabulary in _VOCABULARIES.values() for name in vocabulary.names())
"""The families to read from any agent's page."""


_AGENTS_OWN = frozenset(
    name
    for vocabulary in _VOCABULARIES.values()
    for name in vocabulary.names()
    if name not in (vocabulary.heap_used, vocabulary.heap_limit)
)
"""What only an agent says; every JVM tells of its heap."""

# From here up a double does not count by ones any more, so no count can be that high; the bound also keeps the sum over
# a fleet finite.
_HIGHEST_COUNT = 2.0**53
# Longer than any version or commit hash; the bound is for a hostile page, since both become labels.
_LONGEST_VERSION = 128
_NO_LIMIT = -1.0
"""How Micrometer, after Java's MemoryUsage, says that a pool may grow as it likes."""


class NotAnAgentError(Exception):
    """The page has no family of an agent: something else answers there."""


class NoTaskCountError(Exception):
    """The page is an agent's but has no usable count of executing tasks, so nothing can be concluded from it."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where on pages of one shape the values of a dialect stand, and what their labels say by themselves."""

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


def interpret(page: Page) -> Reading:
    """Return what the page says of the agent.

    A family in several series is the sum where it counts something, and must agree where it does not: an agent that is
    said to be both connected and not is neither, it is unknown. NaN, infinities and negative counts are unknown, and
    with them the sum they are part of.

    Raises NotAnAgentError or NoTaskCountError.
    """
    values = page.values
    layout, tasks_active = _chosen(page)
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
        heap_limit_bytes=_total(values, _limited(values, layout.heap_limit)),
        version=layout.version,
        commit=layout.commit,
    )


def _chosen(page: Page) -> tuple[_Layout, float]:
    """Return the dialect to read a page in, as a layout, and its count of executing tasks.

    Where a page speaks both, OpenTelemetry says more, so it goes before; but only one with a usable count will do.
    """
    for layout in _layouts(page.series):
        tasks_active = _total(page.values, layout.tasks_active)
        if tasks_active is not None:
            return layout, tasks_active
    names = {series.name for series in page.series}
    raise NotAnAgentError if _AGENTS_OWN.isdisjoint(names) else NoTaskCountError


# The agents of an image write pages of one shape, so what depends on the shape alone is worked out once.
@lru_cache(maxsize=256)
def _layouts(page: tuple[Series, ...]) -> tuple[_Layout, ...]:
    """Return where each dialect's values stand on pages of this shape."""
    by_name: dict[bytes, dict[Labels, int]] = {}
    for place, series in enumerate(page):
        # The same series twice: the later line counts, it is not a second agent.
        by_name.setdefault(series.name, {})[series.labels] = place

    def places(name: bytes | None) -> Places:
        return tuple(by_name.get(name, {}).values()) if name is not None else ()

    def heap(name: bytes, type_label: str) -> Places:
        return tuple(place for labels, place in by_name.get(name, {}).items() if (type_label, "heap") in labels)

    def layout(dialect: Dialect, names: _Vocabulary) -> _Layout:
        builds = [dict(series.labels) for series in page if series.name in names.version]
        return _Layout(
            dialect=dialect,
            tasks_active=places(names.tasks_active),
            tasks_queued=places(names.tasks_queued),
            status=places(names.status),
            connected=places(names.connected),
            requests_active=places(names.requests_active),
            sessions_open=places(names.sessions_open),
            busyness_score=places(names.busyness_score),
            heap_used=heap(names.heap_used, names.heap_label),
            heap_limit=heap(names.heap_limit, names.heap_label),
            version=_agreed_text(builds, "version"),
            commit=_agreed_text(builds, "commit_hash"),
        )

    return tuple(layout(dialect, names) for dialect, names in _VOCABULARIES.items())


def _total(values: Values, places: Places) -> float | None:
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


def _agreed(values: Values, places: Places) -> float | None:
    """Return the one value of all series; unknown if they differ, or it is no number."""
    if not places:
        return None
    value = values[places[0]]
    return value if isfinite(value) and all(values[place] == value for place in places[1:]) else None


def _limited(values: Values, places: Places) -> Places:
    """Return the pools that have a limit.

    One without has no series (OpenTelemetry) or says -1 (Micrometer). G1 gives the limit of the whole heap to its old
    generation and none to the others, so the pools that do have one are what adds up.
    """
    return tuple([place for place in places if values[place] != _NO_LIMIT])


def _agreed_text(builds: Iterable[Mapping[str, str]], label: str) -> str | None:
    """Return the one text of a label that is given; unknown if there are several, or it is too long to be one."""
    texts = {text for build in builds if (text := build.get(label))}
    text = texts.pop() if len(texts) == 1 else None
    return text if text is not None and len(text) <= _LONGEST_VERSION else None
