"""The forecast in whole exporters: from a stored past to what a scaler gets, on every outlet that has it."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.forecast.history import SLOT_SECONDS, SLOTS, History
from exporter.history.encoding import updated
from exporter.history.stored_fleet import filled, name
from exporter.simulator.agent import AgentServer, Place
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.kubelet import FakeKubelet
from tests.fakes.simulated_agent import agent_at_work
from tests.waiting import eventually

pytestmark = pytest.mark.slow

DAYS, BATCH, USUAL, NOW_RUNNING = 10, 96, 4, 12.0
LEASE_NAME = "matillion-fleet-exporter"
FORECAST = {"enabled": True, "lead_time": "1h"}
QUICK = {"scrape": {"interval": "300ms", "timeout": "300ms"}, "capacity": {"stale_after": "2s", "forget_after": "60s"}}


def entries_of(days: int) -> Mapping[str, str]:
    """Return a past with a batch that began half an hour from now on each of these days, and ran for two hours."""
    history, now = History(), time.time()
    first, start = int(now // SLOT_SECONDS), int((now + 1800) // SLOT_SECONDS)
    for slot in range(first - days * SLOTS, first):
        history.record(slot * SLOT_SECONDS, BATCH if (slot - start) % SLOTS < 24 else USUAL)
    return updated({}, history, [], now=now, days=28)


async def ahead(process: Exporter, fleet: str) -> float | None:
    """Return the demand ahead; None while there is none."""
    status, answer = await process.get(f"/api/v1/fleets/{fleet}/demand-ahead")
    return float(answer["value"]) if status == 200 else None


async def series(process: Exporter, figure: str) -> list[float]:
    """Return the values of a fleet's figure on /metrics."""
    _, page = await process.get("/metrics")
    return [float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"matillion_fleet_{figure}{{")]


async def test_from_a_file_without_kubernetes(tmp_path: Path) -> None:
    """The batch that comes is in the demand ahead of every outlet, the demand is what runs, and the file lives on."""
    server = AgentServer(agent_at_work(1, "f", "p", tasks=int(NOW_RUNNING)), Place("127.94.0.1"), clock=lambda: 100.0)
    await server.follow()
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"format": "matillion-fleet-exporter history 1", "fleets": {"n/f": entries_of(DAYS)}}))
    target = {"address": "127.94.0.1", "fleet": "f", "namespace": "n", "pod": "p"}
    settings = QUICK | {
        "discovery": {"static": {"targets": [target]}},
        "forecast": FORECAST | {"path": str(path)},
    }
    try:
        async with exporter(tmp_path, settings) as process:
            await process.ready()
            await eventually(lambda: ahead_is(process, "n/f", BATCH))
            assert (await process.get("/api/v1/fleets/n/f/demand"))[1]["value"] == NOW_RUNNING
            assert await series(process, "forecast_tasks") == [BATCH]
            assert await series(process, "demand_ahead_tasks") == [BATCH]
            assert (await series(process, "forecast_skill_ratio"))[0] > 0.3
            _, fleet = await process.get("/api/v1/fleets/n/f")
            assert fleet["forecast"]["withheld_reason"] is None
            assert fleet["forecast"]["lead_time_seconds"] == 3600
            _, past = await process.get("/api/v1/fleets/n/f/past")
            assert past["demand_tasks"].count(BATCH) == 24 * DAYS
            _, answer = await process.get("/api/v1/history?fleet=f")
            assert BATCH in answer["history"][0]["ahead"]["demand_tasks"]
            process.process.terminate()
            code, _ = await process.end()
            assert code == 0
    finally:
        await server.close()
    stored = json.loads(path.read_text())["fleets"]["n/f"]
    today = datetime.now(UTC).date()
    assert {str(today - timedelta(days=age)) for age in range(2, DAYS)} <= stored.keys()


async def ahead_is(process: Exporter, fleet: str, expected: float) -> bool:
    """Return whether the demand ahead is this now."""
    return await ahead(process, fleet) == expected


async def test_two_replicas_forecast_the_same_from_a_config_map(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """Both get what is stored; one that is deleted leaves the demand, and the reason in words."""
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(LEASE_NAME, (namespace, "prod"))}}
    place = "/api/v1/namespaces/default/configmaps"
    await admin.call("POST", place, filled(config_map, LEASE_NAME, (namespace, "prod"), entries_of(DAYS)))
    settings: dict[str, Any] = QUICK | {
        "discovery": {"kubernetes": {"namespaces": [namespace]}},
        "forecast": FORECAST,
        "leader_election": {"lease_name": LEASE_NAME},
    }
    environment = {"KUBECONFIG": str(control_plane.kubeconfig)}
    labels = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    async with (
        FakeKubelet(admin, namespace, tasks=int(NOW_RUNNING)),
        exporter(folders[0], settings, environment) as one,
        exporter(folders[1], settings, environment) as other,
    ):
        await admin.create_pod(namespace, "prod-1", labels=labels)
        for process in (one, other):
            await process.ready()
            await eventually(lambda process=process: ahead_is(process, f"{namespace}/prod", BATCH))
        outlooks = [(await process.get(f"/api/v1/fleets/{namespace}/prod"))[1]["forecast"] for process in (one, other)]
        # Beside when it was read, everything.
        assert [outlook.pop("past_read_time_seconds") is not None for outlook in outlooks] == [True, True]
        assert outlooks[0] == outlooks[1]
        await admin.call("DELETE", f"{place}/{config_map['metadata']['name']}")
        for process in (one, other):
            await eventually(lambda process=process: ahead_is(process, f"{namespace}/prod", NOW_RUNNING))
            _, fleet = await process.get(f"/api/v1/fleets/{namespace}/prod")
            assert fleet["forecast"]["tasks"] is None
            assert fleet["forecast"]["withheld_reason"]
