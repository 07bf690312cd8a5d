"""Every query of every dashboard, asked of a real Prometheus that reads real exporters on simulated fleets."""

import re
from pathlib import Path

import pytest

from exporter.simulator.scenario import DAY, HOUR, Incident, Scenario, Trouble, steady
from exporter.simulator.simulation import FleetPlan
from exporter.simulator.vitals import CURRENT, LEGACY, OLDEST, PREVIOUS
from tests.alerts.prometheus_stack import PROMETHEUS, exporter, prometheus, simulated, until
from tests.dashboards.boards_as_json import QUERIES, Asked, substituted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(150),
    pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed (Debian: prometheus)"),
]

KUBERNETES = "simulated agents are found at fixed addresses: what Kubernetes says of a pod is not known"
CLOUDWATCH = "the exporter of this test does not publish to CloudWatch, so there is nothing only one replica may do"
WITHOUT_DATA = {
    "agent_restarts": KUBERNETES,
    "agent_last_terminated": KUBERNETES,
    "agent_waiting": KUBERNETES,
    "agent_memory_limit_bytes": KUBERNETES,
    "agent_memory_working_set_bytes": KUBERNETES,
    'memory="container"': KUBERNETES,
    "agent_task_failures_total": "the logs of simulated agents cannot be followed",
    "exporter_cloudwatch": CLOUDWATCH,
    "exporter_leader": CLOUDWATCH,
    "exporter_external_metrics_requests_total": "no autoscaler asks this exporter",
}
"""What a query may mention that excuses it from having data here, and why."""

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
                Incident(at=10, trouble=Trouble.DISCONNECT, lasts=HOUR),
                Incident(at=20, trouble=Trouble.DRAIN),
            ),
            long_share=0.2,
        ),
    ),
    (FleetPlan("ad-hoc", (CURRENT, CURRENT), CURRENT), Scenario(name="calm", summary="", load=steady(0.5), cycle=DAY)),
)


def shortened(expr: str) -> str:
    """Return the query with weeks that are seconds: the Prometheus of this test is half a minute old."""
    expr = re.sub(r"\[(7d|30d):5m\]", "[1m:1s]", expr)
    return re.sub(r"\[(1d|7d|30d|15m)\]", "[1m]", expr)


def excuse(asked: Asked) -> str | None:
    """Return why the query may have no data here."""
    return next((reason for mention, reason in WITHOUT_DATA.items() if mention in asked.expr), None)


async def test_every_query_has_an_answer(tmp_path: Path) -> None:
    """Each returns data with the variables at All, but those whose source is not there; each excuse is needed."""
    async with (
        simulated(tmp_path, FLEETS, base="127.70.0.0", speed=5) as targets,
        exporter(tmp_path, targets, "replica-1") as one,
        exporter(tmp_path, targets, "replica-2") as two,
        prometheus(tmp_path, [one, two], faster=60) as server,
    ):
        waiting = {asked for asked in QUERIES if excuse(asked) is None}
        assert len(waiting) > 0.7 * len(QUERIES)

        async def all_answered() -> bool:
            for asked in sorted(waiting, key=str):
                if await server.query(shortened(substituted(asked.expr, interval="10s"))):
                    waiting.remove(asked)
            return not waiting

        await until(all_answered, 60, lambda: "no data for\n" + "\n".join(map(str, waiting)), pause=2)

        for asked in QUERIES:
            if excuse(asked) is not None:
                answer = await server.query(shortened(substituted(asked.expr, interval="10s")))
                assert not answer, f"there is data, so no excuse is needed for {asked}"


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

        async def both_read() -> bool:
            return len(await server.query("matillion_fleet_capacity_tasks")) == 2 and bool(
                await server.query(substituted(capacity))
            )

        await until(both_read, 30, lambda: "the two replicas were not read")
        [answer] = await server.query(substituted(capacity))
        assert float(answer["value"][1]) == 40
