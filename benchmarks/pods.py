"""`python -m benchmarks.pods`: the memory and CPU of an exporter of a thousand pods, with the status page open.

A real exporter discovers a thousand pods by list and watch, with their memory from the metrics API, and scrapes them
every 5 s, while a client asks for what an open status page asks for. `benchmarks.scrape` measures a list of addresses
instead, because Prometheus is given the same list. Exit 0, or 2 when it cannot be measured here.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from benchmarks.exporter import exporter, until_ready
from benchmarks.scrape import agents
from benchmarks.scrape.processes import Program, ProgramError
from benchmarks.visibility import free_port, kubeconfig
from tests.fakes.kube_pods import raw_pod

PODS, FLEETS, INTERVAL = 1000, 10, 5
QUIET_SECONDS, OPEN_SECONDS = 60.0, 180.0
REFRESH_SECONDS = 5.0
"""Of the status page."""
_HOST = "127.0.0.1"
_PAGE = ("exporter", "fleets", "agents", "departures?latest=100", "history")
_MIB = 1024 * 1024
_FIELDS_OF_A_MANAGER: dict[str, Any] = {f"f:{name}": {"f:value": {}, "k:{}": {".": {}}} for name in map(str, range(60))}
"""About as much as an API server adds to a pod for three managers."""


def main() -> int:
    """Run the measurement and return the exit code."""
    try:
        with agents.workspace() as directory, agents.serve(directory, PODS):
            asyncio.run(_measure(directory))
    except ProgramError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


async def _measure(directory: Path) -> None:
    page = free_port()
    url = f"http://{_HOST}:{page}"
    async with _api_server() as api_server, aiohttp.ClientSession(url) as pages:
        with _exporter(directory, api_server, page) as program:
            await until_ready(program, pages)
            before = program.cpu_seconds()
            await asyncio.sleep(QUIET_SECONDS)
            _say("the page closed", program, (program.cpu_seconds() - before) / QUIET_SECONDS)
            before, deadline = program.cpu_seconds(), time.monotonic() + OPEN_SECONDS
            while time.monotonic() < deadline:
                for path in _PAGE:
                    async with pages.get(f"/api/v1/{path}") as answer:
                        answer.raise_for_status()
                        await answer.read()
                await asyncio.sleep(REFRESH_SECONDS)
            _say("the page open", program, (program.cpu_seconds() - before) / OPEN_SECONDS)


def _say(when: str, program: Program, cores: float) -> None:
    memory = program.memory()
    text = f"{memory.resident / _MIB:.0f} MiB, peak {memory.peak / _MIB:.0f} MiB; {cores:.1%} of a core"
    print(f"{PODS} pods, {when}: {text}", flush=True)


@asynccontextmanager
async def _api_server() -> AsyncIterator[str]:
    """Run an API server with the pods, whose watches stay silent, and their memory; yields its URL."""
    pods = [_pod(number, host) for number, host in enumerate(agents.addresses(PODS))]
    usage = {"usage": {"cpu": "250m", "memory": "3000Mi"}, "name": "agent"}
    stamp = {"timestamp": "2026-01-01T00:00:00Z", "window": "15s", "containers": [usage]}
    metrics = [{"metadata": {"name": pod["metadata"]["name"], "namespace": "bench"}, **stamp} for pod in pods]

    async def listed(request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.Event().wait()
        begin = int(request.query.get("continue", "0"))
        end = begin + int(request.query["limit"])
        metadata = {"resourceVersion": "1", **({"continue": str(end)} if end < PODS else {})}
        return web.json_response({"kind": "PodList", "metadata": metadata, "items": pods[begin:end]})

    async def measured(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "PodMetricsList", "metadata": {}, "items": metrics})

    app = web.Application()
    app.router.add_get("/api/v1/namespaces/bench/pods", listed)
    app.router.add_get("/apis/metrics.k8s.io/v1beta1/namespaces/bench/pods", measured)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, 0).start()
        yield f"http://{_HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _pod(number: int, host: str) -> dict[str, Any]:
    pod = raw_pod(f"fleet-{number % FLEETS}-6d9f8c7b5-{number:05}", namespace="bench", status={"podIP": host})
    pod["metadata"]["labels"] = {
        "app.kubernetes.io/name": "matillion-runner",
        "app.kubernetes.io/instance": f"fleet-{number % FLEETS}",
    }
    pod["metadata"]["managedFields"] = [{"manager": "kubelet", "fieldsV1": _FIELDS_OF_A_MANAGER}]
    return pod


def _exporter(directory: Path, api_server: str, page: int) -> Program:
    """Return the exporter, ready to be started."""
    os.environ["KUBECONFIG"] = str(kubeconfig(directory, api_server))
    settings = {
        "discovery": {"kubernetes": {"namespaces": ["bench"]}},
        "scrape": {
            "interval": f"{INTERVAL}s",
            "endpoints": [{"kind": "otel", "port": agents.PORT, "path": agents.PATH}],
        },
        "scalers": {"enabled": False},
        "web": {"listen": f"{_HOST}:{page}"},
    }
    return exporter(directory, settings)


if __name__ == "__main__":
    sys.exit(main())
