"""What one fake agent is and reports: the values that the simulation decides and the pages and sockets show.

Knows neither how a page is written nor why a number is what it is.
"""

from dataclasses import dataclass
from enum import StrEnum


class Behaviour(StrEnum):
    """How an agent's metrics ports behave. Nothing else decides what a connection to the agent meets."""

    ANSWERING = "answering"
    CLOSED = "closed"
    """Nothing listens: the connection is refused."""
    HUNG = "hung"
    """Takes the connection and the request, and never answers."""
    SLOW = "slow"
    """Answers, late."""
    ERRORING = "erroring"
    """Answers 500."""


class Spelling(StrEnum):
    """How the libraries of an image write the names on its OpenTelemetry page."""

    UNIT = "unit"
    """`matillion_agent_task_running_unit`, as agents do."""
    RATIO = "ratio"
    """`…_running_ratio`: older libraries' suffix for the unit 1."""
    NONE = "none"
    """`…_running`, and nothing appended for any other unit either."""
    QUOTED = "quoted"
    """`{"matillion.agent.task.running_unit"}`: Prometheus' UTF-8 form, whatever form was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A build of the agent, as far as it decides which endpoints exist and how their pages look."""

    version: str
    commit: str
    build_timestamp: str
    otel: bool
    """Whether the OpenTelemetry endpoint exists; older builds refuse that port."""
    reports_connected: bool = True
    """Whether the legacy page has `app_agent_connected`; old builds lack it."""
    version_family: str = "app_version_info"
    """What the legacy page calls its build: `app_version_info` or `app_version`."""
    legacy_jvm: bool = False
    """Whether the legacy page carries Micrometer's JVM memory series too."""
    trailing_comma: bool = False
    """Whether the legacy page closes its label sets with `,}`, as Prometheus' first Java client did."""
    knows_filters: bool = True
    """Whether the endpoints honour `name[]=` and `includedNames=`; without, they answer with the whole page."""
    spelling: Spelling = Spelling.UNIT


CURRENT = Image(version="11.142.0", commit="8f3c1d7", build_timestamp="2026-10-06T09:14:52Z", otel=True)
PREVIOUS = Image(version="11.137.2", commit="b02e9aa", build_timestamp="2026-08-19T13:40:07Z", otel=True)
UNFILTERED = Image(
    version="11.98.0", commit="51d40ce", build_timestamp="2026-03-02T08:01:33Z", otel=True, knows_filters=False
)
LEGACY = Image(
    version="10.1005.0",
    commit="e41a77b",
    build_timestamp="2025-07-15T16:22:10Z",
    otel=False,
    legacy_jvm=True,
)
OLDEST = Image(
    version="10.742.1",
    commit="0c9d5f2",
    build_timestamp="2024-11-28T10:55:41Z",
    otel=False,
    reports_connected=False,
    version_family="app_version",
    trailing_comma=True,
    knows_filters=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What an agent would report of itself at one instant. Bytes and seconds are plain units, shares are 0 to 1."""

    pod: str
    status: int
    connected: bool
    tasks_active: int
    tasks_queued: int
    requests_active: int
    sessions_open: int
    busyness_score: float
    heap_used_bytes: int
    heap_limit_bytes: int
    cpu_utilization: float
    uptime_seconds: float
    tasks_finished: int
    """Since the agent's process began; drives the counters and histograms of the page."""
