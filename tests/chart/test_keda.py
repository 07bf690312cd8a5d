"""KEDA of any version: what its ScaledObjects leave out, and versions that are too old for their fields."""

import pytest

from tests.chart.rendering import SCENARIOS, Chart

pytestmark = pytest.mark.slow

SCALED_OBJECT = "keda.sh/v1alpha1/ScaledObject"
NEW_IN_2_16 = "eventing.keda.sh/v1alpha1/ClusterCloudEventSource"
TOO_OLD = (
    "autoscaling.mode is kedaCloudWatch: this cluster's KEDA is older than 2.16; it would treat missing data as "
    "no work and shrink a fleet whose agents are unreachable; upgrade KEDA, or set the mode to kedaMetricsApi"
)
WARNING = "WARNING: kedaCloudWatch needs KEDA 2.16 or later, and Helm could not determine the installed version."


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_failing_trigger_has_no_fallback(chart: Chart, scenario: str) -> None:
    """KEDA before 2.17 knows a `fallback` only as a size for every fleet, and would shrink a busy one to it."""
    scaled = chart.scenario(scenario).of("ScaledObject")
    assert ("keda" in scenario) is bool(scaled)
    assert not [one for one in scaled if "fallback" in one["spec"]]


@pytest.mark.parametrize(
    ("scenario", "apis", "message"),
    [
        ("keda-cloudwatch", [SCALED_OBJECT], TOO_OLD),
        ("keda-cloudwatch", [SCALED_OBJECT, NEW_IN_2_16], None),
        ("keda-cloudwatch", [], None),
        ("keda-metrics-api", [SCALED_OBJECT], None),
    ],
)
def test_cloudwatch_needs_a_keda_that_supports_missing_data(
    chart: Chart, scenario: str, apis: list[str], message: str | None
) -> None:
    """If the cluster's APIs show an older KEDA, the render fails; if they are unknown, it does not."""
    good, output = chart.attempt(SCENARIOS[scenario], apis=apis)
    assert good is (message is None)
    if message:
        assert message in output


def test_notes_warn_if_the_version_of_keda_is_unknown(chart: Chart) -> None:
    """And only in the mode that needs a newer one."""
    assert WARNING in " ".join(chart.notes(SCENARIOS["keda-cloudwatch"]).split())
    assert WARNING not in " ".join(chart.notes(SCENARIOS["keda-metrics-api"]).split())
