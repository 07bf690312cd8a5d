"""What CloudWatch misses when the leader changes: exporter processes, a real API server's Lease, a datum a second.

The figures stand in docs/cloudwatch.md.
"""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.cloudwatch import FakeCloudWatch, Fault
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.control_plane import ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

NOBODY = {"address": "127.99.0.1", "fleet": "f", "namespace": "n", "pod": "p"}
LEASE_DURATION, RETRY_PERIOD = 15.0, 2.0
"""Seconds; the defaults. A look at the Lease takes up to a fifth longer than the retry period."""
PERIOD = 1.0
START = 30.0
"""Seconds within which a process on a busy machine has done what it was told."""


def settings(namespace: str, url: str, folder: Path) -> dict[str, Any]:
    """Return settings that publish every second, and an election with the times of the defaults."""
    return {
        "cluster": "prod",
        "discovery": {"kubernetes": {"namespaces": [namespace]}, "static": {"targets": [NOBODY]}},
        "scrape": {"interval": "200ms", "timeout": "100ms"},
        "leader_election": {"lease_name": namespace},
        "cloudwatch": {
            "enabled": True,
            "region": "eu-west-1",
            "endpoint_url": url,
            "interval": f"{PERIOD:g}s",
            "storage_resolution": 1,
            "metrics": ["ScrapeCoveragePercent"],
            "spool": {"path": str(folder / "spool.db")},
        },
    }


async def leader(replicas: Sequence[Exporter]) -> Exporter:
    """Wait until one of the replicas leads, and return it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for replica in replicas:
                _, page = await replica.get("/metrics")
                if "\nmatillion_fleet_exporter_leader 1" in page:
                    return replica
            # Another process has no event to wait for.
            await asyncio.sleep(0.1)


async def test_a_change_of_leader_is_a_gap_that_is_not_filled(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Nobody records while nobody leads: some 15 to 20 s after a crash, at most a few after an orderly end.

    Shorter than a minute: at the usual interval each minute has a datum, because a new leader records its own at once.
    """
    environment = CREDENTIALS | {"KUBECONFIG": str(control_plane.kubeconfig)}
    async with FakeCloudWatch(time.time) as cloudwatch, AsyncExitStack() as processes:

        async def start(name: str) -> Exporter:
            folder = tmp_path / name
            folder.mkdir()
            given = settings(namespace, cloudwatch.url, folder)
            replica = await processes.enter_async_context(exporter(folder, given, environment))
            await replica.ready()
            return replica

        async def published_since(moment: float) -> None:
            async with asyncio.timeout(PATIENCE):
                while not cloudwatch.taken or cloudwatch.taken[-1].time < moment:  # noqa: ASYNC110 - as in `leader`
                    await asyncio.sleep(0.1)

        first = await start("first")
        assert await leader([first]) is first
        second = await start("second")
        await published_since(time.time())

        first.process.kill()
        await first.process.communicate()
        killed = time.time()
        assert await leader([second]) is second
        await published_since(time.time() + 3 * PERIOD)
        third = await start("third")

        second.process.terminate()
        await second.end()
        ended = time.time()
        assert await leader([third]) is third
        await published_since(time.time() + 3 * PERIOD)

    crash, orderly = (gap_around(moment, cloudwatch) for moment in (killed, ended))
    least = LEASE_DURATION - RETRY_PERIOD - PERIOD
    assert least <= crash <= LEASE_DURATION + 1.2 * RETRY_PERIOD + PERIOD + START
    assert orderly < least, "it does not wait for the lease to run out"


async def test_a_stopped_leader_publishes_nothing_when_it_goes_on(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Its lease has run out while it did not run: neither the period that has begun nor what waits in its spool."""
    environment = CREDENTIALS | {"KUBECONFIG": str(control_plane.kubeconfig)}
    election = {"lease_name": namespace, "lease_duration": "3s", "renew_deadline": "2s", "retry_period": "500ms"}
    async with FakeCloudWatch(time.time) as cloudwatch, AsyncExitStack() as processes:

        async def start(name: str) -> Exporter:
            folder = tmp_path / name
            folder.mkdir()
            # By the dimension of the cluster it is seen who published what.
            given = settings(namespace, cloudwatch.url, folder) | {"cluster": name, "leader_election": election}
            replica = await processes.enter_async_context(exporter(folder, given, environment))
            await replica.ready()
            return replica

        def by(name: str, since: int = 0) -> int:
            return sum(("ClusterName", name) in datum.dimensions for datum in cloudwatch.taken[since:])

        first = await start("first")
        assert await leader([first]) is first
        await eventually(lambda: by("first") > 0)
        second = await start("second")
        # What it cannot send waits in its spool, and one request is under way when it is stopped.
        cloudwatch.fail(Fault.HANG)
        sent = cloudwatch.requests
        await eventually(lambda: cloudwatch.requests > sent, pause=0.001)
        first.process.send_signal(signal.SIGSTOP)
        assert await leader([second]) is second
        cloudwatch.fail(Fault.NONE)
        await eventually(lambda: by("second") > 1)
        taken = len(cloudwatch.taken)
        first.process.send_signal(signal.SIGCONT)
        await eventually(lambda: by("second", taken) > 3)
        _, page = await first.get("/metrics")
        assert "\nmatillion_fleet_exporter_leader 0" in page
        assert by("first", taken) == 0


def gap_around(moment: float, cloudwatch: FakeCloudWatch) -> float:
    """Return the seconds between the last datum before a moment and the first one after it."""

    def times() -> Iterator[float]:
        return (datum.time for datum in cloudwatch.taken)

    before = max(at for at in times() if at <= moment)
    return min(at for at in times() if at > moment) - before
