"""`make soak`: a day of an exporter in some twenty minutes, and whether anything grows that should not.

A real exporter on a real API server, leading, with forecasts, protection and CloudWatch, by a clock that is sixty
times as fast (libfaketime; https://github.com/wolfcw/libfaketime). Some sixty agents at a time come and go, ten
thousand in a day. Its memory, descriptors, series, spool, ConfigMaps and annotations are looked at all the time, and a
line is fitted through each. Exit 0 when all are flat, 1 when one is not, 2 when it cannot be measured here.

Pods get their dates from the API server, whose clock is the real one, so their ages seem too great. No figure that is
looked at depends on them.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any, cast

import aiohttp

from benchmarks.scrape.figures import Row, total, verdict
from benchmarks.scrape.processes import ProgramError
from benchmarks.scrape.report import missed, table
from exporter.fleet.protection import PROTECTION
from tests.chaos.agents import start_agents
from tests.chaos.pods import Pods
from tests.chaos.replicas import Times, ended, fake_time_library, settings
from tests.chaos.world import rules
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.control_plane import Admin, ControlPlane, assets
from tests.fakes.ports import free_port

NAMESPACE = "matillion"
AGENTS = 60
"""At a time."""
WARM_UP = 0.25
"""Share of the run before the line begins: caches fill, and the first agents come."""
EVERY = 600.0
"""Seconds of the exporter's clock between two looks."""
# Half of a second of the real clock must be enough for a renewal, also where the machine is busy.
_TIMES = Times(
    interval=15.0, timeout=10.0, stale_after=90.0, lease_duration=120.0, renew_deadline=90.0, retry_period=15.0,
    publish_every=60.0,
)  # fmt: skip
_REQUESTED = ("/metrics", "/api/v1/fleets", "/api/v1/agents", "/api/v1/history")


@dataclass(frozen=True, slots=True)
class Look:
    """What the exporter held at one moment."""

    hours: float
    """By its own clock, from its start."""
    memory_mib: float
    descriptors: float
    series: float
    spool_datums: float
    config_maps: float
    config_map_kib: float
    annotated_pods: float


@dataclass(frozen=True, slots=True)
class Limit:
    """By how much a figure may grow from the end of the warm-up to the end, along the fitted line."""

    share: float = 0.0
    """Of its mean."""
    amount: float = 0.0
    """In its own unit, beside the share."""
    why: str = ""


LIMITS = {
    "memory_mib": Limit(share=0.05, why="MiB resident"),
    "descriptors": Limit(amount=3.0, why="open descriptors"),
    "series": Limit(share=0.05, why="series of /metrics"),
    "spool_datums": Limit(amount=60.0, why="datums in the spool: those of the present minute come and go"),
    "config_maps": Limit(why="ConfigMaps in its namespace"),
    "config_map_kib": Limit(amount=16.0, why="KiB in them: a day of three fleets is kept for weeks, on purpose"),
    "annotated_pods": Limit(share=0.25, why="pods with an annotation of ours"),
}


def main() -> int:
    """Run and report; return the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--pods", type=int, default=10_000, help="that come and go in that time (default 10000)")
    options = parser.parse_args()
    binaries, library = assets(), fake_time_library()
    if binaries is None or library is None:
        print("benchmark: KUBEBUILDER_ASSETS (CONTRIBUTING.md) and Debian's faketime are needed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        try:
            looks, pods, lines = asyncio.run(_soak(binaries, library, Path(folder), options))
        except ProgramError as error:
            print(f"benchmark: {error}", file=sys.stderr)
            return 2
    rows = [*report(looks), _log_row(lines)]
    hours = looks[-1].hours
    print(f"{hours:.1f} hours in {hours * 60 / options.speed:.0f} minutes, {pods:,} pods, {len(looks)} looks")
    print(table(rows))
    return 1 if missed(rows) else 0


def report(looks: Sequence[Look]) -> list[Row]:
    """Return a line for each figure: what it was, and by how much it grew along the fitted line."""
    steady = looks[int(len(looks) * WARM_UP) :]
    hours = [look.hours for look in steady]
    rows = []
    for name, limit in LIMITS.items():
        values = [getattr(look, name) for look in steady]
        slope = linear_regression(hours, values).slope if len(set(values)) > 1 else 0.0
        grown, mean = slope * (hours[-1] - hours[0]), fmean(values)
        most = limit.share * mean + limit.amount
        rows.append(
            Row(
                what=limit.why,
                exporter=f"{min(values):,.0f} – {mean:,.0f} – {max(values):,.0f}, grown by {grown:+.1f}",
                target=f"≤ {most:.1f}",
                verdict=verdict(good=grown <= most),
            )
        )
    return rows


def _log_row(lines: Sequence[str]) -> Row:
    bad = [line for line in lines if "Traceback" in line or "a bug in the exporter" in line]
    what = "tracebacks in the log" + (f": {bad[0][:200]}" if bad else "")
    return Row(what=what, exporter=str(len(bad)), target="0", verdict=verdict(good=not bad))


async def _soak(
    binaries: Path, library: Path, folder: Path, options: argparse.Namespace
) -> tuple[Sequence[Look], int, Sequence[str]]:
    """Return the looks, the number of pods there were, and the exporter's log. Raises ProgramError."""
    # As with Ctrl-C, what was started is ended.
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, cast(asyncio.Task[Any], asyncio.current_task()).cancel
    )
    seconds = options.hours * 3600 / options.speed
    random_pods = random.Random(1)  # noqa: S311 - it keeps no secret
    async with AsyncExitStack() as resources:
        plane = ControlPlane(binaries, folder)
        resources.callback(plane.stop)
        await asyncio.to_thread(plane.start)
        admin = await resources.enter_async_context(plane.admin())
        token = await _account(admin)
        begin = time.time()
        cloudwatch = FakeCloudWatch(lambda: begin + options.speed * (time.time() - begin))
        await resources.enter_async_context(cloudwatch)
        agents = await start_agents(folder / "truth", seed=1, first=1)
        resources.push_async_callback(ended, agents)
        host = 60 + os.getpid() % 180
        pods = Pods(admin, NAMESPACE, good=agents, hostile=agents, chance=random_pods, host=host)
        await pods.begin(AGENTS, 0.0)
        config = json.loads(plane.kubeconfig_for_token("exporter", token).read_text())
        config["contexts"][0]["context"]["namespace"] = NAMESPACE
        (folder / "kubeconfig").write_text(json.dumps(config))
        exporter = await _start(folder, library, cloudwatch.url, options.speed)
        resources.push_async_callback(ended, exporter.process)
        churn = asyncio.create_task(pods.come_and_go(120 * options.pods / seconds))
        resources.push_async_callback(_cancelled, churn)
        looks = await _looked(exporter, admin, churn, seconds, options.speed)
        lines = _log(folder)
        if exporter.process.returncode is not None or churn.done():
            last = "\n".join(lines[-20:])
            raise ProgramError(f"the exporter ended with {exporter.process.returncode}, or the pods: {churn}\n{last}")
        return looks, len(pods.all), lines


