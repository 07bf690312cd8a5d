"""What single values make of the objects."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendering import NAMESPACE, RELEASE, RELEASE_NAME, SCENARIOS, Chart, Json, Objects
from tests.fakes.helm import CHART, ROOT, Tool

SERVICE = f"http://{RELEASE_NAME}.{NAMESPACE}.svc"
FLEET = {"name": "etl", "deployment": "etl-runner", "min": 3, "max": 5}
PODS = ("", "pods", "list watch")
MEMORY = ("metrics.k8s.io", "pods", "list")
SCALERS = ("autoscaling", "horizontalpodautoscalers", "list watch")
LEASE = (
    ("coordination.k8s.io", "leases", "get update"),
    ("", "configmaps", "get update"),
    ("coordination.k8s.io", "leases", "create"),
    ("", "configmaps", "create"),
)


def rules(objects: Objects, *, kind: str = "Role") -> set[tuple[str, str, str]]:
    """Return the rules of all roles of a kind: group, resource and verbs."""
    return {
        (*one["apiGroups"], *one["resources"], " ".join(one["verbs"]))
        for role in objects.of(kind)
        for one in role["rules"]
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "role", "cluster_role"),
    [
        ({}, {PODS, MEMORY, SCALERS}, set()),
        ({"config__discovery__kubernetes__namespaces": []}, set(), {PODS, MEMORY, SCALERS}),
        ({"config__discovery__kubernetes__enabled": False}, set(), set()),
        ({"config__cloudwatch__enabled": True, "config__cluster": "x"}, {PODS, MEMORY, SCALERS, *LEASE}, set()),
        (
            {"config__deletion_cost__enabled": True},
            {("", "pods", "list watch patch"), MEMORY, SCALERS, *LEASE},
            set(),
        ),
        (
            {"config__protection__enabled": True},
            {("", "pods", "list watch patch"), MEMORY, SCALERS, *LEASE},
            set(),
        ),
        (
            {"config__protection": {"enabled": True, "nodes": True}},
            {("", "pods", "list watch patch"), MEMORY, SCALERS, *LEASE},
            {("", "nodes", "get list patch")},
        ),
        ({"config__protection__nodes": True}, {PODS, MEMORY, SCALERS}, {("", "nodes", "get list patch")}),
        (
            {"config__pod_logs": {"enabled": True, "failure_pattern": "x"}},
            {PODS, MEMORY, SCALERS, ("", "pods/log", "get"), *LEASE},
            set(),
        ),
        (
            {"config__external_metrics__enabled": True},
            {PODS, MEMORY, SCALERS},
            {
                ("authorization.k8s.io", "subjectaccessreviews", "create"),
                ("external.metrics.k8s.io", "*", "get list"),
            },
        ),
        ({"config__scalers__enabled": False}, {PODS, MEMORY}, set()),
        ({"rbac__create": False, "config__external_metrics__enabled": True}, set(), set()),
    ],
    ids=[
        "default",
        "cluster",
        "static",
        "cloudwatch",
        "deletion cost",
        "protection",
        "protection of nodes",
        "removal from nodes",
        "logs",
        "external metrics",
        "no scalers",
        "no rbac",
    ],
)
def test_rights_follow_the_features(
    chart: Chart, values: dict[str, Any], role: set[Any], cluster_role: set[Any]
) -> None:
    """Each feature brings its own rules and no others; the cluster is only asked for where it must be."""
    objects = chart.objects(**values)
    assert rules(objects) == role
    assert rules(objects, kind="ClusterRole") == cluster_role


def test_each_namespace_has_its_role(chart: Chart) -> None:
    """Rights are given in the watched namespaces, each to the account in the release's own."""
    objects = chart.scenario("cloudwatch")
    places = {one["metadata"]["namespace"] for one in objects.of("Role") if one["metadata"]["name"].endswith("-agents")}
    assert places == {"matillion", "matillion-eu"}
    for binding in objects.of("RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": RELEASE_NAME, "namespace": NAMESPACE}]
    lease = objects.one("Role", f"{RELEASE_NAME}-lease")
    assert lease["metadata"]["namespace"] == NAMESPACE
    assert lease["rules"][0]["resourceNames"] == [objects.config["leader_election"]["lease_name"]] == [RELEASE_NAME]


