"""What holds for every agent: both of its pages say the same of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.dialect import AGENT_FAMILIES, NAMES, NotAnAgentError, NoTaskCountError, interpret
from exporter.fleet.exposition import read
from exporter.fleet.model import Dialect

COUNT = st.one_of(st.integers(0, 60).map(float), st.sampled_from([float("nan"), float("inf"), -1.0]))
MAYBE = st.one_of(st.none(), COUNT)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
BYTES = st.integers(0, 2**40).map(float)


@dataclass(frozen=True)
class Pool:
    """One memory pool; without a limit, OpenTelemetry leaves the series out and Micrometer says -1."""

    heap: bool
    used: float
    limit: float | None


@dataclass(frozen=True)
class Drawn:
    """An agent as both of its endpoints see it."""

    tasks: float
    status: float | None
    connected: float | None
    requests: float | None
    sessions: float | None
    version: str
    commit: str
    queued: float | None
    busyness: float | None
    pools: tuple[Pool, ...]


AGENTS = st.builds(
    Drawn,
    tasks=st.integers(0, 60).map(float),
    status=st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 3.0, 0.5])),
    connected=st.one_of(st.none(), st.sampled_from([0.0, 1.0, float("nan")])),
    requests=MAYBE,
    sessions=MAYBE,
    version=TEXT,
    commit=TEXT,
    queued=MAYBE,
    busyness=MAYBE,
    pools=st.lists(st.builds(Pool, st.booleans(), BYTES, st.one_of(st.none(), BYTES)), max_size=5).map(tuple),
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") + '"'


def series(name: str, labels: dict[str, str], value: float | None) -> list[str]:
    pairs = ",".join(f"{label}={quoted(text)}" for label, text in labels.items())
    return [] if value is None else [f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}"]


def legacy(agent: Drawn, *, jvm: bool) -> list[str]:
    lines = [
        *series("app_active_task_count", {}, agent.tasks),
        *series("app_agent_status", {}, agent.status),
        *series("app_agent_connected", {}, agent.connected),
        *series("app_active_request_count", {}, agent.requests),
        *series("app_open_sessions_count", {}, agent.sessions),
        *series("app_version_info", {"version": agent.version, "commit_hash": agent.commit}, 1.0),
    ]
    for position, pool in enumerate(agent.pools if jvm else ()):
        labels = {"area": "heap" if pool.heap else "nonheap", "id": f"pool {position}"}
        lines += series("jvm_memory_used_bytes", labels, pool.used)
        lines += series("jvm_memory_max_bytes", labels, -1.0 if pool.limit is None else pool.limit)
    return lines


Line = Callable[[str, dict[str, str], float | None], list[str]]
"""How a page writes one series, given by the name that it has today."""


def otel(agent: Drawn, line: Line = series) -> list[str]:
    scope = {"otel_scope_name": "com.matillion.agent", "otel_scope_version": ""}
    account, cloud = {"account_id": "a"} | scope, {"matillion_agent_cloud_provider": "AWS"} | scope
    build = account | {"version": agent.version, "commit_hash": agent.commit}
    lines = [
        *line("matillion_agent_task_running_unit", cloud, agent.tasks),
        *line("matillion_agent_task_queued_unit", cloud, agent.queued),
        *line("matillion_agent_status_unit", account, agent.status),
        *line("matillion_agent_connected_unit", account, agent.connected),
        *line("matillion_agent_request_active_unit", account, agent.requests),
        *line("matillion_agent_open_sessions_unit", cloud, agent.sessions),
        *line("matillion_agent_busyness_score", scope, agent.busyness),
        *line("matillion_agent_version_unit", build, 1.0),
    ]
    for position, pool in enumerate(agent.pools):
        kind = "heap" if pool.heap else "non_heap"
        labels = {"jvm_memory_type": kind, "jvm_memory_pool_name": f"pool {position}"} | scope
        lines += line("jvm_memory_used_bytes", labels, pool.used)
        lines += line("jvm_memory_limit_bytes", labels, pool.limit)
    return lines


class Speller:
    """Writes series as one library or another would: each family in one way, each label in any."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._names: dict[str, str] = {}

    def line(self, name: str, labels: dict[str, str], value: float | None) -> list[str]:
        """Write one series; nothing without a value."""
        if value is None:
            return []
        spelled = self._names.setdefault(name, self._spelled(name))
        pairs = [f"{self._label(label)}={quoted(text)}" for label, text in labels.items()]
        self._draw.shuffle(pairs)
        comma = self._draw.choice(["", ","])
        if "." not in spelled and self._draw.random() < 0.5:
            return [f"{spelled}{{{','.join(pairs)}{comma if pairs else ''}}} {value}"]
        pairs.insert(self._draw.choice([0, 0, len(pairs)]), f'"{spelled}"')
        return [f"{{{','.join(pairs)}{comma}}} {value}"]

    def _spelled(self, name: str) -> str:
        stem = name.removesuffix("_unit").removesuffix("_bytes")
        units = ("", "_bytes") if stem.startswith("jvm") else ("", "_unit", "_ratio")
        return self._dotted(stem + self._draw.choice(units))

    def _label(self, name: str) -> str:
        spelled = self._dotted(name)
        return f'"{spelled}"' if "." in spelled or self._draw.random() < 0.2 else spelled

    def _dotted(self, name: str) -> str:
        dots = self._draw.choice([0.0, 0.5, 1.0])
        return "".join("." if char == "_" and self._draw.random() < dots else char for char in name)


