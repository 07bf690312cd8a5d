"""The past from CloudWatch: what the exporter published there, in moto, and answers that are not to be trusted."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.config import CloudWatchSettings, ForecastSettings
from exporter.forecast.history import GAP, SLOTS
from exporter.history.cloudwatch import CloudWatchReader, from_cloudwatch
from exporter.history.periodic import Found, SourceError, Span, read_once
from tests.factories import make_fleet, make_snapshot
from tests.fakes.cloudwatch_publishing import Fleets, HandClock, MinutesOfWork, publishing, selection
from tests.fakes.hostile import refusing_port
from tests.fakes.moto import moto_server, reader

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("aws_credentials")]
"""Making an AWS client takes a good part of a second."""

ETL, QUIET = ("matillion", "etl"), ("matillion", "quiet")
DAY = 20_454
"""2026-01-01, in days since 1970."""
FIRST = DAY * SLOTS
SPAN = Span(FIRST, FIRST + 24)
NOW = DAY * 86400.0 + 43200


def settings(url: str) -> CloudWatchSettings:
    return CloudWatchSettings(region="eu-west-1", endpoint_url=url)


def reading(url: str) -> CloudWatchReader:
    return CloudWatchReader(settings(url), "prod", wall=lambda: NOW)


# -- moto --------------------------------------------------------------------------------------------------------------


async def publish(client: Any, cluster: str, fleet: str, values: Sequence[tuple[float, float]]) -> None:
    """Publish the demand of a fleet at some seconds after midnight."""
    dimensions = {"ClusterName": cluster, "Namespace": "matillion", "Fleet": fleet}
    await client.put_metric_data(
        Namespace="Matillion/AgentFleet",
        MetricData=[
            {
                "MetricName": "DemandTasks",
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                "Timestamp": datetime.fromtimestamp(DAY * 86400 + second, UTC),
                "Value": value,
                "Unit": "Count",
            }
            for second, value in values
        ],
    )


async def test_a_known_series() -> None:
    """Each slot has the maximum of its five minutes; what was not published is a gap; other clusters are others."""
    minutes = [(60.0 * minute, 10.0 + 7 * minute % 31) for minute in range(120) if not 50 <= minute < 60]
    async with moto_server() as url, reader(url) as client:
        await publish(client, "prod", "etl", minutes)
        await publish(client, "prod", "quiet", [(0, 0)])
        await publish(client, "test", "etl", [(60, 900)])
        await publish(client, "test", "other", [(60, 900)])
        async with reading(url) as source:
            found = await source.read([SPAN], [ETL, QUIET, ("matillion", "none")])
        everything = await read_once(reading(url), until=NOW, days=7)
    expected = [max((v for s, v in minutes if s // 300 == slot), default=GAP) for slot in range(24)]
    assert expected[10:12] == [GAP, GAP]
    assert list(found.histories[ETL].slots(FIRST - 1, 26)) == [GAP, *expected, GAP]
    assert list(found.histories[QUIET].slots(FIRST, 2)) == [0, GAP]
    assert not found.histories["matillion", "none"].days()
    assert found.left_out == 0
    assert everything.keys() == {ETL, QUIET}
    assert list(everything[ETL].slots(FIRST, 24)) == expected


async def test_what_the_exporter_published(tmp_path: Path) -> None:
    """The publisher's own datums are found: the names, the dimensions and the times agree."""
    clock = HandClock()
    work = MinutesOfWork(clock)
    async with moto_server() as url:
        async with publishing(tmp_path, url, source=work, wall=clock, what=selection("minimal")) as running:
            await running.minutes(9)
            await running.until(lambda: running.publisher.spool_datums == 0 < running.counts.datums["accepted"])
        past = from_cloudwatch(ForecastSettings(), settings(url), "prod", work, wall=lambda: clock.now + 300)
        await past.refresh()
    known = past.past(ETL)
    assert known is not None
    first = int(clock.start // 300)
    expected = [max(work.of(clock.start + 60 * minute) for minute in range(n, n + 5)) for n in (0, 5)]
    assert list(known.history.slots(first - 1, 4)) == [GAP, *expected, GAP]


# -- what is asked, and answers that are not to be trusted -------------------------------------------------------------


class CloudWatch:
    """Has answers ready, one for each request; the last one for all that follow."""

    def __init__(self, *answers: str, status: int = 200) -> None:
        self.answers = list(answers)
        self.status = status
        self.requests: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(dict(parse_qsl(await request.text())))
        text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=self.status, text=text, content_type="text/xml")


