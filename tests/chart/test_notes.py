"""The notes of an installation; test_release.py has those of one with access to the cluster."""

import re
import textwrap
from typing import Any

import pytest
import yaml

from tests.chart.rendering import NAMESPACE, RELEASE, RELEASE_NAME, SCENARIOS, Chart

pytestmark = pytest.mark.slow


def test_notes(chart: Chart) -> None:
    """The notes list what to check next and what is disabled; with everything enabled, nothing is."""
    notes = chart.notes()
    assert f"kubectl -n {NAMESPACE} rollout status deployment/{RELEASE_NAME}" in notes
    assert f"helm test {RELEASE} -n {NAMESPACE}" in notes
    assert "scaling (autoscaling.mode)" in notes
    assert "CloudWatch (config.cloudwatch.enabled)" in notes
    everything = chart.notes(SCENARIOS["everything"])
    assert "Disabled:" not in everything
    assert "labelSelector=fleet%3Detl-prod" in everything
    assert "Two on one Deployment work against each other" in everything


def test_notes_name_what_is_scaled(chart: Chart) -> None:
    """Each Deployment, named in the values or by the vendor's rule, and how to check it where Helm cannot."""
    notes = " ".join(chart.notes(SCENARIOS["external-metrics"]).split())
    for fleet, deployment, most in (
        ("etl-prod", "etl-prod-matillion-runner-app", 12),
        ("etl-night", "etl-night-matillion-agent-app", 30),
    ):
        assert (
            f"- the Deployment matillion/{deployment}, 2 to {most} agents, by the demand of the fleet {fleet}" in notes
        )
        assert f"kubectl -n matillion get deployment {deployment}" in notes
    assert "Helm had no access to the cluster, so check that these are the Deployments of the agents" in notes
    assert "Scaled" not in chart.notes()


def test_notes_warn_if_no_policy_opens_the_agents(chart: Chart) -> None:
    """With the whole cluster watched the chart does not know where to create one; listed namespaces end the warning."""
    warning = "with the whole cluster watched, no network policy allows the exporter to reach the agents."
    assert warning in chart.notes(SCENARIOS["whole-cluster"])
    assert warning not in chart.notes(SCENARIOS["whole-cluster"], networkPolicy__agents__namespaces=["etl"])
    assert warning not in chart.notes()


def test_notes_warn_of_unreachable_listed_agents(chart: Chart) -> None:
    """The exporter's own policy does not include listed addresses; adding them ends the warning."""
    warning = "does not allow it to reach the listed agents (config.discovery.static)"
    listed = {"targets": [{"address": "10.9.0.1", "fleet": "etl"}]}
    assert warning in " ".join(chart.notes(config__discovery__static=listed).split())
    assert warning not in " ".join(chart.notes(SCENARIOS["static-targets"]).split())
    unlimited = chart.notes(config__discovery__static=listed, networkPolicy__enabled=False)
    assert warning not in " ".join(unlimited.split())


def test_notes_have_what_prometheus_still_needs(chart: Chart) -> None:
    """A job that follows annotations must honor labels, and people need an address that leads to the runbooks."""
    by_annotations = chart.notes()
    assert "honor_labels: true" in by_annotations
    assert "runbook" not in by_annotations, "no rules, no links"
    by_monitor = chart.notes(prometheus={"discovery": "serviceMonitor", "rules": "prometheusRule"})
    assert "honor_labels" not in by_monitor
    assert (
        f"runbook links lead to http://{RELEASE_NAME}.{NAMESPACE}.svc:9850/runbooks/, which resolves only" in by_monitor
    )
    placed = chart.notes(prometheus={"rules": "configMap", "runbookBaseUrl": "https://wiki.test/runbooks/"})
    assert "runbook" not in placed
    reached = chart.notes(prometheus={"rules": "configMap"}, config__web__external_url="https://fleets.test/")
    assert "runbook" not in reached


@pytest.mark.parametrize(
    "closed",
    [
        {"networkPolicy__from": [{"podSelector": {}}]},
        {"web__basicAuth__secretName": "users"},
        {"web__bearerToken__secretName": "token"},
        {"web__tls__secretName": "web", "web__tls__clientCertificates": True},
    ],
    ids=["networkPolicy.from", "basicAuth", "bearerToken", "clientCertificates"],
)
def test_notes_tell_that_the_web_port_is_open(chart: Chart, closed: dict[str, Any]) -> None:
    """By default it is, and two lines of values close it; TLS alone, or a policy that is not made, does not."""
    warning = "The web port is open: every pod of the cluster can read"
    assert warning in chart.notes()
    assert warning in chart.notes(web__tls__secretName="web")
    assert warning in chart.notes(networkPolicy__enabled=False, networkPolicy__from=[{"podSelector": {}}])
    assert warning not in chart.notes(**closed)


def test_the_lines_of_the_notes_close_the_web_port(chart: Chart) -> None:
    """Each pair is valid as values, and ends the warning."""
    notes = chart.notes()
    offered = re.findall(r"^     (?:networkPolicy|web):\n       .*$", notes, re.MULTILINE)
    assert len(offered) == 2
    for lines in offered:
        values = yaml.safe_load(textwrap.dedent(lines))
        assert "The web port is open" not in chart.notes(**values)
