"""The disruption budgets over the agents: which there are, and two over one pod."""

from typing import Any

import pytest

from exporter.doctor.check import Outcome
from tests.doctor.cluster import BUDGETS, PODS, Cluster, Json, examined, settings
from tests.fakes.kube_pods import raw_pod

NAME = ("agents", "disruption budgets in matillion")


def budget(name: str, selector: Any, **limit: Any) -> Json:
    """Make a PodDisruptionBudget."""
    spec = {"selector": selector} | (limit or {"maxUnavailable": 1})
    return {"metadata": {"name": name, "namespace": "matillion"}, "spec": spec}


THEIRS = budget("etl-pdb", {"matchLabels": {"app.kubernetes.io/instance": "etl"}})
OTHERS = [budget("db", {"matchLabels": {"app": "db"}}), budget("none", None)]


@pytest.fixture
def agents(kube: Cluster) -> Cluster:
    """Give a cluster with two agents that nobody asks."""
    labels = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "etl"}
    pods = [raw_pod(f"a-{number}", labels=labels, status={"podIP": None}) for number in range(2)]
    kube.said[PODS] = (200, {"items": pods})
    return kube


async def test_the_budgets_of_the_agents(agents: Cluster) -> None:
    """Each is listed with what it allows; one for others, or for nothing, is not."""
    agents.said[BUDGETS] = (200, {"items": OTHERS})
    found = (await examined(settings(), agents))[NAME]
    assert (found.outcome, found.found) == (Outcome.OK, "none selects an agent pod")
    agents.said[BUDGETS] = (200, {"items": [THEIRS, *OTHERS]})
    found = (await examined(settings(), agents))[NAME]
    assert found.outcome is Outcome.OK
    assert found.found == "matillion/etl-pdb (maxUnavailable: 1) selects 2 agent pods"
    agents.said[BUDGETS] = (200, {"items": [budget("all", {}, minAvailable="50%")]})
    assert "matillion/all (minAvailable: 50%) selects 2" in (await examined(settings(), agents))[NAME].found


async def test_two_budgets_over_one_pod(agents: Cluster) -> None:
    """Every eviction fails then."""
    agents.said[BUDGETS] = (200, {"items": [THEIRS, *OTHERS, budget("all", {})]})
    found = (await examined(settings(), agents))[NAME]
    assert found.outcome is Outcome.FAILED
    assert "more than one (etl-pdb and all): every eviction of these pods fails" in found.found
    assert "agentsDisruptionBudget.enabled" in found.fix


async def test_budgets_that_may_not_be_listed(agents: Cluster) -> None:
    """The permission is named; an error is a failure."""
    agents.refuse(BUDGETS, 403, "Forbidden")
    found = (await examined(settings(), agents))[NAME]
    assert found.outcome is Outcome.NOT_CHECKED
    assert 'resources: ["poddisruptionbudgets"], verbs: ["list"]' in found.fix
    agents.refuse(BUDGETS, 404, "NotFound")
    assert "does not serve policy/v1" in (await examined(settings(), agents))[NAME].found
    agents.refuse(BUDGETS, 500, "InternalError")
    assert (await examined(settings(), agents))["agents", "disruption budgets"].outcome is Outcome.FAILED
