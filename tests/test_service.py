"""The process: starts, ends on a signal, and does not half live on when a part of it dies."""

import asyncio
import json
import re
import resource
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.hostile import HostileServer, page
from tests.fakes.ports import free_port
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow


NOBODY = {"discovery": {"static": {"targets": [{"address": "127.99.0.1", "fleet": "f", "namespace": "n", "pod": "p"}]}}}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM or SIGINT: under five seconds, exit 0, also while a client holds a connection open."""
    settings = NOBODY | {"scrape": {"interval": "1s", "timeout": "1s"}}
    async with exporter(tmp_path, settings) as running, ClientSession() as client:
        await running.ready()
        async with client.get(running.url + "/metrics") as answer:
            assert answer.status == 200
        started = asyncio.get_running_loop().time()
        running.process.send_signal(number)
        code, log = await running.end()
        # aiohttp alone would wait for a minute.
        assert asyncio.get_running_loop().time() - started < 30
    assert code == 0
    assert log[-1]["event"] == "exporter stops"


async def test_a_signal_while_an_agent_hangs(tmp_path: Path) -> None:
    """A scrape that waits for an agent does not hold up the end."""
    listening = socket.create_server(("127.99.0.2", 0))
    address = f"127.99.0.2:{listening.getsockname()[1]}"
    settings = {
        "discovery": {"static": {"targets": [{"address": address}]}},
        # The first scrape comes within an interval.
        "scrape": {"interval": "10s", "timeout": "10s"},
    }
    with listening:
        async with exporter(tmp_path, settings) as running:
            connection, _ = await asyncio.get_running_loop().run_in_executor(None, listening.accept)
            with connection:
                running.process.terminate()
                code, _ = await asyncio.wait_for(running.end(), 9)
    assert code == 0


async def test_more_agents_than_open_files(tmp_path: Path) -> None:
    """All are read, and no scrape fails."""
    agents, files = 150, 100
    async with AsyncExitStack() as stack:
        port = free_port()
        hosts = [f"127.98.0.{number + 1}" for number in range(agents)]
        for host in hosts:
            await stack.enter_async_context(HostileServer(page(), host, port))
        targets = [{"address": f"{host}:{port}", "fleet": "f", "namespace": "n", "pod": host} for host in hosts]
        settings = {
            "discovery": {"static": {"targets": targets}},
            "scrape": {"interval": "2s", "timeout": "2s", "concurrency": 8},
        }
        running = await stack.enter_async_context(exporter(tmp_path, settings, files=files))
        await running.ready()
        await eventually(lambda: _scraped(running, 4 * agents))
        assert resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE) == (files, files)
        status, fleet = await running.get("/api/v1/fleets/n/f")
        scrapes = await _scrapes(running)
    assert (status, fleet["trusted"], fleet["agents"]["serving"]) == (200, True, agents)
    assert {outcome for outcome, count in scrapes.items() if count} == {"ok"}


async def _scraped(running: Exporter, wanted: int) -> bool:
    return (await _scrapes(running))["ok"] >= wanted


async def _scrapes(running: Exporter) -> dict[str, float]:
    """Return how many scrapes have ended so far, by their outcome."""
    _, found = await running.get("/metrics")
    return {outcome: float(count) for outcome, count in re.findall(r'scrapes_total\{outcome="(.*?)"\} (\S+)', found)}


async def test_an_agent_that_does_not_answer_is_not_zero(tmp_path: Path) -> None:
    """With nothing to see there is no demand anywhere: no series, and 503 with the reason."""
    async with exporter(tmp_path, NOBODY | {"scrape": {"interval": "200ms", "timeout": "100ms"}}) as running:
        await running.ready()
        _, page = await running.get("/metrics")
        assert "matillion_fleet_demand_tasks" not in page
        assert "matillion_fleet_tasks_active" not in page
        assert 'matillion_fleet_trusted{namespace="n",fleet="f"} 0.0' in page
        status, answer = await running.get("/api/v1/fleets/n/f/demand")
    assert status == 503
    assert "only 0 of 1 agents respond" in answer["error"]


async def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    """A part that cannot start ends the process with 1 and one event, which names the part, without a traceback."""
    async with exporter(tmp_path, NOBODY) as first:
        await first.ready()
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exporter", "run", "--config", str(tmp_path / "config.yaml"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, log = await asyncio.wait_for(second.communicate(), PATIENCE)
    assert second.returncode == 1
    first_event, last = map(json.loads, log.decode().splitlines())
    assert first_event["event"] == "exporter starts"
    assert (last["level"], last["part"]) == ("critical", "web server")
    assert last["error"].startswith("cannot listen on 127.0.0.1:")
    assert last["error"].endswith("another process listens on this address; stop it or change web.listen")


async def test_no_cluster_to_log_in_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes discovery without credentials ends with 1 and says where they were looked for."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with exporter(tmp_path, {"discovery": {"kubernetes": {"enabled": True}}}) as running:
        _, output = await asyncio.wait_for(running.process.communicate(), PATIENCE)
    assert running.process.returncode == 1
    [line] = output.decode().splitlines()
    assert line.startswith(f"fleet-exporter: No credentials for Kubernetes: there is no kubeconfig at {tmp_path}/none")