def test_token_only_where_it_is_used(chart: Chart) -> None:
    """A pod that asks no API server has no token; the account itself never hands one out."""
    for values, wanted in (
        ({}, True),
        ({"config__discovery__kubernetes__enabled": False}, False),
        ({"config__discovery__kubernetes__enabled": False, "config__external_metrics__enabled": True}, True),
    ):
        objects = chart.objects(**values)
        assert objects.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is wanted
        assert objects.one("ServiceAccount")["automountServiceAccountToken"] is False
        assert objects.one("Pod")["spec"]["automountServiceAccountToken"] is False


def test_role_of_irsa(chart: Chart) -> None:
    """The account carries the IAM role."""
    annotations = chart.scenario("cloudwatch").one("ServiceAccount")["metadata"]["annotations"]
    assert annotations == {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/fleet-exporter"}


def test_pods_are_replaced_when_settings_change(chart: Chart) -> None:
    """The checksum of the settings follows them, and nothing else."""

    def checksum(**values: Any) -> str:
        annotations = chart.objects(**values).one("Deployment")["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/config"])

    assert checksum() == checksum(replicaCount=3) != checksum(config__scrape__interval="6s")


def test_large_numbers_stay_whole(chart: Chart) -> None:
    """A number of seven digits reaches the exporter as one, not as 1e+06."""
    text = chart.text(config__scrape__max_body_bytes=104857600)
    assert "max_body_bytes: 104857600\n" in text


def test_hpa(chart: Chart) -> None:
    """An HPA divides the fleet's demand among its agents."""
    objects = chart.objects(
        config__external_metrics__enabled=True, autoscaling__mode="externalMetrics", autoscaling__fleets=[FLEET]
    )
    hpa = objects.one("HorizontalPodAutoscaler")
    assert hpa["metadata"]["namespace"] == "matillion"
    spec = hpa["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "etl-runner"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 5)
    assert spec["metrics"] == [
        {
            "type": "External",
            "external": {
                "metric": {"name": "matillion_fleet_demand_tasks", "selector": {"matchLabels": {"fleet": "etl"}}},
                "target": {"type": "AverageValue", "averageValue": "16"},
            },
        }
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scaler"),
    [("etl", "etl-fleet"), ("ETL_Prod.1", "etl-prod-1-fleet"), ("f" * 63, f"{'f' * 57}-fleet")],
)
def test_name_of_a_scaler(chart: Chart, name: str, scaler: str) -> None:
    """Any value of a label can be a fleet's name; the scaler is called after it, the metric is asked for by it."""
    fleet = FLEET | {"name": name}
    objects = chart.objects(
        config__external_metrics__enabled=True, autoscaling__mode="externalMetrics", autoscaling__fleets=[fleet]
    )
    hpa = objects.one("HorizontalPodAutoscaler", scaler)
    selector = hpa["spec"]["metrics"][0]["external"]["metric"]["selector"]
    assert selector == {"matchLabels": {"fleet": name}}


def test_a_fleets_own_target_and_pace(chart: Chart) -> None:
    """What a fleet says for itself goes before what is said for all."""
    hpa = chart.scenario("external-metrics").one("HorizontalPodAutoscaler", "etl-night-fleet")["spec"]
    assert hpa["metrics"][0]["external"]["target"]["averageValue"] == "17"
    assert hpa["minReplicas"] == 2
    assert hpa["behavior"] == {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 30}]}}


def test_keda_asks_the_exporter(chart: Chart) -> None:
    """The trigger's URL is the Service's demand route of that fleet."""
    objects = chart.scenario("keda-metrics-api")
    spec = objects.one("ScaledObject")["spec"]
    (trigger,) = spec["triggers"]
    service = objects.one("Service")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
    assert trigger == {
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {
            "url": f"http://{host}/api/v1/fleets/matillion/etl-prod/demand",
            "valueLocation": "value",
            "targetValue": "16",
        },
    }
    policy = objects.one("NetworkPolicy", RELEASE_NAME)
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}} in policy["spec"]["ingress"][
        0
    ]["from"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("secured", "mode"),
    [
        ({}, None),
        ({"web__bearerToken__secretName": "token"}, "bearer"),
        ({"web__basicAuth__secretName": "users"}, "basic"),
        ({"web__tls": {"secretName": "web", "clientCertificates": True}}, "tls"),
    ],
    ids=str,
)
def test_keda_authenticates(chart: Chart, secured: dict[str, Any], mode: str | None) -> None:
    """Where the web port asks for credentials, the trigger says which ones its TriggerAuthentication holds."""
    reference = {"name": "keda-exporter"}
    objects = chart.objects(
        autoscaling={"mode": "kedaMetricsApi", "fleets": [FLEET], "keda": {"authenticationRef": reference}}, **secured
    )
    (trigger,) = objects.one("ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"].get("authMode") == mode
    assert trigger["authenticationRef"] == reference


