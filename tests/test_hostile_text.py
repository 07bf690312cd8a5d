"""Texts that an agent, a node or a file wrote, where they leave the exporter: none is obeyed, in any outlet.

Most are refused or cleaned where they come in. What leaves is held to it once more, with values that never came in.
"""

import io
import json
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
import structlog
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from rich.console import Console

from exporter import logs
from exporter.client import Status
from exporter.config.settings import LogSettings, StaticTarget
from exporter.config.web_settings import WebSettings
from exporter.discovery.pod_facts import PodReader
from exporter.discovery.scaler_facts import read_scaler
from exporter.doctor.check import Check, Examined, Finding, Outcome
from exporter.doctor.report import Report
from exporter.doctor.report import document as doctor_document
from exporter.doctor.report import text as doctor_text
from exporter.fleet.departure import Departure, LossReason
from exporter.fleet.dialect import AGENT_FAMILIES, interpret
from exporter.fleet.exposition import read
from exporter.fleet.last_reading import LastReading
from exporter.fleet.model import AgentSnapshot, Fleet, IgnoredPod, Target
from exporter.fleet.scaler import Condition
from exporter.history.stored_fleet import filled, name
from exporter.publish.datum import Datum
from exporter.publish.last_readings import note_text
from exporter.publish.prometheus import render
from exporter.publish.state_log import StateLog
from exporter.simulator.screen import View, line, picture
from exporter.status.command import drawn
from exporter.status.ledger import shown as ledger
from exporter.status.view import screen
from exporter.terminal import Paper
from exporter.web.documents import agent_document, departure_document, fleet_document
from exporter.web.runbooks import PLACEHOLDERS
from tests.factories import (
    NOW,
    WALL_NOW,
    make_facts,
    make_fleet,
    make_reading,
    make_scaler,
    make_snapshot,
    make_target,
)
from tests.fakes.cloudwatch_publishing import selection
from tests.fakes.hostile_text import HOSTILE, OBEYED, SHORT, tags
from tests.fakes.kube_pods import LABEL, raw_pod
from tests.web.serving import StaticView, serve

each_text = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
each_short_text = pytest.mark.parametrize("text", SHORT.values(), ids=SHORT)
URL = "http://127.0.0.1:9850"


def snapshots(text: str, **target: Any) -> list[AgentSnapshot]:
    """Return an agent of each kind, with the text wherever one goes."""
    facts = make_facts(
        image=text, node=text, container=text, waiting_reason=text, waiting_message=text, disruption=text,
        last_terminated_reason=text, last_terminated_time=WALL_NOW - 60, workload=text, restarts=3,
    )  # fmt: skip
    reading = make_reading(version=text, commit=text)
    return [
        make_snapshot(f"serving{text}", reading=reading, facts=make_facts(image=text, node=text), **target),
        make_snapshot(f"silent{text}", reading=reading, age=99.0, error=text, **target),
        make_snapshot(f"waiting{text}", never_read=True, facts=facts, **target),
    ]


def fleet(text: str) -> Fleet:
    """Return a fleet that is called like the text, and so is everything in it."""
    condition = Condition(False, text, text)
    scaler = make_scaler(text, namespace=text, target=text, active=condition, able=condition, metrics=(text,))
    return make_fleet(snapshots(text, namespace=text, fleet=text), namespace=text, name=text, scalers=[scaler])


