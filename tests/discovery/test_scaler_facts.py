"""What a raw HorizontalPodAutoscaler says, also one that makes no sense."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.discovery.scaler_facts import read_scaler
from exporter.fleet.scaler import Condition, Scaler
from tests.fakes.kube_hpas import raw_hpa


def read(hpa: object) -> Scaler:
    scaler = read_scaler(hpa)
    assert scaler is not None
    return scaler


def test_every_field_is_read() -> None:
    """Who it is, what it scales, its bounds, what it decided, and what it says of itself."""
    limited = {"ScalingLimited": ("True", "TooManyReplicas"), "AbleToScale": ("Unknown", "Who")}
    behavior = {"scaleUp": {"tolerance": "50m"}, "scaleDown": {"tolerance": "0.2"}}
    hpa = raw_hpa(conditions={"ScalingActive": ("True", "ValidMetricFound"), **limited}, spec={"behavior": behavior})
    assert read(hpa) == Scaler(
        namespace="matillion",
        name="prod-hpa",
        target="prod",
        target_kind="Deployment.apps",
        min_agents=2,
        max_agents=12,
        current_agents=3,
        desired_agents=4,
        active=Condition(True, "ValidMetricFound", "it is ValidMetricFound"),
        able=Condition(None, "Who", "it is Who"),
        limited=Condition(True, "TooManyReplicas", "it is TooManyReplicas"),
        keda=False,
        metrics=("matillion_fleet_demand_tasks",),
        tolerance_up=0.05,
        tolerance_down=0.2,
    )


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ({"type": "Pods", "pods": {"metric": {"name": "app_active_task_count"}}}, "app_active_task_count"),
        ({"type": "Object", "object": {"metric": {"name": "requests"}}}, "requests"),
        ({"type": "Resource", "resource": {"name": "cpu"}}, "cpu"),
        ({"type": "ContainerResource", "containerResource": {"name": "memory", "container": "a"}}, "memory"),
    ],
)
def test_every_source_of_a_metric_has_its_name(metric: dict[str, Any], name: str) -> None:
    """The vendor's, by pods, among them."""
    assert read(raw_hpa(spec={"metrics": [metric]})).metrics == (name,)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"scaledobject.keda.sh/name": "prod"}},
        {"ownerReferences": [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "prod"}]},
    ],
)
def test_an_hpa_of_keda_is_known_as_one(metadata: dict[str, Any]) -> None:
    """By its label, or by who owns it."""
    assert read(raw_hpa(metadata=metadata)).keda
    assert not read(raw_hpa()).keda


def test_an_hpa_of_the_old_api_has_bounds_and_no_conditions() -> None:
    """autoscaling/v1 has one metric and says nothing of itself; the 0 it begins with is no decision."""
    hpa = raw_hpa(conditions={}, spec={"targetCPUUtilizationPercentage": 80, "metrics": None})
    scaler = read(hpa)
    assert (scaler.metrics, scaler.active, scaler.desired_agents) == (("cpu",), None, 4)
    hpa["status"]["desiredReplicas"] = 0
    assert read(hpa).desired_agents is None


@pytest.mark.parametrize(
    ("conditions", "desired"),
    [
        ({}, None),
        ({"ScalingActive": ("False", "FailedGetExternalMetric")}, None),
        ({"ScalingActive": ("False", "ScalingDisabled")}, 0),
        ({"ScalingActive": ("True", "ValidMetricFound")}, 0),
    ],
)
def test_zero_is_a_decision_only_of_one_that_can_decide(
    conditions: dict[str, tuple[str, str]], desired: int | None
) -> None:
    """An HPA that never got its metrics says 0 replicas, which it would never ask for."""
    hpa = raw_hpa(conditions=conditions, status={"desiredReplicas": 0})
    assert read(hpa).desired_agents == desired


def test_the_target_is_identified_by_kind_and_group() -> None:
    """Not by version; a kind of another group is another kind."""
    reference = {"name": "prod", "kind": "Deployment"}
    kinds = [
        read(raw_hpa(spec={"scaleTargetRef": {**reference, "apiVersion": version}})).target_kind
        for version in ("apps/v1", "apps/v1beta2", "example.com/v1", "v1", None)
    ]
    assert kinds == ["Deployment.apps", "Deployment.apps", "Deployment.example.com", "Deployment", "Deployment"]


def test_text_is_one_bounded_line() -> None:
    """A message of a megabyte, with line breaks and what a terminal obeys, is a short line."""
    message = "no\nmetrics\x1b[2J" + "x" * 1_000_000
    conditions = [{"type": "ScalingActive", "status": "False", "reason": "r" * 10_000, "message": message}]
    scaler = read(raw_hpa("n" * 1000, status={"conditions": conditions}, spec={"metrics": [{}] * 5000}))
    assert scaler.active is not None
    assert scaler.active.message.startswith("no metrics [2Jx")
    assert (len(scaler.active.message), len(scaler.active.reason), len(scaler.name)) == (400, 400, 253)
    many = [{"external": {"metric": {"name": f"m{number}"}}} for number in range(5000)]
    assert len(read(raw_hpa(spec={"metrics": many})).metrics) == 20


@pytest.mark.parametrize("number", [-1, 2**31, 10**400, True, "3", 2.5, None, [], {}])
def test_numbers_that_are_none_are_not_known(number: object) -> None:
    """Nor does one of them become 0."""
    hpa = raw_hpa(
        spec={"minReplicas": number, "maxReplicas": number},
        status={"currentReplicas": number, "desiredReplicas": number},
    )
    scaler = read(hpa)
    found = (scaler.min_agents, scaler.max_agents, scaler.current_agents, scaler.desired_agents)
    assert found == (None, None, None, None)


@pytest.mark.parametrize("part", ["metadata", "spec"])
def test_one_without_identity_is_ignored(part: str) -> None:
    """Without a name or a target nobody can be told of it."""
    hpa = raw_hpa()
    del hpa[part]
    assert read_scaler(hpa) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "name",
    "namespace",
    "labels",
    "ownerReferences",
    "scaleTargetRef",
    "minReplicas",
    "maxReplicas",
    "metrics",
    "behavior",
    "currentReplicas",
    "desiredReplicas",
    "conditions",
    "apiVersion",
    "kind",
    "type",
    "status",
    "reason",
    "message",
    "external",
    "pods",
    "resource",
    "metric",
    "tolerance",
    "scaleUp",
    "scaleDown",
    "targetCPUUtilizationPercentage",
]
HOSTILE = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=12)


@pytest.mark.slow
@given(metadata=HOSTILE | JSON, spec=HOSTILE | JSON, status=HOSTILE | JSON)
def test_no_object_is_an_error(metadata: object, spec: object, status: object) -> None:
    """Whatever stands where, an HPA is read or is none."""
    scaler = read_scaler({"metadata": metadata, "spec": spec, "status": status})
    assert scaler is None or (scaler.name and scaler.target)


@given(part=st.sampled_from(["metadata", "spec", "status"]), field=st.sampled_from(FIELDS), value=JSON)
def test_one_wrong_field_costs_only_itself(part: str, field: str, value: object) -> None:
    """The others are read all the same."""
    hpa = raw_hpa()
    hpa[part][field] = value
    scaler = read_scaler(hpa)
    if scaler is None:
        assert field in {"name", "scaleTargetRef"}
    elif field != "maxReplicas":
        assert scaler.max_agents == 12
