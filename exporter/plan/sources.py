"""Where the past of a plan is read: a file, a Prometheus, CloudWatch, or a running exporter's own."""

import argparse
import asyncio
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from exporter.client import StatusClient, credentials_of
from exporter.config import CloudWatchSettings, ForecastSettings
from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History
from exporter.history.periodic import PastReader, SourceError, read_once
from exporter.history.prometheus import SETTLE, PrometheusReader
from exporter.plan.assumptions import START_RANGE
from exporter.plan.csv_past import MAX_DEMAND, read
from exporter.plan.errors import PastError, PlanError
from exporter.plan.series import MAX_DAYS, Series
from exporter.store.restarts import FleetKey

_OUTAGE = SLOTS
"""Slots of a gap before which a past is not used: it is an end of a month that the forecast keeps, or long ago."""
_LISTED = 10


@dataclass(frozen=True, slots=True)
class FoundPast:
    """A past, and what its source tells of the fleet."""

    series: Series
    fleet: FleetKey | None
    """None where the source names none."""
    start_seconds: float | None = None
    """Within which nine of ten of its latest agents started; None where that is unknown."""


async def past_of(options: argparse.Namespace) -> FoundPast:
    """Return the past that the options name.

    Raises PlanError for what is no good, PastError and StatusError where a source gives nothing.
    """
    if options.csv is not None:
        return FoundPast(await asyncio.to_thread(read, options.csv), options.fleet)
    if options.url is not None:
        return await _from_exporter(options)
    reader = _prometheus(options) if options.prometheus is not None else await _cloudwatch(options)
    try:
        found = await read_once(reader, until=time.time() - SETTLE, days=MAX_DAYS)
    except SourceError as error:
        fix = error.fix.replace("forecast.prometheus_token_file", "--bearer-token-file")
        for setting, option in (
            ("forecast.prometheus_url", "--prometheus"),
            ("forecast.prometheus_matchers", "--matchers"),
        ):
            fix = fix.replace(setting, option)
        raise PastError(f"{reader.name} gives no past: {error.reason}; {fix}") from None
    key = _chosen(found, options.fleet, reader.name)
    return FoundPast(of_history(found[key]), key)


def of_history(history: History) -> Series:
    """Return the last days of a history, from the last gap of a day on. Raises PlanError if there is nothing in it."""
    first, values = history.known_slots()
    if not values:
        raise PlanError("nothing of the past is known yet: it is recorded while forecast.enabled is true")
    run = 0
    for index in range(len(values) - 1, -1, -1):
        run = run + 1 if values[index] == GAP else 0
        if run > _OUTAGE:
            first, values = first + index + run, values[index + run :]
            break
    return Series(float(first * SLOT_SECONDS), SLOT_SECONDS, values)


def _prometheus(options: argparse.Namespace) -> PastReader:
    given = {
        "prometheus_url": options.prometheus,
        "prometheus_token_file": options.bearer_token_file,
        "prometheus_matchers": options.matchers,
    }
    try:
        return PrometheusReader(ForecastSettings.model_validate({key: one for key, one in given.items() if one}))
    except ValidationError as error:
        first = error.errors()[0]
        option = "--matchers" if "prometheus_matchers" in first["loc"] else "--prometheus"
        raise PlanError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None


async def _cloudwatch(options: argparse.Namespace) -> PastReader:
    from exporter.history.cloudwatch import CloudWatchReader  # noqa: PLC0415 - half a second: only for AWS

    given = {"region": options.region, "endpoint_url": options.endpoint_url, "namespace": options.metrics_namespace}
    try:
        settings = CloudWatchSettings.model_validate({key: one for key, one in given.items() if one})
    except ValidationError as error:
        raise PlanError(f"--region or --metrics-namespace: {error.errors()[0]['msg']}") from None
    return CloudWatchReader(settings, options.cloudwatch)


async def _from_exporter(options: argparse.Namespace) -> FoundPast:
    credentials = await asyncio.to_thread(credentials_of, options)
    async with StatusClient(options.url, credentials) as client:
        fleets = {(str(one["namespace"]), str(one["fleet"])): one for one in await client.fleets()}
        # A fleet that has no pod now may have a past.
        key = options.fleet or _chosen(fleets, None, options.url)
        document = await client.past(*key)
        start = fleets.get(key, {}).get("usual_start_seconds")
    if document["interval_seconds"] != SLOT_SECONDS:
        raise PastError(f"{options.url} has values every {document['interval_seconds']} s; use a plan of its version")
    values = array("i")
    for value in document["demand_tasks"]:
        if value is not None and not (isinstance(value, int) and 0 <= value <= MAX_DEMAND):
            raise PastError(f"{options.url} has a past with a demand that is no number of tasks")
        values.append(GAP if value is None else value)
    history = History()
    for index, value in enumerate(values):
        if value != GAP:
            history.record(document["start_time_seconds"] + index * SLOT_SECONDS, value)
    least, most = START_RANGE
    known = isinstance(start, int | float) and least <= start <= most
    return FoundPast(of_history(history), key, start if known else None)


def _chosen(found: Mapping[FleetKey, object], wanted: FleetKey | None, where: str) -> FleetKey:
    """Return the fleet that is wanted, or the only one there is. Raises PlanError, with those there are."""
    if wanted is None and len(found) == 1:
        return next(iter(found))
    if wanted is not None and wanted in found:
        return wanted
    if not found:
        raise PlanError(f"{where} has no demand of any fleet in the last {MAX_DAYS} days")
    shown = [f"{namespace}/{name}" for namespace, name in sorted(found)]
    names = ", ".join(shown[:_LISTED]) + (f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else "")
    if wanted is None:
        raise PlanError(f"{where} has {len(shown)} fleets; pass --fleet with one of {names}")
    raise PlanError(f"{where} has no fleet {wanted[0]}/{wanted[1]}; it has {names}")
