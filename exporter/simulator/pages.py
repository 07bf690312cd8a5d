"""The metrics pages of a fake agent, written as the agent's two endpoints write them.

A page's text is built once per image, format and filter, with named holes; an agent's numbers are filled in per
request, and only those a hole asks for are computed. Knows nothing of sockets or of time passing.

    page = Page(CURRENT, Dialect.OTEL)
    body = page.render(example_vitals(seed=1))
"""

import json
import math
import random
from functools import lru_cache

from exporter.fleet.model import AgentStatus, Dialect
from exporter.simulator.families import DISTRIBUTIONS, Family, Sample, legacy_families, otel_families
from exporter.simulator.vitals import Image, Vitals

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

MIB = 1024 * 1024
STATUS_WORDS = {
    AgentStatus.STOPPED: "STOPPED",
    AgentStatus.RUNNING: "RUNNING",
    AgentStatus.PENDING_SHUTDOWN: "PENDING_SHUTDOWN",
    AgentStatus.SHUTTING_DOWN: "SHUTTING_DOWN",
}
JAVA_PLAIN = (1e-3, 1e7)
"""From here up to there Java writes a double without an exponent."""
STARTED_TIME = 1_790_000_000.0
"""Unix seconds shown as the birth of counters: fixed, so that a page depends on its arguments only."""

TRACE = '{span_id="53995c3f42cd8ad8",trace_id="fee09ad9efe9a63e8d0ebf13b7a6a2c1"}'


def java_double(value: float) -> bytes:
    """Write a number as Java's `Double.toString` does: `12.0`, `1.5E9`, `1.0E-4`, `NaN`, `+Inf`."""
    number = float(value)
    if not math.isfinite(number):
        return b"NaN" if math.isnan(number) else b"+Inf" if number > 0 else b"-Inf"
    if number == 0 or JAVA_PLAIN[0] <= abs(number) < JAVA_PLAIN[1]:
        return repr(number).encode()
    mantissa, _, power = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) + len(whole) - 1 - (len(whole + fraction) - len(digits))
    sign = "-" if number < 0 else ""
    return f"{sign}{digits[0]}.{digits[1:].rstrip('0') or '0'}E{exponent}".encode()


class Numbers(dict[bytes, bytes | int]):
    """The numbers of one agent's page by key, each computed when a hole first asks for it."""

    def __init__(self, vitals: Vitals) -> None:
        super().__init__()
        self._vitals = vitals
        self._derived = _derived(vitals)

    def __missing__(self, key: bytes) -> bytes | int:
        name = key.decode()
        if name == "pod":
            return self._vitals.pod.encode()
        if ":" in name:
            histogram, _, bucket = name.partition(":")
            return self._count(histogram, int(bucket))
        number = java_double(self._number(name))
        self[key] = number
        return number

    def _count(self, histogram: str, bucket: int) -> int:
        spread = DISTRIBUTIONS[histogram]
        total = 12 + int(self._vitals.tasks_finished * spread.per_task)
        return int(total * spread.shares[bucket])

    def _number(self, name: str) -> float:
        vitals = self._vitals
        direct = _DIRECT.get(name)
        if direct is not None:
            return float(getattr(vitals, direct))
        constant = _CONSTANT.get(name)
        if constant is not None:
            return constant
        if name.endswith("_sum"):
            histogram = name.removesuffix("_sum")
            spread = DISTRIBUTIONS[histogram]
            return self._count(histogram, len(spread.shares) - 1) * spread.mean_seconds
        return self._derived[name]


