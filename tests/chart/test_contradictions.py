"""Values that cannot work together fail the render with a sentence that says what to change."""

from typing import Any

import pytest

from tests.chart.rendering import Chart

pytestmark = pytest.mark.slow

FLEET = {"name": "etl", "deployment": "etl-runner", "min": 2, "max": 5}

CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "external metrics without a given certificate": (
        {"config__external_metrics__enabled": True, "externalMetrics__tls__source": "secret"},
        (
            "externalMetrics.tls.source is secret: the API server requires TLS; name the certificate in "
            "externalMetrics.tls.secretName and its CA in externalMetrics.tls.caBundle, or choose the source "
            "generated or certManager"
        ),
    ),
    "cert-manager without an issuer": (
        {"config__external_metrics__enabled": True, "externalMetrics__tls__source": "certManager"},
        (
            "externalMetrics.tls.source is certManager: name the issuer in "
            "externalMetrics.tls.certManager.issuerRef, or "
            "choose the source generated or secret"
        ),
    ),
    "both servers on one port": (
        {"config__external_metrics__enabled": True, "config__external_metrics__listen": "0.0.0.0:9850"},
        "config.external_metrics.listen: its port is already taken by config.web.listen; choose another one",
    ),
    "a port that nobody knows": (
        {"config__web__listen": "0.0.0.0:0"},
        "config.web.listen: port 0 changes with each start, and the Service needs a fixed port; set a port",
    ),
    "an address that nobody reaches": (
        {"config__web__listen": "127.0.0.1:9850"},
        "config.web.listen: 127.0.0.1 cannot be reached from outside the pod; listen on 0.0.0.0 or [::]",
    ),
    "two that publish": (
        {"config__cloudwatch__enabled": True, "config__cluster": "x", "config__leader_election__enabled": False},
        (
            "replicaCount is 2 without config.leader_election.enabled: no leader is elected, and each replica would do "
            "the work of cloudwatch; enable it or set replicaCount to 1"
        ),
    ),
    "two that cannot agree": (
        {"config__cloudwatch__enabled": True, "config__cluster": "x", "config__discovery__kubernetes__enabled": False},
        (
            "replicaCount is 2 without config.discovery.kubernetes.enabled: no leader is elected, and each replica "
            "would do the work of cloudwatch; enable it or set replicaCount to 1"
        ),
    ),
    "CloudWatch without a cluster": (
        {"config__cloudwatch__enabled": True},
        "config.cloudwatch.enabled: CloudWatch needs a name for its ClusterName dimension; set config.cluster",
    ),
    "logs without a pattern": (
        {"config__pod_logs__enabled": True},
        "config.pod_logs.enabled: nothing would be counted; set config.pod_logs.failure_pattern",
    ),
    "marks without pods": (
        {"config__deletion_cost__enabled": True, "config__discovery__kubernetes__enabled": False, "replicaCount": 1},
        "config.deletion_cost.enabled: this concerns pods; set config.discovery.kubernetes.enabled to true",
    ),
    "protection without pods": (
        {"config__protection__enabled": True, "config__discovery__kubernetes__enabled": False, "replicaCount": 1},
        "config.protection.enabled: this concerns pods; set config.discovery.kubernetes.enabled to true",
    ),
    "client certificates without TLS": (
        {"web__tls__clientCertificates": True},
        "web.tls.clientCertificates: client certificates need TLS; set its Secret in web.tls.secretName",
    ),
    "a ServiceMonitor without a user": (
        {"prometheus__discovery": "serviceMonitor", "web__basicAuth__secretName": "users"},
        (
            "prometheus.discovery is serviceMonitor and web.basicAuth is on: Prometheus would be rejected; set "
            "its user in "
            "prometheus.serviceMonitor.basicAuth"
        ),
    ),
    "a scaler without fleets": (
        {"autoscaling__mode": "kedaMetricsApi"},
        (
            "autoscaling.mode is kedaMetricsApi but there is no fleet to scale: list fleets in "
            "autoscaling.fleets, or set "
            "the mode to none"
        ),
    ),
    "an HPA on an API that is off": (
        {"autoscaling__mode": "externalMetrics", "autoscaling__fleets": [FLEET]},
        (
            "autoscaling.mode is externalMetrics: the HPA would request metrics from an API that is not served; set "
            "config.external_metrics.enabled to true"
        ),
    ),
    "KEDA and the APIService": (
        {
            "autoscaling__mode": "kedaMetricsApi",
            "autoscaling__fleets": [FLEET],
            "config__external_metrics__enabled": True,
        },
        (
            "autoscaling.mode is kedaMetricsApi: KEDA serves the external metrics API, which a cluster has once; set "
            "config.external_metrics.enabled to false, or the mode to externalMetrics where KEDA is not installed"
        ),
    ),
    "KEDA on CloudWatch that is off": (
        {"autoscaling__mode": "kedaCloudWatch", "autoscaling__fleets": [FLEET]},
        "autoscaling.mode is kedaCloudWatch: nothing would be in CloudWatch; set config.cloudwatch.enabled to true",
    ),
    "KEDA on CloudWatch of no region": (
        {
            "autoscaling__mode": "kedaCloudWatch",
            "autoscaling__fleets": [FLEET],
            "config__cloudwatch__enabled": True,
            "config__cluster": "x",
        },
        (
            "autoscaling.mode is kedaCloudWatch: KEDA needs the region; set autoscaling.keda.awsRegion or "
            "config.cloudwatch.region"
        ),
    ),
    "KEDA without credentials": (
        {
            "autoscaling__mode": "kedaMetricsApi",
            "autoscaling__fleets": [FLEET],
            "web__bearerToken__secretName": "token",
        },
        (
            "autoscaling.mode is kedaMetricsApi and the web port asks for credentials: KEDA would be rejected; name a "
            "TriggerAuthentication in autoscaling.keda.authenticationRef"
        ),
    ),
    "KEDA with two kinds of credentials": (
        {
            "autoscaling__mode": "kedaMetricsApi",
            "autoscaling__fleets": [FLEET],
            "autoscaling__keda__authenticationRef": {"name": "keda"},
            "web__bearerToken__secretName": "token",
            "web__tls": {"secretName": "web", "clientCertificates": True},
        },
        (
            "autoscaling.mode is kedaMetricsApi: KEDA presents either a client certificate or a password or token; set "
            "web.tls.clientCertificates to false"
        ),
    ),
    "a policy for no namespace": (
        {"networkPolicy__agents__enabled": True, "config__discovery__kubernetes__namespaces": []},
        (
            "networkPolicy.agents.enabled: the whole cluster is watched; set the agents' namespaces in "
            "networkPolicy.agents.namespaces"
        ),
    ),
    "a budget for agents that are no pods": (
        {
            "agentsDisruptionBudget": {"enabled": True, "fleets": [{"name": "etl"}]},
            "config__discovery__kubernetes__enabled": False,
        },
        "agentsDisruptionBudget.enabled: this concerns pods; set config.discovery.kubernetes.enabled to true",
    ),
    "a budget for no fleet": (
        {"agentsDisruptionBudget__enabled": True},
        (
            "agentsDisruptionBudget.enabled: there is no fleet to make a budget for; list fleets in "
            "agentsDisruptionBudget.fleets or autoscaling.fleets"
        ),
    ),
    "a budget in which namespace": (
        {
            "agentsDisruptionBudget": {"enabled": True, "fleets": [{"name": "etl"}]},
            "config__discovery__kubernetes__namespaces": ["a", "b"],
        },
        ("agentsDisruptionBudget.fleets[0] (etl): not exactly one namespace is watched; add the fleet's namespace"),
    ),
    "two budgets for one fleet": (
        {
            "agentsDisruptionBudget": {
                "enabled": True,
                "fleets": [{"name": "etl"}, {"name": "etl", "namespace": "matillion"}],
            }
        },
        (
            "agentsDisruptionBudget.fleets[1] (etl): the fleet matillion/etl is already listed at "
            "agentsDisruptionBudget.fleets[0] (etl); two budgets would make every eviction of its agents fail, "
            "remove one"
        ),
    ),
    "a service account of no name": (
        {"serviceAccount__create": False},
        "serviceAccount.create is false: name the service account to use in serviceAccount.name",
    ),
}

