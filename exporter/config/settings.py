"""The settings, one class for each section of the file: keys, types, defaults, meaning.

Every part of the exporter takes its own section and never sees the rest. The text under a field is its description in
docs/configuration.md. Frozen, and no setting ever holds a secret: secrets stay in the files that settings name.
What concerns several settings at once, or the disk, is in `checks`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from exporter.config.addresses import HostPort, parse_agent_address
from exporter.config.values import (
    AgentAddress,
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
    UrlPath,
    WholeNumber,
)
from exporter.fleet.model import Dialect, Endpoint

SHORTEST = 0.01
"""Shortest interval or timeout, in seconds; below it the event loop's own timing is the limit."""


class Section(BaseModel):
    """A mapping of the file. Unknown keys are errors; an empty section (`web:` alone) is all defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, given: Any) -> Any:
        return {} if given is None else given


class KubernetesSettings(Section):
    """Agents found as pods through the Kubernetes API."""

    enabled: Flag = True
    """Whether to look for agents among a cluster's pods. By itself `false` where only `discovery.static` is given."""
    namespaces: tuple[NamespaceName, ...] = ("matillion",)
    """Namespaces to watch. An empty list watches the whole cluster, which takes a ClusterRole instead of a Role."""
    label_selector: LabelSelector = (
        "app.kubernetes.io/name in (matillion-agent,matillion-runner),!app.kubernetes.io/component"
    )
    """Which pods are agents; by default those of both of the vendor's charts, and not its script runners, which have
    the same name and a component."""
    fleet_label: LabelKey = "app.kubernetes.io/instance"
    """The label whose value names a pod's fleet; the default is the release name of the vendor's chart."""


class StaticTarget(Section):
    """One agent at a known address."""

    address: AgentAddress
    """Where the agent is. Without a port, the endpoints of `scrape.endpoints` are tried as on a pod's address."""
    fleet: LabelValue = "default"
    """The fleet the agent belongs to."""
    namespace: LabelValue = "default"
    """The namespace shown for the agent; fleets of the same name in two namespaces are two fleets."""
    pod: PodName | None = None
    """The name shown for the agent; the address as written here if there is none."""
    path: UrlPath | None = None
    """Path of the metrics page, only with `host:port`; the usual path of `kind` if there is none."""
    kind: Dialect | None = None
    """The names the agent uses, only with `host:port`; told from the port and path if not given, `otel` in doubt."""

    @property
    def pod_name(self) -> str:
        """The name shown for the agent."""
        return self.pod or self.address

    @property
    def identity(self) -> tuple[str, str, str]:
        """Namespace, fleet and pod: what tells this target from every other one."""
        return (self.namespace, self.fleet, self.pod_name)

    @property
    def host_and_port(self) -> tuple[str, int | None]:
        """The address taken apart; the host stands without brackets."""
        return parse_agent_address(self.address)


class StaticSettings(Section):
    """Agents at known addresses, outside Kubernetes or for a try."""

    targets: tuple[StaticTarget, ...] = ()
    """Agents listed here."""
    file: FileName | None = None
    """A YAML or JSON list of targets of the same shape, read again whenever it changes."""


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
    """Where on an agent's address its metrics may be found."""

    kind: Dialect
    """`otel` or `legacy`: the names the agent uses there."""
    port: Annotated[int, WholeNumber(1, 65535)]
    """TCP port."""
    path: UrlPath
    """Path of the page. Name filters are added as its query."""


ScrapedEndpoint = Annotated[
    Endpoint, BuiltFrom(EndpointSettings, lambda given: Endpoint(given.kind, given.port, given.path), Endpoint)
]

DEFAULT_ENDPOINTS = (
    Endpoint(Dialect.OTEL, 9464, "/metrics"),
    Endpoint(Dialect.LEGACY, 8080, "/actuator/prometheus"),
)
"""The vendor's two endpoints; the first is the one agents are moving to."""


class ScrapeSettings(Section):
    """How agents are read."""

    interval: Annotated[float, Duration(SHORTEST, 3600)] = 5.0
    """Time between two readings of an agent. Each agent has its own phase within it."""
    timeout: Annotated[float, Duration(SHORTEST, 3600)] = 3.0
    """Longest time for one reading, from connecting to the last byte; at most `interval`."""
    concurrency: Annotated[int, WholeNumber(1, 10_000)] = 200
    """How many agents are read at the same moment; each takes a socket, or two until a port of it has answered."""
    max_body_bytes: Annotated[int, WholeNumber(1024, 1 << 30)] = 4 * 1024 * 1024
    """Largest page that is read, also counted after decompression; an agent's page has about 32 KB."""
    filter_names: Flag = True
    """Whether to ask an agent for the wanted families only. One that does not know the filter sends its full page."""
    endpoints: tuple[ScrapedEndpoint, ...] = DEFAULT_ENDPOINTS
    """Tried in this order, after what a pod declares; the best that answers is kept, those before it tried again."""


