"""A release over its life on a real API server: installed, upgraded, refused, removed.

The server at hand is older than the chart allows, so the test installs a copy of the chart without that limit, without
what that server does not have (PodDisruptionBudgets), and with an older version of the HPAs that NOTES looks for.
"""

import json
import shutil
import ssl
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import RELEASE, RELEASE_NAME, Json
from tests.fakes.control_plane import ControlPlane
from tests.fakes.helm import CHART, Tool

pytestmark = [
    pytest.mark.slow,
    # The first test waits for the API server.
    pytest.mark.timeout(180),
]

SECRET = f"{RELEASE_NAME}-external-metrics-tls"
API_SERVICE = "v1beta1.external.metrics.k8s.io"
LEFT_OUT: Json = {"podDisruptionBudget": {"enabled": False}}


class Cluster:
    """Helm and kubectl on the API server."""

    def __init__(self, helm: Tool, kubectl: Tool, plane: ControlPlane, chart: Path) -> None:
        self._helm = helm
        self._kubectl = kubectl
        self._plane = plane
        self._chart = chart

    def helm(self, *arguments: str, values: Json | None = None) -> Any:
        """Run a helm command that may fail."""
        return self._helm(
            *arguments, "--kubeconfig", self._plane.kubeconfig, stdin="" if values is None else json.dumps(values)
        )

    def upgrade(self, values: Json, *, dry_run: str = "none") -> str:
        """Install or upgrade; return what it says, good or bad."""
        # An older server cannot merge on its own side.
        done = self.helm(
            "upgrade", "--install", RELEASE, str(self._chart), "--namespace", "monitoring", "--create-namespace",
            "--server-side=false", f"--dry-run={dry_run}", "--values", "-", values=LEFT_OUT | values,
        )  # fmt: skip
        said: str = done.stdout if done.returncode == 0 else done.stderr
        return said

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run a kubectl command that must not fail."""
        return self._kubectl.good("--kubeconfig", self._plane.kubeconfig, *arguments, stdin=stdin)

    def get(self, kind: str, name: str, namespace: str = "monitoring") -> Json:
        """Return an object."""
        found: Json = json.loads(self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json"))
        return found


@pytest.fixture(scope="session")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the chart as an older API server takes it."""
    chart = tmp_path_factory.mktemp("chart") / "chart"
    shutil.copytree(CHART, chart)
    for file, old, new in (
        ("Chart.yaml", 'kubeVersion: ">=1.25.0-0"', ""),
        ("templates/NOTES.txt", 'lookup "autoscaling/v2"', 'lookup "autoscaling/v1"'),
    ):
        text = (chart / file).read_text(encoding="utf-8")
        assert old in text
        (chart / file).write_text(text.replace(old, new), encoding="utf-8")
    return chart


@pytest.fixture
def cluster(helm: Tool, kubectl: Tool, control_plane: ControlPlane, adapted: Path) -> Iterator[Cluster]:
    made = Cluster(helm, kubectl, control_plane, adapted)
    if "matillion" not in made.kubectl("get", "namespaces", "--output", "name"):
        made.kubectl("create", "namespace", "matillion")
    yield made
    made.helm("uninstall", RELEASE, "--namespace", "monitoring", "--ignore-not-found")


def certificate(cluster: Cluster) -> dict[str, str]:
    """Return the generated certificate."""
    return {key: b64decode(value).decode() for key, value in cluster.get("secret", SECRET)["data"].items()}


def test_upgrades_keep_the_certificate(cluster: Cluster, tmp_path: Path) -> None:
    """An upgrade keeps the certificate, and what the API server trusts, until two thirds of its time are over."""
    values: Json = {"config": {"external_metrics": {"enabled": True}}}
    assert "runs as" in cluster.upgrade(values)
    first = certificate(cluster)
    assert b64decode(cluster.get("apiservice", API_SERVICE)["spec"]["caBundle"]).decode() == first["ca.crt"]
    assert _trusted(first, f"{RELEASE_NAME}-external-metrics.monitoring.svc", tmp_path)

    assert "runs as" in cluster.upgrade(values | {"replicaCount": 1})
    assert cluster.get("deployment", RELEASE_NAME)["spec"]["replicas"] == 1
    assert certificate(cluster) == first
    assert b64decode(cluster.get("apiservice", API_SERVICE)["spec"]["caBundle"]).decode() == first["ca.crt"]

    cluster.kubectl("annotate", "--overwrite", "-n", "monitoring", "secret", SECRET, "fleet-exporter/renew-after=1")
    cluster.upgrade(values)
    renewed = certificate(cluster)
    assert renewed["tls.crt"] != first["tls.crt"]
    assert b64decode(cluster.get("apiservice", API_SERVICE)["spec"]["caBundle"]).decode() == renewed["ca.crt"]

    assert "runs as" in cluster.upgrade({})
    assert API_SERVICE not in cluster.kubectl("get", "apiservices", "--output", "name")
    assert SECRET not in cluster.kubectl("get", "secrets", "-n", "monitoring", "--output", "name")


