"""Reads the past of the fleets from what the exporter published to CloudWatch, by GetMetricData.

Every metric that is requested is billed, whatever the time: a fleet's is requested four times an hour. Importing this
module takes half a second for the AWS libraries: import it only where the past comes from CloudWatch.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
"""

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from exporter.aws.client import AwsClient, AwsError, AwsFailure
from exporter.config import CloudWatchSettings, ForecastSettings
from exporter.fleet.cloudwatch_catalogue import FLEET_DIMENSIONS
from exporter.forecast.history import SLOT_SECONDS, SLOTS, History
from exporter.history.periodic import Found, PeriodicPast, SourceError, Span, known_tasks
from exporter.kube.fields import line
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore

METRIC = "DemandTasks"
SETTLE = 180.0
"""Seconds until the last datum of a slot can be read: it is published within a minute, and visible after another."""
MAX_QUERIES = 500
"""Of one request, by CloudWatch's limit."""
MAX_POINTS = 1440
"""Of one answer. CloudWatch's limit is 100,800, but reading one takes the event loop 5 µs."""
_DAYS_AT_ONCE = MAX_POINTS // SLOTS
OLDEST_DAYS = 62
"""CloudWatch keeps five minutes for 63 days; a request that begins earlier gets hours."""
_MAX_PAGES = 50
_DEADLINE, _READ_TIMEOUT = 60.0, 25.0
_MAX_REASON_LENGTH = 300
_COMPLETE = "Complete"


def from_cloudwatch(
    settings: ForecastSettings,
    cloudwatch: CloudWatchSettings,
    cluster: str,
    store: SnapshotStore,
    *,
    wall: Callable[[], float] = time.time,
) -> PeriodicPast:
    """Return the past of the fleets in the store."""
    reader = CloudWatchReader(cloudwatch, cluster, wall=wall)
    return PeriodicPast(
        reader,
        days=settings.days,
        settle=SETTLE,
        fleets=store.fleet_keys,
        wall=wall,
    )


