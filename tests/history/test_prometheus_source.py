"""The past from a Prometheus: the real one, hostile ones, and one that wants credentials."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.config import ForecastSettings
from exporter.forecast.history import GAP, SLOTS, History
from exporter.history.periodic import SourceError, Span, read_once
from exporter.history.prometheus import MAX_FLEETS, PrometheusReader
from tests.fakes.answering import answering
from tests.fakes.hostile import HostileServer, answer, cut, flood, hang, head, refusing_port, response
from tests.fakes.prometheus_database import MISSING, prometheus_with
from tests.series import FLEET_NAMES

ETL = ("matillion", "etl")
DAY = 20_454
"""2026-01-01, in days since 1970."""
FIRST = DAY * SLOTS
SPAN = Span(FIRST, FIRST + SLOTS)


def settings(url: str, **fields: Any) -> ForecastSettings:
    return ForecastSettings(prometheus_url=url, **fields)


async def read(url: str, *spans: Span, **fields: Any) -> dict[tuple[str, str], History]:
    async with PrometheusReader(settings(url, **fields)) as reader:
        return dict((await reader.read(spans or [SPAN], None)).histories)


async def failure(url: str, **fields: Any) -> SourceError:
    """Return why nothing can be read."""
    with pytest.raises(SourceError) as raised:
        await read(url, **fields)
    return raised.value


# -- the real one ------------------------------------------------------------------------------------------------------


def demand(minute: int) -> int:
    """Return the demand at a minute of the known series: each slot of five minutes has its maximum at another one."""
    slot, within = divmod(minute, 5)
    return 10 + slot % 90 + (7 if within == slot % 5 else 0)


def samples() -> str:
    """Return two days of two replicas a minute, with an hour without any, and what is of other fleets."""
    name, start = "matillion_fleet_demand_tasks", DAY * 86400
    lines = [f"# TYPE {name} gauge"]
    for pod, late in (("a", 0), ("b", 20)):
        labels = f'cluster="prod",namespace="matillion",fleet="etl",pod="{pod}"'
        minutes = (minute for minute in range(2 * 1440) if not 600 <= minute < 660)
        lines += [f"{name}{{{labels}}} {demand(minute)} {start + 60 * minute + late}" for minute in minutes]
    for cluster, fleet, value in (("test", "etl", 500), ("prod", "quiet", 0)):
        labels = f'cluster="{cluster}",namespace="matillion",fleet="{fleet}",pod="c"'
        lines += [f"{name}{{{labels}}} {value} {start + 60 * minute}" for minute in range(30)]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.skipif(MISSING, reason="prometheus and promtool are not installed (Debian: prometheus)")
async def test_a_known_series_of_the_real_prometheus(tmp_path: Path) -> None:
    """Each slot has the maximum of its five minutes, a sample on the boundary in the later one; an hour is a gap."""
    expected = [max(map(demand, range(5 * slot, 5 * slot + 5))) for slot in range(2 * SLOTS)]
    expected[120:132] = [GAP] * 12
    span = Span(FIRST - 12, FIRST + 2 * SLOTS)
    async with prometheus_with(tmp_path, samples()) as url:
        found = await read(url, span, prometheus_matchers='cluster="prod"')
        everything = await read(url, span)
        # A stretch by itself gives the same.
        part = await read(url, Span(FIRST + 100, FIRST + 140), prometheus_matchers='cluster="prod"')
        once = await read_once(
            PrometheusReader(settings(url)), until=(DAY + 1.5) * 86400, days=7
        )  # half of the second day is over
        refused = await failure(url, prometheus_matchers='cluster=~"("')
    assert found.keys() == {ETL, ("matillion", "quiet")}
    assert list(found[ETL].slots(FIRST - 12, 12)) == [GAP] * 12
    assert list(found[ETL].slots(FIRST, 2 * SLOTS)) == expected
    assert list(found["matillion", "quiet"].slots(FIRST, 7)) == [0] * 6 + [GAP]
    assert list(part[ETL].slots(FIRST + 99, 42)) == [GAP, *expected[100:140], GAP]
    assert everything[ETL].highest() == 500
    assert list(once[ETL].slots(FIRST + 432, 2)) == [GAP, GAP]
    assert list(once[ETL].slots(FIRST + 400, 32)) == expected[400:432]
    assert refused.reason.startswith("HTTP 400: bad_data: ")
    assert "prometheus_matchers" in refused.fix


# -- answers that are not to be trusted --------------------------------------------------------------------------------


def document(*values: object, metric: object = {"namespace": "matillion", "fleet": "etl"}, **more: object) -> str:
    """Return an answer with one series."""
    data = {"resultType": "matrix", "result": [{"metric": metric, "values": list(values)}]}
    return json.dumps({"status": "success", "data": data} | more)


def at(slot: int) -> float:
    """Return the time at which a slot of the day is asked for."""
    return (FIRST + slot + 1) * 300 - 0.001


async def test_impossible_values_are_gaps() -> None:
    """What is no demand stays unknown, whatever number it is; the rest counts."""
    odd = ["NaN", "+Inf", "-Inf", "-1", "1e300", "1000001"]
    text = document([at(0), "3"], *([at(slot), value] for slot, value in enumerate(odd, 1)), [at(7), "4.9"])
    async with answering(200, text) as url, PrometheusReader(settings(url)) as reader:
        found = await reader.read([SPAN], None)
    assert list(found.histories[ETL].slots(FIRST, 9)) == [3, *[GAP] * 6, 4, GAP]
    assert found.left_out == 6


async def test_servers_that_align_to_the_step() -> None:
    """A point at a multiple of five minutes is the maximum of the slot before; one outside of the span is ignored."""
    text = document(*([(FIRST + slot) * 300, str(slot)] for slot in range(4)))
    async with answering(200, text) as url:
        found = await read(url)
    assert list(found[ETL].slots(FIRST - 1, 5)) == [GAP, 1, 2, 3, GAP]


async def test_only_the_fleets_that_are_asked_for() -> None:
    """Others, and series without the labels of a fleet, are left out."""
    series = [
        {"metric": metric, "values": [[at(0), "1"]]}
        for metric in (
            {"namespace": "matillion", "fleet": "etl"},
            {"namespace": "matillion", "fleet": "other"},
            {"namespace": "matillion"},
            {},
            {"namespace": 1, "fleet": ["etl"]},
        )
    ]
    text = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})
    async with answering(200, text) as url, PrometheusReader(settings(url)) as reader:
        assert (await reader.read([SPAN], None)).histories.keys() == {ETL, ("matillion", "other")}
        assert (await reader.read([SPAN], [ETL])).histories.keys() == {ETL}


FLEETS = [{"metric": {"namespace": "n", "fleet": f"f{number}"}, "values": []} for number in range(MAX_FLEETS + 1)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("<html>", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (f'{{"status": {"9" * 5000}}}', "not JSON"),
        ("[]", "no status success"),
        ("null", "no status success"),
        ('{"status": "error", "errorType": "timeout", "error": "query timed\\nout"}', "timeout: query timed out"),
        ('{"status": "error", "error": {"a": 1}}', "no status success"),
        ('{"status": "success"}', "no matrix"),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "no matrix"),
        ('{"status": "success", "data": {"resultType": "matrix", "result": {}}}', "no matrix"),
        ('{"status": "success", "data": {"resultType": "matrix", "result": [7]}}', "no list of values"),
        (json.dumps({"status": "success", "data": {"resultType": "matrix", "result": FLEETS}}), "2001 fleets"),
        (document([at(0), "1"], warnings=["a store is out of reach"]), "a warning: a store is out of reach"),
        (document(["1", "1"]), "a point is not"),
        (document([at(0), 1]), "a point is not"),
        (document([at(0), "one"]), "a point is not"),
        (document([at(0), "1" * 65]), "a point is not"),
        (document([at(0), "1", "2"]), "a point is not"),
        (document({"at": 1}), "a point is not"),
        (document([float("nan"), "1"]), "a point is not"),
        (document([float("inf"), "1"]), "a point is not"),
        (document([10**300, "1"]), "a point is not"),
        (document([True, "1"]), "not at the end of five minutes"),
        (document([at(0) - 60, "1"]), "not at the end of five minutes"),
    ],
)
async def test_answers_that_are_none(text: str, reason: str) -> None:
    """Whatever the server sends, nothing is read from it, and the reason is one short line."""
    async with answering(200, text) as url:
        failed = await failure(url)
    assert reason in failed.reason
    assert len(failed.reason) < 400
    assert "\n" not in failed.reason


@pytest.mark.parametrize(
    ("status", "text", "reason", "fix"),
    [
        (401, "", "HTTP 401", "prometheus_token_file"),
        (403, '{"message": "no"}', "HTTP 403: no", "prometheus_token_file"),
        (404, "404 page not found", "HTTP 404", "before /api/v1/query_range"),
        (422, '{"status": "error", "errorType": "execution", "error": "too many samples"}',
            "HTTP 422: execution: too many samples", "prometheus_matchers"),
        (500, "[" * 60_000, "HTTP 500", "prometheus_matchers"),
        (503, "x" * 100_000, "larger than 64 KiB", "prometheus_matchers"),
        (204, "", "HTTP 204", "prometheus_matchers"),
    ],
)  # fmt: skip
async def test_errors(status: int, text: str, reason: str, fix: str) -> None:
    """A status that is not 200 is the reason, with what the server adds and what to do."""
    async with answering(status, text) as url:
        failed = await failure(url)
    assert failed.reason.startswith(reason) or reason in failed.reason
    assert fix in failed.fix


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (flood(head("200 OK", "Connection: close"), b'{"status": "success"}'), "larger than 32768 KiB"),
        (answer(response(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip")), "encoded (gzip)"),
        (cut(head("200 OK", "Content-Length: 1000") + b"{"), ""),
        (cut(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000), ""),
        (cut(b""), ""),
        (cut(b"\x00\xff no HTTP\r\n\r\n"), ""),
    ],
)
async def test_broken_transfers(behaviour: Any, reason: str) -> None:
    """Bodies without end, encoded, cut off, and what is no HTTP."""
    async with HostileServer(behaviour) as server:
        failed = await failure(f"http://127.0.0.1:{server.port}")
    assert reason in failed.reason
    assert failed.reason


async def test_nobody_listens() -> None:
    """A refused connection is a reason with the address."""
    with refusing_port() as port:
        failed = await failure(f"http://127.0.0.1:{port}")
    assert str(port) in failed.reason
    assert "network path" in failed.fix


# -- credentials -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def recording(seen: list[web.Request], status: int = 200, **headers: str) -> AsyncIterator[str]:
    """Serve an empty matrix and keep the requests."""

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        text = '{"status": "success", "data": {"resultType": "matrix", "result": []}}'
        return web.Response(status=status, text=text, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_the_request(tmp_path: Path) -> None:
    """One request a day, under the path of the URL, without credentials where none are set."""
    seen: list[web.Request] = []
    async with recording(seen) as url:
        await read(f"{url}/prometheus/", Span(FIRST - 1, FIRST + SLOTS + 1), prometheus_matchers='cluster="p"')
    assert [request.path for request in seen] == ["/prometheus/api/v1/query_range"] * 3
    assert [(request.query["start"], request.query["end"]) for request in seen] == [
        (f"{at(-1):.3f}", f"{at(-1):.3f}"),
        (f"{at(0):.3f}", f"{at(287):.3f}"),
        (f"{at(288):.3f}", f"{at(288):.3f}"),
    ]
    assert {(request.query["step"], request.query["query"]) for request in seen} == {
        ("300", 'max by (namespace, fleet) (max_over_time(matillion_fleet_demand_tasks{cluster="p"}[300s]))')
    }
    assert "matillion_fleet_demand_tasks" in FLEET_NAMES
    assert {request.query["partial_response"] for request in seen} == {"false"}
    assert not any("Authorization" in request.headers for request in seen)


async def test_a_token_is_read_again(tmp_path: Path) -> None:
    """The token of the file is sent, and after a change the new one."""
    seen: list[web.Request] = []
    file = tmp_path / "token"
    async with recording(seen) as url, PrometheusReader(settings(url, prometheus_token_file=file)) as reader:
        for token in ("first", "second\n"):
            file.write_text(token)
            await reader.read([SPAN], None)
    assert [request.headers["Authorization"] for request in seen] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\x00", "Zoë".encode(), b"\xff"])
async def test_a_file_without_a_token(tmp_path: Path, content: bytes | None) -> None:
    """Nothing is sent, and neither the file nor what is in it is shown."""
    file = tmp_path / "hidden"
    if content is not None:
        file.write_bytes(content)
    seen: list[web.Request] = []
    async with recording(seen) as url:
        failed = await failure(url, prometheus_token_file=file)
    assert seen == []
    assert "forecast.prometheus_token_file" in failed.reason
    assert "hidden" not in failed.reason
    assert "words" not in failed.reason.replace("more than one word", "")


async def test_credentials_do_not_follow_a_redirect(tmp_path: Path) -> None:
    """A redirect is an error that shows where to; nothing is sent there."""
    elsewhere: list[web.Request] = []
    file = tmp_path / "token"
    file.write_text("secret")
    async with recording(elsewhere) as target, recording([], 307, Location=f"{target}/login") as url:
        failed = await failure(url, prometheus_token_file=file)
    assert elsewhere == []
    assert f"HTTP 307: a redirect to {target}/login" in failed.reason
    assert "secret" not in failed.reason


@pytest.mark.looptime
async def test_a_server_that_hangs() -> None:
    """A minute is the longest that anything takes."""
    async with HostileServer(hang(head("200 OK", "Content-Length: 1000"))) as server:
        failed = await failure(f"http://127.0.0.1:{server.port}")
    assert failed.reason == "no response within 60 s"
