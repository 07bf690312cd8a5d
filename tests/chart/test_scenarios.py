"""What the chart renders in each scenario of chart/ci."""

import difflib
import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from exporter.config import load
from exporter.kube.selector import parse_selector
from tests.chart.rendering import NAMESPACE, RELEASE, RELEASE_NAME, SCENARIOS, Chart, Objects, reviewed
from tests.fakes.helm import CHART, Tool
from tools.programs import ROOT, MissingError

GOLDEN = ROOT / "tests" / "golden" / "chart"
REVIEWED = ("default", "everything", "network-policies")
"""Scenarios whose whole render is kept; what the others are for is in test_scenario_objects.py."""
OLDEST = "1.25"
"""What Chart.yaml's kubeVersion promises."""
NEWEST = kubernetes_validate.latest_version()
FOREIGN = {
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PrometheusRule"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "cert-manager.io/v1": {"Certificate"},
}
"""Kinds of other projects, of which the Kubernetes schemas know nothing."""

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


@pytest.mark.slow
@each_scenario
def test_lint(helm: Tool, scenario: str) -> None:
    """Helm's own strict lint finds nothing."""
    said = helm.good("lint", "--strict", CHART, "--values", SCENARIOS[scenario])
    assert "WARNING" not in said
    assert "ERROR" not in said


