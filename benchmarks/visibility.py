"""`python -m benchmarks.visibility`: how soon a changed count is in the HPA's answer, and what many questions cost.

A real exporter scrapes a thousand agents every 5 s, plus one whose count changes. First it is left alone; then its
external metrics API is asked at a fixed rate, over TLS, as kube-apiserver would, while the count is changed again and
again. Exit 0 when every target is met, 1 when one is missed, 2 when it cannot be measured here.
"""

import asyncio
import json
import os
import random
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from benchmarks.exporter import exporter
from benchmarks.scrape import agents
from benchmarks.scrape.figures import Verdict, percentile, samples, total, verdict
from benchmarks.scrape.processes import Program, ProgramError
from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import CURRENT, Behaviour
from tests.fakes.certificates import Authority

AGENTS, INTERVAL = 1000, 5
RATE = 500
"""Questions a second. A cluster with a hundred HPAs asks seven (each every 15 s)."""
CONNECTIONS = 16
QUIET_SECONDS, CHANGES = 30.0, 20
WITHIN = INTERVAL + 0.5
"""Seconds until a change must be visible: the next scrape, and half a second."""
SETTLED_SECONDS = 15.0
_HOST, _CHANGING = "127.0.0.1", "127.31.0.1"
_CHECK_EVERY = 0.02
_PATH = "/apis/external.metrics.k8s.io/v1beta1/namespaces/bench/matillion_fleet_tasks_active?labelSelector=fleet%3D"
_LAST_SCRAPE = "matillion_fleet_agent_last_scrape_timestamp_seconds"
_SCRAPES = "matillion_fleet_exporter_scrapes_total"
_MET, _MISSED, _NOT_MEASURED = 0, 1, 2


@dataclass(slots=True)
class Window:
    """What the exporter did over a stretch of time."""

    seconds: float
    scrapes: float
    failed: float
    scrape_milliseconds: float
    """Mean."""
    cpu_share: float
    """Of one core."""
    ages: list[float] = field(default_factory=list)
    """Of every agent's reading, in seconds, as seen every other second."""
    stall: float = 0.0


@dataclass(slots=True)
class Load:
    """What was asked, and how it was answered."""

    sent: int = 0
    good: int = 0
    latencies: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    """Seconds from a change to its being visible."""


def main() -> int:
    """Run the measurement and return the exit code."""
    try:
        with agents.workspace() as directory, agents.serve(directory, AGENTS):
            time.sleep(1.0)
            agents.check()
            quiet, busy, load = asyncio.run(_measure(directory))
    except ProgramError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return _NOT_MEASURED
    except KeyboardInterrupt:
        return _NOT_MEASURED
    return _report(quiet, busy, load)


async def _measure(directory: Path) -> tuple[Window, Window, Load]:
    changing = SimulatedAgent(number=1, fleet="one", pod="one", image=CURRENT)
    changing.behaviour = Behaviour.ANSWERING
    server = AgentServer(changing, Place(_CHANGING, otel_port=agents.PORT + 1), clock=lambda: 100.0)
    serving, front_proxy = Authority("serving"), Authority("front-proxy")
    serving.issue("exporter", directory / "tls.crt", directory / "tls.key")
    front_proxy.issue("front-proxy-client", directory / "client.crt", directory / "client.key", server=False)
    context = ssl.create_default_context(cadata=serving.pem.decode())
    context.load_cert_chain(directory / "client.crt", directory / "client.key")
    load = Load()
    async with AsyncExitStack() as stack:
        await server.follow()
        stack.push_async_callback(server.close)
        api_server = await stack.enter_async_context(_api_server(front_proxy.pem.decode()))
        page, api = free_port(), free_port()
        program = stack.enter_context(_exporter(directory, api_server, page, api))
        connector = aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(f"https://{_HOST}:{api}", connector=connector, headers={"X-Remote-User": "hpa"})
        )
        pages = await stack.enter_async_context(aiohttp.ClientSession(f"http://{_HOST}:{page}"))
        await _until_up(program, session, pages)
        print(f"{AGENTS} agents every {INTERVAL} s: no requests, {QUIET_SECONDS:.0f} s", flush=True)
        await asyncio.sleep(SETTLED_SECONDS)
        quiet = await _window(program, pages, asyncio.create_task(asyncio.sleep(QUIET_SECONDS)))
        print(f"{RATE} questions a second, {CHANGES} changes of a count", flush=True)
        asking = asyncio.create_task(_ask_for_ever(session, load))
        busy = await _window(program, pages, asyncio.create_task(_change(changing, session, load)))
        asking.cancel()
        await asyncio.wait({asking})
        if not asking.cancelled():
            asking.result()
    return quiet, busy, load


