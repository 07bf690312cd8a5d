"""docs/install.md: its values are values that the chart takes."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from tests.chart.rendering import Chart
from tools.programs import ROOT

DEPLOYMENT = "etl-prod-matillion-runner-app"
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
ALL = [dedent(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
BLOCKS = [block for block in ALL if "apiVersion:" not in block]
"""The examples of values; the others are objects of GitOps tools."""


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_values_render(chart: Chart, tmp_path: Path, number: int) -> None:
    """Each example goes in as it stands on the page, on top of the cluster's name."""
    file = tmp_path / "values.yaml"
    file.write_text(BLOCKS[number], encoding="utf-8")
    good, said = chart.attempt(file, config__cluster="prod-eks")
    assert good, said


@pytest.mark.slow
def test_names_are_those_of_the_chart(chart: Chart, tmp_path: Path) -> None:
    """What the page's commands name is called so when the release is called as on the page."""
    file = tmp_path / "values.yaml"
    file.write_text(next(block for block in BLOCKS if "roleArn" in block), encoding="utf-8")
    objects = chart.objects(file, config__cluster="prod-eks", fullnameOverride="matillion-fleet-exporter")
    assert objects.one("ServiceAccount")["metadata"]["name"] == "matillion-fleet-exporter"
    settings = yaml.safe_load(objects.one("ConfigMap")["data"]["config.yaml"])
    assert settings["leader_election"]["lease_name"] == "matillion-fleet-exporter"
    assert "system:serviceaccount:matillion:matillion-fleet-exporter" in PAGE


def test_fields_that_gitops_leaves_alone() -> None:
    """Each tool is told of the replicas of the Deployment that the chart would scale, and of nothing else."""
    tools = {one["kind"]: one["spec"] for one in map(yaml.safe_load, (block for block in ALL if block not in BLOCKS))}
    (argo,) = tools["Application"]["ignoreDifferences"]
    (flux,) = tools["HelmRelease"]["driftDetection"]["ignore"]
    assert argo.pop("jsonPointers") == flux.pop("paths") == ["/spec/replicas"]
    assert argo == {"group": "apps"} | flux["target"] == {"group": "apps", "kind": "Deployment", "name": DEPLOYMENT}
    assert tools["Application"]["syncPolicy"]["syncOptions"] == ["RespectIgnoreDifferences=true"]


@pytest.mark.slow
def test_the_deployment_is_the_one_that_is_scaled(chart: Chart, tmp_path: Path) -> None:
    """The fleet of the page has no deployment; the chart names the one that the commands of the page name."""
    scaling = [block for block in BLOCKS if "autoscaling:" in block]
    assert len(scaling) == 2
    for block in scaling:
        file = tmp_path / "values.yaml"
        file.write_text(block, encoding="utf-8")
        objects = chart.objects(file, config__cluster="prod-eks")
        (scaler,) = objects.of("HorizontalPodAutoscaler") + objects.of("ScaledObject")
        assert scaler["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT
    assert set(re.findall(r"etl-prod-matillion-runner[\w-]*", PAGE)) == {DEPLOYMENT, "etl-prod-matillion-runner-hpa"}


def test_links_lead_somewhere() -> None:
    """Every page and heading that is linked to is there."""
    for page, heading in re.findall(r"\]\(([\w/.-]*)#?([\w-]*)\)", PAGE):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8") if page else PAGE
        headings = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in _headings(text)}
        assert not heading or heading in headings, f"{page}#{heading}"


def _headings(text: str) -> list[str]:
    return [line.lstrip("#") for line in text.splitlines() if line.startswith("#")]
