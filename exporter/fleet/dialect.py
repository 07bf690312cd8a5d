"""What the samples of a page mean: one `Reading`, whichever of the two vocabularies the agent speaks.

Names and labels: the vendor's EKS guide for the legacy endpoint, its public deployment library for OpenTelemetry. The
dialect is told from the page itself, not from the port it came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from exporter.fleet.exposition import Labels, Page, Wanted
from exporter.fleet.model import Dialect, Reading


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


def interpret(page: Page) -> Reading:
    """Return what the page says of the agent.

    A family in several series is the sum where it counts something, and must agree where it does not: an agent that is
    said to be both connected and not is neither, it is unknown. NaN, infinities and negative counts are unknown, and
    with them the sum they are part of.

    Raises NotAnAgentError or NoTaskCountError.
    """
    by_name: dict[bytes, dict[Labels, float]] = {}
    for sample in page.samples:
        # The same series twice: the later line counts, it is not a second agent.
        by_name.setdefault(sample.name, {})[sample.labels] = sample.value
    dialect, tasks_active = _dialect(by_name)
    names = _VOCABULARIES[dialect]

    def series(name: bytes | None) -> Mapping[Labels, float]:
        return by_name.get(name, {}) if name is not None else {}

    status, connected = _agreed(series(names.status)), _agreed(series(names.connected))
    builds = [dict(sample.labels) for sample in page.samples if sample.name in names.version]
    return Reading(
        dialect=dialect,
        tasks_active=tasks_active,
        tasks_queued=_total(series(names.tasks_queued)),
        status=int(status) if status is not None and status.is_integer() else None,
        connected={0.0: False, 1.0: True}.get(connected) if connected is not None else None,
        requests_active=_total(series(names.requests_active)),
        sessions_open=_total(series(names.sessions_open)),
        busyness_score=_agreed(series(names.busyness_score)),
        heap_used_bytes=_total(_heap(series(names.heap_used), names.heap_label)),
        heap_limit_bytes=_total(_limited(_heap(series(names.heap_limit), names.heap_label))),
        version=_agreed_text(builds, "version"),
        commit=_agreed_text(builds, "commit_hash"),
    )


def _dialect(by_name: Mapping[bytes, Mapping[Labels, float]]) -> tuple[Dialect, float]:
    """Return the dialect to read a page in, and its count of executing tasks.

    Where a page speaks both, OpenTelemetry says more, so it goes before; but only one with a usable count will do.
    """
    for dialect, names in _VOCABULARIES.items():
        tasks_active = _total(by_name.get(names.tasks_active, {}))
        if tasks_active is not None:
            return dialect, tasks_active
    raise NotAnAgentError if _AGENTS_OWN.isdisjoint(by_name) else NoTaskCountError


def _total(series: Mapping[Labels, float]) -> float | None:
    """Return the sum of a count's series; unknown if there is none or one of them is no count."""
    # NaN is in no range.
    if not series or not all(0 <= value < _HIGHEST_COUNT for value in series.values()):
        return None
    return sum(series.values(), start=0.0)


def _agreed(series: Mapping[Labels, float]) -> float | None:
    """Return the one value of all series; unknown if they differ, or it is no number."""
    values = set(series.values())
    value = values.pop() if len(values) == 1 else None
    return value if value is not None and isfinite(value) else None


def _heap(pools: Mapping[Labels, float], type_label: str) -> Mapping[Labels, float]:
    return {labels: size for labels, size in pools.items() if (type_label, "heap") in labels}


def _limited(pools: Mapping[Labels, float]) -> Mapping[Labels, float]:
    """Return the pools that have a limit.

    One without has no series (OpenTelemetry) or says -1 (Micrometer). G1 gives the limit of the whole heap to its old
    generation and none to the others, so the pools that do have one are what adds up.
    """
    return {labels: limit for labels, limit in pools.items() if limit != _NO_LIMIT}


def _agreed_text(builds: Iterable[Mapping[str, str]], label: str) -> str | None:
    """Return the one text of a label that is given; unknown if there are several, or it is too long to be one."""
    texts = {text for build in builds if (text := build.get(label))}
    text = texts.pop() if len(texts) == 1 else None
    return text if text is not None and len(text) <= _LONGEST_VERSION else None
