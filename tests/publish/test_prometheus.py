"""/metrics: what prometheus_client's own parsers, and promtool, read from it."""

import asyncio
import gzip
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_page
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from exporter.fleet.model import AgentSnapshot, Fleet
from exporter.publish import instruments
from exporter.publish.prometheus import CloudWatchMetrics, ExporterMetrics, MetricsPage, render
from tests.factories import make_facts, make_fleet, make_reading, make_snapshot

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Source:
    """Fleets set by hand."""

    def __init__(self, fleets: Sequence[Fleet] = (), sync_age: float | None = 1.5) -> None:
        self.current = fleets
        self.age = sync_age

    def fleet_keys(self) -> Sequence[tuple[str, str]]:
        return [(fleet.namespace, fleet.name) for fleet in self.current]

    def fleet(self, key: tuple[str, str]) -> Fleet | None:
        return next((fleet for fleet in self.current if (fleet.namespace, fleet.name) == key), None)

    def targets(self) -> int:
        return sum(len(fleet.agents) for fleet in self.current)

    def sync_age(self) -> float | None:
        return self.age


def make_metrics(source: Source) -> ExporterMetrics:
    metrics = ExporterMetrics(source, outcomes=("ok", "timeout"), restart_reasons=("expired",))
    metrics.show_lag(lambda: 0.25)
    return metrics


@pytest.fixture
def source() -> Source:
    snapshots = [make_snapshot("a", facts=make_facts(restarts=2)), make_snapshot("b", age=60)]
    return Source([make_fleet(snapshots, starts=(44.5, 1200))])


@pytest.fixture
async def server(source: Source) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_get("/metrics", MetricsPage(source, make_metrics(source).registry).handle)
    async with TestServer(app) as server:
        yield server


async def get(server: TestServer, accept: str = "", encoding: str = "identity") -> tuple[web.Response, bytes]:
    headers = {"Accept": accept, "Accept-Encoding": encoding}
    async with (
        ClientSession(auto_decompress=False) as session,
        session.get(server.make_url("/metrics"), headers=headers) as answer,
    ):
        return answer, await answer.read()


async def test_text_is_the_default(server: TestServer) -> None:
    """Without a wish the client gets text 0.0.4, and every series that is known is on it."""
    answer, body = await get(server)
    assert answer.headers["Content-Type"] == CONTENT_TYPE_PLAIN_0_0_4
    families = {family.name: family for family in read_text(body.decode())}
    [capacity] = families["matillion_fleet_capacity_tasks"].samples
    assert (capacity.labels, capacity.value) == ({"namespace": "matillion", "fleet": "etl"}, 20)
    [restarts] = families["matillion_fleet_agent_restarts"].samples
    assert (restarts.labels["pod"], restarts.value) == ("a", 2)
    assert families["matillion_fleet_agent_restarts"].type == "counter"
    [tasks] = families["matillion_fleet_agent_tasks_active"].samples
    assert tasks.labels["pod"] == "a", "the figure of an agent not seen for a minute has no series"


async def test_openmetrics_on_request(server: TestServer) -> None:
    """A client that prefers OpenMetrics gets it, with the mark of its end, and reads the same series."""
    answer, body = await get(server, OPENMETRICS)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    _, text = await get(server)
    assert series(read_openmetrics(body.decode())) == series(read_text(text.decode()))


