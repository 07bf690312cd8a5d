"""What the samples of a page mean: one `Reading`, whichever of the two vocabularies the agent speaks.

Names and labels: the vendor's EKS guide for the legacy endpoint, its public deployment library for OpenTelemetry. The
dialect is told from the page itself, not from the port it came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from exporter.fleet.exposition import Labels, Page, Sample, Wanted
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


_SHARED = frozenset.intersection(*(frozenset(vocabulary.names()) for vocabulary in _VOCABULARIES.values()))
_TELLING = {dialect: frozenset(vocabulary.names()) - _SHARED for dialect, vocabulary in _VOCABULARIES.items()}
# Longer than any version or commit hash; the bound is for a hostile page, since both become labels.
_LONGEST_VERSION = 128


class NotAnAgentError(Exception):
    """The page has no family of an agent: something else answers there."""


class NoTaskCountError(Exception):
    """The page is an agent's but has no usable count of executing tasks, so nothing can be concluded from it."""


def interpret(page: Page) -> Reading:
    """Return what the page says of the agent.

    A family in several series is the sum where it counts something, and must agree where it does not: an agent that is
    said to be both connected and not is neither, it is unknown. NaN and infinities are unknown.

    Raises NotAnAgentError or NoTaskCountError.
    """
    by_name: dict[bytes, dict[Labels, float]] = {}
    for sample in page.samples:
        # The same series twice: the later line counts, it is not a second agent.
        by_name.setdefault(sample.name, {})[sample.labels] = sample.value
    dialect = _dialect(by_name)
    names = _VOCABULARIES[dialect]

    def total(name: bytes | None) -> float | None:
        return _sum(by_name[name].values()) if name in by_name else None

    def agreed(name: bytes) -> float | None:
        values = set(by_name.get(name, {}).values())
        value = values.pop() if len(values) == 1 else None
        return value if value is not None and isfinite(value) else None

    tasks_active = _count(total(names.tasks_active))
    if tasks_active is None:
        raise NoTaskCountError
    status, connected = agreed(names.status), agreed(names.connected)
    version = _version(page.samples, names.version)
    return Reading(
        dialect=dialect,
        tasks_active=tasks_active,
        tasks_queued=_count(total(names.tasks_queued)),
        status=int(status) if status is not None and status.is_integer() else None,
        connected={0.0: False, 1.0: True}.get(connected) if connected is not None else None,
        requests_active=_count(total(names.requests_active)),
        sessions_open=_count(total(names.sessions_open)),
        busyness_score=total(names.busyness_score),
        heap_used_bytes=_heap(by_name.get(names.heap_used, {}), names.heap_label),
        heap_limit_bytes=_heap(by_name.get(names.heap_limit, {}), names.heap_label),
        version=_short(version.get("version")),
        commit=_short(version.get("commit_hash")),
    )


def _dialect(present: Iterable[bytes]) -> Dialect:
    """Return the dialect of a page with the families `present`; OpenTelemetry says more, so it goes before."""
    for dialect, own in _TELLING.items():
        if not own.isdisjoint(present):
            return dialect
    raise NotAnAgentError


def _sum(values: Iterable[float]) -> float | None:
    """Return the sum; unknown as soon as one part is."""
    total = sum(values)
    return total if isfinite(total) else None


def _count(value: float | None) -> float | None:
    """Return a count of things; a negative one is unknown."""
    return value if value is not None and value >= 0 else None


def _heap(pools: Mapping[Labels, float], type_label: str) -> float | None:
    """Return the bytes of all heap pools; unknown if there is none.

    A pool without a limit has no series (OpenTelemetry) or says -1 (Micrometer). G1 gives the limit of the whole heap
    to its old generation and none to the others, so the pools that do have one are what adds up.
    """
    sizes = [size for labels, size in pools.items() if (type_label, "heap") in labels and not size < 0]
    return _sum(sizes) if sizes else None


def _version(samples: Iterable[Sample], names: tuple[bytes, ...]) -> dict[str, str]:
    return next((dict(sample.labels) for sample in samples if sample.name in names), {})


def _short(text: str | None) -> str | None:
    return text if text and len(text) <= _LONGEST_VERSION else None