class CapacitySettings(Section):
    """What a fleet can take, and when its figures are to be trusted."""

    tasks_per_agent: Annotated[int, WholeNumber(1)] = 20
    """Tasks an agent runs at once: the vendor's limit."""
    target_tasks_per_agent: Annotated[int, WholeNumber(1)] = 16
    """Tasks an agent should have, leaving room for a burst; at most 18 of 20. The vendor advises 15 to 17."""
    stale_after: Annotated[float, Duration(SHORTEST)] = 30.0
    """Age at which a reading no longer counts and its agent is unreachable; at least `scrape.interval` + `timeout`."""
    forget_after: Annotated[float, Duration(SHORTEST)] = 600.0
    """Age at which an unreachable agent's last count gives way to `target_tasks_per_agent`; at least `stale_after`."""
    max_sync_age: Annotated[float, Duration(SHORTEST)] = 120.0
    """How long the list of agents counts as current; Kubernetes confirms an unchanged list about once a minute."""
    min_coverage: Annotated[float, Number(0, 1)] = 0.5
    """Share of the agents that must answer for the fleet's figures to reach a scaler."""
    unknown_agents: Literal["hold", "full", "ignore"] = "hold"
    """Load assumed for an unreachable agent: its last count (`hold`), `tasks_per_agent` (`full`) or none (`ignore`)."""
    max_replaced: Annotated[float, Number(0, 1)] = 0.25
    """Most lost agents to ask replacements for, as a share of the serving ones, so that an outage grows no fleet."""
    saturation_growth: Annotated[float, Number(1, 10)] = 2.0
    """By how much a fleet whose agents are all full and report no queue is grown at once; 1 follows what runs only."""
    saturated_after: Annotated[float, Duration(0)] = 15.0
    """How long every serving agent must have been full for that."""
    hold_rollouts: Flag = True
    """Whether tasks on pods that a rollout replaced still count: new ones begin empty, and such work comes again."""
    queue: Literal["per_agent", "shared"] = "per_agent"
    """Whether each agent reports its own queue (the sum counts) or all of them the fleet's (the largest counts)."""
    never_heard_after: Annotated[float, Duration(SHORTEST)] = 900.0
    """After this long an agent that never answered, while others do, counts in no figure but its own state."""


class TlsSettings(Section):
    """HTTPS; the files are PEM."""

    cert_file: FileName
    """The server's certificate, followed by the intermediate ones."""
    key_file: FileName
    """The private key of the certificate."""
    client_ca_file: FileName | None = None
    """If given, clients must show a certificate signed by one of these authorities."""


class BasicAuthSettings(Section):
    """User name and password for every page but the health checks."""

    users_file: FileName
    """The users and their hashed passwords."""


class WebSettings(Section):
    """The HTTP server: metrics, JSON, status page, health."""

    listen: Listen = HostPort("0.0.0.0", 9850)  # noqa: S104 - a pod is reached through its own address only
    """Address and port to serve on; port 0 takes a free one."""
    tls: TlsSettings | None = None
    basic_auth: BasicAuthSettings | None = None
    bearer_token_file: FileName | None = None
    """A file with the token that clients must send; the setting never holds the token itself."""

    @model_validator(mode="before")
    @classmethod
    def _sections_of_nulls_are_off(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            key: None if key in {"tls", "basic_auth"} and _only_nulls(value) else value for key, value in given.items()
        }


def _only_nulls(value: object) -> bool:
    return isinstance(value, dict) and all(inner is None for inner in value.values())


class SpoolSettings(Section):
    """Data that could not be sent to CloudWatch yet, kept on disk."""

    path: FileName = Path("/var/lib/fleet-exporter/spool.db")
    """The file to keep it in."""
    max_age: Annotated[float, Duration(60, 336 * 3600)] = 336 * 3600.0
    """Older data is dropped. CloudWatch takes nothing older than two weeks."""
    max_datums: Annotated[int, WholeNumber(1000)] = 500_000
    """Most data points kept; the oldest go first."""


