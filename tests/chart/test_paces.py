"""`autoscaling.pace`: the same figures wherever a pace is simulated, shown or installed."""

import pytest
import yaml

from exporter.simulation.hpa import FAST, VENDOR, Rules, Spec
from tests.chart.rendering import Chart, Json
from tests.fakes.helm import CHART

PACES: dict[str, Json] = yaml.safe_load((CHART / "files" / "paces.yaml").read_text(encoding="utf-8"))
SIMULATED = {"fast": FAST, "vendor": VENDOR}
FLEET = {"name": "etl", "max": 5}
OWN = {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 30}]}}
WAYS: dict[str, Json] = {
    "externalMetrics": {"config__external_metrics__enabled": True},
    "kedaMetricsApi": {},
    "kedaCloudWatch": {
        "config__cloudwatch__enabled": True, "config__cloudwatch__region": "eu-west-1", "config__cluster": "x"
    },
}  # fmt: skip


def behavior(chart: Chart, mode: str, **values: object) -> Json:
    """Return what the scaler of a fleet has for its behaviour."""
    objects = chart.objects(autoscaling__mode=mode, **WAYS[mode], **{"autoscaling__fleets": [FLEET]} | values)
    if mode == "externalMetrics":
        found: Json = objects.one("HorizontalPodAutoscaler")["spec"]["behavior"]
    else:
        advanced = objects.one("ScaledObject")["spec"]["advanced"]
        found = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    return found


@pytest.mark.parametrize("pace", PACES)
def test_a_pace_is_the_one_that_is_simulated(pace: str) -> None:
    """docs/scaling.md compares what the chart installs."""
    assert PACES.keys() == SIMULATED.keys()
    spec: Spec = SIMULATED[pace]
    assert PACES[pace] == {"scaleUp": _written(spec.up, pace), "scaleDown": _written(spec.down, pace)}


def _written(rules: Rules, pace: str) -> Json:
    policies = [{"type": one.kind, "value": one.value, "periodSeconds": one.seconds} for one in rules.policies]
    written: Json = {"stabilizationWindowSeconds": rules.window, "policies": policies}
    return written | ({"selectPolicy": "Max"} if pace == "fast" else {})


@pytest.mark.slow
@pytest.mark.parametrize("mode", WAYS)
def test_fast_by_default(chart: Chart, mode: str) -> None:
    """Every way to scale has the fast pace by default, and the vendor's if asked for."""
    assert behavior(chart, mode) == PACES["fast"]
    assert behavior(chart, mode, autoscaling__pace="vendor") == PACES["vendor"]


@pytest.mark.slow
def test_what_is_nearer_goes_before(chart: Chart) -> None:
    """A behaviour for all before the pace, a fleet's own before that; each as a whole."""
    assert behavior(chart, "externalMetrics", autoscaling__behavior=OWN) == OWN
    other = {"scaleDown": {"selectPolicy": "Disabled"}}
    fleets = [FLEET | {"behavior": other}]
    assert behavior(chart, "externalMetrics", autoscaling__behavior=OWN, autoscaling__fleets=fleets) == other