@pytest.fixture(scope="session")
def helm_3(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Give the Helm before, whose checks of values and templates are other ones in places."""
    try:
        return Tool("helm", tmp_path_factory.mktemp("helm-3"), version=3)
    except MissingError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@each_scenario
def test_helm_3_renders_the_same(chart: Chart, helm_3: Tool, scenario: str) -> None:
    """Helm 3 finds nothing wrong either, and makes the same of it."""
    helm_3.good("lint", "--strict", CHART, "--values", SCENARIOS[scenario])
    text = helm_3.good("template", RELEASE, CHART, "--namespace", NAMESPACE, "--values", SCENARIOS[scenario])
    assert reviewed(text) == reviewed(chart.scenario_text(scenario))


@pytest.mark.slow
def test_helm_3_refuses_alike(helm_3: Tool) -> None:
    """Helm 3 checks values by the same schema."""
    done = helm_3("template", CHART, "--set", "config.scrape.intervall=5s")
    assert done.returncode != 0
    assert "config.scrape: Additional property intervall is not allowed" in done.stderr


@pytest.mark.parametrize("scenario", REVIEWED)
def test_golden(chart: Chart, scenario: str) -> None:
    """The render is the one that was looked at; UPDATE_GOLDEN=1 writes it anew."""
    text, file = reviewed(chart.scenario_text(scenario)), GOLDEN / f"{scenario}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    known = file.read_text(encoding="utf-8")
    difference = difflib.unified_diff(known.splitlines(), text.splitlines(), "golden", "rendered", lineterm="")
    assert text == known, "\n".join(difference)


@pytest.mark.slow
@each_scenario
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_schemas(chart: Chart, scenario: str, version: str) -> None:
    """Every object is what Kubernetes' schema says, with no field that it does not know."""
    checked = 0
    for one in chart.scenario(scenario):
        if one["kind"] in FOREIGN.get(one["apiVersion"], ()):
            continue
        kubernetes_validate.validate(one, version, strict=True)
        checked += 1
    assert checked > 3


@pytest.mark.slow
@each_scenario
def test_kubectl_reads_it(chart: Chart, kubectl: Tool, scenario: str) -> None:
    """Kubectl's own types take every object, as they do for `apply --dry-run=client` where a server is at hand."""
    own = [one for one in chart.scenario(scenario) if one["apiVersion"] not in FOREIGN]
    wrapped = json.dumps({"apiVersion": "v1", "kind": "List", "items": own})
    said = kubectl.good("annotate", "--local", "--filename", "-", "looked=at", "--output", "name", stdin=wrapped)
    assert len(said.split()) == len(own)


@each_scenario
def test_restricted_pod_security(chart: Chart, scenario: str) -> None:
    """Every pod passes the restricted Pod Security Standard, and cannot write to its own root."""
    pods = dict(chart.scenario(scenario).pod_specs)
    assert set(pods) == {RELEASE_NAME, f"{RELEASE_NAME}-test"}
    for spec in pods.values():
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & spec.keys()
        pod = spec["securityContext"]
        assert (pod["runAsNonRoot"], pod["runAsUser"], pod["fsGroup"]) == (True, 65534, 65534)
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        allowed = {"configMap", "emptyDir", "secret"}
        assert all(volume.keys() - {"name"} <= allowed for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not any("hostPort" in port for port in container.get("ports", []))
            assert {"requests", "limits"} <= container["resources"].keys()


@each_scenario
def test_selectors_meet_their_pods(chart: Chart, scenario: str) -> None:
    """Services, policies, budget and spread select the exporter's pods, and never the test's or the agents'."""
    objects = chart.scenario(scenario)
    deployment = objects.one("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    test_labels = objects.one("Pod")["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for one in objects.of("Service")]
    selectors += [
        one["spec"]["selector"]["matchLabels"]
        for one in objects.of("PodDisruptionBudget")
        if one["metadata"]["name"] == RELEASE_NAME
    ]
    selectors += [
        one["spec"]["podSelector"]["matchLabels"]
        for one in objects.of("NetworkPolicy")
        if one["metadata"]["name"] == RELEASE_NAME
    ]
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    selectors += [one["labelSelector"]["matchLabels"] for one in spread]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test_labels.items()
    agents = parse_selector(objects.config["discovery"]["kubernetes"]["label_selector"])
    assert not agents.matches(labels), "or the exporter would find itself"
    assert not agents.matches(test_labels)
    for monitor in objects.of("ServiceMonitor"):
        (selected,) = (
            service
            for service in objects.of("Service")
            if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        )
        assert selected["spec"]["ports"][0]["name"] == monitor["spec"]["endpoints"][0]["port"]


@each_scenario
def test_names_refer_to_what_is_there(chart: Chart, scenario: str) -> None:
    """Every mount has its volume, every port its name, every binding its role and every reference its object."""
    objects = chart.scenario(scenario)
    ports = {port["name"]: port["containerPort"] for port in objects.container["ports"]}
    for service in objects.of("Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()
    assert {objects.container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {"web"}
    for _, spec in objects.pod_specs:
        for container in spec["containers"]:
            mounts = [mount["name"] for mount in container.get("volumeMounts", [])]
            assert sorted(mounts) == sorted(volume["name"] for volume in spec.get("volumes", []))
    roles = {(one["kind"], one["metadata"]["name"]) for one in objects if one["kind"] in ("Role", "ClusterRole")}
    roles.add(("Role", "extension-apiserver-authentication-reader"))
    for binding in objects.of("RoleBinding") + objects.of("ClusterRoleBinding"):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles
    account = objects.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert account == objects.one("ServiceAccount")["metadata"]["name"]


@each_scenario
def test_check_config(chart: Chart, scenario: str, tmp_path: Path) -> None:
    """The exporter finds nothing wrong with the rendered settings."""
    objects = chart.scenario(scenario)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(_with_files(objects, objects.config, tmp_path)), encoding="utf-8")
    environment = {one["name"]: one["value"] for one in objects.container.get("env", []) if "value" in one}
    load(config, environment)


def _with_files(objects: Objects, value: Any, folder: Path) -> Any:
    """Return settings in which files on the pod's mounts are files in a folder; one on no mount is left alone."""
    if isinstance(value, dict):
        return {key: _with_files(objects, inner, folder) for key, inner in value.items()}
    mounts = [mount["mountPath"] for mount in objects.container["volumeMounts"]]
    if isinstance(value, str) and any(value.startswith(f"{mount}/") for mount in mounts):
        file = folder / value.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.name not in ("spool.db", "page-history"):
            file.write_text("[]", encoding="utf-8")
        return str(file)
    return value
