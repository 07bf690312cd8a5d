"""The settings, one class for each section of the file: keys, types, defaults, meaning.

Each part of the exporter gets its own section and never the rest. The text under a field is its description in
docs/configuration.md. Frozen, and no setting ever holds a secret: secrets stay in the files that settings name.
Rules across several settings, or about the disk, are in `checks`.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import model_validator

from exporter.config.addresses import HostPort, parse_agent_address
from exporter.config.forecast_settings import ForecastSettings
from exporter.config.section import Section
from exporter.config.values import (
    AgentAddress,
    Annotations,
    BuiltFrom,
    CloudWatchMetrics,
    ClusterName,
    Duration,
    FileName,
    Flag,
    HttpUrl,
    LabelKey,
    LabelSelector,
    LabelValue,
    Listen,
    Matching,
    NamespaceName,
    Number,
    ObjectName,
    PodName,
    RegularExpression,
    StorageResolution,
    UrlPath,
    WholeNumber,
)
from exporter.config.web_settings import WebSettings
from exporter.fleet.model import Dialect, Endpoint
from exporter.fleet.policy import Policy, ScaleInPolicy
from exporter.fleet.protection import PROTECTION

MIN_SECONDS = 0.01
"""Shortest interval or timeout, in seconds; below it the event loop's own timing is the limit."""


class KubernetesSettings(Section):
    """Agents found as pods through the Kubernetes API."""

    enabled: Flag = True
    """Whether to discover agents among the cluster's pods. Defaults to `false` if only `discovery.static` is set."""
    namespaces: tuple[NamespaceName, ...] = ("matillion",)
    """Namespaces to watch. An empty list watches the whole cluster, which needs a ClusterRole instead of a Role."""
    label_selector: LabelSelector = (
        "app.kubernetes.io/name in (matillion-agent,matillion-runner),!app.kubernetes.io/component"
    )
    """Which pods are agents. The default matches both of the vendor's charts, but not its script runners, which have
    the same name and a component label."""
    fleet_label: LabelKey = "app.kubernetes.io/instance"
    """The label whose value names a pod's fleet; the default is the release name of the vendor's chart."""


class StaticTarget(Section):
    """One agent at a known address."""

    address: AgentAddress
    """Host, or host and port. Without a port, the endpoints of `scrape.endpoints` are tried as on a pod's address."""
    fleet: LabelValue = "default"
    """The fleet the agent belongs to."""
    namespace: LabelValue = "default"
    """The namespace shown for the agent; fleets of the same name in two namespaces are two fleets."""
    pod: PodName | None = None
    """The name shown for the agent; defaults to the address as written here."""
    path: UrlPath | None = None
    """Path of the metrics page, only with `host:port`; defaults to the usual path of `kind`."""
    kind: Dialect | None = None
    """The metric names the agent uses, only with `host:port`; derived from port and path by default, else `otel`."""

    @property
    def pod_name(self) -> str:
        """The name shown for the agent."""
        return self.pod or self.address

    @property
    def identity(self) -> tuple[str, str, str]:
        """Namespace, fleet and pod: the identity of this target."""
        return (self.namespace, self.fleet, self.pod_name)

    @property
    def host_and_port(self) -> tuple[str, int | None]:
        """The parsed address; the host has no brackets."""
        return parse_agent_address(self.address)


class StaticSettings(Section):
    """Agents at known addresses, outside Kubernetes or for testing."""

    targets: tuple[StaticTarget, ...] = ()
    """Agents listed here."""
    file: FileName | None = None
    """A YAML or JSON list of targets of the same form, reloaded whenever it changes."""


class DiscoverySettings(Section):
    """Where the agents are."""

    kubernetes: KubernetesSettings = KubernetesSettings()
    static: StaticSettings = StaticSettings()

    @model_validator(mode="after")
    def _static_alone_needs_no_cluster(self) -> Self:
        if "kubernetes" not in self.model_fields_set and (self.static.targets or self.static.file):
            self.__dict__["kubernetes"] = KubernetesSettings(enabled=False)
        return self


