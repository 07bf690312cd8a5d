"""The metric families on a fake agent's pages, as tables: names, labels and where each number comes from.

Modelled on what the agent's two endpoints publish. Knows nothing of text formats (`pages` writes them) nor of the
numbers themselves (`pages.Numbers` has them). A number is named by a key; a key with a colon is one count of a
histogram (`gc0:3` is the fourth bucket of `gc0`).
"""

from dataclasses import dataclass, replace

from exporter.simulator.vitals import Image, Spelling

Labels = tuple[tuple[str, str], ...]

ACCOUNT_ID = "5d0c9a3e-64f7-4f0b-9f57-0a1c6e2b7d11"
"""An invented account: it has the form of a real one and belongs to none."""

PLANTED_SECRET = "planted-secret-that-must-never-leave-the-page"  # noqa: S105 - bait: leaks of target_info are looked for by it
"""Stands in the command line of `target_info`, as passwords do in the wild."""

MATILLION_SCOPE: Labels = (("otel_scope_name", "com.matillion.agent.metrics"),)
RUNTIME_SCOPE: Labels = (
    ("otel_scope_name", "io.opentelemetry.runtime-telemetry-java17"),
    ("otel_scope_version", "2.20.1"),
)
SERVER_SCOPE: Labels = (("otel_scope_name", "io.opentelemetry.tomcat-10.0"),)
CLIENT_SCOPE: Labels = (("otel_scope_name", "io.opentelemetry.java-http-client"),)

HTTP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bucket bounds of HTTP durations in OpenTelemetry's semantic conventions, in seconds."""
GC_BOUNDS = (0.01, 0.1, 1.0, 10.0)
"""Bucket bounds of garbage collections in the same conventions, in seconds."""
EXEMPLAR = "server2:4"
"""The bucket that shows a trace beside its count, in OpenMetrics."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: what follows the family's name, the labels, and the key of the number."""

    key: str
    labels: Labels = ()
    suffix: str = ""
    exemplar: bool = False
    """Whether OpenMetrics shows a trace beside it."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family. `name` has no `_total`; that belongs to the samples of a counter."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a histogram's observations spread: each task adds `per_task` of them, and `shares` accumulate to 1."""

    per_task: float
    shares: tuple[float, ...]
    mean_seconds: float


def _spread(per_task: float, bounds: tuple[float, ...], median: float) -> Distribution:
    """Spread observations over `bounds` log-logistically about `median`: a long tail, as latencies have."""
    shares = tuple(1 / (1 + (median / bound) ** 2) for bound in bounds)
    return Distribution(per_task, (*shares, 1.0), median * 1.6)


DISTRIBUTIONS = {
    "gc0": _spread(1.7, GC_BOUNDS, 0.012),
    "gc1": _spread(0.04, GC_BOUNDS, 0.09),
    "gc2": _spread(0.9, GC_BOUNDS, 0.004),
    "server0": _spread(0.8, HTTP_BOUNDS, 0.006),
    "server1": _spread(1.3, HTTP_BOUNDS, 0.003),
    "server2": _spread(2.1, HTTP_BOUNDS, 0.045),
    "client0": _spread(6.0, HTTP_BOUNDS, 0.110),
    "client1": _spread(3.0, HTTP_BOUNDS, 0.035),
}


def _histogram(key: str, labels: Labels, bounds: tuple[float, ...]) -> tuple[Sample, ...]:
    buckets = tuple(
        Sample(f"{key}:{index}", (*labels, ("le", bound)), "_bucket", exemplar=f"{key}:{index}" == EXEMPLAR)
        for index, bound in enumerate([*(str(bound) for bound in bounds), "+Inf"])
    )
    return (*buckets, Sample(f"{key}:{len(bounds)}", labels, "_count"), Sample(f"{key}_sum", labels, "_sum"))


def _gauge(name: str, text: str, key: str, labels: Labels, unit: str = "") -> Family:
    return Family(name, "gauge", text, (Sample(key, labels),), unit)


def _matillion(image: Image) -> tuple[Family, ...]:
    account: Labels = (("account_id", ACCOUNT_ID), *MATILLION_SCOPE)
    # The order of labels is not fixed on real pages: here the scope comes first, above last.
    cloud: Labels = (*MATILLION_SCOPE, ("matillion_agent_cloud_provider", "AWS"))
    build = (("version", image.version), ("commit_hash", image.commit), ("build_timestamp", image.build_timestamp))
    return (
        _gauge("matillion_agent_busyness_score", "The agent's own estimate of its load", "busyness", account),
        _gauge("matillion_agent_connected_unit", "Connection to the control plane", "connected", account, "unit"),
        _gauge("matillion_agent_open_sessions_unit", "Data warehouse sessions open", "sessions", cloud, "unit"),
        _gauge("matillion_agent_request_active_unit", "HTTP requests in progress", "requests", account, "unit"),
        _gauge("matillion_agent_sse_connected_unit", "Event stream of the control plane", "connected", account, "unit"),
        Family(
            "matillion_agent_sse_events_received",
            "counter",
            "Events received from the control plane",
            (Sample("sse_events", account, "_total"),),
        ),
        _gauge(
            "matillion_agent_status_unit", "1 running, 2 and 3 shutting down, 0 not running", "status", account, "unit"
        ),
        _gauge("matillion_agent_task_queued_unit", "Tasks waiting for a slot", "queued", cloud, "unit"),
        _gauge("matillion_agent_task_running_unit", "Tasks executing", "tasks", cloud, "unit"),
        _gauge("matillion_agent_version_unit", "Build of the agent", "one", (*account, *build), "unit"),
    )


