"""KEDA of any version: what its ScaledObjects leave out, and where it is too old for what they say."""

import pytest

from tests.chart.rendering import SCENARIOS, Chart

SCALED_OBJECT = "keda.sh/v1alpha1/ScaledObject"
NEW_IN_2_16 = "eventing.keda.sh/v1alpha1/ClusterCloudEventSource"
TOO_OLD = (
    "autoscaling.mode is kedaCloudWatch: this cluster's KEDA is older than 2.16; it would take missing data for no "
    "work and shrink a fleet that nobody sees; upgrade KEDA, or set the mode to kedaMetricsApi"
)
WARNING = "WARNING: kedaCloudWatch takes KEDA 2.16 or later, and Helm could not see which one there is."


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_answers_for_a_trigger_that_fails(chart: Chart, scenario: str) -> None:
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
def test_cloudwatch_takes_a_keda_that_knows_of_missing_data(
    chart: Chart, scenario: str, apis: list[str], message: str | None
) -> None:
    """Where the cluster's APIs are seen and show an older KEDA, nothing is rendered; unseen, it is."""
    good, said = chart.attempt(SCENARIOS[scenario], apis=apis)
    assert good is (message is None)
    if message:
        assert message in said


def test_notes_warn_where_keda_cannot_be_seen(chart: Chart) -> None:
    """And only in the mode that takes a newer one."""
    assert WARNING in " ".join(chart.notes(SCENARIOS["keda-cloudwatch"]).split())
    assert WARNING not in " ".join(chart.notes(SCENARIOS["keda-metrics-api"]).split())
