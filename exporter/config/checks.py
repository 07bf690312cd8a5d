"""What no single setting shows: combinations that cannot work, unreadable files."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path as FilePath
from typing import Any

from exporter.aws.endpoints import managed_prometheus_region
from exporter.config.durations import format_duration
from exporter.config.problems import Path, Problem, dotted, shown
from exporter.config.settings import Settings, StaticTarget
from exporter.config.yaml_source import read_text

HPA_TOLERANCE = 0.1
"""Part of the target within which the HPA changes nothing: `--horizontal-pod-autoscaler-tolerance` (kubernetes.io)."""

_TOKEN_FILES = ("web.bearer_token_file", "forecast.prometheus_token_file")


@dataclass(slots=True)
class Findings:
    """Collects problems, leaving out those that rest on a setting which is wrong by itself."""

    wrong: Collection[Path]
    problems: list[Problem] = field(default_factory=list)
    _above: frozenset[Path] = field(init=False, repr=False)
    """All that one of `wrong` is within."""

    def __post_init__(self) -> None:
        self.wrong = frozenset(self.wrong)
        self._above = frozenset(bad[:length] for bad in self.wrong for length in range(len(bad) + 1))

    def add(self, path: str | Path, message: str, *also: str) -> None:
        """Report a problem at `path`; `also` are the other settings it rests on."""
        at = split(path)
        if not any(map(self._rests_on_wrong, (at, *map(split, also)))):
            self.problems.append(Problem(at, message))

    def _rests_on_wrong(self, path: Path) -> bool:
        return path in self._above or any(path[:length] in self.wrong for length in range(len(path)))


def split(path: str | Path) -> Path:
    """Return a dotted path of keys as a tuple."""
    return tuple(path.split(".")) if isinstance(path, str) else path


def check(settings: Settings, wrong: Collection[Path]) -> list[Problem]:
    """Return what is wrong with settings that are each right; `wrong` are the paths where a default had to stand in."""
    findings = Findings(wrong)
    for part in (_discovery, _times, _capacity, _leadership, _cloudwatch, _forecast, _pod_logs, _listeners, _written):
        part(settings, findings)
    return findings.problems


def _discovery(settings: Settings, findings: Findings) -> None:
    kubernetes, static = settings.discovery.kubernetes, settings.discovery.static
    if not kubernetes.enabled and not static.targets and static.file is None:
        findings.add(
            "discovery",
            "no agent would ever be found; set kubernetes.enabled to true, or give static.targets or static.file",
        )
    _repeated(("discovery", "kubernetes", "namespaces"), kubernetes.namespaces, findings)
    endpoints = [(endpoint.port, endpoint.path) for endpoint in settings.scrape.endpoints]
    _repeated(("scrape", "endpoints"), [f"{port}{path}" for port, path in endpoints], findings)
    if not endpoints:
        findings.add("scrape.endpoints", "an empty list leaves no endpoint to scrape; omit the key for the default")
    for section, enabled in (
        ("deletion_cost", settings.deletion_cost.enabled),
        ("protection", settings.protection.enabled),
    ):
        if enabled and not kubernetes.enabled:
            findings.add(
                f"{section}.enabled",
                "only pods found by discovery.kubernetes can be annotated; enable that, or set this to false",
                "discovery.kubernetes.enabled",
            )
    findings.problems += targets(static.targets, ("discovery", "static", "targets"), findings.wrong)


def _repeated(where: Path, values: Sequence[str], findings: Findings) -> None:
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        first = seen.setdefault(value, index)
        if first != index:
            findings.add(
                (*where, index),
                f"{shown(value)} is already listed at {dotted((*where, first))}",
                ".".join(map(str, where)),
            )


def targets(given: Sequence[StaticTarget], where: Path, wrong: Collection[Path]) -> list[Problem]:
    """Return what is wrong with a list of targets that are each right, as a list that stands at `where`."""
    findings = Findings(wrong)
    seen: dict[tuple[str, str, str], int] = {}
    for index, target in enumerate(given):
        first = seen.setdefault(target.identity, index)
        if first != index:
            names = "/".join(target.identity)
            findings.add(
                (*where, index), f"{shown(names)} (namespace/fleet/pod) is already listed at {dotted((*where, first))}"
            )
        if target.host_and_port[1] is None:
            for key in ("path", "kind"):
                if getattr(target, key) is not None:
                    findings.add((*where, index, key), "this needs an address with a port, such as 10.0.0.1:9464")
    return findings.problems


def _times(settings: Settings, findings: Findings) -> None:
    scrape, capacity = settings.scrape, settings.capacity
    if scrape.timeout > scrape.interval:
        message = f"{format_duration(scrape.timeout)} must not be longer than scrape.interval"
        findings.add("scrape.timeout", f"{message} ({format_duration(scrape.interval)})", "scrape.interval")
    min_age = scrape.interval + scrape.timeout
    if capacity.stale_after < min_age:
        findings.add(
            "capacity.stale_after",
            f"{format_duration(capacity.stale_after)} is shorter than scrape.interval + scrape.timeout "
            f"({format_duration(min_age)}), so valid readings would expire",
            "scrape.interval",
            "scrape.timeout",
        )
    if capacity.forget_after < capacity.stale_after:
        message = f"{format_duration(capacity.forget_after)} must not be shorter than capacity.stale_after"
        findings.add(
            "capacity.forget_after", f"{message} ({format_duration(capacity.stale_after)})", "capacity.stale_after"
        )


def _capacity(settings: Settings, findings: Findings) -> None:
    target, limit = settings.capacity.target_tasks_per_agent, settings.capacity.tasks_per_agent
    highest = max(1, floor(limit / (1 + HPA_TOLERANCE)))
    if target > highest:
        findings.add(
            "capacity.target_tasks_per_agent",
            f"{target} must not be more than {highest}: an HPA tolerates {HPA_TOLERANCE:.0%} over its target, so that "
            f"with less room below the {limit} slots of capacity.tasks_per_agent a queue could wait forever",
            "capacity.tasks_per_agent",
        )
    light, patience = settings.capacity.scale_in.max_tasks, settings.capacity.scale_in.patience
    if light is not None and light > limit:
        findings.add(
            "capacity.scale_in.max_tasks",
            f"{light} must not be more than capacity.tasks_per_agent ({limit}); set it to null to let a scale-in "
            "remove any agent",
            "capacity.tasks_per_agent",
        )
    if patience < settings.scrape.interval:
        findings.add(
            "capacity.scale_in.patience",
            f"{format_duration(patience)} must not be shorter than scrape.interval "
            f"({format_duration(settings.scrape.interval)})",
            "scrape.interval",
        )


def _leadership(settings: Settings, findings: Findings) -> None:
    lease = settings.leader_election
    pairs = (
        ("renew_deadline", lease.renew_deadline, "lease_duration", lease.lease_duration),
        ("retry_period", lease.retry_period, "renew_deadline", lease.renew_deadline),
    )
    for key, given, other, limit in pairs:
        if lease.enabled and given >= limit:
            message = f"{format_duration(given)} must be shorter than leader_election.{other}"
            findings.add(f"leader_election.{key}", f"{message} ({format_duration(limit)})", f"leader_election.{other}")


def _cloudwatch(settings: Settings, findings: Findings) -> None:
    interval = settings.cloudwatch.interval
    if 60 % interval and interval % 60:
        findings.add(
            "cloudwatch.interval",
            f"{format_duration(interval)} must divide a minute or be a number of minutes, as CloudWatch's periods do",
        )
    elif interval % 1:
        findings.add(
            "cloudwatch.interval", f"{format_duration(interval)} must be whole seconds, as CloudWatch's times are"
        )
    elif interval < 60 and settings.cloudwatch.storage_resolution == 60:  # noqa: PLR2004 - a minute
        findings.add(
            "cloudwatch.interval",
            f"{format_duration(interval)} is less than CloudWatch's standard resolution of a minute; set "
            "cloudwatch.storage_resolution to 1, or the interval to 1m",
            "cloudwatch.storage_resolution",
        )
    if settings.cloudwatch.enabled and settings.cluster is None:
        findings.add("cluster", "CloudWatch needs a name for its ClusterName dimension; set it", "cloudwatch.enabled")


def _forecast(settings: Settings, findings: Findings) -> None:
    forecast = settings.forecast
    if forecast.min_days > forecast.days:
        findings.add(
            "forecast.min_days",
            f"no history would ever be long enough: it must not exceed forecast.days ({forecast.days})",
            "forecast.days",
        )
    if not forecast.enabled:
        return
    if forecast.source == "prometheus" and forecast.prometheus_url is None:
        findings.add("forecast.prometheus_url", "this is required with source: prometheus", "forecast.source")
    if forecast.prometheus_token_file is not None and managed_prometheus_region(forecast.prometheus_url or ""):
        message = "Amazon Managed Prometheus takes no token: requests are signed with the pod's role; remove this"
        findings.add("forecast.prometheus_token_file", message, "forecast.prometheus_url")
    if forecast.source == "cloudwatch" and not settings.cloudwatch.enabled:
        message = "the past is read from what is published: set cloudwatch.enabled to true, or use source: self"
        findings.add("forecast.source", message, "cloudwatch.enabled")


def _pod_logs(settings: Settings, findings: Findings) -> None:
    if not settings.pod_logs.enabled:
        return
    if settings.pod_logs.failure_pattern is None:
        findings.add(
            "pod_logs.failure_pattern", "this is required: the log line of a failed task differs between images"
        )
    if not settings.discovery.kubernetes.enabled:
        message = "the logs are read through Kubernetes: set discovery.kubernetes.enabled to true"
        findings.add("pod_logs.enabled", message, "discovery")


def _listeners(settings: Settings, findings: Findings) -> None:
    web, external = settings.web.listen, settings.external_metrics.listen
    if settings.external_metrics.enabled and web.port == external.port != 0:
        findings.add("external_metrics.listen", f"port {external.port} is already taken by web.listen", "web.listen")
    for key in ("cert_file", "key_file"):
        if settings.external_metrics.enabled and getattr(settings.external_metrics, key) is None:
            findings.add(f"external_metrics.{key}", "this is required: the API server requires TLS")


def _written(settings: Settings, findings: Findings) -> None:
    """Find files that two parts would write: each would set aside what the other has there."""
    forecast = settings.forecast
    in_file = forecast.enabled and forecast.source == "self" and not settings.discovery.kubernetes.enabled
    written = {
        "cloudwatch.spool.path": settings.cloudwatch.spool.path if settings.cloudwatch.enabled else None,
        "forecast.path": forecast.path if in_file else None,
        "web.history_file": settings.web.history_file,
    }
    owners: dict[FilePath, str] = {}
    for setting, file in written.items():
        if file is not None and owners.setdefault(file, setting) != setting:
            findings.add(
                setting, f"{shown(str(file))} is already used by {owners[file]}; name another file", owners[file]
            )


_FILES = (
    "web.tls.cert_file",
    "web.tls.key_file",
    "web.tls.client_ca_file",
    "web.basic_auth.users_file",
    "web.bearer_token_file",
    "external_metrics.cert_file",
    "external_metrics.key_file",
)
_FORECAST_FILE = "forecast.prometheus_token_file"


def files(settings: Settings, data: Mapping[str, Any], wrong: Collection[Path]) -> list[Problem]:
    """Return which named files cannot be read; `data` is what was given, of which a wrong section is left out.

    So a certificate that is missing is reported beside the key that was not named.
    """
    reads_prometheus = settings.forecast.enabled and settings.forecast.source == "prometheus"
    problems: list[Problem] = []
    for path in (*_FILES, *([_FORECAST_FILE] if reads_prometheus else [])):
        at = split(path)
        given = _given(data, at)
        if not isinstance(given, str) or at in wrong:
            continue
        text, reason = read_text(FilePath(given))
        if reason is None and not text.strip():
            reason = "it is empty"
        if reason is not None:
            # A token pasted in place of its file's name must not reach a log.
            name = "the file" if path in _TOKEN_FILES else shown(given)
            problems.append(Problem(at, f"{name} cannot be used: {reason}"))
    return problems


def _given(data: object, path: Path) -> object:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