class EndpointSettings(Section):
    """Where an agent may serve its metrics."""

    kind: Dialect
    """`otel` or `legacy`: the names the agent uses there."""
    port: Annotated[int, WholeNumber(1, 65535)]
    """TCP port."""
    path: UrlPath
    """Path of the page. Name filters are added as the query string."""


ScrapedEndpoint = Annotated[
    Endpoint, BuiltFrom(EndpointSettings, lambda given: Endpoint(given.kind, given.port, given.path), Endpoint)
]

DEFAULT_ENDPOINTS = (
    Endpoint(Dialect.OTEL, 9464, "/metrics"),
    Endpoint(Dialect.LEGACY, 8080, "/actuator/prometheus"),
)
"""The vendor's two endpoints; the first is the one agents are moving to."""


class ScrapeSettings(Section):
    """How agents are scraped."""

    interval: Annotated[float, Duration(MIN_SECONDS, 3600)] = 5.0
    """Time between two scrapes of an agent. Each agent has its own phase within the interval."""
    timeout: Annotated[float, Duration(MIN_SECONDS, 3600)] = 3.0
    """Timeout of one scrape, from connecting to the last byte; at most `interval`."""
    concurrency: Annotated[int, WholeNumber(1, 10_000)] = 200
    """Maximum number of concurrent scrapes; each uses one socket, or two until one of the agent's ports has
    answered."""
    max_body_bytes: Annotated[int, WholeNumber(1024, 1 << 30)] = 4 * 1024 * 1024
    """Maximum size of a page, also after decompression; an agent's page has about 32 KB."""
    filter_names: Flag = True
    """Whether to request only the needed metric families. An agent without support for the filter sends its full
    page."""
    endpoints: tuple[ScrapedEndpoint, ...] = DEFAULT_ENDPOINTS
    """Tried in this order, after the pod's declared endpoints. The best that answers is kept; better ones are
    retried."""


_POLICY = Policy()


class ScaleInSettings(Section):
    """A scale-in that removes only agents with little work. `deletion_cost` makes Kubernetes select these agents."""

    max_tasks: Annotated[int, WholeNumber(0)] | None = _POLICY.scale_in.max_tasks
    """Most tasks with which an agent may be removed: the demand keeps all agents with more. At most `tasks_per_agent`;
    null removes any agent."""
    patience: Annotated[float, Duration(MIN_SECONDS)] = _POLICY.scale_in.patience
    """How long the demand is held at most for agents with more tasks; at least `scrape.interval`."""


class CapacitySettings(Section):
    """Capacity of a fleet, and when its figures can be trusted."""

    tasks_per_agent: Annotated[int, WholeNumber(1)] = _POLICY.tasks_per_agent
    """Maximum concurrent tasks per agent: the vendor's limit."""
    target_tasks_per_agent: Annotated[int, WholeNumber(1)] = _POLICY.target_tasks_per_agent
    """Target load per agent, which leaves headroom for a burst; at most 18 of 20. The vendor recommends 15 to 17."""
    stale_after: Annotated[float, Duration(MIN_SECONDS)] = _POLICY.stale_after
    """Age at which a reading expires and its agent is unreachable; at least `scrape.interval` + `scrape.timeout`."""
    forget_after: Annotated[float, Duration(MIN_SECONDS)] = _POLICY.forget_after
    """Age at which an unreachable agent's last count is replaced by `target_tasks_per_agent`; at least
    `stale_after`."""
    max_sync_age: Annotated[float, Duration(MIN_SECONDS)] = _POLICY.max_sync_age
    """How long the list of agents is considered current; Kubernetes confirms an unchanged list about once a minute."""
    min_coverage: Annotated[float, Number(0, 1)] = _POLICY.min_coverage
    """Minimum share of agents that must respond before the fleet's figures are served to an autoscaler."""
    unknown_agents: Literal["hold", "full", "ignore"] = _POLICY.unknown_agents
    """Load assumed for an unreachable agent: its last count (`hold`), `tasks_per_agent` (`full`) or none (`ignore`)."""
    max_replaced: Annotated[float, Number(0, 1)] = _POLICY.max_replaced
    """Maximum number of lost agents to replace, as a share of serving agents, so that an outage does not grow the
    fleet."""
    saturation_growth: Annotated[float, Number(1, 10)] = _POLICY.saturation_growth
    """Growth factor of a fleet whose agents are all full and report no queue; 1 disables it."""
    saturated_after: Annotated[float, Duration(0)] = _POLICY.saturated_after
    """How long every serving agent must have been full before `saturation_growth` applies."""
    hold_rollouts: Flag = _POLICY.hold_rollouts
    """Whether tasks on pods replaced by a rollout still count: new pods start empty, but the same load keeps
    arriving."""
    queue: Literal["per_agent", "shared"] = _POLICY.queue
    """Whether each agent reports its own queue (the sum is used) or the whole fleet's queue (the maximum is used)."""
    never_heard_after: Annotated[float, Duration(MIN_SECONDS)] = _POLICY.never_heard_after
    """After this time, an agent that never answered while others do is excluded from all figures but its own state."""
    scale_in: ScaleInSettings = ScaleInSettings()

    @property
    def policy(self) -> Policy:
        """Return the same as the core takes it."""
        return Policy(**(self.model_dump() | {"scale_in": ScaleInPolicy(**self.scale_in.model_dump())}))