_POOLS = (
    ("heap", "G1 Eden Space", "eden"),
    ("heap", "G1 Old Gen", "old"),
    ("heap", "G1 Survivor Space", "survivor"),
    ("non_heap", "CodeHeap 'non-nmethods'", "code_non"),
    ("non_heap", "CodeHeap 'non-profiled nmethods'", "code_nonprofiled"),
    ("non_heap", "CodeHeap 'profiled nmethods'", "code_profiled"),
    ("non_heap", "Compressed Class Space", "classspace"),
    ("non_heap", "Metaspace", "metaspace"),
)
_LIMITED = {"old", "code_non", "code_nonprofiled", "code_profiled", "classspace"}
"""Pools with a limit. Under G1 only the old generation has one, and it is the whole heap's."""

_THREADS = (
    ("false", "runnable"),
    ("false", "timed_waiting"),
    ("false", "waiting"),
    ("true", "blocked"),
    ("true", "runnable"),
    ("true", "timed_waiting"),
    ("true", "waiting"),
)
_BUFFERS = ("direct", "mapped", "mapped - 'non-volatile memory'")


def _pools(measure: str, keys: set[str] | None = None) -> tuple[Sample, ...]:
    return tuple(
        Sample(f"{key}_{measure}", (("jvm_memory_pool_name", pool), ("jvm_memory_type", area), *RUNTIME_SCOPE))
        for area, pool, key in _POOLS
        if keys is None or key in keys
    )


def _buffers(measure: str) -> tuple[Sample, ...]:
    return tuple(Sample(f"buffer_{measure}", (("jvm_buffer_pool_name", pool), *RUNTIME_SCOPE)) for pool in _BUFFERS)


def _collections() -> tuple[Sample, ...]:
    collectors = (
        ("end of minor GC", "G1 Young Generation"),
        ("end of major GC", "G1 Old Generation"),
        ("end of concurrent GC pause", "G1 Concurrent GC"),
    )
    return tuple(
        sample
        for index, (action, name) in enumerate(collectors)
        for sample in _histogram(
            f"gc{index}", (("jvm_gc_action", action), ("jvm_gc_name", name), *RUNTIME_SCOPE), GC_BOUNDS
        )
    )


def _jvm() -> tuple[Family, ...]:
    scope = RUNTIME_SCOPE
    return (
        Family("jvm_buffer_count", "gauge", "Number of buffers in the pool.", _buffers("count")),
        Family("jvm_buffer_memory_limit_bytes", "gauge", "Capacity of the buffers.", _buffers("limit"), "bytes"),
        Family("jvm_buffer_memory_used_bytes", "gauge", "Memory used by buffers.", _buffers("used"), "bytes"),
        _gauge("jvm_class_count", "Number of classes currently loaded.", "classes", scope),
        Family("jvm_class_loaded", "counter", "Classes loaded since JVM start.", (Sample("classes", scope, "_total"),)),
        Family(
            "jvm_class_unloaded", "counter", "Classes unloaded since JVM start.", (Sample("zero", scope, "_total"),)
        ),
        _gauge("jvm_cpu_count", "Number of processors available to the JVM.", "cpus", scope),
        _gauge("jvm_cpu_recent_utilization", "Recent CPU utilization as reported by the JVM.", "cpu", scope),
        Family(
            "jvm_cpu_time_seconds",
            "counter",
            "CPU time used by the process as reported by the JVM.",
            (Sample("cpu_seconds", scope, "_total"),),
            "seconds",
        ),
        Family(
            "jvm_gc_duration_seconds", "histogram", "Duration of JVM garbage collection.", _collections(), "seconds"
        ),
        Family("jvm_memory_committed_bytes", "gauge", "Measure of memory committed.", _pools("committed"), "bytes"),
        Family("jvm_memory_limit_bytes", "gauge", "Largest obtainable memory.", _pools("limit", _LIMITED), "bytes"),
        Family("jvm_memory_used_bytes", "gauge", "Measure of memory used.", _pools("used"), "bytes"),
        Family(
            "jvm_memory_used_after_last_gc_bytes",
            "gauge",
            "Memory used after the most recent garbage collection.",
            _pools("after_gc", {"eden", "old", "survivor"}),
            "bytes",
        ),
        Family(
            "jvm_thread_count",
            "gauge",
            "Number of executing platform threads.",
            tuple(
                Sample(f"threads_{state}", (("jvm_thread_daemon", daemon), ("jvm_thread_state", state), *scope))
                for daemon, state in _THREADS
            ),
        ),
    )


