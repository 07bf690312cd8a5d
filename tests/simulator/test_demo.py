"""The demo as a whole: simulator, exporter and autoscaler in one process, over HTTP."""

import argparse
import asyncio
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from exporter.simulator.agent import SimulatorError
from exporter.simulator.autoscaler import ScalingPolicy
from exporter.simulator.demo import add_arguments, demo
from exporter.simulator.fleet import PodAddresses, SimulatedFleets
from exporter.simulator.followers import NoAnswerError, ask, scale
from exporter.simulator.scenario import SCENARIOS
from exporter.simulator.simulation import FleetPlan, Simulation
from exporter.simulator.story import Story
from exporter.simulator.vitals import CURRENT


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--listen", "127.0.0.1:0", "--base", f"127.23.{RUN}.0", *arguments])


RUN = os.getpid() % 256
"""Two runs at the same time would meet on the fixed ports, so each has addresses of its own."""
PROGRAM = [
    sys.executable,
    "-c",
    (
        "import argparse, asyncio; from exporter.simulator.demo import add_arguments, demo; "
        "parser = argparse.ArgumentParser(); add_arguments(parser); asyncio.run(demo(parser.parse_args()))"
    ),
]
"""The command as a program of its own."""

pytestmark = pytest.mark.usefixtures("log_as_before")


@pytest.mark.slow
async def test_the_demo_shows_the_fleet_and_ends_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """The exporter finds the agents, the autoscaler follows its demand, and the end is clean."""
    before = asyncio.all_tasks()
    await demo(options("--duration", "12s", "--speed", "30"))
    shown = capsys.readouterr().out
    assert re.search(r"status page +http://127\.0\.0\.1:\d+/\n", shown)
    assert "production: fleet found agents=4" in shown
    assert re.search(r"production: \d+ serving.* tasks, \d+ queued \| demand \d+, wants \d+", shown)
    assert re.search(r"autoscaler: 4 → 5 agents \(\d+ tasks at 16 each take \d+ agents", shown)
    assert re.search(r"The fleet began with 4 agents, had up to \d+ and ended with \d+: \d+ tasks finished", shown)
    assert asyncio.all_tasks() == before


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_with_exit_0() -> None:
    """As a person ends it."""
    arguments = [*PROGRAM, "--listen", "127.0.0.1:0", "--base", f"127.24.{RUN}.0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "serving" in line:
                process.send_signal(2)
                break
        rest = process.stdout.read()
        assert process.wait(timeout=20) == 0
    assert "The fleet began with 4 agents" in rest


@pytest.mark.slow
def test_on_a_terminal_it_has_a_screen_of_its_own() -> None:
    """It takes the alternate screen, draws the fleet there, and leaves the terminal as it was."""
    ours, theirs = pty.openpty()
    arguments = [*PROGRAM, "--listen", "127.0.0.1:0", "--base", f"127.25.{RUN}.0", "--duration", "4s"]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        # Linux reports the end of a terminal as an error.
        with suppress(OSError):
            while piece := os.read(ours, 65536):
                shown += piece
        assert process.wait(timeout=20) == 0
    os.close(ours)
    before, _, after = shown.partition(b"\x1b[?1049h")
    screen, _, last = after.partition(b"\x1b[?1049l")
    assert before.strip() == b""
    assert b"matillion/production" in screen
    assert "▪".encode() in screen
    assert last.decode().strip().removeprefix("\x1b[?25h").strip().startswith("The fleet began with 4 agents")


def test_without_rich_it_says_what_to_install() -> None:
    """The extra by its name; the other commands do without."""
    program = PROGRAM[-1].replace("import argparse,", "import sys; sys.modules['rich'] = None; import argparse,")
    done = subprocess.run([*PROGRAM[:-1], program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "SimulatorError: the demo needs rich: pip install 'matillion-fleet-exporter[demo]'"
    )


async def test_a_port_in_use_is_said_with_the_option_to_change() -> None:
    """One sentence, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SimulatorError, match=r"web server failed: .*--listen"):
            await demo(options("--listen", address, "--duration", "20s"))


@pytest.mark.parametrize("arguments", [("--speed", "100"), ("--listen", "somewhere"), ("--duration", "x")])
def test_wrong_options_are_refused(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """By argparse, with the option's name."""
    with pytest.raises(SystemExit):
        options(*arguments)
    assert arguments[0] in capsys.readouterr().err


class Demand:
    """An exporter's demand route that answers as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.value = 10_000.0

    async def answer(self, _request: web.Request) -> web.Response:
        if self.status != 200:
            return web.Response(status=self.status, text="the demand is not to be trusted:\nonly 1 of 4 agents answer")
        return web.json_response({"value": self.value, "target": 16, "coverage": 1.0, "age_seconds": 0.5})


@pytest.fixture
async def demand() -> AsyncIterator[tuple[Demand, aiohttp.ClientSession]]:
    """Serve the route, and give a session whose base it is."""
    route = Demand()
    app = web.Application()
    app.router.add_get("/api/v1/fleets/matillion/production/demand", route.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        yield route, session
    await runner.cleanup()


def fleets() -> SimulatedFleets:
    simulation = Simulation([FleetPlan("production", (CURRENT,) * 4, CURRENT)], SCENARIOS["steady"], seed=1)
    return SimulatedFleets(simulation, PodAddresses(), 1000.0, lambda _: None)


async def run_for(seconds: float, route: tuple[Demand, aiohttp.ClientSession]) -> tuple[int, Story]:
    """Let the autoscaler follow the route for a while; return the replicas it came to, and the story."""
    followed = fleets()
    story = Story("production", 1000.0, now=lambda: 0.0)
    task = asyncio.create_task(scale(route[1], followed, story, ScalingPolicy()), name="autoscaler")
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])
    return followed.replicas("production"), story


async def test_a_withheld_demand_changes_nothing(demand: tuple[Demand, aiohttp.ClientSession]) -> None:
    """A 503 freezes the fleet, as it does the HPA."""
    demand[0].status = 503
    replicas, story = await run_for(0.5, demand)
    assert replicas == 4
    assert story.scaler == (
        "leaves the fleet as it is: HTTP 503, the demand is not to be trusted: only 1 of 4 agents answer"
    )


async def test_a_demand_is_followed(demand: tuple[Demand, aiohttp.ClientSession]) -> None:
    """More work, more agents, within the pace."""
    replicas, story = await run_for(0.5, demand)
    assert replicas > 4
    assert "autoscaler: 4 → 5 agents" in story.events[0]


async def test_an_exporter_that_is_gone_is_no_answer() -> None:
    """A refused connection is a reason like any other."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with aiohttp.ClientSession(address) as session:
        with pytest.raises(NoAnswerError, match="ClientConnectorError"):
            await ask(session, "/")