class SpoolSettings(Section):
    """Data that could not be sent to CloudWatch yet, stored on disk."""

    path: FileName = Path("/var/lib/fleet-exporter/spool.db")
    """The spool file."""
    max_age: Annotated[float, Duration(60, 336 * 3600)] = 336 * 3600.0
    """Older data is dropped. CloudWatch accepts nothing older than two weeks."""
    max_datums: Annotated[int, WholeNumber(1000)] = 500_000
    """Maximum number of data points; the oldest are dropped first."""


class CloudWatchSettings(Section):
    """Publishing to Amazon CloudWatch."""

    enabled: Flag = False
    """Whether to publish."""
    region: Annotated[str, Matching("an AWS region, such as eu-west-1", r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")] | None = None
    """AWS region; defaults to the region in the pod's environment."""
    namespace: Annotated[
        str,
        Matching(
            "a CloudWatch namespace (letters, digits, . - _ / # :) that does not begin with AWS/",
            r"[A-Za-z0-9._/#-][A-Za-z0-9._/#:-]*",
            255,
            reserved="AWS/",
        ),
    ] = "Matillion/AgentFleet"
    """CloudWatch namespace of the metrics."""
    interval: Annotated[float, Duration(1, 3600)] = 60.0
    """Publishing interval: a divisor or a multiple of one minute, the unit of CloudWatch's periods."""
    storage_resolution: StorageResolution = 60
    """CloudWatch storage resolution in seconds: 60, or 1 for alarms faster than a minute, at a higher price."""
    metrics: CloudWatchMetrics = ("default",)
    """Which metrics are published; each is billed per fleet. The alarms of the template need `default`."""
    per_agent: Flag = False
    """Whether to also publish per-agent metrics; each is billed."""
    max_per_agent: Annotated[int, WholeNumber(1)] = 50
    """Maximum number of agents with their own metrics, which limits the bill of a large fleet."""
    endpoint_url: HttpUrl | None = None
    """Endpoint to use instead of the region's, such as a VPC endpoint."""
    spool: SpoolSettings = SpoolSettings()


class ExternalMetricsSettings(Section):
    """The external metrics API for the Horizontal Pod Autoscaler."""

    enabled: Flag = False
    """Whether to serve it."""
    listen: Listen = HostPort("0.0.0.0", 8443)  # noqa: S104 - the API server reaches the pod at its own address
    """Address and port to listen on; EKS's recommended security groups allow 8443."""
    cert_file: FileName | None = None
    """The certificate for `<service>.<namespace>.svc`, PEM."""
    key_file: FileName | None = None
    """Its private key, PEM."""


class LeaderElectionSettings(Section):
    """One of several replicas publishes; the others stand by. The defaults are those of Kubernetes' own components."""

    enabled: Flag = True
    """Whether replicas elect a leader. Without an election every replica acts as leader."""
    lease_name: ObjectName = "matillion-fleet-exporter"
    """Name of the Lease object."""
    lease_duration: Annotated[float, Duration(1, 3600)] = 15.0
    """How long other replicas wait for a leader that does not renew."""
    renew_deadline: Annotated[float, Duration(MIN_SECONDS, 3600)] = 10.0
    """The leader stops its work after this time without a renewal; less than `lease_duration`."""
    retry_period: Annotated[float, Duration(MIN_SECONDS, 3600)] = 2.0
    """Time between two attempts; less than `renew_deadline`."""


class DeletionCostSettings(Section):
    """Annotates pods with work so that Kubernetes deletes idle ones first."""

    enabled: Flag = False
    """Whether to write the annotation."""
    bucket: Annotated[int, WholeNumber(1)] = 5
    """Step size in tasks, from 5 tasks on; below that each task counts. The annotation is updated only when the step
    changes."""


class ProtectionSettings(Section):
    """Annotates pods with work so that node autoscalers leave their nodes alone (docs/scaling.md)."""

    enabled: Flag = False
    """Whether to protect pods with work, draining ones included. `false` removes what this release has set."""
    idle_for: Annotated[float, Duration(10, 24 * 3600)] = 120.0
    """How long a pod must have been without work before its protection is removed."""
    annotations: Annotations = PROTECTION
    """The annotations of a protected pod. One that is already on the pod with another value keeps it."""
    nodes: Flag = False
    """Whether to annotate the nodes of draining agents with work too: Karpenter ignores terminating pods. Needs
    `enabled`, and permission on nodes; to remove the annotations, disable `enabled` first and this later."""


class ScalersSettings(Section):
    """Reads the HorizontalPodAutoscalers (KEDA's too) in the agents' namespaces: what scales each fleet."""

    enabled: Flag = True
    """Whether to read them. Without permission they are unknown, which is logged once."""


class PodLogsSettings(Section):
    """Counts failed tasks in the agents' logs."""

    enabled: Flag = False
    """Whether to follow the logs."""
    failure_pattern: RegularExpression | None = None
    """Regular expression that matches a failed task in a log line, in the syntax of RE2 (no look-around, no references
    to groups). There is no default: the lines differ between images."""
    max_lines_per_second: Annotated[int, WholeNumber(1)] = 1000
    """Maximum log lines per agent and second; lines beyond that are skipped, counted and logged."""
    max_streams: Annotated[int, WholeNumber(1, 100)] = 100
    """Maximum number of agents whose logs are followed, each over its own connection to the API server; the rest have
    no count."""
    every_replica: Flag = False
    """Whether every replica follows the logs, not only the leader: a count without gaps."""


class LogSettings(Section):
    """The exporter's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of the lines to write."""
    format: Literal["auto", "json", "console"] = "auto"
    """`json`, `console` for reading, or `auto`: console on a terminal, JSON otherwise."""


class Settings(Section):
    """All settings."""

    cluster: ClusterName | None = None
    """Name of the cluster, shown and used as the `ClusterName` dimension. A pod cannot look it up."""
    discovery: DiscoverySettings = DiscoverySettings()
    scrape: ScrapeSettings = ScrapeSettings()
    capacity: CapacitySettings = CapacitySettings()
    web: WebSettings = WebSettings()
    cloudwatch: CloudWatchSettings = CloudWatchSettings()
    external_metrics: ExternalMetricsSettings = ExternalMetricsSettings()
    leader_election: LeaderElectionSettings = LeaderElectionSettings()
    deletion_cost: DeletionCostSettings = DeletionCostSettings()
    protection: ProtectionSettings = ProtectionSettings()
    forecast: ForecastSettings = ForecastSettings()
    scalers: ScalersSettings = ScalersSettings()
    pod_logs: PodLogsSettings = PodLogsSettings()
    log: LogSettings = LogSettings()
