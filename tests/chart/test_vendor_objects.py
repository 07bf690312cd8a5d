"""The vendor's objects that other tests stand beside: whole, and fitting each other."""

from typing import Any

import pytest

from exporter.kube.selector import parse_selector
from tests.fakes.vendor import SETS, is_agent, vendor_objects

Json = dict[str, Any]


def pod_labels(deployment: Json) -> Json:
    labels: Json = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def matched(selector: Json, labels: Json) -> bool:
    return parse_selector(",".join(f"{key}={value}" for key, value in selector["matchLabels"].items())).matches(labels)


@pytest.mark.parametrize("name", SETS)
def test_each_agent_has_its_policy_and_its_scaler(name: str) -> None:
    """As the charts make them by default: one HPA and one NetworkPolicy for each release."""
    agents = [one for one in vendor_objects(name, "Deployment") if is_agent(one)]
    assert agents
    targets = [one["spec"]["scaleTargetRef"]["name"] for one in vendor_objects(name, "HorizontalPodAutoscaler")]
    policies = vendor_objects(name, "NetworkPolicy")
    for agent in agents:
        assert targets.count(agent["metadata"]["name"]) == 1
        assert [one for one in policies if matched(one["spec"]["podSelector"], pod_labels(agent))]


@pytest.mark.parametrize("name", SETS)
def test_selectors_match_the_pods_of_their_own_deployment(name: str) -> None:
    """Those of Deployments and budgets."""
    for one in vendor_objects(name, "Deployment"):
        assert matched(one["spec"]["selector"], pod_labels(one))
    for budget in vendor_objects(name, "PodDisruptionBudget"):
        assert any(matched(budget["spec"]["selector"], pod_labels(one)) for one in vendor_objects(name, "Deployment"))
