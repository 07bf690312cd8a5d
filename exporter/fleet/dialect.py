"""Converts the samples of a page to one `Reading`, in either of the agent's two vocabularies.

Names and labels: the vendor's EKS guide for the legacy endpoint, its public deployment library for OpenTelemetry. The
dialect is detected from the page itself, not from its port.

The name of an OpenTelemetry family depends on the libraries that write the page: the suffix for a unit has changed
before (open-telemetry/opentelemetry-java#8237: unit `1` gave `_ratio`, then nothing), and dots become underscores or
stay. So each family is known by all its spellings. If a page has several, the first in the order below counts,
underscores before dots: they repeat the same figure, never parts of it. Only for the count of executing tasks, which
everything depends on, is the next spelling tried if the first has no usable value.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from math import isfinite

from exporter.fleet.exposition import FamilyFilter, Labels, Page, Series, underscored
from exporter.fleet.model import Dialect, Reading

Places = tuple[int, ...]
"""Indexes of a page's values."""
Values = tuple[float, ...]
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


def interpret(page: Page) -> Reading:
    """Return the reading on the page.

    A family in several series is the sum where it counts something, and must agree where it does not: an agent that is
    both connected and not connected is unknown. NaN, infinities and negative counts are unknown, and
    with them the sum they are part of.

    Raises NotAnAgentError or NoTaskCountError.
    """
    values = page.values
    layout, tasks_active = _chosen(page)
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


def _chosen(page: Page) -> tuple[_Layout, float]:
    """Return the layout to read a page in, and its count of executing tasks.

    On a page with both dialects, OpenTelemetry has more figures and is preferred if its count is usable.
    """
    for layout in _layouts(page.series):
        tasks_active = _total(page.values, layout.tasks_active)
        if tasks_active is not None:
            return layout, tasks_active
    names = {underscored(series.name) for series in page.series}
    raise NotAnAgentError if _AGENTS_OWN.isdisjoint(names) else NoTaskCountError


# The agents of an image write pages of one shape, so what depends on the shape alone is worked out once.
@lru_cache(maxsize=256)
def _layouts(page: tuple[Series, ...]) -> tuple[_Layout, ...]:
    """Return where the values stand on pages of this shape, for each dialect and spelling of its count of tasks."""
    by_name: dict[bytes, dict[Labels, int]] = {}
    for place, series in enumerate(page):
        # The same series twice: the later line counts, it is not a second agent.
        by_name.setdefault(series.name, {})[series.labels] = place
    written: dict[bytes, list[bytes]] = {}
    for name in sorted(by_name, reverse=True):  # "_" before "."
        written.setdefault(underscored(name), []).append(name)

    def spellings(family: Family) -> Iterator[Mapping[Labels, int]]:
        return (by_name[name] for spelling in family for name in written.get(spelling, ()))

    def places(family: Family) -> Places:
        return tuple(next(spellings(family), {}).values())

    def heap(family: Family, type_label: str) -> Places:
        pools = (
            tuple(place for labels, place in series.items() if (type_label, "heap") in labels)
            for series in spellings(family)
        )
        return next(filter(None, pools), ())

    def layouts(dialect: Dialect, names: _Vocabulary) -> Iterator[_Layout]:
        builds = [*chain.from_iterable(spellings(names.version))]
        layout = _Layout(
            dialect=dialect,
            tasks_active=(),
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
        return (replace(layout, tasks_active=tuple(count.values())) for count in spellings(names.tasks_active))

    return tuple(chain.from_iterable(layouts(dialect, names) for dialect, names in _VOCABULARIES.items()))


def _total(values: Values, places: Sequence[int]) -> float | None:
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
    if len(places) > 1 and any(values[place] != value for place in places):
        return None
    return value if isfinite(value) else None


def _agreed_text(builds: Iterable[Labels], needed: str) -> str | None:
    """Return the one text of a label that is given; unknown if there are several, or it is too long to be one."""
    texts = {text for build in builds for label, text in build if label == needed and text}
    text = texts.pop() if len(texts) == 1 else None
    return text if text is not None and len(text) <= _MAX_VERSION_LENGTH else None
