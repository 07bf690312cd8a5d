"""A release over its life on a real API server: installed, upgraded, refused, removed.

Where the server at hand is older than the chart allows, the test installs a copy of the chart without that limit, and
with older versions of PodDisruptionBudgets and of the HPAs that NOTES reads.
"""

import json
import shutil
import ssl
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import RELEASE, RELEASE_NAME, Json
from tests.fakes.control_plane import ControlPlane
from tests.fakes.helm import CHART, Tool

pytestmark = pytest.mark.slow

SECRET = f"{RELEASE_NAME}-external-metrics-tls"
API_SERVICE = "v1beta1.external.metrics.k8s.io"
ALLOWED = (1, 25)
"""The oldest Kubernetes that Chart.yaml allows."""


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
        """Install or upgrade; return its output, successful or not."""
        # An older server cannot merge on its own side.
        older = ["--server-side=false"] if self._plane.version < ALLOWED else []
        done = self.helm(
            "upgrade", "--install", RELEASE, str(self._chart), "--namespace", "monitoring", "--create-namespace",
            *older, f"--dry-run={dry_run}", "--reset-values", "--values", "-", values=values,
        )  # fmt: skip
        output: str = done.stdout if done.returncode == 0 else done.stderr
        return output

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run a kubectl command that must not fail."""
        return self._kubectl.good("--kubeconfig", self._plane.kubeconfig, *arguments, stdin=stdin)

    def set_phase(self, pod: str, phase: str) -> None:
        """Set the phase of a pod, as a kubelet would."""
        path = f"/api/v1/namespaces/matillion/pods/{pod}/status"
        found = json.loads(self.kubectl("get", "--raw", path))
        found["status"]["phase"] = phase
        self.kubectl("replace", "--raw", path, "--filename", "-", stdin=json.dumps(found))

    def get(self, kind: str, name: str, namespace: str = "monitoring") -> Json:
        """Return an object."""
        found: Json = json.loads(self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json"))
        return found


@pytest.fixture(scope="session")
def adapted(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the chart as the API server accepts it."""
    if control_plane.version >= ALLOWED:
        return CHART
    chart = tmp_path_factory.mktemp("chart") / "chart"
    shutil.copytree(CHART, chart)
    for file, old, new in (
        ("Chart.yaml", 'kubeVersion: ">=1.25.0-0"', ""),
        ("templates/NOTES.txt", 'lookup "autoscaling/v2"', 'lookup "autoscaling/v1"'),
        ("templates/_budgets.tpl", 'lookup "policy/v1"', 'lookup "policy/v1beta1"'),
        ("templates/agentsdisruptionbudget.yaml", "apiVersion: policy/v1", "apiVersion: policy/v1beta1"),
        ("templates/poddisruptionbudget.yaml", "apiVersion: policy/v1", "apiVersion: policy/v1beta1"),
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


def _agent_verbs(cluster: Cluster) -> list[str]:
    """Return what the exporter may do with pods."""
    rules = cluster.get("role", f"monitoring-{RELEASE_NAME}-agents", "matillion")["rules"]
    verbs: list[str] = next(rule["verbs"] for rule in rules if rule["apiGroups"] == [""])
    return verbs


def test_the_release_that_disables_protection_keeps_the_permission_once(cluster: Cluster) -> None:
    """The exporter needs it to remove its annotations; the next upgrade revokes it, and a later use grants it again."""
    protects: Json = {"config": {"protection": {"enabled": True}}}
    for values, may_patch in (({}, False), (protects, True), ({}, True), ({}, False), (protects, True), ({}, True)):
        assert "runs as" in cluster.upgrade(values)
        assert ("patch" in _agent_verbs(cluster)) is may_patch


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


def test_an_existing_api_is_not_taken_over(cluster: Cluster) -> None:
    """Where another service serves the external metrics API, the release is refused and nothing is changed."""
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
        output = " ".join(cluster.upgrade({"config": {"external_metrics": {"enabled": True}}}).split())
        assert (
            f"the cluster already has an external metrics API (APIService {API_SERVICE}, served by "
            "keda/keda-operator-metrics-apiserver), and it can have only one; use autoscaling.mode kedaMetricsApi "
            "where KEDA serves it, or remove the other one first"
        ) in output
        assert cluster.get("apiservice", API_SERVICE)["spec"]["service"]["namespace"] == "keda"
        assert "runs as" in cluster.upgrade({}), "without the API the release goes in"
    finally:
        cluster.kubectl("delete", "apiservice", API_SERVICE)


def test_nothing_is_left_behind(cluster: Cluster) -> None:
    """After `helm uninstall` no object of the release is there any more, in any namespace."""
    values: Json = {"config": {"external_metrics": {"enabled": True}}, "networkPolicy": {"agents": {"enabled": True}}}
    values |= {"agentsDisruptionBudget": {"enabled": True, "fleets": [{"name": "etl", "namespace": "matillion"}]}}
    kinds = (
        "deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,"
        "networkpolicies,poddisruptionbudgets,apiservices"
    )
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/managed-by=Helm"
    look = ("get", kinds, "--all-namespaces", "--selector", selector, "--output", "name")
    others = set(cluster.kubectl(*look).split())
    cluster.upgrade(values)
    assert len(set(cluster.kubectl(*look).split()) - others) > 10
    assert cluster.helm("uninstall", RELEASE, "--namespace", "monitoring").returncode == 0
    assert set(cluster.kubectl(*look).split()) == others


@contextmanager
def serving(cluster: Cluster, group: str, kind: str) -> Iterator[None]:
    """Register a kind of another project in the API server, for a while."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything}}}
    plural = f"{kind.lower()}s"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}],
        },
    }
    cluster.kubectl("apply", "--validate=false", "--filename", "-", stdin=json.dumps(crd))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{plural}.{group}", "--timeout=30s")
    try:
        yield
    finally:
        cluster.kubectl("delete", "crd", f"{plural}.{group}")


def test_a_keda_that_is_too_old_is_refused(cluster: Cluster) -> None:
    """Helm recognizes KEDA 2.16 by an API that is new in it, and refuses CloudWatch with an older one."""
    values: Json = {
        "autoscaling": {"mode": "kedaCloudWatch", "fleets": [{"name": "etl", "max": 5}]},
        "config": {"cluster": "prod", "cloudwatch": {"enabled": True, "region": "eu-west-1"}},
    }
    with serving(cluster, "keda.sh", "ScaledObject"):
        assert "this cluster's KEDA is older than 2.16" in cluster.upgrade(values, dry_run="server")
        with serving(cluster, "eventing.keda.sh", "ClusterCloudEventSource"):
            output = cluster.upgrade(values, dry_run="server")
    assert "Scaled, by kedaCloudWatch" in output
    assert "Helm could not determine the installed version" not in output


def test_notes_warn_of_conflicts(cluster: Cluster) -> None:
    """The notes list other scalers of a Deployment, a missing Deployment, and policies that block the exporter."""
    hpa = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "vendors", "namespace": "matillion"},
        "spec": {
            "maxReplicas": 5,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "etl-runner"},
        },
    }
    for one in (hpa, policy("vendors", {})):
        cluster.kubectl("apply", "--validate=false", "--filename", "-", stdin=json.dumps(one))
    fleets = [{"name": "etl", "deployment": "etl-runner", "max": 5}]
    # Only a dry run: this server falls over objects of such kinds.
    values: Json = {"autoscaling": {"mode": "kedaMetricsApi", "fleets": fleets}}
    closed = values | {"networkPolicy": {"agents": {"enabled": False}}}
    with serving(cluster, "keda.sh", "ScaledObject"):
        output = " ".join(cluster.upgrade(closed, dry_run="server").split())
    assert "WARNING: there is no Deployment matillion/etl-runner, so the fleet etl is not scaled." in output
    assert "get deployments -l app.kubernetes.io/instance=etl" in output
    assert "WARNING: the Deployment matillion/etl-runner is also scaled by the HPA vendors." in output
    assert "WARNING: the namespace matillion has network policies, but none from this chart." in output
    cluster.kubectl("delete", "hpa,networkpolicy", "vendors", "--namespace", "matillion")
    cluster.kubectl("create", "deployment", "etl-runner", "--image=none", "--namespace", "matillion")
    with serving(cluster, "keda.sh", "ScaledObject"):
        output = cluster.upgrade(values, dry_run="server")
    cluster.kubectl("delete", "deployment", "etl-runner", "--namespace", "matillion")
    assert "Check next" in output
    assert "- the Deployment matillion/etl-runner, 2 to 5 agents, by the demand of the fleet etl" in output
    assert "had no access" not in output
    assert "WARNING" not in output


def policy(name: str, selector: Json, *, direction: str = "Ingress") -> Json:
    """Return a network policy beside the agents."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "matillion"},
        "spec": {"podSelector": selector, "policyTypes": [direction]},
    }


