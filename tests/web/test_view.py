"""The part of the status page's script that needs no browser: its own tests, and the fields it reads of documents."""

import os
import subprocess
from pathlib import Path

import aiohttp
import pytest
from deno import find_deno_bin

from exporter.fleet.departure import Departure
from exporter.fleet.model import AgentState, AgentStatus, Dialect, Fleet, IgnoredPod
from exporter.fleet.scaler import Condition
from exporter.web.about import About
from tests.factories import (
    WALL_NOW,
    make_facts,
    make_fleet,
    make_memory,
    make_outlook,
    make_reading,
    make_scaler,
    make_snapshot,
)
from tests.web.serving import StaticView, make_server, running

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VIEW = ROOT / "exporter" / "web" / "static" / "view.js"
PURE = ("address", "agents", "chart", "fleets", "view")
"""The modules of the page that decide; the others draw."""
SECONDS = 60
"""For a program that takes two, on a busy machine."""

CHECK = f"""
import type {{
  AgentsDocument, DeparturesDocument, ExporterDocument, FleetsDocument, HistoryDocument, State
}} from "{VIEW.as_uri()}";
import agents from "./agents.json" with {{ type: "json" }};
import departures from "./departures.json" with {{ type: "json" }};
import exporter from "./exporter.json" with {{ type: "json" }};
import fleets from "./fleets.json" with {{ type: "json" }};
import history from "./history.json" with {{ type: "json" }};

// What JSON says of a text is that it is one.
type Loose<T> = T extends string ? string : T extends (infer U)[] ? Loose<U>[]
  : T extends object ? {{ [K in keyof T]: Loose<T[K]> }} : T;
export const read: [Loose<FleetsDocument>, Loose<AgentsDocument>, Loose<HistoryDocument>] = [fleets, agents, history];
export const own: [Loose<ExporterDocument>, Loose<DeparturesDocument>] = [exporter, departures];
export const states: Record<State, 0> = {{ STATES }};
"""


def deno(*arguments: str | Path) -> str:
    """Run a command of Deno's to its good end; returns what it wrote."""
    command = [find_deno_bin(), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_COLOR": "1"},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_its_own_tests(tmp_path: Path) -> None:
    """They pass, and leave no branch of it untried."""
    coverage = (f"--coverage={tmp_path}", "--coverage-threshold", "100")
    covered = deno("test", "--no-check", *coverage, *sorted(HERE.glob("*.test.js")))
    for module in PURE:
        assert f"static/{module}.js" in covered


def fleets() -> list[Fleet]:
    """Return fleets of which each figure is known in one and unknown in another."""
    facts = [make_facts(), make_facts(memory_limit_bytes=None, draining_time=WALL_NOW - 60)]
    legacy = make_reading(dialect=Dialect.LEGACY, version=None, status=AgentStatus.STOPPED)
    seen = [make_snapshot(f"a-{n}", facts=one, usage=make_memory()) for n, one in enumerate(facts)]
    scalers = [
        make_scaler("a", active=None),
        make_scaler("b", active=Condition(None, "", ""), min_agents=None, max_agents=None, desired_agents=None),
    ]
    withheld = make_outlook(None, skill=None, reason="too little history", like_days="", slots=(), past_read_time=None)
    return [
        make_fleet([*seen, make_snapshot("a-2", reading=legacy)], scalers=scalers, outlook=make_outlook()),
        make_fleet(
            [make_snapshot("b-0", never_read=True, error="no response within 2 s")],
            name="dark",
            scalers=[],
            outlook=withheld,
        ),
        make_fleet([], name="empty"),
    ]


FIGURES = {
    "leader": {"": 1.0},
    "discovery_targets": {"": 24.0},
    "cloudwatch_spool_datums": {"": 0.0},
    "cloudwatch_spool_oldest_age_seconds": {"": 0.0},
    "cloudwatch_spool_durable": {"": 1.0},
    "cloudwatch_requests_total": {"accepted": 1440.0},
    "external_metrics_requests_total": {"200": 5760.0},
}


@pytest.mark.slow  # a type check takes two seconds
async def test_the_fields_it_reads(tmp_path: Path) -> None:
    """Each field it declares is in the exporter's answers, and of the declared type; the states are those there are."""
    view = StaticView(fleets(), others=[IgnoredPod("matillion", "job-1", "it belongs to a Job")])
    view.departures.gone = [
        Departure(uid="a", namespace="matillion", fleet="etl", pod="a", ended_time=WALL_NOW, tasks_lost=1.0),
        Departure(uid="b", namespace="matillion", fleet="etl", pod="b", requested_time=WALL_NOW, tasks_at_request=1.0),
    ]
    about = About(cluster="prod", instance="exporter-1", figures=lambda: FIGURES)
    server = make_server(view, about=about)
    async with running(server) as address, aiohttp.ClientSession(f"http://{address}") as client:
        for step in range(2):
            view.shown, view.instant = view.shown[step:], view.instant + 15
            server.history.sample()
        view.shown = fleets()
        for name in ("fleets", "agents", "history", "exporter", "departures"):
            async with client.get(f"/api/v1/{name}") as response:
                assert response.status == 200
                (tmp_path / f"{name}.json").write_bytes(await response.read())
    check = tmp_path / "check.ts"
    check.write_text(CHECK.replace("STATES", ", ".join(f'"{state}": 0' for state in AgentState)))
    deno("check", "--config", ROOT / "deno.json", check)
