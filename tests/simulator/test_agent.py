"""A fake agent on real sockets: what a scraper meets in each of its states."""

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.simulator.agent import SLOW_SECONDS, AgentServer, Place, SimulatorError
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import CURRENT, LEGACY, UNFILTERED, Behaviour, Image
from tests.fakes.simulated_agent import agent_at_work

HOST = f"127.21.{os.getpid() % 256}.1"
"""An address of this run alone: two runs at the same time would meet on the fixed ports."""
OTEL = f"http://{HOST}:9464/metrics"
PROMETHEUS = f"http://{HOST}:8080/actuator/prometheus"
INFO = f"http://{HOST}:8080/actuator/info"


def agent(image: Image = CURRENT) -> SimulatedAgent:
    return agent_at_work(0, "production", "production-0", image, tasks=7)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client:
        yield client


@pytest.fixture
async def subject() -> AsyncIterator[tuple[SimulatedAgent, AgentServer]]:
    made = agent()
    server = AgentServer(made, Place(HOST), clock=lambda: 100.0)
    await server.follow()
    yield made, server
    await server.close()


def families(text: str) -> list[Metric]:
    return list(parse_openmetrics(text))  # type: ignore[no-untyped-call]  # the library has no types here


Subject = tuple[SimulatedAgent, AgentServer]


async def page(session: aiohttp.ClientSession, url: str, **headers: str) -> tuple[str, str]:
    async with session.get(url, headers=headers) as response:
        assert response.status == 200
        return await response.text(), response.headers["Content-Type"]


async def test_both_endpoints_of_a_new_image_report_the_same(session: aiohttp.ClientSession, subject: Subject) -> None:
    """OpenTelemetry on 9464, the actuator on 8080, one task count."""
    otel, kind = await page(session, OTEL)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    legacy, _ = await page(session, PROMETHEUS)
    counts = {
        family.name: family.samples[0].value
        for text in (otel, legacy)
        for family in parse_text(text)
        if "task" in family.name and "queued" not in family.name
    }
    assert counts == {"matillion_agent_task_running_unit": 7, "app_active_task_count": 7}


async def test_pages_follow_the_agent(session: aiohttp.ClientSession, subject: Subject) -> None:
    """A page is of the instant it is asked for."""
    subject[0].limited = 11
    text, _ = await page(session, PROMETHEUS)
    assert "app_active_task_count 11.0" in text


async def test_openmetrics_is_sent_to_clients_that_accept_it(session: aiohttp.ClientSession, subject: Subject) -> None:
    """client_java gives it to whoever names it; Spring weighs what is preferred."""
    both = "text/plain;version=0.0.4,application/openmetrics-text;q=0.5"
    text, kind = await page(session, OTEL, Accept=both)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert families(text)
    assert (await page(session, PROMETHEUS, Accept=both))[1].startswith("text/plain")
    text, kind = await page(session, PROMETHEUS, Accept="application/openmetrics-text")
    assert kind.startswith("application/openmetrics-text")
    assert families(text)


async def test_an_accept_header_of_nonsense_gets_plain_text(session: aiohttp.ClientSession, subject: Subject) -> None:
    """A weight that is no number counts for nothing."""
    accept = "application/openmetrics-text;q=high"
    assert (await page(session, PROMETHEUS, Accept=accept))[1].startswith("text/plain")


async def test_filters_are_honoured_in_each_dialect(session: aiohttp.ClientSession, subject: Subject) -> None:
    """`name[]` may be repeated, `includedNames` is a list with commas."""
    text, _ = await page(session, OTEL + "?name[]=matillion_agent_status_unit&name[]=jvm_memory_used_bytes")
    assert {family.name for family in parse_text(text)} == {"matillion_agent_status_unit", "jvm_memory_used_bytes"}
    text, _ = await page(session, PROMETHEUS + "?includedNames=app_agent_status,app_active_task_count")
    assert {family.name for family in parse_text(text)} == {"app_agent_status", "app_active_task_count"}


async def test_info_is_json(session: aiohttp.ClientSession, subject: Subject) -> None:
    """Status in words, counts and build."""
    async with session.get(INFO) as response:
        document = await response.json()
    assert document["agentStatus"] == "RUNNING"
    assert document["activeTaskCount"] == 7
    assert document["buildInfo"]["commitHash"] == CURRENT.commit