def pod(name: str, **labels: str) -> Json:
    """Return a pod of the vendor's chart."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "matillion", "labels": labels},
        "spec": {"automountServiceAccountToken": False, "containers": [{"name": "agent", "image": "none"}]},
    }


AGENT = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "etl"}
THEIRS: Json = {"matchLabels": AGENT}
OTHERS: Json = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["database"]}]}
NOT_THE_FIRST = "No network policy selects the agent matillion/agent-0, so the chart creates none in matillion"


@pytest.mark.parametrize(
    ("there", "made"),
    [
        ([], True),
        ([pod("agent-0", **AGENT)], False),
        ([pod("agent-0", **AGENT), policy("vendors", THEIRS)], True),
        ([pod("agent-0", **AGENT), policy("all", {})], True),
        ([pod("agent-0", **AGENT), policy("other", OTHERS)], False),
        ([pod("agent-0", **AGENT), policy("outward", THEIRS, direction="Egress")], False),
        ([pod("agent-0", **AGENT), pod("agent-1", **AGENT | {"app": "database"}), policy("other", OTHERS)], False),
        ([pod("script-0", **AGENT | {"app.kubernetes.io/component": "script-runner"})], True),
    ],
    ids=["no agent", "no policy", "the vendor's", "all pods'", "others'", "egress only", "one of two", "no agents"],
)
def test_the_agents_policy_is_never_their_first(cluster: Cluster, there: list[Json], made: bool) -> None:
    """Where the cluster has agents that are open to all clients, the chart blocks none of them."""
    for one in there:
        cluster.kubectl("create", "--filename", "-", stdin=json.dumps(one))
    try:
        output = " ".join(cluster.upgrade({}).split())
        assert (NOT_THE_FIRST in output) is not made
        assert ("-agents" in cluster.kubectl("get", "networkpolicies", "-n", "matillion", "-o", "name")) is made
        # Its own policy is no reason to keep it, nor to lose it.
        assert (NOT_THE_FIRST in " ".join(cluster.upgrade({}).split())) is not made
        cluster.upgrade({"networkPolicy": {"agents": {"enabled": True}}})
        assert "-agents" in cluster.kubectl("get", "networkpolicies", "-n", "matillion", "-o", "name")
    finally:
        cluster.kubectl("delete", "pods,networkpolicies", "--all", "-n", "matillion", "--grace-period=0", "--force")


def test_pods_that_ended_are_ignored(cluster: Cluster) -> None:
    """An evicted pod stays listed for long."""
    ended = pod("agent-0", **AGENT)
    cluster.kubectl("create", "--filename", "-", stdin=json.dumps(ended))
    try:
        assert NOT_THE_FIRST in " ".join(cluster.upgrade({}).split())
        cluster.set_phase("agent-0", "Failed")
        assert NOT_THE_FIRST not in " ".join(cluster.upgrade({}).split())
    finally:
        cluster.kubectl("delete", "pod", "agent-0", "-n", "matillion", "--grace-period=0", "--force")
