"""Every query of every dashboard, asked of a real Prometheus that reads real exporters on simulated fleets."""

import re
from collections.abc import Collection
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from alerts.prometheus.recording import AGENT_STATE
from exporter.simulator.scenario import DAY, HOUR, Fault, Incident, Scenario, steady
from exporter.simulator.simulation import FleetPlan
from exporter.simulator.vitals import CURRENT, LEGACY, OLDEST, PREVIOUS
from tests.alerts.prometheus_stack import PROMETHEUS, Prometheus, exporter, prometheus, simulated
from tests.alerts.prometheus_timeline import World
from tests.alerts.prometheus_worlds import LIMIT, OWN, agent, own, task_failures, working_set
from tests.dashboards.dashboards_as_json import QUERIES, Asked, substituted
from tests.factories import make_outlook, make_scaler
from tests.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed (Debian: prometheus)"),
]

NOT_SIMULATED = (
    # Reported only by Kubernetes; simulated agents are found at fixed addresses.
    "agent_restarts",
    "agent_start_seconds",
    "agent_created_timestamp_seconds",
    "agent_drain_deadline_timestamp_seconds",
    "agent_last_terminated",
    "agent_waiting",
    "agent_memory_limit_bytes",
    "agent_memory_working_set_bytes",
    'memory="container"',
    "agent_task_failures_total",
    "tasks_lost_total",
    # The scalers, which are also reported by Kubernetes.
    "scaler_",
    # What needs days of history.
    "matillion_fleet_forecast_",
    # What only an exporter has that publishes to CloudWatch, and one that an autoscaler asks.
    "exporter_cloudwatch",
    "exporter_leader",
    "exporter_external_metrics_requests_total",
)
"""What a query may mention to have no data of simulated agents; a page with all of it is read for these."""

FLEETS = (
    (
        FleetPlan("etl", (CURRENT, PREVIOUS, LEGACY, OLDEST), CURRENT),
        # The rest are full, so that there is a queue.
        Scenario(
            name="mixed",
            summary="",
            load=steady(1.4),
            cycle=DAY,
            incidents=(
                Incident(at=10, trouble=Fault.DISCONNECT, lasts=HOUR),
                Incident(at=20, trouble=Fault.DRAIN),
            ),
            long_share=0.2,
        ),
    ),
    (FleetPlan("ad-hoc", (CURRENT, CURRENT), CURRENT), Scenario(name="calm", summary="", load=steady(0.5), cycle=DAY)),
)


def shortened(expr: str) -> str:
    """Return the query with weeks that are seconds: the Prometheus of this test is half a minute old."""
    expr = re.sub(r"\[(7d|30d):\d+m\]", "[1m:1s]", expr)
    return re.sub(r"\[(1d|7d|30d|15m)\]", "[1m]", expr).replace("offset 1m", "offset 2s")


def simulated_only(asked: Asked) -> bool:
    """Whether simulated agents and the exporters that read them are enough for the query to have data."""
    return not any(mention in asked.expr for mention in NOT_SIMULATED)


class FullPage:
    """The page of an exporter in a cluster with everything switched on, as its own renderer writes it."""

    def __init__(self) -> None:
        self.shown = False
        """Whether it is there yet; until then the target is down."""
        self._readings = 0

    async def read(self, _: web.Request) -> web.Response:
        """Give the page; counters grow with each reading."""
        if not self.shown:
            raise web.HTTPServiceUnavailable
        self._readings += 1
        number = self._readings
        facts = {
            "restarts": number,
            "created_time": 1.0,
            "drain_deadline_time": 2.0,
            "waiting_reason": "CrashLoopBackOff",
            "last_terminated_reason": "OOMKilled",
            "memory_limit_bytes": LIMIT,
        }
        extra = {
            f'{OWN}external_metrics_requests_total{{code="200"}}': float(number),
            f"{OWN}cloudwatch_estimated_monthly_cost_dollars": 3.6,
        }
        of_starts = 'matillion_fleet_agent_start_seconds_bucket{namespace="matillion",fleet="etl"'
        extra |= {f'{of_starts},le="{bound}"}}': float(number) for bound in ("45.0", "+Inf")}
        extra |= working_set("etl-0", 0.8) | task_failures("etl-0", number)
        # There and back, each for longer than what is compared: two seconds.
        changed = number // 3 % 2
        extra[f"{OWN}leader"] = float(changed)
        scaler = make_scaler(desired_agents=3 + changed)
        world = World([agent("etl-0", facts=facts)], own(number) | extra, scalers=(scaler,), outlook=make_outlook())
        return web.Response(text="".join(f"{series} {value}\n" for series, value in world.page.items()))