def documents(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the JSON of the fleet and of its agents, as a client reads it."""
    made = fleet(text)
    agents = [agent_document(agent, NOW, WALL_NOW) for agent in made.agents]
    read_back = json.loads(json.dumps([fleet_document(made), agents]))
    return read_back[0], read_back[1]


def assert_harmless(shown: str) -> None:
    """Check that text for a terminal or a log moves no cursor, and can be written to one in UTF-8."""
    assert not OBEYED & set(shown)
    shown.encode()


# -- where texts come in -----------------------------------------------------------------------------------------------


@each_text
def test_an_agents_version_is_a_word_or_unknown(text: str) -> None:
    """What cannot be printed, or is longer than any version, is none."""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    page = f'matillion_agent_task_running_unit 7\nmatillion_agent_version{{version="{escaped}",commit_hash="a1"}} 1\n'
    reading = interpret(read(page.encode(errors="surrogatepass"), AGENT_FAMILIES))
    assert reading.tasks_active == 7
    assert reading.version is None or (reading.version.isprintable() and len(reading.version) <= 128)


@each_text
def test_what_a_node_says_of_a_pod_is_short_and_printable(text: str) -> None:
    """Reasons and messages are written by the kubelet, the image by whoever made the pod."""
    state = {"waiting": {"reason": text, "message": text}}
    ended = {"terminated": {"reason": text, "exitCode": 1}}
    status = {"containerStatuses": [{"name": "agent", "state": state, "lastState": ended}], "reason": text}
    pod = raw_pod(status=status)
    pod["spec"]["containers"][0]["image"] = text
    found = PodReader(LABEL, (), lambda _uid, _ready, _transition: None).read(pod)
    assert isinstance(found, Target)
    facts = found.facts
    assert facts is not None
    said = facts.waiting_reason, facts.waiting_message, facts.last_terminated_reason, facts.image, facts.disruption
    for one in filter(None, said):
        assert one.isprintable()
        assert len(one) <= 600


@each_text
def test_what_an_autoscaler_says_is_short_and_printable(text: str) -> None:
    """Its conditions repeat what a metrics server answered."""
    condition = {"type": "ScalingActive", "status": "False", "reason": text, "message": text}
    spec = {"scaleTargetRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}, "maxReplicas": 3}
    metadata, status = {"name": "x", "namespace": "n"}, {"conditions": [condition]}
    found = read_scaler({"metadata": metadata, "spec": spec, "status": status})
    assert found is not None
    assert found.active is not None
    assert (found.active.reason + found.active.message).isprintable()
    assert len(found.active.message) < 1000


@each_text
def test_a_listed_agent_has_a_printable_name(text: str) -> None:
    """A file of targets cannot name an agent so that a terminal obeys."""
    try:
        target = StaticTarget.model_validate({"address": "10.0.3.7", "pod": text})
    except ValueError:
        return
    assert target.pod_name.isprintable()


# -- the terminal ------------------------------------------------------------------------------------------------------


@each_short_text
def test_status(text: str) -> None:
    """`status`, once and as a screen that is drawn again and again."""
    document, agents = documents(text)
    shown = screen(URL, Status(WALL_NOW, text, [document], agents), Paper(110, colours=False))
    assert_harmless("\n".join(shown))
    frame = drawn(shown, 40)
    for ours in ("\x1b[H", "\x1b[K", "\x1b[J"):
        frame = frame.replace(ours, "")
    assert_harmless(frame)


@each_short_text
def test_ledger(text: str) -> None:
    """How agents left, by name and reason."""
    departures = [
        Departure(
            uid="u", namespace=text, fleet=text, pod=text, node=text, ended_time=WALL_NOW, tasks_lost=3,
            reason=LossReason.EVICTED,
        )
    ]  # fmt: skip
    left = [json.loads(json.dumps(departure_document(one))) | {"reason": text} for one in departures]
    lines = ledger({"since_time_seconds": WALL_NOW - 60}, left, documents(text)[1], Paper(110, colours=False))
    assert_harmless("\n".join(lines))


@each_short_text
def test_demo(text: str) -> None:
    """Its picture, and its line where there is no terminal."""
    document, agents = documents(text)
    shown = View(name="etl", fleet=document, agents=agents)
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=False)
    with console.capture() as capture:
        console.print(picture(shown, 120, 40, colours=False))
    assert_harmless(capture.get())
    assert_harmless(line(shown))


async def _never() -> list[Finding]:
    raise AssertionError


@each_short_text
def test_doctor(text: str) -> None:
    """Names, findings and fixes, for people and for programs."""
    report = Report([Examined(Check("agents", "check", _never), [Finding(text, Outcome.FAILED, text, text)], 0.01)])
    assert_harmless(doctor_text(report, Paper(80, colours=False)))
    json.loads(json.dumps(doctor_document(report)).encode())


# -- the log -----------------------------------------------------------------------------------------------------------


@each_short_text
@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.usefixtures("restore_logging")
def test_log(text: str, format_: str) -> None:
    """An event is one line, whatever is in its name, its fields, or a list of them."""
    stream = io.StringIO()
    logs.configure(LogSettings.model_validate({"format": format_}), stream)
    structlog.get_logger("exporter.test").warning(text, pod=text, error=text, problems=[text], by={text: text})
    logging.getLogger("library").warning("%s", text)
    written = stream.getvalue()
    assert written.count("\n") == 2
    assert_harmless(written)


@each_short_text
def test_state_log(text: str) -> None:
    """A change of state is logged with the fleet's, the agent's and the reason's text as values, never as the event."""

    class Source:
        shown: tuple[Fleet, ...] = ()
        departures = StaticView().departures

        def fleets(self) -> tuple[Fleet, ...]:
            return self.shown

        def now(self) -> float:
            return NOW

        def wall_now(self) -> float:
            return WALL_NOW

    source: Any = Source()
    log = StateLog(source)
    with structlog.testing.capture_logs() as events:
        log.check()
        source.shown = (fleet(text),)
        log.check()
    assert events
    assert all(text not in event["event"] for event in events if text.strip())


# -- HTTP --------------------------------------------------------------------------------------------------------------


async def page_of(text: str) -> str:
    """Return the status page as a browser without script gets it."""
    view = StaticView([fleet(text)], reason=text, others=[IgnoredPod(text, text, text)])
    async with serve(view) as url, aiohttp.ClientSession(url) as client, client.get("/") as response:
        assert response.status == 200
        return await response.text()


@each_short_text
async def test_page_without_script(text: str) -> None:
    """The elements are those of a harmless page. What a script makes of the text is tested in a browser."""
    assert tags(await page_of(text)) == tags(await page_of("harmless"))


@each_short_text
async def test_json(text: str) -> None:
    """Every document is JSON in ASCII, and the text is a value in it."""
    view = StaticView([fleet(text)], others=[IgnoredPod(text, text, text)])
    async with serve(view) as url, aiohttp.ClientSession(url) as client:
        for path, key, count in (("fleets", "fleets", 1), ("agents", "agents", 3)):
            async with client.get(f"/api/v1/{path}") as response:
                body = await response.read()
            assert body.isascii()
            assert len(json.loads(body)[key]) == count


@each_short_text
async def test_runbooks(text: str) -> None:
    """A link with the text in place of every name makes the page that it makes without."""
    query: Mapping[str, str] = dict.fromkeys(PLACEHOLDERS, text[:500].encode(errors="replace").decode())
    async with serve() as url, aiohttp.ClientSession(url) as client:
        pages = []
        for params in ({}, query):
            async with client.get("/runbooks/MatillionAgentOOMKilled", params=params) as response:
                pages.append(tags(await response.text()))
    assert pages[0] == pages[1]


@each_short_text
@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "OpenMetrics"])
def test_metrics(text: str, *, openmetrics: bool) -> None:
    """A page has the series of a harmless one, in Prometheus' text format and in OpenMetrics."""

    def series(of: str) -> list[tuple[str, tuple[str, ...]]]:
        body = b"".join(piece.encode(errors="replace") for piece in render([fleet(of)], openmetrics=openmetrics))
        families = read_openmetrics(body.decode() + "# EOF\n") if openmetrics else read_text(body.decode())
        return [(one.name, tuple(sorted(one.labels))) for family in families for one in family.samples]

    assert series(text) == series("harmless")


