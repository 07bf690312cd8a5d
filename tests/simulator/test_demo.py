"""The demo as a whole: simulator, exporter and autoscaler in one process, over HTTP."""

import argparse
import asyncio
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from exporter.simulation.hpa import VENDOR
from exporter.simulator.agent import SimulatorError
from exporter.simulator.demo import add_arguments, demo
from exporter.simulator.fleet import PodAddresses, SimulatedFleets
from exporter.simulator.followers import NoAnswerError, get_json, scale
from exporter.simulator.scenario import SCENARIOS
from exporter.simulator.simulation import FleetPlan, Simulation
from exporter.simulator.story import Story
from exporter.simulator.vitals import CURRENT
from tests.fakes.cloudwatch_command_line import ask_cloudwatch
from tests.fakes.ports import free_port
from tests.waiting import PATIENCE


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--listen", "127.0.0.1:0", "--base", f"127.23.{RUN}.0", *arguments])


RUN = os.getpid() % 256
"""Two runs at the same time would meet on the fixed ports, so each has addresses of its own."""
PROGRAM = (
    "import argparse, asyncio, threading; from exporter.simulator.demo import add_arguments, demo; "
    "parser = argparse.ArgumentParser(); add_arguments(parser); asyncio.run(demo(parser.parse_args())); "
    "print('threads left:', threading.active_count())"
)
"""The command as a program of its own."""
# What must come in the end, however slow the machine is. Agents that are added meanwhile are found with the first.
SHOWN = (
    r"status page +http://127\.0\.0\.1:\d+/\n",
    r"production: fleet found agents=([4-9]|1\d)\n",
    r"production: \d+ serving.* tasks, \d+ queued \| demand \d+, desired \d+ \| CloudWatch took [1-9]\d* datums\n",
    r"node ip-[\d-]+ is being removed: \d agents? with \d+ tasks evicted with 10 min of grace\n",
    r"autoscaler: 4 → 5 agents \(\d+ tasks at 16 each take \d+ agents",
)

pytestmark = pytest.mark.usefixtures("log_as_before")


def command(base: str, *arguments: str, program: str = PROGRAM) -> list[str]:
    """Return the demo as a command that complains of whatever is left open, with agents from `base` on."""
    options = ["--listen", "127.0.0.1:0", "--base", f"127.{base}.{RUN}.0", *arguments]
    return [sys.executable, "-W", "error::ResourceWarning", "-c", program, *options]


@pytest.mark.slow
async def test_the_demo_shows_the_fleet_and_publishes_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter finds the agents, the autoscaler follows its demand, CloudWatch has it, and the end is clean."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    tasks, environment = asyncio.all_tasks(), dict(os.environ)
    running = asyncio.create_task(demo(options("--speed", "20")))
    shown = ""
    async with asyncio.timeout(PATIENCE):
        while not all(re.search(wanted, shown) for wanted in SHOWN):
            await asyncio.wait([running], timeout=0.1)
            assert not running.done(), shown
            shown += capsys.readouterr().out
        written = re.search(r"^aws cloudwatch (?:.*\\\n)*.*$", shown, re.MULTILINE)
        assert written is not None
        points = (await ask_cloudwatch(written[0]))["Datapoints"]
        assert points
        assert all(point["Average"] > 0 for point in points)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert re.search(
        r"The fleet began with 4 agents, had up to \d+ and ended with \d+: \d+ tasks finished, \d+ were lost\."
        r"( Node ip-[^.]+\.)+ CloudWatch took [1-9]\d* datums.\n",
        capsys.readouterr().out,
    )
    assert asyncio.all_tasks() == tasks
    assert dict(os.environ) == environment


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_with_exit_0() -> None:
    """As a person ends it, in the midst of publishing: no complaint, and no thread but Python's own is left."""
    with subprocess.Popen(command("24"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        rest = interrupted(process, "CloudWatch has taken its first datums")
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=PATIENCE) == 0
    assert "The fleet began with 4 agents" in rest
    assert rest.endswith("threads left: 1\n")


@pytest.mark.slow
def test_without_moto_it_runs_without_cloudwatch() -> None:
    """It says so, with what to install; the rest is as ever."""
    program = PROGRAM.replace("import argparse,", "import sys; sys.modules['moto'] = None; import argparse,")
    arguments = command("26", program=program)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        rest = interrupted(process, r"CloudWatch +off: it needs moto: pip install '\.\[demo\]' in a checkout")
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=PATIENCE) == 0
    assert "CloudWatch" not in rest


