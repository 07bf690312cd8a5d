"""Where the past of the fleets comes from: databases are asked as the exporter asks, a file's folder is written to."""

import asyncio
import time
from collections.abc import Sequence

from exporter.config import Settings
from exporter.doctor.check import Check, CheckFailedError, Finding, ok, warning
from exporter.doctor.environment import Environment
from exporter.doctor.volume import file_to_write
from exporter.forecast.history import SLOT_SECONDS
from exporter.history.periodic import Found, PastReader, SourceError, Span
from exporter.history.prometheus import SETTLE, PrometheusReader
from exporter.store.restarts import FleetKey

SUBJECT = "forecast"
FILE = "history file"
READ_SECONDS = 30.0
"""A range query over an hour takes less than a second, finding credentials for it up to ten."""
_HOUR = 3600 // SLOT_SECONDS
_NO_FLEET: FleetKey = ("none", "none")


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    forecast = env.settings.forecast
    if not forecast.enabled:
        return []
    if forecast.source == "prometheus":
        return [Check(SUBJECT, "past", lambda: _prometheus(env.settings), READ_SECONDS)]
    if forecast.source == "cloudwatch":
        return [Check(SUBJECT, "permission to read", lambda: _cloudwatch(env.settings), READ_SECONDS)]
    if env.settings.discovery.kubernetes.enabled:
        return []  # in ConfigMaps, whose permissions are checked with all others
    return [
        Check(
            SUBJECT,
            FILE,
            lambda: asyncio.to_thread(file_to_write, FILE, "forecast.path", forecast.path, in_pod=env.in_pod),
        )
    ]


async def _prometheus(settings: Settings) -> Sequence[Finding]:
    """Read the last hour of all fleets."""
    found = await _last_hour(PrometheusReader(settings.forecast), None)
    if not any(history.days() for history in found.histories.values()):
        return [
            warning(
                "past",
                f"{settings.forecast.prometheus_url} answers, but has no demand of any fleet in the last hour",
                "check that it scrapes the exporter with honorLabels: true, and forecast.prometheus_matchers",
            )
        ]
    names = ", ".join(sorted("/".join(key) for key in found.histories)[:5])
    return [ok("past", f"{settings.forecast.prometheus_url} has the demand of {names}")]


async def _cloudwatch(settings: Settings) -> Sequence[Finding]:
    """Ask for the metric of a fleet that does not exist: the permission does not depend on which it is."""
    from exporter.history.cloudwatch import CloudWatchReader  # noqa: PLC0415 - imports the AWS libraries

    await _last_hour(CloudWatchReader(settings.cloudwatch, settings.cluster or ""), [_NO_FLEET])
    return [ok("permission to read", f"GetMetricData of {settings.cloudwatch.namespace} is allowed")]


async def _last_hour(reader: PastReader, fleets: Sequence[FleetKey] | None) -> Found:
    end = int((time.time() - SETTLE) // SLOT_SECONDS)
    try:
        async with reader:
            return await reader.read([Span(end - _HOUR, end)], fleets)
    except SourceError as error:
        raise CheckFailedError(error.reason, error.fix) from None
