"""The disruption budgets of the fleets: what they select, and beside which other budget the chart refuses them."""

import json
from typing import Any

import pytest

from exporter.doctor.network_policies import selects
from tests.chart.rendering import Chart, Json
from tests.chart.test_release import AGENT, Cluster, adapted, cluster, pod
from tests.fakes.vendor import SETS, is_agent, vendor_objects

__all__ = ["adapted", "cluster"]

FLEETS: list[Json] = [{"name": "etl", "namespace": "matillion"}]
ENABLED: Json = {"agentsDisruptionBudget": {"enabled": True, "fleets": FLEETS}}
ALREADY = "already selects agents of the fleet etl, and with two over one pod every eviction fails"


def budgets(chart: Chart, **values: Any) -> dict[str, Json]:
    """Return the agents' budgets, by namespace and name."""
    found = chart.objects(agentsDisruptionBudget__enabled=True, replicaCount=1, **values).of("PodDisruptionBudget")
    return {f"{one['metadata']['namespace']}/{one['metadata']['name']}": one["spec"] for one in found}


def test_off_by_default(chart: Chart) -> None:
    """The vendor's newer charts can create one; the chart adds none unasked."""
    assert not chart.objects(replicaCount=1).of("PodDisruptionBudget")


def test_a_budget_for_each_fleet(chart: Chart) -> None:
    """In the fleet's namespace, of its label and of what makes a pod an agent."""
    fleets = [{"name": "etl"}, {"name": "ETL_Prod.1", "namespace": "matillion"}]
    found = budgets(chart, agentsDisruptionBudget__fleets=fleets, agentsDisruptionBudget__maxUnavailable="10%")
    assert found.keys() == {"matillion/etl-fleet", "matillion/etl-prod-1-fleet"}
    assert found["matillion/etl-prod-1-fleet"] == {
        "maxUnavailable": "10%",
        "selector": {
            "matchLabels": {"app.kubernetes.io/instance": "ETL_Prod.1"},
            "matchExpressions": [
                {"key": "app.kubernetes.io/name", "operator": "In", "values": ["matillion-agent", "matillion-runner"]},
                {"key": "app.kubernetes.io/component", "operator": "DoesNotExist"},
            ],
        },
    }


def test_the_scaled_fleets_by_default(chart: Chart) -> None:
    """What is listed for scaling need not be listed twice; a list of its own goes before."""
    scaled = [{"name": "etl", "max": 5}, {"name": "night", "max": 5}]
    assert budgets(chart, autoscaling__fleets=scaled).keys() == {"matillion/etl-fleet", "matillion/night-fleet"}
    own = budgets(chart, autoscaling__fleets=scaled, agentsDisruptionBudget__fleets=[{"name": "day"}])
    assert own.keys() == {"matillion/day-fleet"}


def test_labels_of_policies_are_not_its_selector(chart: Chart) -> None:
    """Those may be wider than the agents: they open ports."""
    found = budgets(chart, agentsDisruptionBudget__fleets=FLEETS, networkPolicy__agents__podLabels={"team": "data"})
    assert found["matillion/etl-fleet"]["selector"]["matchLabels"] == {"app.kubernetes.io/instance": "etl"}


@pytest.mark.parametrize("name", SETS)
def test_agents_only(chart: Chart, name: str) -> None:
    """Of all that the vendor's charts run, each budget selects the agents of its release and no script runner."""
    templates = [
        (one["spec"]["template"]["metadata"]["labels"], is_agent(one)) for one in vendor_objects(name, "Deployment")
    ]
    releases = sorted({labels["app.kubernetes.io/instance"] for labels, agent in templates if agent})
    found = budgets(chart, agentsDisruptionBudget__fleets=[{"name": release} for release in releases])
    assert found.keys() == {f"matillion/{release}-fleet" for release in releases}
    for labels, agent in templates:
        chosen = [key for key, spec in found.items() if selects(spec["selector"], labels)]
        assert chosen == ([f"matillion/{labels['app.kubernetes.io/instance']}-fleet"] if agent else [])


def test_where_helm_sees_nothing(chart: Chart) -> None:
    """Then nothing can be refused, and the notes say what to look for."""
    warning = "check that no other disruption budget selects these agents"
    assert warning in " ".join(chart.notes(agentsDisruptionBudget={"enabled": True, "fleets": FLEETS}).split())
    assert warning not in " ".join(chart.notes().split())


# -- beside another budget, on a real API server -----------------------------------------------------------------------


def another(name: str, selector: Json | None) -> Json:
    """Return somebody else's budget beside the agents; the version that the oldest server at hand has."""
    return {
        "apiVersion": "policy/v1beta1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "matillion"},
        "spec": {"maxUnavailable": 1} | ({} if selector is None else {"selector": selector}),
    }


def deployment(labels: Json) -> Json:
    """Return a Deployment of agents that has no pod yet."""
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "none"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "etl-matillion-runner-app", "namespace": "matillion"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


POD = pod("agent-0", **AGENT)
SCRIPTS = AGENT | {"app.kubernetes.io/component": "script-runner"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "refused"),
    [
        ([POD], False),
        ([POD, another("etl-pdb", {"matchLabels": AGENT})], True),
        ([deployment(AGENT), another("etl-pdb", {"matchLabels": AGENT})], True),
        ([POD, another("others", {"matchLabels": {"app": "database"}})], False),
        ([POD, another("scripts", {"matchLabels": SCRIPTS})], False),
        ([pod("script-0", **SCRIPTS), another("scripts", {"matchLabels": SCRIPTS})], False),
        ([POD, another("night", {"matchLabels": AGENT | {"app.kubernetes.io/instance": "night"}})], False),
        ([POD, another("none", None)], False),
        ([another("etl-pdb", {"matchLabels": AGENT})], False),
    ],
    ids=[
        "none", "the vendor's", "a fleet at 0", "of others", "of scripts", "scripts alone", "of another fleet",
        "without a selector", "no agents yet",
    ],
)  # fmt: skip
def test_never_a_second_budget(cluster: Cluster, there: list[Json], *, refused: bool) -> None:
    """Helm sees which budgets select the fleet's agents; where one does, nothing is installed."""
    for one in there:
        cluster.kubectl("create", "--filename", "-", stdin=json.dumps(one))
    try:
        said = " ".join(cluster.upgrade(ENABLED).split())
        assert ("PodDisruptionBudget matillion/etl-pdb " + ALREADY in said) is refused
        assert ("runs as" in said) is not refused
        made = cluster.kubectl("get", "poddisruptionbudgets", "-n", "matillion", "-o", "name")
        assert ("etl-fleet" in made) is not refused
    finally:
        cluster.kubectl(
            "delete", "pods,deployments,poddisruptionbudgets", "--all", "-n", "matillion", "--grace-period=0", "--force"
        )


@pytest.mark.slow
def test_its_own_budget_is_no_other(cluster: Cluster) -> None:
    """An upgrade finds the budget that the installation made, and goes through; disabled, it is gone."""
    cluster.kubectl("create", "--filename", "-", stdin=json.dumps(POD))
    look = ("get", "poddisruptionbudgets", "-n", "matillion", "-o", "name")
    try:
        assert "runs as" in cluster.upgrade(ENABLED)
        assert "runs as" in cluster.upgrade(ENABLED)
        assert "etl-fleet" in cluster.kubectl(*look)
        assert "runs as" in cluster.upgrade({})
        assert "etl-fleet" not in cluster.kubectl(*look)
    finally:
        cluster.kubectl("delete", "pods", "--all", "-n", "matillion", "--grace-period=0", "--force")