SCALED = {"config__external_metrics__enabled": True, "autoscaling__mode": "externalMetrics"}
FLEETS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "a fleet that need not be a release": (
        [{"name": "etl", "max": 5}],
        {"config__discovery__kubernetes__fleet_label": "team"},
        (
            "autoscaling.fleets[0] (etl): a fleet of this name, found by the label team, need not be a release of the "
            "vendor's chart, so the name of its Deployment is unknown; add deployment (kubectl -n matillion get "
            "deployments -l team=etl shows it)"
        ),
    ),
    "a fleet whose name no release has": (
        [{"name": "ETL_1", "max": 5}],
        {},
        "autoscaling.fleets[0] (ETL_1): a fleet of this name, found by the label app.kubernetes.io/instance, need not",
    ),
    "min above max": (
        [FLEET | {"min": 6}],
        {},
        "autoscaling.fleets[0] (etl): min (6) is more than max (5); lower min or raise max",
    ),
    "the least by default above max": (
        [{"name": "etl", "deployment": "etl-runner", "max": 1}],
        {},
        "autoscaling.fleets[0] (etl): min (2) is more than max (1); lower min or raise max",
    ),
    "a target that full agents never miss": (
        [FLEET | {"target": 10}],
        {"config__capacity__tasks_per_agent": 10, "config__capacity__target_tasks_per_agent": 8},
        (
            "autoscaling.fleets[0] (etl): the target 10 is too close to the 10 tasks an agent runs at once: the "
            "HPA has a tolerance of 10%, so a queue beside full agents could wait forever; at most 9"
        ),
    ),
    "such a target for all": (
        [FLEET],
        {"config__capacity__target_tasks_per_agent": 19},
        "could wait forever; at most 18",
    ),
    "which namespace": (
        [FLEET],
        {"config__discovery__kubernetes__namespaces": ["a", "b"]},
        ("autoscaling.fleets[0] (etl): not exactly one namespace is watched; add the fleet's namespace"),
    ),
    "a namespace nobody watches": (
        [FLEET | {"namespace": "elsewhere"}],
        {},
        (
            "autoscaling.fleets[0] (etl): the namespace elsewhere is not watched; add it to "
            "config.discovery.kubernetes.namespaces"
        ),
    ),
    "one deployment twice": (
        [FLEET, FLEET | {"name": "other"}],
        {},
        (
            "autoscaling.fleets[1] (other): the Deployment matillion/etl-runner is already listed at "
            "autoscaling.fleets[0] "
            "(etl); two scalers would work against each other; remove one"
        ),
    ),
    "one deployment twice, once by the vendor's rule": (
        [FLEET | {"deployment": "a-matillion-agent-app"}, {"name": "a", "chart": "matillion-agent", "max": 3}],
        {},
        "autoscaling.fleets[1] (a): the Deployment matillion/a-matillion-agent-app is already listed at",
    ),
    "one fleet twice": (
        [FLEET, FLEET | {"deployment": "other"}],
        {},
        (
            "autoscaling.fleets[1] (etl): the fleet matillion/etl is already listed at autoscaling.fleets[0] "
            "(etl); two scalers would work against each other; remove one"
        ),
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradiction(chart: Chart, case: str) -> None:
    """The sentence names the value and what to do."""
    values, sentence = CONTRADICTIONS[case]
    good, said = chart.attempt(**values)
    assert not good
    assert sentence in _one_line(said)


@pytest.mark.parametrize("case", FLEETS)
def test_fleet_that_cannot_be_scaled(chart: Chart, case: str) -> None:
    """The sentence names the fleet, its place in the list, and what to do."""
    fleets, values, sentence = FLEETS[case]
    good, said = chart.attempt(autoscaling__fleets=fleets, **SCALED, **values)
    assert not good
    assert sentence in _one_line(said)


def _one_line(said: str) -> str:
    """Undo helm's line breaks."""
    return " ".join(said.split())