class CloudWatchSettings(Section):
    """Publishing to Amazon CloudWatch."""

    enabled: Flag = False
    """Whether to publish."""
    region: Annotated[str, Matching("an AWS region, such as eu-west-1", r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")] | None = None
    """AWS region; the one of the pod's environment if not given."""
    namespace: Annotated[
        str,
        Matching(
            "a CloudWatch namespace (letters, digits, . - _ / # :) that does not begin with AWS/",
            r"(?!AWS/)(?!:)[A-Za-z0-9._/#:-]+",
            255,
        ),
    ] = "Matillion/AgentFleet"
    """CloudWatch namespace of the metrics."""
    interval: Annotated[float, Duration(1, 3600)] = 60.0
    """Time between two publications: a divisor or a multiple of a minute, the unit of CloudWatch's periods."""
    storage_resolution: Literal[1, 60] = 60
    """Seconds CloudWatch keeps apart: 60, or 1 for alarms faster than a minute, at a higher price."""
    metrics: CloudWatchMetrics = ("default",)
    """Which metrics are published; every one is billed for each fleet. The alarms of the template need `default`."""
    per_agent: Flag = False
    """Whether to publish a series for each agent as well; every series is billed."""
    max_per_agent: Annotated[int, WholeNumber(1)] = 50
    """Most agents that get series of their own, so that a large fleet gives no large bill."""
    endpoint_url: HttpUrl | None = None
    """Another endpoint than the region's, such as a VPC endpoint."""
    spool: SpoolSettings = SpoolSettings()


class ExternalMetricsSettings(Section):
    """The external metrics API for the Horizontal Pod Autoscaler."""

    enabled: Flag = False
    """Whether to serve it."""
    listen: Listen = HostPort("0.0.0.0", 8443)  # noqa: S104 - the API server reaches the pod at its own address
    """Address and port to serve on; 8443 is open in EKS's recommended security groups."""
    cert_file: FileName | None = None
    """The certificate for `<service>.<namespace>.svc`, PEM."""
    key_file: FileName | None = None
    """Its private key, PEM."""


class LeaderElectionSettings(Section):
    """One of several replicas publishes; the others stand by. The times are those of Kubernetes' own components."""

    enabled: Flag = True
    """Whether replicas agree on a leader. Without it each one takes itself for the leader."""
    lease_name: ObjectName = "matillion-fleet-exporter"
    """Name of the Lease object."""
    lease_duration: Annotated[float, Duration(1, 3600)] = 15.0
    """How long the others wait for a silent leader."""
    renew_deadline: Annotated[float, Duration(SHORTEST, 3600)] = 10.0
    """After this long without a renewal the leader stops its work; below `lease_duration`."""
    retry_period: Annotated[float, Duration(SHORTEST, 3600)] = 2.0
    """Time between two attempts; below `renew_deadline`."""


class DeletionCostSettings(Section):
    """Marking busy pods so that Kubernetes deletes idle ones first."""

    enabled: Flag = False
    """Whether to write the annotation."""
    bucket: Annotated[int, WholeNumber(1)] = 5
    """Tasks that count as one step; the annotation is written only when the step changes."""


class ScalersSettings(Section):
    """Knowing what scales the fleets: the HorizontalPodAutoscalers of the agents' namespaces, KEDA's too."""

    enabled: Flag = True
    """Whether to read them. Without the right to, they are not known, which is said once in the log."""


class PodLogsSettings(Section):
    """Counting failed tasks in the agents' logs."""

    enabled: Flag = False
    """Whether to follow the logs."""
    failure_pattern: RegularExpression | None = None
    """A regular expression that finds a failed task in a line. None is built in: the lines differ between images."""
    max_lines_per_second: Annotated[int, WholeNumber(1)] = 1000
    """Most lines of one agent that are looked at for each second of its log; what is over is skipped, and said."""
    max_streams: Annotated[int, WholeNumber(1, 100)] = 100
    """Most agents whose logs are followed; each keeps a connection to the API server. The others have no count."""
    every_replica: Flag = False
    """Whether every replica follows the logs, for a count without gaps, and not the leader alone."""


class LogSettings(Section):
    """The exporter's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious lines to write."""
    format: Literal["auto", "json", "console"] = "auto"
    """`json`, `console` for a person, or `auto`: console on a terminal, JSON otherwise."""


class Settings(Section):
    """Everything that can be set."""

    cluster: ClusterName | None = None
    """Name of the cluster, shown and used as the `ClusterName` dimension. No cluster tells its own name to a pod."""
    discovery: DiscoverySettings = DiscoverySettings()
    scrape: ScrapeSettings = ScrapeSettings()
    capacity: CapacitySettings = CapacitySettings()
    web: WebSettings = WebSettings()
    cloudwatch: CloudWatchSettings = CloudWatchSettings()
    external_metrics: ExternalMetricsSettings = ExternalMetricsSettings()
    leader_election: LeaderElectionSettings = LeaderElectionSettings()
    deletion_cost: DeletionCostSettings = DeletionCostSettings()
    scalers: ScalersSettings = ScalersSettings()
    pod_logs: PodLogsSettings = PodLogsSettings()
    log: LogSettings = LogSettings()