RANDOMS = st.randoms(use_true_random=False)


@pytest.mark.slow
@given(AGENTS, RANDOMS)
def test_any_spelling_of_a_page_gives_the_same_reading(agent: Drawn, draw: random.Random) -> None:
    """What an agent says does not depend on the libraries that write it; nor on whether its page was read before."""
    lines = otel(agent, Speller(draw).line)
    draw.shuffle(lines)
    said = "\n".join(lines).encode()
    expected = interpret(read("\n".join(otel(agent)).encode(), AGENT_FAMILIES))
    for _ in range(2):
        page = read(said, AGENT_FAMILIES)
        assert page.rejected_lines == 0
        assert interpret(page) == expected


@pytest.mark.slow
@given(AGENTS, RANDOMS)
def test_a_page_with_everything_twice_gives_the_same_reading(agent: Drawn, draw: random.Random) -> None:
    """While names change, the same figure may come under the old and the new one: it is one figure."""
    lines = [*otel(agent, Speller(draw).line), *otel(agent, Speller(draw).line), *otel(agent)]
    draw.shuffle(lines)
    expected = interpret(read("\n".join(otel(agent)).encode(), AGENT_FAMILIES))
    assert interpret(read("\n".join(lines).encode(), AGENT_FAMILIES)) == expected


@given(AGENTS, st.randoms(use_true_random=False), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_both_pages_of_an_agent_give_the_same_reading(agent: Drawn, random: object, end: str) -> None:
    """Queue and load estimate apart, which legacy lacks, and the heap where legacy gives no JVM series."""

    def said(lines: list[str]) -> bytes:
        random.shuffle(lines)  # type: ignore[attr-defined]
        return "".join(line + end for line in lines).encode()

    modern = interpret(read(said(otel(agent)), AGENT_FAMILIES))
    old = replace(modern, dialect=Dialect.LEGACY, tasks_queued=None, busyness_score=None)
    assert modern.tasks_active == agent.tasks
    assert interpret(read(said(legacy(agent, jvm=True)), AGENT_FAMILIES)) == old
    without_heap = replace(old, heap_used_bytes=None, heap_limit_bytes=None)
    assert interpret(read(said(legacy(agent, jvm=False)), AGENT_FAMILIES)) == without_heap


NAME = st.sampled_from([name for names in NAMES.values() for name in names])
LABEL = st.sampled_from(["area", "jvm_memory_type", "version", "commit_hash", "id"])
LINE = st.builds(
    lambda name, labels, value: series(name, labels, value)[0],
    NAME,
    st.dictionaries(LABEL, st.sampled_from(["heap", "nonheap", "1", ""]), max_size=3),
    st.floats(),
)


@given(st.lists(LINE, max_size=30))
def test_a_reading_holds_no_number_that_is_none(lines: list[str]) -> None:
    """Whatever numbers a page gives, a reading holds finite ones, and counts are not negative."""
    try:
        reading = interpret(read("\n".join(lines).encode(), AGENT_FAMILIES))
    except (NoTaskCountError, NotAnAgentError):
        return
    counts = [
        reading.tasks_active,
        reading.tasks_queued,
        reading.requests_active,
        reading.sessions_open,
        reading.heap_used_bytes,
        reading.heap_limit_bytes,
    ]
    # As many series as there are lines, each below 2**53.
    assert all(count is None or 0 <= count < 2**53 * len(lines) for count in counts)
    assert reading.busyness_score is None or abs(reading.busyness_score) < float("inf")