def test_keda_asks_cloudwatch(chart: Chart) -> None:
    """The trigger names exactly what is published, and takes a missing value for an error."""
    objects = chart.scenario("keda-cloudwatch")
    (trigger,) = objects.one("ScaledObject")["spec"]["triggers"]
    assert trigger["authenticationRef"] == {"name": "keda-aws"}
    assert trigger["metadata"] == {
        "awsRegion": "eu-west-1",
        "namespace": objects.config["cloudwatch"]["namespace"],
        "metricName": "DemandTasks",
        "dimensionName": "ClusterName;Namespace;Fleet",
        "dimensionValue": "prod-eks;matillion;etl-prod",
        "metricStat": "Maximum",
        "metricStatPeriod": "60",
        "metricCollectionTime": "180",
        "targetMetricValue": "15",
        "minMetricValue": "0",
        "ignoreNullValues": "false",
    }


def test_rules_are_delivered_as_they_are(chart: Chart) -> None:
    """The rule files reach Prometheus unchanged in both ways but for the runbooks' address, which is the release's."""
    files = {file.name: file.read_text(encoding="utf-8") for file in (CHART / "files" / "rules").glob("*.yaml")}
    assert "alerts.yaml" in files
    files = {
        name: text.replace("http://matillion-fleet-exporter.matillion.svc", SERVICE) for name, text in files.items()
    }
    as_maps = chart.objects(prometheus__rules="configMap")
    assert {k: v for one in as_maps.of("ConfigMap") for k, v in one["data"].items() if k in files} == files
    as_objects = chart.objects(prometheus__rules="prometheusRule")
    delivered = {json.dumps(one["spec"], sort_keys=True) for one in as_objects.of("PrometheusRule")}
    assert delivered == {json.dumps(yaml.safe_load(text), sort_keys=True) for text in files.values()}


def test_runbook_links_lead_where_people_reach_the_exporter(chart: Chart) -> None:
    """At an address of their own, at that of the exporter, or where the runbooks are published; with the names."""
    for values, base in (
        ({"prometheus__runbookBaseUrl": "https://wiki.test/fleet/"}, "https://wiki.test/fleet/"),
        ({"config__web__external_url": "https://fleets.test/eks/"}, "https://fleets.test/eks/runbooks/"),
        ({"config__web__external_url": "https://fleets.test"}, "https://fleets.test/runbooks/"),
        ({"web__tls__secretName": "tls", "service__port": 443}, f"{SERVICE.replace('http:', 'https:')}:443/runbooks/"),
    ):
        rules = chart.objects(prometheus__rules="prometheusRule", **values).of("PrometheusRule")
        groups = (group for one in rules for group in one["spec"]["groups"])
        links = {
            rule["alert"]: rule["annotations"]["runbook_url"] for g in groups for rule in g["rules"] if "alert" in rule
        }
        assert len(links) > 20
        for alert, link in links.items():
            assert link.partition("?")[0] == f"{base}{alert}"
        assert links["MatillionFleetSaturated"].endswith(
            "?namespace={{$labels.namespace|urlquery}}&fleet={{$labels.fleet|urlquery}}"
        )


def test_dashboards_are_delivered_as_they_are(chart: Chart) -> None:
    """Every dashboard is a ConfigMap of its own that the sidecar finds."""
    files = {file.name: file.read_text(encoding="utf-8") for file in (CHART / "files" / "dashboards").glob("*.json")}
    maps = [one for one in chart.scenario("prometheus-operator").of("ConfigMap") if "config.yaml" not in one["data"]]
    assert {name: json.loads(text) for one in maps for name, text in one["data"].items()} == {
        name: json.loads(text) for name, text in files.items()
    }
    for one in maps:
        assert one["metadata"]["namespace"] == "grafana"
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "Matillion"}