@asynccontextmanager
async def serving(cloudwatch: CloudWatch) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/", cloudwatch.handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def result(*points: tuple[object, object], name: str = "q0", state: str = "Complete") -> str:
    """Return the answer to one query, with its points as (time in seconds after midnight or text, value)."""
    times = (
        datetime.fromtimestamp(DAY * 86400 + at, UTC).isoformat() if isinstance(at, int) else at for at, _ in points
    )
    listed = "".join(f"<member>{time}</member>" for time in times)
    values = "".join(f"<member>{value}</member>" for _, value in points)
    return (
        f"<member><Id>{name}</Id><StatusCode>{state}</StatusCode><Timestamps>{listed}</Timestamps>"
        f"<Values>{values}</Values></member>"
    )


def page(*results: str, token: str = "", more: str = "") -> str:
    token = f"<NextToken>{token}</NextToken>" if token else ""
    return (
        '<GetMetricDataResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><GetMetricDataResult>'
        f"<MetricDataResults>{''.join(results)}</MetricDataResults>{token}{more}</GetMetricDataResult>"
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetMetricDataResponse>"
    )


def refusal(code: str) -> str:
    return f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"


async def read(cloudwatch: CloudWatch, spans: Sequence[Span] = (SPAN,), fleets: Sequence[Any] = (ETL,)) -> Found:
    async with serving(cloudwatch) as url, reading(url) as source:
        return await source.read(spans, fleets)


async def test_pages() -> None:
    """What comes in several pages is put together."""
    cloudwatch = CloudWatch(
        page(result((0, 1), (300, 2), state="PartialData"), token="next"), page(result((600, 3.9), (900, 4)))
    )
    found = await read(cloudwatch)
    assert list(found.histories[ETL].slots(FIRST, 5)) == [1, 2, 3, 4, GAP]
    assert [request.get("NextToken") for request in cloudwatch.requests] == [None, "next"]


async def test_impossible_values_are_gaps() -> None:
    """What is no demand stays unknown; what was not asked for is ignored."""
    odd = ["NaN", "Infinity", "-Infinity", "-1", "1e300"]
    points = [(0, 3), *((300 * slot, value) for slot, value in enumerate(odd, 1)), (1800, 4), (-300, 5), (7200, 6)]
    found = await read(CloudWatch(page(result(*points))))
    assert list(found.histories[ETL].slots(FIRST - 1, 27)) == [GAP, 3, *[GAP] * 5, 4, *[GAP] * 19]
    assert found.left_out == 5


async def test_impossible_dates_are_left_out() -> None:
    """A date that is no Unix time, as no period has."""
    found = await read(CloudWatch(page(result((0, 3), ("0001-01-01T00:00:00", 4)))))
    assert list(found.histories[ETL].slots(FIRST, 2)) == [3, GAP]
    assert found.left_out == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (page(), "its answer is incomplete: no answer"),
        (page(result((0, 1), state="PartialData")), "its answer is incomplete: PartialData"),
        (page(result((0, 1), state="InternalError")), "its answer is incomplete: InternalError"),
        (page(result((0, 1), name="q1")), "its answer is incomplete: an answer to what was not asked"),
        (page(result((0, 1)), token="again"), "its answer is incomplete: more than 50 pages"),
        (
            page(result((0, 1)), more="<Messages><member><Code>c</Code><Value>too\nmany</Value></member></Messages>"),
            "its answer is incomplete: too many",
        ),
        ("", ""),
        ("{}", ""),
        ("<html>", ""),
        (page(result(("yesterday", 1))), ""),
        (page(result(("9" * 22, 1))), ""),
        (page(result((0, "one"))), ""),
    ],
)
async def test_answers_that_are_none(answer: str, reason: str) -> None:
    """An answer that is incomplete, or that cannot be read, is not used at all."""
    with pytest.raises(SourceError) as failed:
        await read(CloudWatch(answer))
    assert failed.value.reason == reason or not reason
    assert failed.value.reason
    assert "\n" not in failed.value.reason


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (403, "AccessDenied", "cloudwatch:GetMetricData"),
        (400, "ValidationError", "cloudwatch.namespace"),
        (400, "Throttling", "quota"),
        (500, "InternalFailure", "network path"),
    ],
)
async def test_refusals(status: int, code: str, fix: str) -> None:
    """AWS's words, and what to do about them."""
    with pytest.raises(SourceError) as failed:
        await read(CloudWatch(refusal(code), status=status))
    assert failed.value.reason == f"{code}: no (HTTP {status})"
    assert fix in failed.value.fix


