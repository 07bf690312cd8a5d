"""docs/scaling.md and the chart: what the page shows of scalers is what the chart makes of the same values."""

import re
from typing import Any

import yaml

from tests.chart.rendering import Chart, Json
from tests.fakes.helm import ROOT

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


def fleet(behavior: Json | None = None) -> Json:
    """Return the fleet of the examples."""
    values: Json = {"name": "prod", "deployment": "agents", "min": 2, "max": 50}
    return values | ({"behavior": behavior} if behavior else {})


def test_hpa(chart: Chart) -> None:
    """The page's HPA is the chart's; its behaviour, which is faster than the vendor's advice, goes in as it stands."""
    spec = shown("kind: HorizontalPodAutoscaler")["spec"]
    objects = chart.objects(
        config__external_metrics__enabled=True,
        autoscaling__mode="externalMetrics",
        autoscaling__fleets=[fleet(spec["behavior"])],
        **RELEASE,
    )
    assert objects.one("HorizontalPodAutoscaler")["spec"] == spec


def test_keda_metrics_api(chart: Chart) -> None:
    """So is the ScaledObject that asks the exporter, but for the namespace and a fallback's least."""
    spec = shown("type: metrics-api")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    made = chart.objects(autoscaling__mode="kedaMetricsApi", autoscaling__fleets=[fleet(behavior)], **RELEASE).one(
        "ScaledObject"
    )["spec"]
    spec["fallback"]["replicas"] = made["fallback"]["replicas"] = 2
    url = spec["triggers"][0]["metadata"]["url"]
    spec["triggers"][0]["metadata"]["url"] = url.replace(".matillion.svc", ".monitoring.svc")
    assert made == spec


def test_keda_aws_cloudwatch(chart: Chart) -> None:
    """So is the trigger that asks CloudWatch."""
    values: dict[str, Any] = {"config__cloudwatch__enabled": True, "config__cloudwatch__region": "eu-west-1"}
    made = chart.objects(
        autoscaling__mode="kedaCloudWatch",
        autoscaling__fleets=[fleet()],
        autoscaling__keda__authenticationRef={"name": "aws"},
        **values,
        **RELEASE,
    ).one("ScaledObject")["spec"]
    assert made["triggers"] == shown("type: aws-cloudwatch")["triggers"]