def interrupted(process: "subprocess.Popen[str]", shown: str) -> str:
    """Send Ctrl-C once a line matches `shown`; return what is printed from then on."""
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(shown, line):
            process.send_signal(signal.SIGINT)
            break
    return process.stdout.read()


@pytest.mark.slow
def test_it_ends_by_itself() -> None:
    """After `--duration`, however far it has come, with exit code 0."""
    done = subprocess.run(
        command("27", "--duration", "1s"), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "The fleet began with 4 agents" in done.stdout
    assert done.stdout.endswith("threads left: 1\n")
    assert done.stderr == ""


@pytest.mark.slow
def test_on_a_terminal_it_has_a_screen_of_its_own() -> None:
    """It takes the alternate screen, draws the fleet there, and leaves the terminal as it was."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(command("25"), stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown, told = b"", False
        # Linux reports the end of a terminal as an error.
        with suppress(OSError):
            while piece := os.read(ours, 65536):
                shown += piece
                if not told and "▪".encode() in shown and re.search(rb"[1-9]\d* datums taken", shown):
                    told = True
                    process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0
    os.close(ours)
    before, _, after = shown.partition(b"\x1b[?1049h")
    screen, _, last = after.partition(b"\x1b[?1049l")
    assert before.strip() == b""
    assert b"matillion/production" in screen
    assert b"aws cloudwatch list-metrics --no-sign-request" in screen
    assert last.decode().strip().removeprefix("\x1b[?25h").strip().startswith("The fleet began with 4 agents")


@pytest.mark.slow
def test_without_rich_it_prints_what_to_install() -> None:
    """The extra by its name; the other commands do without."""
    program = PROGRAM.replace("import argparse,", "import sys; sys.modules['rich'] = None; import argparse,")
    done = subprocess.run(command("28", program=program), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "SimulatorError: the demo needs rich: pip install '.[demo]' in a checkout"
    )


async def test_a_port_in_use_is_reported_with_the_option_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, which names the option, and nothing beside it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SimulatorError, match=r"web server failed: .*--listen"):
            await demo(options("--listen", address, "--duration", "20s"))
    assert capsys.readouterr().err == ""


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
            return web.Response(status=self.status, text="the demand is not trusted:\nonly 1 of 4 agents respond")
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


async def run_until(told: str, route: tuple[Demand, aiohttp.ClientSession]) -> tuple[int, Story]:
    """Let the autoscaler follow the route until it says this; return the replicas it came to, and the story."""
    followed = fleets()
    story = Story("production", 1000.0, now=lambda: 0.0)
    task = asyncio.create_task(scale(route[1], followed, story, VENDOR), name="autoscaler")
    async with asyncio.timeout(PATIENCE):
        while told not in story.scaler:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    return followed.replicas("production"), story


async def test_a_withheld_demand_changes_nothing(demand: tuple[Demand, aiohttp.ClientSession]) -> None:
    """A 503 freezes the fleet, as it does the HPA."""
    demand[0].status = 503
    replicas, story = await run_until("leaves the fleet", demand)
    assert replicas == 4
    assert story.scaler == (
        "leaves the fleet as it is: HTTP 503, the demand is not trusted: only 1 of 4 agents respond"
    )


async def test_a_demand_is_followed(demand: tuple[Demand, aiohttp.ClientSession]) -> None:
    """More work, more agents, within the pace."""
    replicas, story = await run_until("tasks", demand)
    assert replicas > 4
    assert "autoscaler: 4 → 5 agents" in story.events[0]


async def test_an_exporter_that_is_gone_is_no_answer() -> None:
    """A refused connection is a reason like any other."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{free_port()}") as session:
        with pytest.raises(NoAnswerError, match="ClientConnectorError"):
            await get_json(session, "/")