def series(families: Iterable[Any]) -> set[tuple[str, str, tuple[tuple[str, str], ...], float]]:
    return {
        (family.type, sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
        if not sample.name.startswith("process_")
    }


async def test_gzip_on_request(server: TestServer) -> None:
    """A client that takes gzip gets the same page compressed, and caches keep the two apart."""
    answer, body = await get(server, encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    _, plain = await get(server)
    assert own_lines(gzip.decompress(body)) == own_lines(plain)


def own_lines(page: bytes) -> list[bytes]:
    """Return the page without what the process' own life changes from one moment to the next."""
    return [line for line in page.splitlines() if not line.startswith(b"process_")]


async def test_head_sends_no_body(server: TestServer) -> None:
    """HEAD answers with the headers only, and the connection is good for the next request."""
    connection = TCPConnector(limit=1)
    async with ClientSession(connector=connection) as session:
        async with session.head(server.make_url("/metrics")) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with session.get(server.make_url("/metrics")) as answer:
            assert b"matillion_fleet_capacity_tasks" in await answer.read()


async def test_a_pod_that_is_gone_has_no_series(server: TestServer, source: Source) -> None:
    """On the next scrape after a pod went, nothing speaks of it."""
    _, before = await get(server)
    source.current = [make_fleet([make_snapshot("a")])]
    _, after = await get(server)
    assert b'pod="b"' in before
    assert b'pod="b"' not in after


async def test_no_fleets_make_a_valid_page(server: TestServer, source: Source) -> None:
    """Before anything is found there are only the exporter's own series and its process'; no unknown sync age."""
    source.current, source.age = [], None
    _, body = await get(server)
    names = {family.name for family in read_text(body.decode())}
    assert all(name.startswith((instruments.EXPORTER_PREFIX, "process_")) for name in names)
    assert "matillion_fleet_exporter_discovery_sync_age_seconds" not in names
    assert "matillion_fleet_exporter_discovery_targets" in names


async def test_the_exporters_own_series(server: TestServer) -> None:
    """Exactly the instruments of the table, less those of what is not set up; labels that can occur start at 0."""
    _, body = await get(server)
    own = {
        family.name: family
        for family in read_text(body.decode())
        if family.name.startswith(instruments.EXPORTER_PREFIX)
    }
    absent = {instruments.LEADER, instruments.PAGE_INFO, instruments.EXTERNAL_METRICS_REQUESTS}
    absent |= set(instruments.CLOUDWATCH_INSTRUMENTS)
    assert own.keys() == {family_name(row) for row in instruments.EXPORTER_METRICS if row not in absent}
    scrapes = own["matillion_fleet_exporter_scrapes"].samples
    assert {sample.labels["outcome"]: sample.value for sample in scrapes} == {"ok": 0, "timeout": 0}


def family_name(row: instruments.Instrument) -> str:
    return instruments.EXPORTER_PREFIX + row.name.removesuffix("_total")


class Backlog:
    """What waits to be sent, set by hand."""

    spool_datums = 7
    spool_oldest_age = 90.0
    spool_durable = False


def test_publishing_to_cloudwatch_is_shown(source: Source) -> None:
    """Every instrument of it has series once it has something to say; an estimate that was not made has none."""
    metrics = make_metrics(source)
    cloudwatch = CloudWatchMetrics(
        metrics.registry, datum_outcomes=("accepted", "expired"), request_outcomes=("accepted", "throttled")
    )
    cloudwatch.show_backlog(Backlog())
    value = metrics.registry.get_sample_value
    assert value("matillion_fleet_exporter_cloudwatch_estimated_monthly_cost_dollars") is None
    cloudwatch.cloudwatch_cost(3.6)
    cloudwatch.cloudwatch_requested("throttled")
    cloudwatch.cloudwatch_datums("accepted", 12)
    assert value("matillion_fleet_exporter_cloudwatch_estimated_monthly_cost_dollars") == 3.6
    assert value("matillion_fleet_exporter_cloudwatch_requests_total", {"outcome": "throttled"}) == 1
    assert value("matillion_fleet_exporter_cloudwatch_datums_total", {"outcome": "accepted"}) == 12
    assert value("matillion_fleet_exporter_cloudwatch_datums_total", {"outcome": "expired"}) == 0
    assert value("matillion_fleet_exporter_cloudwatch_spool_datums") == 7
    assert value("matillion_fleet_exporter_cloudwatch_spool_oldest_age_seconds") == 90
    assert value("matillion_fleet_exporter_cloudwatch_spool_durable") == 0


def test_the_leader_is_shown_as_it_is_now(source: Source) -> None:
    """The gauge asks at the moment of the scrape: a leader that lost its lease since is none."""
    metrics = make_metrics(source)
    leads = [True]
    metrics.show_leader(lambda: leads[0])
    assert metrics.registry.get_sample_value("matillion_fleet_exporter_leader") == 1
    leads[0] = False
    assert metrics.registry.get_sample_value("matillion_fleet_exporter_leader") == 0


def test_the_page_is_found_by_its_address(source: Source) -> None:
    """A dashboard makes links of it."""
    metrics = make_metrics(source)
    metrics.show_page("https://fleets.test/eks")
    name = "matillion_fleet_exporter_page_info"
    assert metrics.registry.get_sample_value(name, {"url": "https://fleets.test/eks"}) == 1


def test_scrapes_are_counted(source: Source) -> None:
    """Outcome, duration and rejected lines go where the table of instruments says."""
    metrics = make_metrics(source)
    metrics.scraped("ok", 0.02, 0)
    metrics.scraped("timeout", 3.0, 2)
    value = metrics.registry.get_sample_value
    assert value("matillion_fleet_exporter_scrapes_total", {"outcome": "timeout"}) == 1
    assert value("matillion_fleet_exporter_scrape_duration_seconds_sum") == pytest.approx(3.02)
    assert value("matillion_fleet_exporter_rejected_lines_total") == 2


def test_label_values_are_escaped() -> None:
    """Quotes, backslashes and newlines in a name come back as they were."""
    nasty = 'a"b\\c\nd\\n'
    page = "".join(render([make_fleet([make_snapshot(nasty)])], openmetrics=False))
    pods = {sample.labels.get("pod") for family in read_text(page) for sample in family.samples}
    assert pods == {None, nasty}


def test_a_histogram_has_its_buckets_count_and_sum() -> None:
    """Nothing where it is not known; zeros where nothing has been observed, so that the first is an increase."""
    fleets = [make_fleet(name="a"), make_fleet(name="b", starts=()), make_fleet(name="c", starts=(44.5, 1200))]
    page = "".join(render(fleets, openmetrics=False))
    name, labels = "matillion_fleet_agent_start_seconds", 'namespace="matillion",fleet="c"'
    lines = [line for line in page.splitlines() if name in line]
    assert [line.split()[:4] for line in lines[:2]] == [
        ["#", "HELP", name, "Time"],
        ["#", "TYPE", name, "histogram"],
    ]
    assert [line for line in lines if 'fleet="a"' in line] == []
    assert {line.split()[-1] for line in lines if 'fleet="b"' in line} == {"0.0"}
    of_c = [line for line in lines if 'fleet="c"' in line]
    assert of_c[:3] == [
        f'{name}_bucket{{{labels},le="15.0"}} 0.0',
        f'{name}_bucket{{{labels},le="30.0"}} 0.0',
        f'{name}_bucket{{{labels},le="45.0"}} 1.0',
    ]
    assert of_c[-4:] == [
        f'{name}_bucket{{{labels},le="900.0"}} 1.0',
        f'{name}_bucket{{{labels},le="+Inf"}} 2.0',
        f"{name}_count{{{labels}}} 2.0",
        f"{name}_sum{{{labels}}} 1244.5",
    ]


def test_a_pod_recreated_under_its_name_is_one_series() -> None:
    """While the old pod drains both count in the fleet, and the page shows the new one only."""
    old = make_snapshot("a", uid="1", reading=make_reading(3), facts=make_facts(draining_time=1.0))
    new = make_snapshot("a", uid="0", reading=make_reading(8), facts=make_facts())
    page = "".join(render([make_fleet([old, new])], openmetrics=False))
    found = series(read_text(page))
    assert len([one for one in found if one[1] == "matillion_fleet_agent_tasks_active"]) == 1
    labels = (("fleet", "etl"), ("namespace", "matillion"), ("pod", "a"))
    assert ("gauge", "matillion_fleet_agent_tasks_active", labels, 8.0) in found
    assert ("gauge", "matillion_fleet_tasks_draining", labels[:2], 3.0) in found


def test_rendering_comes_in_small_pieces() -> None:
    """A large fleet is rendered in slices, each family's header once, so that the event loop gets its turns."""
    fleet = make_fleet([make_snapshot(f"agent-{number}") for number in range(2500)])
    pieces = list(render([fleet], openmetrics=False))
    assert max(piece.count("\n") for piece in pieces) <= 1002
    page = "".join(pieces)
    assert page.count("# TYPE matillion_fleet_agent_tasks_active gauge") == 1
    assert page.count("\nmatillion_fleet_agent_tasks_active{") == 2500


def calls_per_piece(fleets: Iterable[Fleet]) -> list[int]:
    """Return how many Python functions are entered for each piece of a page: work, by a measure that has no noise."""
    pieces, calls, counted = render(fleets, openmetrics=False), 0, []

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for _ in pieces:
            counted.append(calls)
            calls = 0
    finally:
        sys.setprofile(before)
    return [*counted, calls]


@pytest.mark.slow
@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(partial(make_snapshot, facts=make_facts(restarts=2)), id="with every figure"),
        pytest.param(partial(make_snapshot, reading=None, error="refused"), id="with next to none"),
    ],
)
def test_no_piece_takes_longer_in_a_larger_fleet(snapshot: Callable[[str], AgentSnapshot]) -> None:
    """Whatever its agents have to show, and what they do not. What a fleet itself shows of all its agents is apart."""

    def most(agents: int) -> int:
        fleet = make_fleet([snapshot(f"agent-{number}") for number in range(agents)])
        of_fleet = sum(1 for piece in render([replace(fleet, agents=())], openmetrics=False) if piece)
        return max(calls_per_piece([fleet])[1 + agents // 1000 + of_fleet :])

    assert 1000 <= most(6000) == most(3000) <= 20_000


def test_fleets_are_computed_one_by_one() -> None:
    """Each when the one before it has given way: with many, they take longer than all that is written of them."""
    taken: list[Fleet] = []

    def fleets() -> Iterator[Fleet]:
        for number in range(20):
            taken.append(make_fleet(name=f"fleet-{number}"))
            yield taken[-1]

    assert [(piece, len(taken)) for piece in islice(render(fleets(), openmetrics=False), 20)] == [
        ("", number + 1) for number in range(20)
    ]


def test_an_empty_registry_still_ends_openmetrics() -> None:
    """The end of an OpenMetrics page comes from prometheus_client, whatever is registered."""
    assert openmetrics_page(CollectorRegistry()) == b"# EOF\n"


@pytest.mark.slow
async def test_promtool_finds_nothing_to_say(server: TestServer) -> None:
    """Prometheus' own linter reads the page without a complaint."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus, `make tools`)")
    _, body = await get(server)
    process = await asyncio.create_subprocess_exec(
        promtool,
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(body)
    assert (process.returncode, output.decode()) == (0, "")


def test_the_exporters_own_figures_as_numbers(source: Source) -> None:
    """Gauges and counters by name and label, as they are at the moment; nothing of the process or of a histogram."""
    metrics = make_metrics(source)
    CloudWatchMetrics(metrics.registry, datum_outcomes=(), request_outcomes=("accepted",)).cloudwatch_requested(
        "denied"
    )
    metrics.scraped("ok", 0.1, 0)
    figures = metrics.figures()
    assert figures["scrapes_total"] == {"ok": 1.0, "timeout": 0.0}
    assert figures["cloudwatch_requests_total"] == {"accepted": 0.0, "denied": 1.0}
    assert figures["discovery_sync_age_seconds"] == {"": 1.5}
    assert not [name for name in figures if "process" in name or "bucket" in name]
