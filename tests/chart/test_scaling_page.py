"""docs/scaling.md and the chart: what the page shows of scalers is what the chart makes of the same values."""

import re
from typing import Any

import yaml

from tests.chart.rendering import Chart, Json
from tools.programs import ROOT

PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
RELEASE: Json = {
    "fullnameOverride": "matillion-fleet-exporter",
    "config__cluster": "prod-eks",
}


def shown(word: str) -> Json:
    """Return the example with a word in it that stands there once."""
    (block,) = (block for block in BLOCKS if word in block)
    found: Json = next(yaml.safe_load_all(block))
    return found


FLEET = {"name": "etl-prod", "min": 2, "max": 50}
"""The fleet of the examples; its Deployment is named by the vendor's rule."""


def test_hpa(chart: Chart) -> None:
    """The page's HPA is the chart's by default."""
    shown_hpa = shown("kind: HorizontalPodAutoscaler")
    objects = chart.objects(
        config__external_metrics__enabled=True,
        autoscaling__mode="externalMetrics",
        autoscaling__fleets=[FLEET],
        **RELEASE,
    )
    made = objects.one("HorizontalPodAutoscaler", shown_hpa["metadata"]["name"])
    assert made["spec"] == shown_hpa["spec"]
    assert made["metadata"]["namespace"] == shown_hpa["metadata"]["namespace"]


def test_keda_metrics_api(chart: Chart) -> None:
    """So is the ScaledObject that asks the exporter."""
    spec = shown("type: metrics-api")["spec"]
    made = chart.objects(autoscaling__mode="kedaMetricsApi", autoscaling__fleets=[FLEET], **RELEASE).one(
        "ScaledObject"
    )["spec"]
    assert made == spec


def test_keda_aws_cloudwatch(chart: Chart) -> None:
    """So is the trigger that asks CloudWatch."""
    values: dict[str, Any] = {"config__cloudwatch__enabled": True, "config__cloudwatch__region": "eu-west-1"}
    made = chart.objects(
        autoscaling__mode="kedaCloudWatch",
        autoscaling__fleets=[FLEET],
        autoscaling__keda__authenticationRef={"name": "aws"},
        **values,
        **RELEASE,
    ).one("ScaledObject")["spec"]
    assert made["triggers"] == shown("type: aws-cloudwatch")["triggers"]