def _log(folder: Path) -> Sequence[str]:
    return (folder / "log").read_text(errors="replace").splitlines()


async def _account(admin: Admin) -> str:
    """Make the namespace and the exporter's account in it; return its token."""
    await admin.create_namespace(NAMESPACE)
    token = await admin.service_account_token(NAMESPACE, "exporter")
    past = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": ["get", "list", "watch", "create", "update", "delete"],
    }
    await admin.grant(NAMESPACE, "exporter", "exporter", [*rules(), past])
    return token


@dataclass(frozen=True, slots=True)
class _Exporter:
    process: asyncio.subprocess.Process
    url: str
    spool: Path


async def _start(folder: Path, library: Path, cloudwatch: str, speed: float) -> _Exporter:
    port, spool = free_port(), folder / "spool"
    spool.mkdir()
    given = settings("soak", _TIMES, namespace=NAMESPACE, port=port, spool=spool, cloudwatch=cloudwatch)
    given["forecast"] = {"enabled": True}
    (folder / "config.yaml").write_text(json.dumps(given))
    faster = {"LD_PRELOAD": str(library), "FAKETIME": f"+0 x{speed:g}"}
    environment = os.environ | CREDENTIALS | faster | {"KUBECONFIG": str(folder / "kubeconfig"), "POD_NAME": "soak-0"}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exporter", "run", "--config", str(folder / "config.yaml"),
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    return _Exporter(process, f"http://127.0.0.1:{port}", spool)


async def _looked(
    exporter: _Exporter, admin: Admin, churn: asyncio.Task[None], seconds: float, speed: float
) -> list[Look]:
    """Look at the exporter until the time is over, or it ends."""
    looks: list[Look] = []
    begin = time.monotonic()
    async with aiohttp.ClientSession(exporter.url) as client:
        while (past := time.monotonic() - begin) < seconds:
            if exporter.process.returncode is not None or churn.done():
                break
            pages = {path: await _read(client, path) for path in _REQUESTED}
            if pages["/metrics"] is not None:
                looks.append(await _look(exporter.process.pid, pages["/metrics"], admin, past * speed / 3600))
            await asyncio.sleep(EVERY / speed)
    return looks


async def _read(client: aiohttp.ClientSession, path: str) -> bytes | None:
    """Return a page; None while the exporter does not listen yet, or where its fast clock ended a slow answer."""
    try:
        async with client.get(path) as answer:
            return await answer.read()
    except aiohttp.ClientError:
        return None


async def _look(pid: int, page: bytes, admin: Admin, hours: float) -> Look:
    maps = (await admin.call("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps"))["items"]
    pods = (await admin.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"]
    ours = [pod for pod in pods if PROTECTION.keys() & pod["metadata"].get("annotations", {}).keys()]
    memory_mib, descriptors = _held(pid)
    return Look(
        hours=hours,
        memory_mib=memory_mib,
        descriptors=descriptors,
        series=sum(not line.startswith(b"#") for line in page.splitlines()),
        spool_datums=total(page, "matillion_fleet_exporter_cloudwatch_spool_datums"),
        config_maps=len(maps),
        config_map_kib=len(json.dumps([one.get("data", {}) for one in maps])) / 1024,
        annotated_pods=len(ours),
    )


def _held(pid: int) -> tuple[float, float]:
    """Return the resident MiB and the open descriptors of a process."""
    process = Path(f"/proc/{pid}")
    resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident / 2**20, sum(1 for _ in (process / "fd").iterdir())


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


if __name__ == "__main__":
    sys.exit(main())