def _derived(vitals: Vitals) -> dict[str, float]:
    """Return the numbers that follow from an agent's vitals. The heap's three pools add up to it, to the byte."""
    used = vitals.heap_used_bytes
    survivor = min(used // 40, 24 * MIB)
    eden = (used - survivor) // 4
    old = used - survivor - eden
    return {
        "eden_used": eden,
        "survivor_used": survivor,
        "old_used": old,
        "eden_committed": _committed(eden),
        "survivor_committed": _committed(survivor),
        "old_committed": min(_committed(old), vitals.heap_limit_bytes),
        "eden_after_gc": 0,
        "survivor_after_gc": survivor,
        "old_after_gc": old * 9 // 10,
        "cpu_seconds": round(vitals.uptime_seconds * 0.08 + vitals.tasks_finished * 2.5, 2),
        "sse_events": 3 + vitals.tasks_finished + vitals.tasks_active + int(vitals.uptime_seconds / 15),
        "threads_runnable": 9 + vitals.requests_active,
        "threads_timed_waiting": 12 + vitals.tasks_active,
        "threads_waiting": 24 + 2 * vitals.sessions_open,
    }


def _committed(used: int) -> int:
    """Round up to the 32 MiB steps in which the JVM takes memory."""
    step = 32 * MIB
    return (used // step + 1) * step


_DIRECT = {
    "status": "status",
    "connected": "connected",
    "tasks": "tasks_active",
    "queued": "tasks_queued",
    "requests": "requests_active",
    "sessions": "sessions_open",
    "busyness": "busyness_score",
    "cpu": "cpu_utilization",
    "old_limit": "heap_limit_bytes",
}
_CONSTANT = {
    "one": 1.0,
    "zero": 0.0,
    "unlimited": -1.0,
    "cpus": 2.0,
    "classes": 31_874.0,
    "threads_blocked": 0.0,
    "buffer_count": 14.0,
    "buffer_limit": 1_179_648.0,
    "buffer_used": 1_179_649.0,
    "code_non_used": 1_845_248.0,
    "code_non_committed": 2_555_904.0,
    "code_non_limit": 5_840_896.0,
    "code_nonprofiled_used": 24_117_248.0,
    "code_nonprofiled_committed": 24_444_928.0,
    "code_nonprofiled_limit": 122_908_672.0,
    "code_profiled_used": 46_020_480.0,
    "code_profiled_committed": 49_938_432.0,
    "code_profiled_limit": 122_908_672.0,
    "classspace_used": 22_806_528.0,
    "classspace_committed": 24_117_248.0,
    "classspace_limit": 1_073_741_824.0,
    "metaspace_used": 176_160_768.0,
    "metaspace_committed": 178_257_920.0,
}


class Page:
    """One endpoint's page of one image, in both text formats."""

    def __init__(self, image: Image, dialect: Dialect) -> None:
        self.dialect = dialect
        self._families = otel_families(image) if dialect is Dialect.OTEL else legacy_families(image)
        self._comma = image.trailing_comma
        self._knows_filters = image.knows_filters
        # Filters come over the network, so the number of texts kept for them is bounded.
        self._text = lru_cache(maxsize=64)(self._build)

    def render(self, vitals: Vitals, *, openmetrics: bool = False, names: frozenset[str] = frozenset()) -> bytes:
        """Return the page's bytes; with `names`, only these families, where the image knows such filters."""
        needed = names if self._knows_filters else frozenset()
        return self._text(openmetrics, needed) % Numbers(vitals)

    @property
    def sample_count(self) -> int:
        """Samples on the whole page, in the plain text format."""
        return sum(len(family.samples) for family in self._families)

    def _build(self, openmetrics: bool, names: frozenset[str]) -> bytes:
        chosen = [family for family in self._families if not names or _names_of(family) & names]
        text = "".join(self._family(family, openmetrics) for family in chosen)
        return (text + ("# EOF\n" if openmetrics else "")).encode()

    def _family(self, family: Family, openmetrics: bool) -> str:
        name, kind = family.name, family.kind
        if not openmetrics:
            # The plain format knows no info type, and its counters are named with their suffix.
            name += {"counter": "_total", "info": "_info"}.get(kind, "")
            kind = "gauge" if kind == "info" else kind
        name = _quoted(name)
        lines = [f"# TYPE {name} {kind}"]
        if openmetrics and family.unit:
            lines.append(f"# UNIT {name} {family.unit}")
        lines = [*lines, f"# HELP {name} {family.help}"] if openmetrics else [f"# HELP {name} {family.help}", *lines]
        for sample in family.samples:
            lines.append(self._sample(family, sample, openmetrics))
            if openmetrics and sample.suffix in {"_total", "_sum"}:
                lines.append(f"{self._series(f'{family.name}_created', sample, openmetrics)} {STARTED_TIME:.3f}")
        return "\n".join(lines) + "\n"

    def _sample(self, family: Family, sample: Sample, openmetrics: bool) -> str:
        hole = f"%({sample.key})d" if ":" in sample.key else f"%({sample.key})b"
        line = f"{self._series(family.name + sample.suffix, sample, openmetrics)} {hole}"
        if openmetrics and sample.exemplar:
            line += f" # {TRACE} 0.061 {STARTED_TIME:.3f}"
        return line

    def _series(self, name: str, sample: Sample, openmetrics: bool) -> str:
        items = [f'{_quoted(label)}="{_escape(value)}"' for label, value in sample.labels]
        if _quoted(name) != name:
            # A name in quotes goes between the braces.
            name, items = "", [_quoted(name), *items]
        if not items:
            return name
        comma = "," if self._comma and not openmetrics else ""
        return f"{name}{{{','.join(items)}{comma}}}"


def _quoted(name: str) -> str:
    """Return a name in quotes if it needs them."""
    return f'"{name}"' if "." in name else name


def _names_of(family: Family) -> set[str]:
    """Return every name a filter may call the family by: its own and those of its samples, with underscores."""
    name = family.name.replace(".", "_")
    return {name} | {name + sample.suffix for sample in family.samples}


def _escape(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n").replace("%", "%%")
    return escaped.replace("<pod>", "%(pod)b")


@lru_cache(maxsize=64)
def page_of(image: Image, dialect: Dialect) -> Page:
    """Return the page that all agents of one image share; they differ in numbers only."""
    return Page(image, dialect)


def actuator_info(image: Image, vitals: Vitals) -> bytes:
    """Return the JSON of `/actuator/info`, which every image has on its legacy port."""
    document = {
        "agentStatus": STATUS_WORDS[vitals.status],
        "activeTaskCount": vitals.tasks_active,
        "activeRequestCount": vitals.requests_active,
        "openSessionsCount": vitals.sessions_open,
        "buildInfo": {
            "version": image.version,
            "commitHash": image.commit,
            "buildTimestamp": image.build_timestamp,
        },
    }
    return json.dumps(document).encode()


def example_vitals(seed: int, pod: str = "agent") -> Vitals:
    """Return the plausible numbers of one busy agent; the same seed gives the same numbers."""
    draw = random.Random(seed)
    tasks = draw.randint(4, 20)
    return Vitals(
        pod=f"{pod}-{seed}",
        status=AgentStatus.RUNNING,
        connected=True,
        tasks_active=tasks,
        tasks_queued=draw.choice((0, 0, 0, 1, 4)),
        requests_active=draw.randint(0, 3),
        sessions_open=tasks // 2,
        busyness_score=round(tasks * 100 / 20, 1),
        heap_used_bytes=draw.randint(400 * MIB, 1800 * MIB),
        heap_limit_bytes=3072 * MIB,
        cpu_utilization=round(draw.uniform(0.05, 0.75), 6),
        uptime_seconds=draw.uniform(600, 400_000),
        tasks_finished=draw.randint(10, 20_000),
    )
