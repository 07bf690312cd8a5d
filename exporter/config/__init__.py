"""Typed settings from YAML and the environment; whatever is wrong with them is reported at once, each with its path.

Knows nothing of the parts that use the settings: each of those is given its own section. No setting holds a secret.
"""

from exporter.config.addresses import HostPort
from exporter.config.durations import format_duration, parse_duration
from exporter.config.forecast_settings import ForecastSettings
from exporter.config.loading import load, load_targets
from exporter.config.problems import ConfigError, Problem
from exporter.config.settings import (
    DEFAULT_ENDPOINTS,
    CapacitySettings,
    CloudWatchSettings,
    DeletionCostSettings,
    DiscoverySettings,
    EndpointSettings,
    ExternalMetricsSettings,
    KubernetesSettings,
    LeaderElectionSettings,
    LogSettings,
    PodLogsSettings,
    ScrapeSettings,
    Settings,
    SpoolSettings,
    StaticSettings,
    StaticTarget,
)
from exporter.config.web_settings import BasicAuthSettings, TlsSettings, WebSettings

__all__ = [
    "DEFAULT_ENDPOINTS",
    "BasicAuthSettings",
    "CapacitySettings",
    "CloudWatchSettings",
    "ConfigError",
    "DeletionCostSettings",
    "DiscoverySettings",
    "EndpointSettings",
    "ExternalMetricsSettings",
    "ForecastSettings",
    "HostPort",
    "KubernetesSettings",
    "LeaderElectionSettings",
    "LogSettings",
    "PodLogsSettings",
    "Problem",
    "ScrapeSettings",
    "Settings",
    "SpoolSettings",
    "StaticSettings",
    "StaticTarget",
    "TlsSettings",
    "WebSettings",
    "format_duration",
    "load",
    "load_targets",
    "parse_duration",
]