def _trusted(made: dict[str, str], host: str, folder: Path) -> bool:
    """Shake hands with a server that shows the certificate, as the API server does."""
    for key, text in made.items():
        (folder / key).write_text(text, encoding="utf-8")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(*pipes, server_hostname=host),
        server.wrap_bio(*reversed(pipes), server_side=True),
    ]
    done: set[int] = set()
    for _ in range(10):
        for index, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(index)
            except ssl.SSLWantReadError:
                continue
    return done == {0, 1}


def test_an_api_that_is_there_is_not_taken_over(cluster: Cluster) -> None:
    """Where somebody else serves the external metrics API, the release is refused and nothing is changed."""
    owner = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API_SERVICE},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "keda-operator-metrics-apiserver", "namespace": "keda", "port": 443},
        },
    }
    cluster.kubectl("create", "--filename", "-", stdin=json.dumps(owner))
    try:
        said = " ".join(cluster.upgrade({"config": {"external_metrics": {"enabled": True}}}).split())
        assert (
            f"the cluster already has an external metrics API (APIService {API_SERVICE}, served by "
            "keda/keda-operator-metrics-apiserver), and it can have only one; use autoscaling.mode kedaMetricsApi "
            "where KEDA serves it, or remove the other one first"
        ) in said
        assert cluster.get("apiservice", API_SERVICE)["spec"]["service"]["namespace"] == "keda"
        assert "runs as" in cluster.upgrade({}), "without the API the release goes in"
    finally:
        cluster.kubectl("delete", "apiservice", API_SERVICE)


def test_nothing_is_left_behind(cluster: Cluster) -> None:
    """After `helm uninstall` no object of the release is there any more, in any namespace."""
    values = {"config": {"external_metrics": {"enabled": True}}, "networkPolicy": {"agents": {"enabled": True}}}
    kinds = (
        "deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,"
        "networkpolicies,apiservices"
    )
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/managed-by=Helm"
    look = ("get", kinds, "--all-namespaces", "--selector", selector, "--output", "name")
    others = set(cluster.kubectl(*look).split())
    cluster.upgrade(values)
    assert len(set(cluster.kubectl(*look).split()) - others) > 10
    assert cluster.helm("uninstall", RELEASE, "--namespace", "monitoring").returncode == 0
    assert set(cluster.kubectl(*look).split()) == others


def test_notes_warn_of_what_is_in_the_way(cluster: Cluster) -> None:
    """NOTES names another HPA on the same Deployment, and network policies that shut the exporter out."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {
            "group": "keda.sh",
            "scope": "Namespaced",
            "names": {"plural": "scaledobjects", "singular": "scaledobject", "kind": "ScaledObject"},
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything}}},
                }
            ],
        },
    }
    hpa = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "vendors", "namespace": "matillion"},
        "spec": {
            "maxReplicas": 5,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "etl-runner"},
        },
    }
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "vendors", "namespace": "matillion"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    for one in (crd, hpa, policy):
        cluster.kubectl("apply", "--validate=false", "--filename", "-", stdin=json.dumps(one))
    cluster.kubectl("wait", "--for=condition=Established", "crd/scaledobjects.keda.sh", "--timeout=30s")
    fleets = [{"name": "etl", "deployment": "etl-runner", "max": 5}]
    # Only a dry run: this server falls over objects of such kinds.
    values = {"autoscaling": {"mode": "kedaMetricsApi", "fleets": fleets}}
    said = " ".join(cluster.upgrade(values, dry_run="server").split())
    assert "WARNING: the Deployment matillion/etl-runner is also scaled by the HPA vendors." in said
    assert "WARNING: the namespace matillion has network policies." in said
    cluster.kubectl("delete", "hpa,networkpolicy", "vendors", "--namespace", "matillion")
    said = cluster.upgrade(values, dry_run="server")
    assert "Look at next" in said
    assert "WARNING" not in said