def test_policies_as_narrow_as_they_get(chart: Chart) -> None:
    """Each direction has its ports and its peers; the agents are opened to the exporter's pods only."""
    objects = chart.scenario("network-policies")
    own = objects.one("NetworkPolicy", RELEASE_NAME)["spec"]
    assert {port["port"] for rule in own["ingress"] for port in rule["ports"]} == {9850, 8443}
    assert all("from" in rule for rule in own["ingress"])
    assert all("to" in rule for rule in own["egress"])
    agents = {9464, 8080, 9555, "otel-metrics"}
    assert {port["port"] for rule in own["egress"] for port in rule["ports"]} == {53, 80, 443, 6443, 3128} | agents
    for namespace in ("matillion", "matillion-eu"):
        (policy,) = (
            one["spec"]
            for one in objects.of("NetworkPolicy")
            if one["metadata"]["namespace"] == namespace and one["metadata"]["name"].endswith("-agents")
        )
        assert policy["podSelector"]["matchExpressions"] == [
            {"key": "app.kubernetes.io/name", "operator": "In", "values": ["matillion-agent", "matillion-runner"]},
            {"key": "app.kubernetes.io/component", "operator": "DoesNotExist"},
            {"key": "tier", "operator": "NotIn", "values": ["test"]},
        ]
        assert policy["policyTypes"] == ["Ingress"], "what else the agents may do is not its business"
        by_number, by_name = policy["ingress"]
        assert {port["port"] for port in by_number["ports"]} == {9464, 8080, 9555}
        assert {port["port"] for port in by_name["ports"]} == {"otel-metrics"}
        for rule in (by_number, by_name):
            (peer,) = rule["from"]
            assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
            labels = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"]
            assert peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_prometheus_finds_it_in_one_way(chart: Chart) -> None:
    """Annotations or a ServiceMonitor, never both: it would be scraped twice."""

    def annotated(objects: Objects) -> Json:
        annotations = objects.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
        return {key: value for key, value in annotations.items() if key.startswith("prometheus.io/")}

    by_annotations = chart.scenario("default")
    assert annotated(by_annotations) == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9850",
        "prometheus.io/path": "/metrics",
        "prometheus.io/scheme": "http",
    }
    assert not by_annotations.of("ServiceMonitor")
    by_monitor = chart.scenario("prometheus-operator")
    assert not annotated(by_monitor)
    (endpoint,) = by_monitor.one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True, "or the agents' namespace would become exported_namespace"
    assert not chart.objects(prometheus__discovery="none").of("ServiceMonitor")


def test_names_that_are_too_long_are_cut(chart: Chart) -> None:
    """No name of an object outgrows what Kubernetes takes, however long the release's is."""
    objects = chart.objects(
        SCENARIOS["everything"], fullnameOverride="a" * 63, autoscaling__fleets=[FLEET | {"name": "f" * 63}]
    )
    for one in objects:
        if one["kind"] != "APIService":
            assert len(one["metadata"]["name"]) <= (253 if "Role" in one["kind"] else 63), one["metadata"]["name"]


def test_package(helm: Tool, tmp_path: Path) -> None:
    """The packaged chart holds what it needs and none of its tests, and renders the same."""
    helm.good("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("matillion-fleet-exporter-*.tgz")
    with tarfile.open(package) as archive:
        names = {name.removeprefix("matillion-fleet-exporter/") for name in archive.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "files/test.py", "files/rules/alerts.yaml"} <= names
    assert not any(name.startswith("ci/") for name in names)
    assert package.stat().st_size < 500_000, "a release is stored in a Secret, which takes 1 MiB"
    rendered = [helm.good("template", RELEASE, source, "--namespace", NAMESPACE) for source in (CHART, package)]
    assert rendered[0] == rendered[1]


def test_scenarios_cover_the_modes() -> None:
    """There is a file of values for each way to scale and each source of a certificate."""
    texts = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "chart" / "ci").glob("*.yaml"))
    for word in ("externalMetrics", "kedaMetricsApi", "kedaCloudWatch", "certManager", "secret", "prometheusRule"):
        assert word in texts
