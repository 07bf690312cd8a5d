"""Whatever a proxy on the way to CloudWatch answers in its place: only CloudWatch's own answer is one."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from exporter.aws.client import AwsClient, AwsError, AwsFailure
from exporter.publish.datum import Datum, DatumSeries
from tests.factories import make_fleet, make_snapshot
from tests.fakes.cloudwatch_publishing import QUICK, HandClock, leave_in_spool, publishing, selection
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.moto import moto_server, reader

pytestmark = pytest.mark.slow

Answer = Callable[[], web.Response]


def page(status: int, text: str, kind: str = "text/html", **headers: str) -> Answer:
    return lambda: web.Response(status=status, text=text, content_type=kind, headers=headers)


XHTML = "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>{0}</title></head><body><p>{0}</p></body></html>"
AWS = "<{0} xmlns='http://monitoring.amazonaws.com/doc/2010-08-01/'>{1}</{0}>"
REQUEST_ID = "<ResponseMetadata><RequestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</RequestId></ResponseMetadata>"
REJECTION = "<Error><Type>Sender</Type><Code>InvalidParameterValue</Code><Message>No</Message></Error>"

SUCCESSES = {
    "a page": page(200, "<!doctype html><html><body><br>Please log in"),
    "a page that is XML": page(200, XHTML.format("Please log in")),
    "nothing": page(200, "", "text/xml"),
    "an error in AWS's words": page(200, AWS.format("ErrorResponse", REJECTION + REQUEST_ID), "text/xml"),
    "the answer to something else": page(200, AWS.format("DescribeAlarmsResponse", REQUEST_ID), "text/xml"),
    "half an answer": page(200, "<PutMetricDataResponse><ResponseMetadata><RequestId>1</Req", "text/xml"),
    "an answer without a number": page(200, AWS.format("PutMetricDataResponse", ""), "text/xml"),
    "JSON": page(200, "{}", "application/json"),
    "accepted": page(202, "", "text/plain"),
    "no content": lambda: web.Response(status=204),
}
"""What is no answer of CloudWatch although its status says success."""
REFUSALS = {
    "a redirect": page(302, "", Location="http://127.0.0.1/log-in"),
    "304": lambda: web.Response(status=304),
    "a page that says what CloudWatch says": page(400, XHTML.format("InvalidParameterValue")),
    "AWS's words with another status": page(404, AWS.format("ErrorResponse", REJECTION + REQUEST_ID), "text/xml"),
    **{str(status): page(status, XHTML.format(status)) for status in (400, 403, 404, 407, 411, 413, 414, 431, 501)},
    "nothing that is XML": page(400, "<br>Bad request"),
}
"""What shows something about the way to CloudWatch, and nothing about a datum."""


class Gateway:
    """What a proxy answers in CloudWatch's place."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.max_body: int | None = None
        self.answered = 0

    def __call__(self, request: web.Request) -> web.Response | None:
        answer = self.answer
        if self.max_body is not None and (request.content_length or 0) > self.max_body:
            answer = REFUSALS["413"]
        if answer is None:
            return None
        self.answered += 1
        return answer()


NOT_TAKEN = "CloudWatch does not accept data; it is spooled and sent later"
TOO_LARGE = "a datum is too large for the way to CloudWatch; it is spooled and sent later"


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def proxy(aws_credentials: None, gateway: Gateway) -> AsyncIterator[FaultProxy]:
    async with moto_server() as url, FaultProxy(url, own=gateway).serving() as proxy:
        yield proxy


async def samples(url: str, metric: str, clock: HandClock) -> Counter[float]:
    """Return how many datums CloudWatch has of each minute that it has one of."""
    async with reader(url) as client:
        answer = await client.get_metric_statistics(
            Namespace="Matillion/AgentFleet",
            MetricName=metric,
            Dimensions=[
                {"Name": name, "Value": value}
                for name, value in (("ClusterName", "prod"), ("Namespace", "matillion"), ("Fleet", "etl"))
            ],
            StartTime=datetime.fromtimestamp(clock.start, UTC),
            EndTime=datetime.fromtimestamp(clock.start + 7200, UTC),
            Period=60,
            Statistics=["SampleCount"],
        )
    return Counter({point["Timestamp"].timestamp(): point["SampleCount"] for point in answer["Datapoints"]})


