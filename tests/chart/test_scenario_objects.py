"""What each scenario of chart/ci is for, where no whole render is kept for review."""

from typing import Any

import pytest

from tests.chart.rendering import NAMESPACE, RELEASE_NAME, SCENARIOS, Chart, Json, Objects

API_SERVICE = f"{RELEASE_NAME}-external-metrics"
HOST = f"{API_SERVICE}.{NAMESPACE}.svc"
CERTIFICATES = {
    "external-metrics": f"{API_SERVICE}-tls",
    "external-metrics-cert-manager": f"{API_SERVICE}-tls",
    "external-metrics-secret": "fleet-exporter-serving",
}
"""The Secret that each source of a certificate fills."""


def secret_files(objects: Objects) -> dict[str, tuple[str, int]]:
    """Return each folder that a Secret is mounted at, read-only, with the Secret's name and its mode."""
    spec = objects.one("Deployment")["spec"]["template"]["spec"]
    volumes = {one["name"]: one["secret"] for one in spec["volumes"] if "secret" in one}
    return {
        mount["mountPath"]: (volumes[mount["name"]]["secretName"], volumes[mount["name"]]["defaultMode"])
        for mount in objects.container["volumeMounts"]
        if mount["name"] in volumes and mount["readOnly"]
    }


def egress(objects: Objects) -> list[Json]:
    """Return the rules for the exporter's own outgoing traffic."""
    found: list[Json] = objects.one("NetworkPolicy", RELEASE_NAME)["spec"]["egress"]
    return found


def peers(rules: list[Json], port: int | str) -> list[Json | None]:
    """Return the peers of each rule that opens a port; None where any will do."""
    return [rule.get("to") for rule in rules if port in {one["port"] for one in rule["ports"]}]