@asynccontextmanager
async def _api_server(authorities: str) -> AsyncIterator[str]:
    """Run an API server that knows the front proxy and allows everything; yields its URL."""
    data = {
        "requestheader-client-ca-file": authorities,
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
    }

    async def config_map(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "ConfigMap", "data": data})

    async def review(_request: web.Request) -> web.Response:
        return web.json_response({"status": {"allowed": True}}, status=201)

    app = web.Application()
    app.router.add_get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", config_map)
    app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, 0).start()
        yield f"http://{_HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def kubeconfig(directory: Path, api_server: str) -> Path:
    """Write a kubeconfig that leads to an API server; return its file."""
    names = {"cluster": "bench", "user": "bench"}
    content = {
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": api_server}}],
        "users": [{"name": "bench", "user": {"token": "bench"}}],
        "contexts": [{"name": "bench", "context": names}],
    }
    file = directory / "kubeconfig"
    file.write_text(json.dumps(content))
    return file


def _exporter(directory: Path, api_server: str, page: int, api: int) -> Program:
    """Return the exporter, ready to be started."""
    os.environ["KUBECONFIG"] = str(kubeconfig(directory, api_server))
    targets = [
        {
            "address": f"{host}:{agents.PORT}",
            "path": agents.PATH,
            "namespace": "bench",
            "fleet": "many",
            "pod": f"a-{n}",
        }
        for n, host in enumerate(agents.addresses(AGENTS))
    ]
    changing = {"address": f"{_CHANGING}:{agents.PORT + 1}", "namespace": "bench", "fleet": "one", "pod": "changing"}
    settings = {
        "discovery": {"static": {"targets": [*targets, changing]}},
        "scrape": {"interval": f"{INTERVAL}s"},
        "web": {"listen": f"{_HOST}:{page}"},
        "external_metrics": {
            "enabled": True,
            "listen": f"{_HOST}:{api}",
            "cert_file": str(directory / "tls.crt"),
            "key_file": str(directory / "tls.key"),
        },
    }
    return exporter(directory, settings)


async def _until_up(program: Program, session: aiohttp.ClientSession, pages: aiohttp.ClientSession) -> None:
    deadline, state = time.monotonic() + 60, "never asked"
    while time.monotonic() < deadline:
        program.check()
        try:
            async with pages.get("/readyz") as ready, session.get(_PATH + "one") as answer:
                if ready.status == answer.status == web.HTTPOk.status_code:
                    return
                state = f"{ready.status} and {answer.status}"
        except aiohttp.ClientError as error:
            state = str(error)
        await asyncio.sleep(0.2)
    raise ProgramError(f"fleet-exporter did not become ready within a minute: {state}")


async def _window(program: Program, pages: aiohttp.ClientSession, running: "asyncio.Task[None]") -> Window:
    """Return what the exporter does until something has ended."""
    ages: list[float] = []
    before, began, cpu = await _page(pages), time.monotonic(), program.cpu_seconds()
    while not running.done():
        await asyncio.wait({running}, timeout=2.0 + 0.37)  # off the beat of the scrapes
        page = await _page(pages)
        ages += [time.time() - stamp for _, stamp in samples(page, _LAST_SCRAPE)]
    running.result()
    after, seconds = await _page(pages), time.monotonic() - began
    duration = "matillion_fleet_exporter_scrape_duration_seconds"

    def grown(name: str) -> float:
        return total(after, name) - total(before, name)

    def failed(page: bytes) -> float:
        return sum(count for labels, count in samples(page, _SCRAPES) if 'outcome="ok"' not in labels)

    return Window(
        seconds,
        grown(_SCRAPES),
        failed(after) - failed(before),
        1e3 * grown(f"{duration}_sum") / grown(f"{duration}_count"),
        (program.cpu_seconds() - cpu) / seconds,
        ages,
        total(after, "matillion_fleet_exporter_event_loop_lag_seconds"),
    )