async def answered(server: Prometheus, asked: Collection[Asked]) -> None:
    """Wait until each query has had data."""
    waiting = set(asked)

    async def all_answered() -> bool:
        for one in sorted(waiting, key=str):
            if await server.query(shortened(substituted(one.expr, interval="10s"))):
                waiting.remove(one)
        return not waiting

    await eventually(all_answered, pause=1, what=lambda: "no data for\n" + "\n".join(map(str, waiting)))


async def test_every_query_has_an_answer(tmp_path: Path) -> None:
    """Each returns data with the variables at All: of simulated agents, or else of a page that has all there is."""
    page = FullPage()
    app = web.Application()
    app.router.add_get("/metrics", page.read)
    async with (
        simulated(tmp_path, FLEETS, base="127.70.0.0", speed=5) as targets,
        exporter(tmp_path, targets, "replica-1") as one,
        exporter(tmp_path, targets, "replica-2") as two,
        TestServer(app) as full,
        prometheus(tmp_path, [one, two, f"{full.host}:{full.port}"], faster=60) as server,
    ):
        once = set({asked.expr: asked for asked in QUERIES}.values())
        simulation = {asked for asked in once if simulated_only(asked)}
        rest = once - simulation
        assert len(simulation) > 0.7 * len(once)
        await answered(server, simulation)
        for asked in rest:
            answer = await server.query(shortened(substituted(asked.expr, interval="10s")))
            assert not answer, f"simulated agents are enough for {asked}"
        page.shown = True
        await answered(server, rest)


async def test_two_replicas_show_what_one_does(tmp_path: Path) -> None:
    """The capacity of a fleet is that of its agents, not twice that, with two exporters that see them."""
    calm = FLEETS[1:]
    async with (
        simulated(tmp_path, calm, base="127.71.0.0", speed=1) as targets,
        exporter(tmp_path, targets, "replica-1") as one,
        exporter(tmp_path, targets, "replica-2") as two,
        prometheus(tmp_path, [one, two], faster=60) as server,
    ):
        [capacity] = {asked.expr for asked in QUERIES if asked.expr.startswith("sum(fleet:matillion_fleet_capacity")}

        capacity = substituted(capacity)
        highest = f"max_over_time(({capacity})[5m:500ms])"
        expected = {"matillion_fleet_capacity_tasks": [40, 40], capacity: [40], highest: [40], AGENT_STATE: [1, 1]}
        seen: dict[str, list[float]] = {}

        async def settled() -> bool:
            """Whether both replicas see both agents, and each group of rules has been evaluated since, one by one."""
            for query in expected:
                seen[query] = [float(one["value"][1]) for one in await server.query(query)]
            return seen == expected

        await eventually(settled, what=lambda: seen)
        namespaces = {
            series: {one["metric"]["namespace"] for one in await server.query(series)}
            for series in ("matillion_fleet_capacity_tasks", "matillion_fleet_exporter_build_info")
        }
        assert namespaces == {
            "matillion_fleet_capacity_tasks": {"matillion"},
            "matillion_fleet_exporter_build_info": {"monitoring"},
        }, "an agent's labels are its own, the exporter's are its target's"
        pods = {one["metric"]["pod"] for one in await server.query(AGENT_STATE)}
        assert len(pods) == 2, "a row for each agent, not for each exporter"
