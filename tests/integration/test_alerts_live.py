"""From agents in trouble to the pager and back: simulated agents, two exporters, Prometheus, Alertmanager, all real.

Every time in the rules is sixty times shorter, and fleets live twenty times as fast: five minutes are five seconds.
"""

from pathlib import Path

import pytest

from exporter.simulator.scenario import HOUR, Fault, Incident, Scenario, steady, steps
from exporter.simulator.simulation import FleetPlan
from exporter.simulator.vitals import CURRENT, LEGACY, PREVIOUS
from tests.alerts.prometheus_stack import (
    ALERTMANAGER,
    PROMETHEUS,
    Labels,
    alertmanager,
    exporter,
    pager,
    prometheus,
    simulated,
)
from tests.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed (Debian: prometheus)"),
    pytest.mark.skipif(ALERTMANAGER is None, reason="Alertmanager is not installed (Debian: prometheus-alertmanager)"),
]

FASTER = 60.0
SPEED = 20.0
SECOND = SPEED
"""A second of the clock, in the fleets' time."""


def plan(name: str, *images: object) -> FleetPlan:
    return FleetPlan(name, images, CURRENT)  # type: ignore[arg-type]  # images, all of them


def scenario(name: str, load: float, *incidents: Incident) -> Scenario:
    return Scenario(name=name, summary="", load=steady(load), cycle=24 * HOUR, incidents=incidents)


BURST = steps(24 * HOUR, (0.0, 0.5), (5 * SECOND, 1.7), (30 * SECOND, 0.05))
FLEETS = (
    (plan("sound", CURRENT, CURRENT), scenario("sound", 0.4)),
    (
        plan("cut-off", CURRENT, PREVIOUS, LEGACY),
        scenario("cut-off", 0.3, Incident(at=5 * SECOND, trouble=Fault.DISCONNECT, lasts=25 * SECOND, share=1.0)),
    ),
    (
        plan("silent", CURRENT, CURRENT, LEGACY),
        scenario("silent", 0.3, Incident(at=5 * SECOND, trouble=Fault.HANG, lasts=25 * SECOND)),
    ),
    (plan("queueing", CURRENT, LEGACY), Scenario(name="queueing", summary="", load=BURST, cycle=24 * HOUR)),
    (plan("full-of-old", LEGACY, LEGACY), Scenario(name="old", summary="", load=BURST, cycle=24 * HOUR)),
    (
        plan("leaking", CURRENT, CURRENT),
        scenario("leaking", 0.6, Incident(at=2 * SECOND, trouble=Fault.LEAK, lasts=65 * SECOND)),
    ),
)

MUST_FIRE = {
    ("MatillionAgentDisconnected", "cut-off"),
    ("MatillionFleetDisconnected", "cut-off"),
    ("MatillionAgentUnreachable", "silent"),
    ("MatillionFleetQueueGrowing", "queueing"),
    ("MatillionFleetSaturated", "queueing"),
    ("MatillionFleetSaturated", "full-of-old"),
    ("MatillionAgentMemoryPressure", "leaking"),
}
IN_PART = {"MatillionAgentDisconnected": 3, "MatillionAgentUnreachable": 1, "MatillionAgentMemoryPressure": 1}
"""Alerts about agents: how many agents of the fleet they are about."""


def named(labels: Labels) -> tuple[str, str]:
    return labels["alertname"], labels.get("fleet", "")


async def test_trouble_reaches_the_pager_and_ends(tmp_path: Path) -> None:
    """Lost connections, a growing queue, full fleets, a leak and a silent agent page once each, and end with it."""
    # The fleets begin to live when all that is to see them is there.
    targets = tmp_path / "targets.yaml"
    targets.write_text("[]\n")
    async with (
        exporter(tmp_path, targets, "replica-1") as one,
        exporter(tmp_path, targets, "replica-2") as two,
        pager() as receiver,
        alertmanager(tmp_path, receiver) as manager,
        prometheus(tmp_path, [one, two], faster=FASTER, alertmanager=manager),
        simulated(tmp_path, FLEETS, base="127.60.0.0", speed=SPEED),
    ):
        seen: dict[tuple[str, str], set[str]] = {}

        async def all_fired() -> bool:
            for labels in receiver.labels("firing"):
                seen.setdefault(named(labels), set()).add(labels.get("pod", ""))
            return seen.keys() >= MUST_FIRE

        await eventually(all_fired, 150, pause=0.3, what=lambda: f"did not fire: {MUST_FIRE - seen.keys()}")

        async def all_over() -> bool:
            return not [labels for labels in receiver.labels("firing") if named(labels) in MUST_FIRE]

        await eventually(all_over, 100, pause=0.3, what=lambda: f"did not end: {receiver.labels('firing')}")

    for (alert, fleet), pods in seen.items():
        # One of its agents has an old image, which is worth a note once the test has taken a minute.
        assert fleet != "sound" or alert == "MatillionAgentLegacyMetrics", f"{alert} about a sound fleet"
        assert len(pods) == IN_PART.get(alert, len(pods)), f"{alert} about {pods}"
    # One alert, however many replicas see it: no labels of theirs, and each told of once while it lasts.
    for history in receiver.alerts.values():
        assert not {"instance", "job"} & history[0]["labels"].keys() or "Exporter" in history[0]["labels"]["alertname"]
        notes = history[0]["annotations"]
        assert f"/runbooks/{history[0]['labels']['alertname']}?" in notes["runbook_url"]
        assert "{{" not in notes["runbook_url"]
        assert "<no value>" not in notes["summary"] + notes["description"]
        assert "{{" not in notes["description"]
