"""The comparison's first lines: their HPA is the one that the chart installs."""

import pytest

from benchmarks.scaling.hpa import FAST, VENDOR, Spec
from tests.chart.rendering import Chart, Json


@pytest.mark.parametrize(("values", "spec"), [({}, FAST), ({"autoscaling__pace": "vendor"}, VENDOR)])
def test_pace(chart: Chart, values: Json, spec: Spec) -> None:
    """By default and with the other pace; windows, policies and all."""
    fleet = {"name": "prod", "min": spec.least, "max": spec.most}
    made = chart.objects(
        config__cluster="prod-eks",
        config__external_metrics__enabled=True,
        autoscaling__mode="externalMetrics",
        autoscaling__fleets=[fleet],
        **values,
    ).one("HorizontalPodAutoscaler")["spec"]
    assert (made["minReplicas"], made["maxReplicas"]) == (spec.least, spec.most)
    for direction, wanted in (("scaleUp", spec.up), ("scaleDown", spec.down)):
        rules = made["behavior"][direction]
        assert rules["stabilizationWindowSeconds"] == wanted.window
        assert rules.get("selectPolicy", "Max") == "Max"
        policies = [(policy["type"], policy["value"], policy["periodSeconds"]) for policy in rules["policies"]]
        assert policies == [(policy.kind, policy.value, policy.seconds) for policy in wanted.policies]