class CloudWatchReader:
    """A `PastReader`, an async context manager; it connects when it is first needed."""

    name = "CloudWatch"

    def __init__(self, settings: CloudWatchSettings, cluster: str, *, wall: Callable[[], float] = time.time) -> None:
        """Take where it was published, and the cluster whose fleets are read."""
        self._settings = settings
        self._cluster = cluster
        self._wall = wall
        self._aws = AwsClient(
            "cloudwatch",
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            deadline=_DEADLINE,
            read_timeout=_READ_TIMEOUT,
        )

    async def __aenter__(self) -> Self:
        """Prepare for the first request; nothing is connected yet."""
        await self._aws.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._aws.__aexit__()

    async def read(self, spans: Sequence[Span], fleets: Collection[FleetKey] | None) -> Found:
        """Return the demand within these spans, of some fleets or (None) of all there are. Raises SourceError.

        All there are is a command's question: it takes the permission for ListMetrics, which leaves out what was not
        published for two weeks.
        """
        keys = await self._published() if fleets is None else sorted(fleets)
        histories = {key: History() for key in keys}
        oldest = (int(self._wall() // 86400) - OLDEST_DAYS) * SLOTS
        left_out = 0
        for piece in (piece for span in spans for piece in span.cut(_DAYS_AT_ONCE * SLOTS) if piece.first >= oldest):
            at_once = max(1, min(MAX_QUERIES, MAX_POINTS // piece.count))
            for first in range(0, len(keys), at_once):
                left_out += await self._read(piece, keys[first : first + at_once], histories)
        return Found(histories, left_out)

    async def _read(self, span: Span, keys: Sequence[FleetKey], histories: Mapping[FleetKey, History]) -> int:
        """Record what is in the span; return how many points are no demand."""
        request = {
            "MetricDataQueries": [self._query(number, key) for number, key in enumerate(keys)],
            "StartTime": datetime.fromtimestamp(span.first * SLOT_SECONDS, UTC),
            "EndTime": datetime.fromtimestamp(span.end * SLOT_SECONDS, UTC),
            "ScanBy": "TimestampAscending",
        }
        left_out = 0
        states = {_id(number): "no answer" for number in range(len(keys))}
        async for page in self._pages("get_metric_data", request):
            if messages := page.get("Messages"):
                raise _incomplete(messages[0].get("Value"))
            for result in page.get("MetricDataResults", ()):
                if (name := result.get("Id")) not in states:
                    raise _incomplete("an answer to what was not asked")
                states[name] = result.get("StatusCode", _COMPLETE)
                points = zip(result.get("Timestamps", ()), result.get("Values", ()), strict=False)
                left_out += _record(points, span, histories[keys[int(name[1:])]])
        if unfinished := sorted(set(states.values()) - {_COMPLETE}):
            raise _incomplete(", ".join(unfinished))
        return left_out

    def _query(self, number: int, key: FleetKey) -> dict[str, Any]:
        dimensions = zip(FLEET_DIMENSIONS, (self._cluster, *key), strict=True)
        metric = {
            "Namespace": self._settings.namespace,
            "MetricName": METRIC,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions],
        }
        return {"Id": _id(number), "MetricStat": {"Metric": metric, "Period": SLOT_SECONDS, "Stat": "Maximum"}}

    async def _published(self) -> Sequence[FleetKey]:
        """Return the fleets of the cluster that have the metric."""
        cluster, namespace, fleet = FLEET_DIMENSIONS
        request = {
            "Namespace": self._settings.namespace,
            "MetricName": METRIC,
            "Dimensions": [{"Name": cluster, "Value": self._cluster}],
        }
        found: set[FleetKey] = set()
        async for page in self._pages("list_metrics", request):
            for metric in page.get("Metrics", ()):
                dimensions = {one.get("Name"): one.get("Value") for one in metric.get("Dimensions", ())}
                if dimensions.keys() == set(FLEET_DIMENSIONS):
                    found.add((dimensions[namespace], dimensions[fleet]))
        return sorted(found)

    async def _pages(self, operation: str, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the pages of an answer. Raises SourceError."""
        for _ in range(_MAX_PAGES):
            try:
                page = await self._aws.call(partial(_ask, operation, request))
            except AwsError as error:
                raise _failed(error) from None
            yield page
            token = page.get("NextToken")
            if not token:
                return
            request = request | {"NextToken": token}
        raise _incomplete(f"more than {_MAX_PAGES} pages")


async def _ask(operation: str, request: dict[str, Any], client: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await getattr(client, operation)(**request)
    return answer


def _id(number: int) -> str:
    return f"q{number}"


def _record(points: Iterable[tuple[datetime, float]], span: Span, history: History) -> int:
    left_out = 0
    for at, value in points:
        try:
            slot = int(at.timestamp() // SLOT_SECONDS)
        except (ValueError, OverflowError):  # a date of the year 1, as no period has
            left_out += 1
            continue
        if not span.first <= slot < span.end:
            continue
        tasks = known_tasks(value)
        if tasks is None:
            left_out += 1
        else:
            history.record(slot * SLOT_SECONDS, tasks)
    return left_out


def _incomplete(reason: object) -> SourceError:
    fix = "none if it recovers; an answer that may be incomplete is not used"
    return SourceError(f"its answer is incomplete: {line(reason, _MAX_REASON_LENGTH)}", fix, "incomplete")


def _failed(error: AwsError) -> SourceError:
    match error.kind:
        case AwsFailure.DENIED:
            fix = "give the pod's role cloudwatch:GetMetricData (documentation: forecast)"
        case AwsFailure.THROTTLED:
            fix = "none if it recovers; otherwise request a higher GetMetricData quota"
        case AwsFailure.REJECTED:
            fix = "check cluster and cloudwatch.namespace"
        case _:
            fix = "check the network path to CloudWatch (cloudwatch.region, cloudwatch.endpoint_url, NetworkPolicy)"
    return SourceError(line(error.reason, _MAX_REASON_LENGTH), fix, error.kind.value)