async def test_other_paths_and_methods_are_refused(session: aiohttp.ClientSession, subject: Subject) -> None:
    """Each port has its own paths, and reading is all there is."""
    for url in (f"http://{HOST}:9464/actuator/prometheus", f"http://{HOST}:8080/metrics", f"http://{HOST}:8080/"):
        async with session.get(url) as response:
            assert response.status == 404
    async with session.post(OTEL) as response:
        assert response.status == 405


async def test_an_old_image_refuses_the_otel_port(session: aiohttp.ClientSession) -> None:
    """There is no OpenTelemetry endpoint before the vendor added it."""
    server = AgentServer(agent(LEGACY), Place(HOST), clock=lambda: 0.0)
    await server.follow()
    try:
        assert "app_active_task_count 7.0" in (await page(session, PROMETHEUS))[0]
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(OTEL)
    finally:
        await server.close()


async def test_a_closed_agent_refuses_and_drops_connections(session: aiohttp.ClientSession, subject: Subject) -> None:
    """Its process is gone, and so are its listening sockets and the connections kept alive; then it is back."""
    made, server = subject
    reader, writer = await asyncio.open_connection(HOST, 9464)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    made.behaviour = Behaviour.CLOSED
    await server.follow()
    await reader.read()
    assert reader.at_eof()
    writer.close()
    await writer.wait_closed()
    for url in (OTEL, PROMETHEUS):
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
    made.behaviour = Behaviour.ANSWERING
    await server.follow()
    await page(session, OTEL)


async def test_a_hung_agent_answers_when_it_wakes(session: aiohttp.ClientSession, subject: Subject) -> None:
    """It takes the request and stays silent; nothing is refused."""
    made, server = subject
    made.behaviour = Behaviour.HUNG
    await server.follow()
    asked = asyncio.create_task(page(session, OTEL), name="request to a hung agent")
    done, _ = await asyncio.wait([asked], timeout=0.3)
    assert not done
    made.behaviour = Behaviour.ANSWERING
    await server.follow()
    assert "matillion_agent_task_running_unit" in (await asked)[0]


async def test_a_hung_agent_can_be_closed(session: aiohttp.ClientSession, subject: Subject) -> None:
    """The end of the process ends the requests that wait for it."""
    made, server = subject
    made.behaviour = Behaviour.HUNG
    await server.follow()
    asked = asyncio.create_task(page(session, OTEL), name="request to a hung agent")
    await asyncio.sleep(0.1)
    made.behaviour = Behaviour.CLOSED
    await server.follow()
    with pytest.raises(aiohttp.ClientError):
        await asked


async def test_an_erroring_agent_answers_500(session: aiohttp.ClientSession, subject: Subject) -> None:
    """On every path."""
    subject[0].behaviour = Behaviour.ERRORING
    for url in (OTEL, PROMETHEUS, INFO):
        async with session.get(url) as response:
            assert response.status == 500


@pytest.mark.slow
async def test_a_slow_agent_answers_late(session: aiohttp.ClientSession, subject: Subject) -> None:
    """Late, and right."""
    subject[0].behaviour = Behaviour.SLOW
    before = asyncio.get_running_loop().time()
    await page(session, PROMETHEUS)
    assert asyncio.get_running_loop().time() - before >= SLOW_SECONDS


async def test_an_image_without_filters_answers_with_everything(session: aiohttp.ClientSession) -> None:
    """Asked for one family, it gives them all."""
    server = AgentServer(agent(UNFILTERED), Place(HOST), clock=lambda: 0.0)
    await server.follow()
    try:
        text, _ = await page(session, OTEL + "?name[]=matillion_agent_status_unit")
        assert "jvm_thread_count" in text
    finally:
        await server.close()


async def test_a_port_in_use_is_reported_in_one_sentence(subject: Subject) -> None:
    """Which port, and what to do."""
    second = AgentServer(agent(), Place(HOST), clock=lambda: 0.0)
    with pytest.raises(SimulatorError, match=rf"^{HOST}:8080 is in use, .*--base$"):
        await second.follow()


async def test_a_missing_address_is_reported_in_one_sentence() -> None:
    """As on a system that has only one loopback address."""
    server = AgentServer(agent(), Place("192.0.2.1"), clock=lambda: 0.0)
    with pytest.raises(SimulatorError, match=r"has no address 192\.0\.2\.1: use --layout ports"):
        await server.follow()
