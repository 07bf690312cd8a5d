"""`fleet-exporter ledger`: what it shows of how agents left."""

import asyncio
import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from exporter.fleet.departure import Departure, LossReason
from exporter.status.ledger import shown
from exporter.terminal import Paper
from exporter.web.documents import agent_document, departure_document
from tests.factories import NOW, WALL_NOW, make_agent, make_facts, make_fleet, make_snapshot
from tests.status.panes import pane
from tests.waiting import PATIENCE
from tests.web.serving import StaticDepartures, StaticView, serve


def left(pod: str, **fields: Any) -> Departure:
    return Departure(**({"uid": f"uid-{pod}", "namespace": "matillion", "fleet": "etl", "pod": pod} | fields))


FINISHED = left(
    "a", requested_time=WALL_NOW - 3600, replaced=False, tasks_at_request=3, ended_time=WALL_NOW - 1140, tasks_lost=0
)
KILLED = left("b", ended_time=WALL_NOW - 900, tasks_lost=18, reason=LossReason.OOM_KILLED)
EVICTED = left(
    "c",
    requested_time=WALL_NOW - 900,
    replaced=True,
    tasks_at_request=7,
    ended_time=WALL_NOW - 300,
    tasks_lost=2,
    reason=LossReason.EVICTED,
)
UNKNOWN = left("d", requested_time=WALL_NOW - 90, ended_time=WALL_NOW, reason=LossReason.GRACE_EXCEEDED)
DRAINING = left("agent-1", requested_time=WALL_NOW - 60, replaced=False, tasks_at_request=20)
SUMMED_UP = (
    "Since 2026-01-01 01:30:00 UTC: 4 agents left, 1 agent draining; 30 tasks were running at the deletions; "
    "20 tasks were lost (2 Evicted, 18 OOMKilled); of 1 agent the tasks at the end are unknown."
)
EMPTY = "Since 2026-01-01 01:30:00 UTC: no agent left."


def table(*departures: Departure) -> list[str]:
    agent = make_agent(make_snapshot(tasks_active=12, facts=make_facts(draining_time=WALL_NOW - 60)))
    documents = [departure_document(departure) for departure in departures]
    document = {"since_time_seconds": WALL_NOW - 3600}
    return list(shown(document, documents, [agent_document(agent, NOW, WALL_NOW)], Paper(200, colours=False)))


def test_each_departure_is_a_line() -> None:
    """The tasks at the deletion, how long it took, what was lost, and how it ended; unknown is never a number."""
    assert table(FINISHED, KILLED, EVICTED, UNKNOWN, DRAINING) == [
        "LEFT (UTC)           FLEET          POD      CAUSE     TASKS    TOOK  LOST  END",
        "2026-01-01 01:30:00  matillion/etl  a        scale-in      3  41 min     0  finished",
        "2026-01-01 02:15:00  matillion/etl  b        ended                      18  OOMKilled",
        "2026-01-01 02:15:00  matillion/etl  c        rollout       7  10 min     2  Evicted",
        "2026-01-01 02:28:30  matillion/etl  d        deletion      ?    90 s     ?  GraceExceeded",
        "2026-01-01 02:29:00  matillion/etl  agent-1  scale-in     20                draining, 12 left",
        "",
        SUMMED_UP,
    ]