@pytest.mark.parametrize("scenario", CERTIFICATES)
def test_the_external_metrics_api_is_reached(chart: Chart, scenario: str) -> None:
    """From the APIService through its Service to the container's port, with the certificate of that host."""
    objects = chart.scenario(scenario)
    api = objects.one("APIService", "v1beta1.external.metrics.k8s.io")["spec"]
    assert (api["group"], api["version"]) == ("external.metrics.k8s.io", "v1beta1")
    assert api["service"] == {"name": API_SERVICE, "namespace": NAMESPACE, "port": 443}
    assert "insecureSkipTLSVerify" not in api
    (port,) = objects.one("Service", API_SERVICE)["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "external-metric")
    ports = {one["name"]: one["containerPort"] for one in objects.container["ports"]}
    settings = objects.config["external_metrics"]
    listened = int(settings["listen"].rpartition(":")[2])
    assert ports["external-metric"] == listened == (9443 if scenario == "external-metrics-secret" else 8443)
    ingress = objects.one("NetworkPolicy", RELEASE_NAME)["spec"]["ingress"]
    assert {one["port"] for rule in ingress for one in rule["ports"]} == {9850, listened}
    folder = "/etc/fleet-exporter/external-metrics-tls"
    assert (settings["cert_file"], settings["key_file"]) == (f"{folder}/tls.crt", f"{folder}/tls.key")
    assert secret_files(objects) == {folder: (CERTIFICATES[scenario], 0o440)}


def test_the_api_server_trusts_each_certificate(chart: Chart) -> None:
    """A generated one by its own CA, a given one by the given CA, cert-manager's by what that injects."""
    generated = chart.scenario("external-metrics")
    secret = generated.one("Secret")
    assert (secret["metadata"]["name"], secret["type"]) == (CERTIFICATES["external-metrics"], "kubernetes.io/tls")
    assert generated.one("APIService")["spec"]["caBundle"] == secret["data"]["ca.crt"]

    given = chart.scenario("external-metrics-secret")
    assert not given.of("Secret")
    assert not given.of("HorizontalPodAutoscaler"), "the scenario leaves them to others"
    assert given.one("APIService")["spec"]["caBundle"].startswith("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t")

    managed = chart.scenario("external-metrics-cert-manager")
    assert not managed.of("Secret")
    api = managed.one("APIService")
    assert "caBundle" not in api["spec"]
    assert api["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/{API_SERVICE}"}
    asked = managed.one("Certificate", API_SERVICE)["spec"]
    assert asked["secretName"] == CERTIFICATES["external-metrics-cert-manager"]
    assert asked["issuerRef"] == {"name": "internal-ca", "kind": "ClusterIssuer"}
    assert asked["dnsNames"] == [HOST, f"{HOST}.cluster.local"]
    assert asked["duration"] == "2160h"
    assert asked["usages"] == ["digital signature", "server auth"]
    assert asked["privateKey"] == {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}


def test_bindings_of_the_external_metrics_api(chart: Chart) -> None:
    """The exporter may ask who may read a metric and know the front proxy; the HPA's controller may read."""
    objects = chart.scenario("external-metrics")
    ours = [{"kind": "ServiceAccount", "name": RELEASE_NAME, "namespace": NAMESPACE}]
    controller = [{"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}]
    bound = {
        one["roleRef"]["name"].rpartition("-")[2]: (one["metadata"].get("namespace"), one["subjects"])
        for one in objects.of("RoleBinding") + objects.of("ClusterRoleBinding")
    }
    assert bound == {
        "agents": (NAMESPACE, ours),
        "authorizer": (None, ours),
        "reader": ("kube-system", ours),
        "hpa": (None, controller),
    }


def test_web_port_with_every_lock(chart: Chart) -> None:
    """Certificate, client CA, users and token come from their Secrets; the kubelet and Prometheus use HTTPS."""
    objects = chart.scenario("secured-web")
    root = "/etc/fleet-exporter"
    assert objects.config["web"] == {
        "external_url": None,
        "history_file": None,
        "hosts": [],
        "listen": "0.0.0.0:9850",
        "tls": {
            "cert_file": f"{root}/web-tls/tls.crt",
            "key_file": f"{root}/web-tls/tls.key",
            "client_ca_file": f"{root}/web-tls/ca.crt",
        },
        "basic_auth": {"users_file": f"{root}/basic-auth/users"},
        "bearer_token_file": f"{root}/bearer-token/token",
    }
    assert secret_files(objects) == {
        f"{root}/web-tls": ("fleet-exporter-web", 0o440),
        f"{root}/basic-auth": ("fleet-exporter-users", 0o440),
        f"{root}/bearer-token": ("fleet-exporter-token", 0o440),
    }
    probes = [objects.container[probe]["httpGet"]["scheme"] for probe in ("readinessProbe", "livenessProbe")]
    assert probes == ["HTTPS", "HTTPS"]
    (endpoint,) = objects.one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {
        "ca": {"secret": {"name": "fleet-exporter-web", "key": "ca.crt"}},
        "serverName": f"{RELEASE_NAME}.{NAMESPACE}.svc",
    }
    assert endpoint["authorization"] == {"credentials": {"name": "fleet-exporter-token", "key": "token"}}


def test_the_release_test_gets_no_private_key(chart: Chart) -> None:
    """The pod of `helm test` has the certificate and the token, and expects to be refused without one of its own."""
    spec = chart.scenario("secured-web").one("Pod")["spec"]
    (container,) = spec["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment == {
        "URL": f"https://{RELEASE_NAME}.{NAMESPACE}.svc:9850",
        "METRICS_STATUS": "403",
        "CERTIFICATE_FILE": "/etc/fleet-exporter/web-tls/tls.crt",
        "TOKEN_FILE": "/etc/fleet-exporter/bearer-token/token",
    }
    mounted = {one["name"]: one["secret"] for one in spec["volumes"]}
    assert mounted["web-tls"]["items"] == [{"key": "tls.crt", "path": "tls.crt"}]
    assert mounted["bearer-token"]["secretName"] == "fleet-exporter-token"


def test_the_whole_cluster(chart: Chart) -> None:
    """Agents of every namespace are reached; where none is named, no policy opens them."""
    objects = chart.scenario("whole-cluster")
    for port in (9464, 8080, "otel-metrics", "metrics"):
        ((peer,),) = peers(egress(objects), port)
        assert peer["namespaceSelector"] == {}
    assert [one["metadata"]["name"] for one in objects.of("NetworkPolicy")] == [RELEASE_NAME]
    (binding,) = objects.of("ClusterRoleBinding")
    assert binding["roleRef"]["kind"] == "ClusterRole"
    assert not objects.of("Role")


def test_one_replica_from_a_private_registry(chart: Chart) -> None:
    """Both pods are of the image by digest, with the registry's credentials; one replica has no budget."""
    objects = chart.scenario("whole-cluster")
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    for _, spec in objects.pod_specs:
        (container,) = spec["containers"]
        assert container["image"] == f"registry.example/matillion-fleet-exporter@{digest}"
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert objects.one("Deployment")["spec"]["replicas"] == 1
    assert not objects.of("PodDisruptionBudget")
    assert chart.scenario("cloudwatch").one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_listed_agents(chart: Chart) -> None:
    """The list is mounted; beside DNS only what the values open is asked; there are no roles and no other policy."""
    objects = chart.scenario("static-targets")
    assert objects.config["discovery"]["static"] == {"file": "/etc/fleet-exporter/targets/targets.yaml"}
    spec = objects.one("Deployment")["spec"]["template"]["spec"]
    (volume,) = (one for one in spec["volumes"] if one["name"] == "targets")
    assert volume["configMap"] == {"name": "fleet-exporter-targets"}
    rules = egress(objects)
    assert [{one["port"] for one in rule["ports"]} for rule in rules] == [{53}, {9464}]
    assert peers(rules, 9464) == [[{"ipBlock": {"cidr": "10.9.0.0/16"}}]]
    assert len(objects.of("NetworkPolicy")) == 1
    assert not any(objects.of(kind) for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"))
    assert not objects.of("PodDisruptionBudget")


@pytest.mark.parametrize(
    ("scenario", "deployment"),
    [("keda-metrics-api", "etl-prod-matillion-runner-app"), ("keda-cloudwatch", "etl-prod-workers")],
)
def test_what_keda_scales(chart: Chart, scenario: str, deployment: str) -> None:
    """The agents' Deployment, within the fleet's bounds, asked as often as the values say."""
    scaled = chart.scenario(scenario).one("ScaledObject", "etl-prod-fleet")
    assert scaled["metadata"]["namespace"] == "matillion"
    spec: Any = scaled["spec"]
    assert spec["scaleTargetRef"] == {"name": deployment}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["pollingInterval"]) == (2, 12, 15)
    (trigger,) = spec["triggers"]
    assert trigger["metricType"] == "AverageValue"
    assert not chart.scenario(scenario).of("APIService"), "a cluster has one, and KEDA's is there"


def test_peers_of_the_web_port(chart: Chart) -> None:
    """Where peers are named: those, the release's own test, and KEDA if it asks here."""
    (rule,) = chart.scenario("keda-metrics-api").one("NetworkPolicy", RELEASE_NAME)["spec"]["ingress"]
    test = chart.scenario("keda-metrics-api").one("Pod")["metadata"]["labels"]
    named, own_test, keda = rule["from"]
    assert named == {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    assert own_test["podSelector"]["matchLabels"].items() <= test.items()
    assert keda == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}


def test_what_the_operator_selects_by(chart: Chart) -> None:
    """The monitor and each rule object carry the labels by which an operator's Prometheus finds them."""
    objects = chart.scenario("prometheus-operator")
    found = objects.of("PrometheusRule") + objects.of("ServiceMonitor")
    assert len(found) == 3
    for one in found:
        assert one["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    monitor = objects.one("ServiceMonitor")["spec"]
    assert monitor["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    (endpoint,) = monitor["endpoints"]
    assert {key: endpoint[key] for key in ("port", "path", "scheme", "interval", "scrapeTimeout")} == {
        "port": "web", "path": "/metrics", "scheme": "http", "interval": "15s", "scrapeTimeout": "10s"
    }  # fmt: skip
    assert not {"tlsConfig", "authorization", "basicAuth"} & endpoint.keys()


def test_where_the_history_of_the_page_is(chart: Chart) -> None:
    """Where the values say; the default that lies beside the spool does not replace that."""
    objects = chart.objects(SCENARIOS["cloudwatch"], config__web__history_file="/data/page-history")
    assert objects.config["web"]["history_file"] == "/data/page-history"


def test_what_cloudwatch_takes(chart: Chart) -> None:
    """A spool to write to, the way to AWS and to the pod's credentials, and agents in both namespaces."""
    objects = chart.scenario("cloudwatch")
    settings = objects.config["cloudwatch"]
    assert settings["spool"] == {"path": "/var/lib/fleet-exporter/spool.db", "max_age": "336h", "max_datums": 500000}
    spec = objects.one("Deployment")["spec"]["template"]["spec"]
    (spool,) = (one for one in spec["volumes"] if one["name"] == "spool")
    assert spool["emptyDir"] == {"sizeLimit": "512Mi"}
    assert {"name": "spool", "mountPath": "/var/lib/fleet-exporter"} in objects.container["volumeMounts"]
    assert objects.container["env"] == [
        {"name": "POD_IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
        {"name": "SQLITE_TMPDIR", "value": "/var/lib/fleet-exporter"},
    ]
    assert objects.config["web"]["history_file"] == "/var/lib/fleet-exporter/page-history"
    rules = egress(objects)
    assert peers(rules, 443) == [None, None], "the API server, and AWS"
    assert peers(rules, 80) == [
        [{"ipBlock": {"cidr": cidr}} for cidr in ("169.254.170.23/32", "fd00:ec2::23/128", "169.254.169.254/32")]
    ]
    ((agents,),) = peers(rules, 9464)
    (within,) = agents["namespaceSelector"]["matchExpressions"]
    assert within["values"] == ["matillion", "matillion-eu"]
    opened = [
        one["metadata"]["namespace"] for one in objects.of("NetworkPolicy") if one["spec"]["policyTypes"] == ["Ingress"]
    ]
    assert opened == ["matillion", "matillion-eu"]