async def _page(pages: aiohttp.ClientSession) -> bytes:
    async with pages.get("/metrics", headers={"Accept-Encoding": "identity"}) as answer:
        return await answer.read()


async def _change(agent: SimulatedAgent, session: aiohttp.ClientSession, load: Load) -> None:
    """Change a count again and again, at any phase of the scrapes, and wait each time until it is visible."""
    for number in range(1, CHANGES + 1):
        await asyncio.sleep(random.uniform(0, INTERVAL))  # noqa: S311 - it spreads the changes
        agent.limited, changed = number, time.monotonic()
        while await _answer(session) != number:
            if time.monotonic() - changed > 4 * INTERVAL:
                raise ProgramError("a change did not become visible at all")
            await asyncio.sleep(_CHECK_EVERY)
        load.changes.append(time.monotonic() - changed)


async def _answer(session: aiohttp.ClientSession) -> float:
    async with session.get(_PATH + "one") as answer:
        return float((await answer.json())["items"][0]["value"])


async def _ask_for_ever(session: aiohttp.ClientSession, load: Load) -> None:
    """Ask at the rate, whether answers come or not."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while True:
            due = int((time.monotonic() - began) * RATE)
            while load.sent < due:
                load.sent += 1
                group.create_task(_ask(session, load))
            await asyncio.sleep(0.005)


async def _ask(session: aiohttp.ClientSession, load: Load) -> None:
    asked = time.monotonic()
    async with session.get(_PATH + "many") as answer:
        await answer.read()
        load.good += answer.status == web.HTTPOk.status_code
    load.latencies.append(time.monotonic() - asked)


def _report(quiet: Window, busy: Window, load: Load) -> int:
    """Print the table; return the exit code."""
    unanswered = load.sent - len(load.latencies)
    rates = [window.scrapes / window.seconds for window in (quiet, busy)]
    targets = [
        (
            f"a changed count is visible (longest of {CHANGES})",
            f"{max(load.changes):.2f} s",
            f"≤ {WITHIN} s",
            max(load.changes) <= WITHIN,
        ),
        (
            "questions answered with a value",
            f"{load.good} of {load.sent} in {busy.seconds:.0f} s",
            "all but those under way at the end",
            load.good == load.sent - unanswered and unanswered <= RATE // 10,
        ),
        ("scrapes a second meanwhile", f"{rates[1]:.1f} (alone {rates[0]:.1f})", "≥ 99 %", rates[1] >= 0.99 * rates[0]),
        ("scrapes that failed meanwhile", f"{busy.failed:.0f}", "0", busy.failed == 0),
        (
            "age of a reading meanwhile, p99",
            f"{percentile(busy.ages, 0.99):.2f} s (alone {percentile(quiet.ages, 0.99):.2f} s)",
            f"≤ {WITHIN} s",
            percentile(busy.ages, 0.99) <= WITHIN,
        ),
    ]
    information = [
        ("a changed count is visible, median", f"{percentile(load.changes, 0.5):.2f} s"),
        (
            "an answer takes, p50 / p99",
            " / ".join(f"{1e3 * percentile(load.latencies, p):.1f} ms" for p in (0.5, 0.99)),
        ),
        ("a scrape takes, mean", f"{busy.scrape_milliseconds:.1f} ms (alone {quiet.scrape_milliseconds:.1f} ms)"),
        ("processor, share of one core", f"{busy.cpu_share:.0%} (alone {quiet.cpu_share:.0%})"),
        ("longest stall of the event loop", f"{1e3 * busy.stall:.0f} ms (alone {1e3 * quiet.stall:.0f} ms)"),
    ]
    print(f"\n| {RATE} questions a second over TLS, {AGENTS} agents every {INTERVAL} s | measured | target | |")
    print("| --- | --- | --- | --- |")
    for what, measured, target, good in targets:
        print(f"| {what} | {measured} | {target} | {verdict(good=good)} |")
    for what, measured in information:
        print(f"| {what} | {measured} | | {Verdict.INFORMATION} |")
    return _MET if all(good for *_, good in targets) else _MISSED


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server((_HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
