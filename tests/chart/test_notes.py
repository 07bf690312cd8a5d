"""What an installation tells its user; test_release.py has what it says of a cluster that it sees."""

from tests.chart.rendering import NAMESPACE, RELEASE, RELEASE_NAME, SCENARIOS, Chart


def test_notes(chart: Chart) -> None:
    """NOTES tells what to look at next and what is off; with everything on, nothing is."""
    said = chart.notes()
    assert f"kubectl -n {NAMESPACE} rollout status deployment/{RELEASE_NAME}" in said
    assert f"helm test {RELEASE} -n {NAMESPACE}" in said
    assert "scaling (autoscaling.mode)" in said
    assert "CloudWatch (config.cloudwatch.enabled)" in said
    everything = chart.notes(SCENARIOS["everything"])
    assert "Off:" not in everything
    assert "labelSelector=fleet%3Detl-prod" in everything
    assert "Two on one Deployment work against each other" in everything


def test_notes_name_what_is_scaled(chart: Chart) -> None:
    """Each Deployment, named in the values or by the vendor's rule, and how to check it where Helm cannot."""
    said = " ".join(chart.notes(SCENARIOS["external-metrics"]).split())
    for fleet, deployment, most in (
        ("etl-prod", "etl-prod-matillion-runner-app", 12),
        ("etl-night", "etl-night-matillion-agent-app", 30),
    ):
        assert (
            f"- the Deployment matillion/{deployment}, 2 to {most} agents, after the demand of the fleet {fleet}"
            in said
        )
        assert f"kubectl -n matillion get deployment {deployment}" in said
    assert "Helm could not see the cluster, so look whether these are the Deployments of the agents" in said
    assert "Scaled" not in chart.notes()


def test_notes_warn_of_agents_that_no_policy_opens(chart: Chart) -> None:
    """With the whole cluster watched the chart does not know where to make one; who names namespaces is not warned."""
    warning = "with the whole cluster watched, no network policy opens the agents to the exporter."
    assert warning in chart.notes(SCENARIOS["whole-cluster"])
    assert warning not in chart.notes(SCENARIOS["whole-cluster"], networkPolicy__agents__namespaces=["etl"])
    assert warning not in chart.notes()


def test_notes_warn_of_listed_agents_out_of_reach(chart: Chart) -> None:
    """The exporter's own policy knows nothing of addresses in a list; who adds them is not warned."""
    warning = "does not let it reach the listed agents (config.discovery.static)"
    listed = {"targets": [{"address": "10.9.0.1", "fleet": "etl"}]}
    assert warning in " ".join(chart.notes(config__discovery__static=listed).split())
    assert warning not in " ".join(chart.notes(SCENARIOS["static-targets"]).split())
    unlimited = chart.notes(config__discovery__static=listed, networkPolicy__enabled=False)
    assert warning not in " ".join(unlimited.split())


def test_notes_say_what_prometheus_still_needs(chart: Chart) -> None:
    """A job that follows annotations must honour labels, and runbooks must be published somewhere."""
    by_annotations = chart.notes()
    assert "honor_labels: true" in by_annotations
    assert "prometheus.runbookBaseUrl" not in by_annotations, "no rules, no links"
    by_monitor = chart.notes(prometheus={"discovery": "serviceMonitor", "rules": "prometheusRule"})
    assert "honor_labels" not in by_monitor
    assert "links lead nowhere yet: publish alerts/runbooks, and set prometheus.runbookBaseUrl" in by_monitor
    placed = chart.notes(prometheus={"rules": "configMap", "runbookBaseUrl": "https://wiki.test/runbooks/"})
    assert "lead nowhere" not in placed