async def test_no_minute_is_lost_to_a_proxy(tmp_path: Path, proxy: FaultProxy, gateway: Gateway) -> None:
    """After each kind of answer everything is still in the spool, and arrives, once, when the proxy lets it pass."""
    clock = HandClock()
    answers = SUCCESSES | REFUSALS
    async with publishing(tmp_path, proxy.url, wall=clock, pace=QUICK) as running:
        await running.until(lambda: running.counts.datums["accepted"] == 1)
        for number, (name, answer) in enumerate(answers.items(), 1):
            gateway.answer, gateway.answered = answer, 0
            await running.minutes(1)
            await running.until(lambda: gateway.answered > 0 and running.publisher.spool_datums == 1)
            gateway.answer = None
            await running.until(lambda number=number: running.counts.datums["accepted"] == number + 1)  # type: ignore[misc]  # a default binds the loop's value
            assert running.counts.datums.keys() == {"accepted"}, name
    taken = await samples(proxy.upstream, "CapacityTasks", clock)
    assert taken == {clock.start + 60 * minute: 1 for minute in range(len(answers) + 1)}


async def test_what_a_proxy_finds_too_large_waits_for_a_better_one(
    tmp_path: Path, proxy: FaultProxy, gateway: Gateway
) -> None:
    """Requests are cut until they pass. A datum that is too large by itself is kept, and keeps no other back."""
    clock = HandClock()
    large = make_fleet([make_snapshot(f"pod-{tasks}", tasks_active=tasks) for tasks in range(25)])
    # One value of a distribution takes 80 bytes. Nothing here is so large that it is sent compressed.
    gateway.max_body = 2000
    with capture_logs() as log:
        async with publishing(tmp_path, proxy.url, large, wall=clock, what=selection("default"), pace=QUICK) as running:
            await running.minutes(2)
            await running.until(lambda: running.publisher.spool_datums == 3)
            assert running.counts.datums.keys() == {"accepted"}
            assert len(await samples(proxy.upstream, "CapacityTasks", clock)) == 3
            assert await samples(proxy.upstream, "AgentActiveTasks", clock) == {}
            gateway.max_body = None
            await running.drained()
    minutes = {clock.start + 60 * minute for minute in range(3)}
    assert (await samples(proxy.upstream, "AgentActiveTasks", clock)).keys() == minutes
    assert [line["event"] for line in log] == ["publishing to CloudWatch", TOO_LARGE]


async def test_where_everything_is_too_large_it_is_an_outage(
    tmp_path: Path, proxy: FaultProxy, gateway: Gateway
) -> None:
    """Nothing is dropped, and a try ends after a few single datums instead of asking for each."""
    clock = HandClock()
    series = DatumSeries("Old", "Count", (("Fleet", "f"),))
    old = [Datum(series, int(clock.start) - 60 * age, (1.0,)) for age in range(1, 201)]
    await leave_in_spool(tmp_path, old)
    gateway.answer = REFUSALS["413"]
    with capture_logs() as log:
        async with publishing(tmp_path, proxy.url, wall=clock, pace=QUICK) as running:
            await running.until(lambda: any(line["event"] == NOT_TAKEN for line in log))
            assert running.publisher.spool_datums == 201
            assert running.counts.requests.keys() == {"too_large"}
            assert running.counts.requests["too_large"] < 80
            gateway.answer = None
            await running.until(lambda: running.counts.datums["accepted"] == 201)
    assert running.counts.datums.keys() == {"accepted"}


async def test_reading_takes_no_page_for_an_answer_either(proxy: FaultProxy, gateway: Gateway) -> None:
    """What is read from AWS is AWS's: a page with HTTP 200 is no empty list."""
    async with AwsClient("cloudwatch", region="eu-west-1", endpoint_url=proxy.url, deadline=20.0) as aws:
        assert (await aws.call(lambda client: client.list_metrics()))["Metrics"] == []
        for name, answer in SUCCESSES.items():
            gateway.answer = answer
            with pytest.raises(AwsError) as caught:
                await aws.call(lambda client: client.list_metrics())
            assert caught.value.kind is AwsFailure.FAILED, name
            assert "is not from AWS" in caught.value.reason
            assert "HTTP 20" in caught.value.reason