def _http() -> tuple[Family, ...]:
    common: Labels = (
        ("http_request_method", "GET"),
        ("http_response_status_code", "200"),
    )
    routes = ("/actuator/prometheus", "/actuator/info", "/v1/connections/{id}/test")
    hosts = ("control.example.com", "files.example.com")
    server = tuple(
        sample
        for index, route in enumerate(routes)
        for sample in _histogram(f"server{index}", (*common, ("http_route", route), *SERVER_SCOPE), HTTP_BOUNDS)
    )
    client = tuple(
        sample
        for index, host in enumerate(hosts)
        for sample in _histogram(
            f"client{index}",
            (*common, ("server_address", host), *CLIENT_SCOPE),
            HTTP_BOUNDS,
        )
    )
    return (
        Family("http_client_request_duration_seconds", "histogram", "Duration of client requests.", client, "seconds"),
        Family("http_server_request_duration_seconds", "histogram", "Duration of server requests.", server, "seconds"),
    )


def _target() -> Family:
    command = (
        rf'["/opt/java/bin/java","-XX:MaxRAMPercentage=75.0","-Dstore.password={PLANTED_SECRET}","-jar","C:\agent.jar"]'
    )
    labels: Labels = (
        ("host_arch", "amd64"),
        ("host_name", "<pod>"),
        ("os_type", "linux"),
        ("process_command_args", command),
        ("process_executable_path", "/opt/java/bin/java"),
        ("process_pid", "1"),
        ("process_runtime_version", "21.0.8+9-LTS"),
        ("service_name", "matillion-agent"),
        ("telemetry_distro_name", "opentelemetry-java-instrumentation"),
        ("telemetry_sdk_language", "java"),
        ("telemetry_sdk_version", "1.54.1"),
    )
    return Family("target", "info", "Target metadata", (Sample("one", labels, "_info"),))


def otel_families(image: Image) -> tuple[Family, ...]:
    """Return what the OpenTelemetry endpoint publishes, sorted by name as its server does."""
    families = (*_matillion(image), *_jvm(), *_http(), _target())
    return tuple(sorted((_spelled(family, image.spelling) for family in families), key=lambda family: family.name))


def _spelled(family: Family, spelling: Spelling) -> Family:
    suffix = family.unit and f"_{family.unit}"
    stem = family.name.removesuffix(suffix)
    if spelling is Spelling.NONE:
        return replace(family, name=stem, unit="")
    if spelling is Spelling.RATIO and family.unit == "unit":
        return replace(family, name=f"{stem}_ratio", unit="ratio")
    if spelling is Spelling.QUOTED:
        samples = tuple(
            replace(sample, labels=tuple((_dotted(label), text) for label, text in sample.labels))
            for sample in family.samples
        )
        return replace(family, name=stem.replace("_", ".") + suffix, samples=samples)
    return family


def _dotted(label: str) -> str:
    """Return a label's name as OpenTelemetry has it; some have underscores there as well."""
    kept = label in {"account_id", "build_timestamp", "commit_hash"} or label.startswith("otel_scope")
    return label if kept else label.replace("_", ".")


def legacy_families(image: Image) -> tuple[Family, ...]:
    """Return what the actuator publishes: the `app_*` gauges, and the JVM's memory where the image has it."""
    build = (
        ("build_timestamp", image.build_timestamp),
        ("commit_hash", image.commit),
        ("version", image.version),
    )
    families = [
        _gauge("app_active_request_count", "Active HTTP requests to the agent", "requests", ()),
        _gauge("app_active_task_count", "Current number of executing tasks", "tasks", ()),
        _gauge("app_agent_status", "Agent status", "status", ()),
        _gauge("app_open_sessions_count", "Open connections to data warehouses", "sessions", ()),
        _gauge(image.version_family, "Agent version and build metadata", "one", build),
    ]
    if image.reports_connected:
        families.append(_gauge("app_agent_connected", "Connection to the control plane", "connected", ()))
    if image.legacy_jvm:
        families += [_micrometer_pools("max"), _micrometer_pools("used")]
    return tuple(sorted(families, key=lambda family: family.name))


def _micrometer_pools(measure: str) -> Family:
    samples = tuple(
        Sample(
            "unlimited"
            if measure == "max" and key not in _LIMITED
            else f"{key}_{'limit' if measure == 'max' else measure}",
            (("area", area.replace("_", "")), ("id", pool)),
        )
        for area, pool, key in _POOLS
    )
    return Family(f"jvm_memory_{measure}_bytes", "gauge", f"JVM memory, {measure}", samples)