async def test_nobody_listens() -> None:
    """An endpoint out of reach is a reason."""
    with refusing_port() as port:
        async with reading(f"http://127.0.0.1:{port}") as source:
            with pytest.raises(SourceError, match="Could not connect") as failed:
                await source.read([SPAN], [ETL])
    assert "network path" in failed.value.fix


class All(CloudWatch):
    """Has one point of each fleet that is asked for."""

    async def handle(self, request: web.Request) -> web.Response:
        asked = dict(parse_qsl(await request.text()))
        self.requests.append(asked)
        names = [value for name, value in asked.items() if name.endswith(".Id")]
        return web.Response(text=page(*(result((0, 1), name=name) for name in names)), content_type="text/xml")

    def counts(self) -> list[int]:
        """Return how many fleets were in each request."""
        return [sum(name.endswith(".Id") for name in request) for request in self.requests]

    def times(self) -> list[tuple[str, str]]:
        return [(request["StartTime"][:16], request["EndTime"][:16]) for request in self.requests]


async def test_requests_are_bounded() -> None:
    """An answer has at most 1440 points, and nothing is asked of which CloudWatch has only hours."""
    fleets = [("matillion", f"f{number:03}") for number in range(601)]
    news = All("")
    found = await read(news, [Span(FIRST, FIRST + 15)], fleets)
    assert news.counts() == [96] * 6 + [25]
    assert all(list(found.histories[key].slots(FIRST, 2)) == [1, GAP] for key in fleets)
    one_slot = All("")
    await read(one_slot, [Span(FIRST, FIRST + 1)], fleets)
    assert one_slot.counts() == [500, 101]
    whole = All("")
    spans = [Span(FIRST - 93 * SLOTS, FIRST - 86 * SLOTS), Span(FIRST - 7 * SLOTS, FIRST + 144)]
    await read(whole, spans, fleets[:3])
    assert whole.times() == [
        *[("2025-12-25T00:00", "2025-12-28T00:00")] * 3,
        *[("2025-12-28T00:00", "2026-01-01T12:00")] * 3,
    ]
    request = whole.requests[1]
    prefix = "MetricDataQueries.member.1.MetricStat."
    asked = {name.removeprefix(prefix): value for name, value in request.items() if name.startswith(prefix)}
    assert (asked["Metric.MetricName"], asked["Period"], asked["Stat"]) == ("DemandTasks", "300", "Maximum")


async def test_only_the_fleets_of_the_store() -> None:
    """A fleet that appears is asked for, and no other."""
    fleets = Fleets(make_fleet([make_snapshot(fleet="etl")], name="etl"))
    cloudwatch = CloudWatch(page(result((0, 7))))
    async with serving(cloudwatch) as url:
        past = from_cloudwatch(ForecastSettings(), settings(url), "prod", fleets, wall=lambda: NOW)
        await past.refresh()
    assert past.past(("matillion", "other")) is None
    assert past.past(ETL).history.highest() == 7
    prefix = "MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member"
    asked = {tuple(request[f"{prefix}.{number}.Value"] for number in (1, 2, 3)) for request in cloudwatch.requests}
    assert asked == {("prod", "matillion", "etl")}
    assert not any("MetricDataQueries.member.2.Id" in request for request in cloudwatch.requests)
