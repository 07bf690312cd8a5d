"""The section `forecast` of the settings."""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from exporter.config.durations import LeadTime
from exporter.config.section import Section
from exporter.config.values import FileName, Flag, HttpUrl, LeadTimeSetting, Matching, Number, TimeZone, WholeNumber

_MATCHER = r'[a-zA-Z_][a-zA-Z0-9_]*(?:=|!=|=~|!~)"[^"\\]*"'


class ForecastSettings(Section):
    """The demand expected from each fleet's own past, for scaling ahead of the work (docs/forecast.md)."""

    enabled: Flag = False
    """Whether to record the demand and to forecast it. `fleet-exporter plan` shows what that would have brought."""
    lead_time: LeadTimeSetting = LeadTime(None)
    """How far ahead to look: as long as a new agent takes until it works. `auto` measures it."""
    quantile: Annotated[float, Number(0.5, 1)] = 0.75
    """Which demand to expect among those of like days: 0.5 for the median, 1 for the highest."""
    timezone: TimeZone = ZoneInfo("UTC")
    """Time zone of the schedules that start the work; its clock changes are followed."""
    min_days: Annotated[int, WholeNumber(2, 28)] = 3
    """Days of history below which nothing is forecast."""
    days: Annotated[int, WholeNumber(7, 90)] = 28
    """Days of history that are kept and compared, besides the ends of the last three months."""
    source: Literal["self", "prometheus", "cloudwatch"] = "self"
    """Where the past comes from: recorded by the exporter itself (in ConfigMaps), from a Prometheus, or from CloudWatch
    as published there."""
    path: FileName = Path("/var/lib/fleet-exporter/history.json")
    """File with the history of `source: self` where `discovery.kubernetes` is disabled."""
    prometheus_url: HttpUrl | None = None
    """Base URL of a Prometheus, Thanos, Mimir or Amazon Managed Prometheus (the workspace's URL) for
    `source: prometheus`."""
    prometheus_token_file: FileName | None = None
    """A file with the bearer token that it requires."""
    prometheus_matchers: Annotated[
        str,
        Matching(
            'label matchers separated by commas, such as cluster="prod"', rf"(?:{_MATCHER}(?:,{_MATCHER})*)?", 1000
        ),
    ] = ""
    """Matchers that select the series of this cluster, where several share that Prometheus."""
