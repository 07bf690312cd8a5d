"""The command of docs/install.md that switches the vendor's HPA off, run as it stands on a fleet that has grown."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.chart.rendering import Json
from tests.fakes.control_plane import ControlPlane
from tests.fakes.helm import RUN_SECONDS
from tools.programs import ROOT, MissingError, programs

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
DEPLOYMENT = "etl-prod-matillion-runner-app"
# What of the vendor's chart matters here: its replicas come from a value, whoever scales.
CHART = {
    "Chart.yaml": "{apiVersion: v2, name: matillion-runner, version: 0.1.0}\n",
    "values.yaml": "{dpcAgent: {replicas: 2}, hpa: {enabled: true}}\n",
    "templates/deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-matillion-runner-app}
spec:
  replicas: {{ .Values.dpcAgent.replicas }}
  selector: {matchLabels: {app: agents}}
  template:
    metadata: {labels: {app: agents}}
    spec: {containers: [{name: agent, image: none}]}
""",
    "templates/hpa.yaml": """
{{- if .Values.hpa.enabled }}
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: {{ .Release.Name }}-matillion-runner-hpa}
spec:
  maxReplicas: 10
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .Release.Name }}-matillion-runner-app}
{{- end }}
""",
}


class Shell:
    """A shell with one version of helm, beside the API server."""

    def __init__(self, version: int, plane: ControlPlane, home: Path) -> None:
        self._environment = {
            "HOME": str(home),
            "PATH": f"{programs(version)}:{os.defpath}",
            "KUBECONFIG": str(plane.kubeconfig),
        }

    def __call__(self, script: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-eu"],
            input=script, capture_output=True, text=True, timeout=RUN_SECONDS, env=self._environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def replicas(self) -> int:
        found: Json = json.loads(self(f"kubectl --namespace matillion get deployment {DEPLOYMENT} --output json"))
        count: int = found["spec"]["replicas"]
        return count


@pytest.fixture
def vendors_chart(tmp_path: Path) -> Path:
    for name, text in CHART.items():
        file = tmp_path / "chart" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path / "chart"


@pytest.mark.parametrize("version", [3, 4])
def test_the_fleet_keeps_its_size(
    version: int, control_plane: ControlPlane, vendors_chart: Path, tmp_path: Path
) -> None:
    """With the page's function eight agents stay eight, as often as it runs; without, Helm 3 makes them two."""
    try:
        shell = Shell(version, control_plane, tmp_path)
    except MissingError as error:
        pytest.skip(str(error))
    # This server is too old to merge on its own side, as Helm 4 would have it.
    extra = "--server-side=false" if version == 4 else ""
    function, call = _documented(vendors_chart)
    shell(f"""
        kubectl create namespace matillion --dry-run=client --output yaml | kubectl apply --filename -
        helm install etl-prod {vendors_chart} --namespace matillion {extra}
        kubectl --namespace matillion scale deployment {DEPLOYMENT} --replicas 8
    """)
    try:
        shell(f"{function}\n{call} {extra}")
        assert shell.replicas == 8
        assert "matillion-runner-hpa" not in shell("kubectl --namespace matillion get hpa --output name")
        shell(f"kubectl --namespace matillion scale deployment {DEPLOYMENT} --replicas 5\n{function}\n{call} {extra}")
        assert shell.replicas == 5
        if version == 3:
            shell(f"helm upgrade etl-prod {vendors_chart} --namespace matillion --set hpa.enabled=false")
            assert shell.replicas == 2
    finally:
        shell("helm uninstall etl-prod --namespace matillion")


def _documented(chart: Path) -> tuple[str, str]:
    """Return the function of the page and the call below it, with the chart put in."""
    (block,) = (block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "vendor_upgrade() {" in block)
    function, call = block.rstrip().rsplit("\n", 1)
    assert call.startswith(f"vendor_upgrade etl-prod {DEPLOYMENT} <the vendor's chart> ")
    return function, call.replace("<the vendor's chart>", str(chart))
