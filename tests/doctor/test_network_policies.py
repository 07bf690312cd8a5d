"""Which NetworkPolicies may keep the exporter out: those for ingress that select the agents' pods."""

from typing import Any

import pytest

from exporter.doctor.network_policies import closing

RUNNER = {"app": "runner", "tier": "agents"}


def policy(selector: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Make a policy."""
    return {"metadata": {"name": "p"}, "spec": {"podSelector": selector, **spec}}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "runner"}}, True),
        ({"matchLabels": {"app": "runner", "tier": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["runner", "x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["runner"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "runner"}, "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Near", "values": ["runner"]}]}, False),
    ],
)
def test_what_a_selector_selects(selector: dict[str, Any], *, selected: bool) -> None:
    """Selectors are read as Kubernetes reads them; one that makes no sense selects nothing."""
    assert closing([policy(selector)], [RUNNER]) == (["p"] if selected else [])


def test_only_ingress_closes() -> None:
    """A policy for egress alone lets everybody in; one that does not say is for ingress."""
    assert closing([policy({}, policyTypes=["Egress"])], [RUNNER]) == []
    assert closing([policy({}, policyTypes=["Ingress", "Egress"])], [RUNNER]) == ["p"]


@pytest.mark.parametrize("items", [None, "no list", [], ["no object"]])
def test_an_answer_that_makes_no_sense(items: object) -> None:
    """It names no policy."""
    assert closing(items, [RUNNER]) == []