NAME = "etl-of-a-company-6d5f7c9b8d"
LONG = [
    left(f"{NAME}-a2k4q", fleet="a-fleet-with-a-long-name", requested_time=WALL_NOW - 43200, replaced=False,
         tasks_at_request=1234, ended_time=WALL_NOW, tasks_lost=1230, reason=LossReason.GRACE_EXCEEDED),
    left(f"{NAME}-b2k4q", requested_time=WALL_NOW - 90, ended_time=WALL_NOW, reason=LossReason.OOM_KILLED),
    left(f"{NAME}-c2k4q", requested_time=WALL_NOW - 60, replaced=True, tasks_at_request=20),
]  # fmt: skip


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (40, "POD TASKS LOST END"),
        (50, "LEFT (UTC) POD TASKS LOST END"),
        (60, "LEFT (UTC) FLEET POD TASKS LOST END"),
        (80, "LEFT (UTC) FLEET POD CAUSE TASKS LOST END"),
        (120, "LEFT (UTC) FLEET POD CAUSE TASKS TOOK LOST END"),
    ],
)
def test_narrow_terminals(width: int, headings: str) -> None:
    """Names lose their middle and columns go: no line is too long, no number and no reason is cut."""
    documents = [departure_document(one) for one in LONG]
    text = list(shown({"since_time_seconds": WALL_NOW}, documents, [], Paper(width, colours=False)))
    assert max(map(len, text)) <= width
    heading, killed, unknown, draining, *_ = text
    assert " ".join(heading.split()) == headings
    assert killed.split()[-2:] == ["1230", "GraceExceeded"]
    assert unknown.split()[-2:] == ["?", "OOMKilled"]
    assert draining.split()[-2:] == ["?", "left"]
    assert "TASKS" not in headings or "1234" in killed
    assert all(any(word.endswith("2k4q") for word in line.split()) for line in (killed, unknown, draining))


def test_numbers_that_are_too_long_stay_whole() -> None:
    """Rather than a digit of one, columns go."""
    long = replace(LONG[0], tasks_at_request=654321, tasks_lost=654320)
    text = list(shown({}, [departure_document(long)], [], Paper(60, colours=False)))
    assert max(map(len, text)) <= 60
    assert text[1].split()[-3:] == ["654321", "654320", "GraceExceeded"]


def test_no_task_lost_is_said() -> None:
    """So that it can be shown to those who ask."""
    assert table(FINISHED)[-1].endswith("1 agent left, 0 agents draining; 3 tasks were running at the deletions; "
                                        "no task was lost.")  # fmt: skip
    assert table() == [EMPTY]


def test_text_from_a_cluster_has_no_escapes() -> None:
    """A pod's name comes from outside."""
    assert "\x1b" not in "".join(table(left("x\x1b[31m", ended_time=WALL_NOW, tasks_lost=1, reason=LossReason.ERROR)))


async def said(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exporter", "ledger", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.slow
async def test_the_command() -> None:
    """As a table and as JSON, all or those that lost tasks, of every fleet or of one."""
    elsewhere = left("e", fleet="other", ended_time=WALL_NOW, tasks_lost=1, reason=LossReason.DELETED)
    view = StaticView([make_fleet()], departures=StaticDepartures([FINISHED, KILLED, elsewhere, DRAINING]))
    async with serve(view) as url:
        code, out, err = await said("--url", url)
        assert (code, err) == (0, "")
        assert [line.split()[3] for line in out.splitlines()[1:5]] == ["a", "b", "e", "agent-1"]
        _, out, _ = await said("--url", url, "--json", "--lost", "--fleet", "etl", "--namespace", "matillion")
        assert [one["pod"] for one in json.loads(out)["departures"]] == ["b"]
        _, out, _ = await said("--url", url, "--fleet", "nowhere")
        assert out.strip() == EMPTY


@pytest.mark.slow
async def test_panes_of_a_terminal() -> None:
    """Lines fit a real terminal of 60, 80 and 120 columns."""
    widths = (60, 80, 120)
    async with serve(StaticView([make_fleet()], departures=StaticDepartures(LONG))) as url:
        panes = await asyncio.gather(*(pane(width, "ledger", "--url", url) for width in widths))
    for width, text in zip(widths, panes, strict=True):
        assert width // 2 < max(map(len, text)) <= width
        assert text[1].split()[-2:] == ["1230", "GraceExceeded"]


@pytest.mark.slow
async def test_no_exporter_is_one_sentence() -> None:
    """Exit 1, and no traceback."""
    code, out, err = await said("--url", "http://127.0.0.1:9")
    assert (code, out) == (1, "")
    assert "cannot be reached" in err
    assert "Traceback" not in err