# -- AWS and Kubernetes ------------------------------------------------------------------------------------------------


@each_short_text
def test_cloudwatch(text: str) -> None:
    """A datum has the text as a dimension's value or is refused with the reason: CloudWatch never rejects a batch."""
    datums: list[Datum] = list(selection("all").datums([fleet(text)], [], {}, int(WALL_NOW)))
    assert datums
    for datum in datums:
        for _, value in datum.series.dimensions:
            fit = value.isascii() and value.isprintable() and bool(value.strip()) and len(value) <= 1024
            assert (datum.problem() is None) == fit or value != text
        if datum.problem() is None:
            assert Datum.from_json(datum.time, datum.to_json()) == datum


@each_short_text
def test_config_maps(text: str) -> None:
    """Names of objects are made of digests, and what stands in them is JSON in ASCII."""
    made = name("fleet-exporter", (text, text))
    assert made.isascii()
    assert len(made) <= 253
    assert json.dumps(filled({"metadata": {}}, "fleet-exporter", (text, text), {})).isascii()
    reading = LastReading.of(make_snapshot(target=make_target(text, namespace=text, facts=make_facts())), 30.0, NOW)
    assert reading is not None
    written, _ = note_text(WALL_NOW, "scope", [reading], [])
    assert written.isascii()


def test_every_list_of_the_settings_is_checked() -> None:
    """The names that the settings give to the outlets above are of characters that mean nothing to them."""
    for entry in ("<b>", "a b", "\x1b[2J", "\u202e"):
        with pytest.raises(ValueError, match="hosts"):
            WebSettings.model_validate({"hosts": [entry]})
