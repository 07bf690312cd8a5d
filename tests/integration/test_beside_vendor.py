"""Beside the vendor's charts on a real API server: the default release finds every agent and nothing else.

The Deployments' pods are made by the real controllers; the exporter is a real process with the rendered settings and
with the rights of the rendered roles alone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Settings
from exporter.doctor.check import Outcome
from exporter.doctor.command import examine
from tests.chart.rendering import RELEASE_NAME, Chart, Objects
from tests.doctor.cluster import Seen
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.helm import Tool
from tests.fakes.policies import Place, lets_through
from tests.fakes.vendor import SETS, Json, is_agent, vendor_objects
from tests.fakes.vendor_cluster import NAMESPACE, TASKS, apply, beside_the_vendor
from tests.waiting import PATIENCE
from tools.programs import MissingError

pytestmark = pytest.mark.slow

OLD_SELECTOR = "app.kubernetes.io/name=matillion-runner"
"""The default before: one chart's agents, and whatever carries their name."""
each_set = pytest.mark.parametrize("name", SETS)


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Give the chart with a real helm, or leave the test out where there is none."""
    try:
        return Chart(Tool("helm", tmp_path_factory.mktemp("helm")))
    except MissingError as error:
        pytest.skip(str(error))


class Installed:
    """Our release in the cluster: its account, its settings."""

    def __init__(self, plane: ControlPlane, objects: Objects, token: str) -> None:
        self.objects = objects
        self.kubeconfig = plane.kubeconfig_for_token("beside", token)
        self.config = objects.config

    @asynccontextmanager
    async def running(self, folder: Path, **kubernetes: Any) -> AsyncIterator[Exporter]:
        """Run the exporter; all that is not as rendered is where it listens, and `kubernetes` of its discovery."""
        given = {key: section for key, section in self.config.items() if key not in {"web", "log"}}
        given["discovery"] = {"kubernetes": given["discovery"]["kubernetes"] | kubernetes}
        async with exporter(folder, given, {"KUBECONFIG": str(self.kubeconfig)}) as process:
            await process.ready()
            yield process

    async def examine(self, kubeconfig: Path | None = None) -> Seen:
        """Run the doctor, with the exporter's rights if no others are given."""
        environ = {"KUBECONFIG": str(kubeconfig or self.kubeconfig)}
        return Seen(await examine(Settings.model_validate(self.config), None, environ, Path("/nowhere")))


async def install(plane: ControlPlane, admin: Admin, objects: Objects) -> Installed:
    """Create what the release needs in its namespace to run and to be let through, and what scales."""
    kinds = ("ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "HorizontalPodAutoscaler")
    wanted = [one for kind in kinds for one in objects.of(kind)]
    await apply(admin, *(one for one in wanted if one["metadata"]["namespace"] == NAMESPACE))
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{RELEASE_NAME}/token"
    answer = await admin.call("POST", path, {"spec": {"expirationSeconds": 3600}})
    return Installed(plane, objects, answer["status"]["token"])


def agents_of(name: str) -> dict[str, Json]:
    """Return the Deployments of agents by fleet."""
    found = [one for one in vendor_objects(name, "Deployment") if is_agent(one)]
    return {one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"]: one for one in found}


async def fleets_of(process: Exporter) -> dict[str, Json]:
    """Return the fleets as JSON by name."""
    _, answer = await process.get("/api/v1/fleets")
    return {fleet["fleet"]: fleet for fleet in answer["fleets"]}


@each_set
async def test_every_agent_is_found(
    control_plane: ControlPlane, admin: Admin, chart: Chart, tmp_path: Path, name: str
) -> None:
    """Each in its fleet and answering where it says it does; script runners are in no figure."""
    wanted = {fleet: one["spec"]["replicas"] for fleet, one in agents_of(name).items()}
    async with beside_the_vendor(control_plane, admin, name):
        installed = await install(control_plane, admin, chart.objects())
        async with installed.running(tmp_path) as process:
            await _serving(process, wanted)
            for fleet, one in (await fleets_of(process)).items():
                assert (one["coverage"], one["trusted"], one["agents"]["unreachable"]) == (1.0, True, 0)
                assert one["demand_tasks"] == TASKS * wanted[fleet]
                assert [scaler["target"] for scaler in one["scalers"]] == [agents_of(name)[fleet]["metadata"]["name"]]
            _, answer = await process.get("/api/v1/agents")
            assert len(answer["agents"]) == sum(wanted.values())
            for agent in answer["agents"]:
                ports = agents_of(name)[agent["fleet"]]["spec"]["template"]["spec"]["containers"][0]["ports"]
                declared = {port["name"]: port["containerPort"] for port in ports}
                expected = declared.get("otel-metrics", declared["metrics"])
                assert f":{expected}/" in agent["endpoint_url"], "what the pod declares is what is read"
                assert (agent["tasks_queued"] is not None) is ("otel-metrics" in declared)
            _, answer = await process.get("/api/v1/fleets")
            assert answer["passed_over"] == []


async def _serving(process: Exporter, wanted: dict[str, int]) -> None:
    """Wait until so many agents of each fleet serve, and there are no other fleets."""
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while seen != wanted:
                await asyncio.sleep(0.2)
                seen = {name: fleet["agents"]["serving"] for name, fleet in (await fleets_of(process)).items()}
    except TimeoutError:
        raise AssertionError(f"{seen} serve, not {wanted}") from None


async def test_the_former_selector(control_plane: ControlPlane, admin: Admin, chart: Chart, tmp_path: Path) -> None:
    """It misses the older chart's agents and meets script runners: those count nowhere, and both are told."""
    async with beside_the_vendor(control_plane, admin, "objects"):
        installed = await install(control_plane, admin, chart.objects())
        async with installed.running(tmp_path, label_selector=OLD_SELECTOR) as process:
            await _serving(process, {"etl-prod": 2})
            _, answer = await process.get("/api/v1/fleets")
            (fleet,) = answer["fleets"]
            assert (fleet["coverage"], fleet["demand_tasks"]) == (1.0, 2 * TASKS)
            (passed,) = answer["passed_over"]
            assert passed["pod"].startswith("etl-prod-matillion-runner-script-runner-")
        installed.config["discovery"]["kubernetes"]["label_selector"] = OLD_SELECTOR
        found = (await installed.examine())["agents", "not matched"]
        assert found.outcome is Outcome.WARNING
        assert "matillion/etl-old-matillion-agent-app-" in found.found
        repaired = "app.kubernetes.io/name in (matillion-agent,matillion-runner),!app.kubernetes.io/component"
        assert f'label_selector: "{repaired}"' in found.fix


@each_set
async def test_the_doctor(control_plane: ControlPlane, admin: Admin, chart: Chart, name: str) -> None:
    """With the exporter's rights it finds every agent, and no pod that the settings miss or that waits."""
    wanted = ", ".join(f"{fleet} ({one['spec']['replicas']})" for fleet, one in sorted(agents_of(name).items()))
    async with beside_the_vendor(control_plane, admin, name):
        seen = await (await install(control_plane, admin, chart.objects())).examine()
    assert seen["agents", f"pods in {NAMESPACE}"].found.endswith(wanted)
    assert ("agents", "passed over") not in seen
    assert seen["agents", "not matched"].outcome is Outcome.OK
    together = ", ".join(f"{NAMESPACE}/{fleet}" for fleet in sorted(agents_of(name)))
    assert seen["agents", together].outcome is Outcome.OK


@each_set
async def test_policies_and_scalers(control_plane: ControlPlane, admin: Admin, chart: Chart, name: str) -> None:
    """As the API server has them: every port of an agent is open to our pod, and our HPA scales what is there."""
    fleets = [
        {"name": fleet, "max": 9, "chart": one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]}
        for fleet, one in agents_of(name).items()
    ]
    values = {"autoscaling__mode": "externalMetrics", "autoscaling__fleets": fleets}
    objects = chart.objects(config__external_metrics__enabled=True, **values)
    ours = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    async with beside_the_vendor(control_plane, admin, name):
        kinds = ("NetworkPolicy", "HorizontalPodAutoscaler")
        await apply(admin, *(one for kind in kinds for one in objects.of(kind)))
        base = f"apis/{{}}/namespaces/{NAMESPACE}"
        policies = await admin.call("GET", f"/{base.format('networking.k8s.io/v1')}/networkpolicies")
        pods = await admin.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")
        hpas = await admin.call("GET", await admin.collection("horizontalpodautoscalers", NAMESPACE))
        deployments = await admin.call("GET", f"/{base.format('apps/v1')}/deployments")
    for pod in pods["items"]:
        labels = pod["metadata"]["labels"]
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        place = Place(NAMESPACE, labels, ports=ports)
        for port in {8080, 9464, *ports.values()} - {2222}:
            opened = lets_through(policies["items"], Place(NAMESPACE, ours), place, port)
            assert opened is ("app.kubernetes.io/component" not in labels), (labels, port)
    mine = {one["metadata"]["name"] for one in objects.of("HorizontalPodAutoscaler")}
    targets = {one["spec"]["scaleTargetRef"]["name"] for one in hpas["items"] if one["metadata"]["name"] in mine}
    assert targets == {one["metadata"]["name"] for one in agents_of(name).values()}
    assert targets <= {one["metadata"]["name"] for one in deployments["items"]}


async def test_what_would_not_work(control_plane: ControlPlane, admin: Admin, chart: Chart) -> None:
    """An HPA on the release's name alone, and a GitOps sync beside the vendor's HPA: the doctor names what is right."""
    prod = "etl-prod-matillion-runner"
    fleets = [{"name": "etl-prod", "max": 9, "deployment": prod}]
    values = {"autoscaling__mode": "externalMetrics", "autoscaling__fleets": fleets}
    objects = chart.objects(config__external_metrics__enabled=True, **values)
    deployment = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{prod}-app"
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"{prod}-app"}}
    async with beside_the_vendor(control_plane, admin, "objects"):
        installed = await install(control_plane, admin, objects)
        apply_as_argo = f"{deployment}?fieldManager=argocd-controller&force=true"
        sync = manifest | {"spec": {"replicas": 2}}
        await admin.call("PATCH", apply_as_argo, sync, "application/apply-patch+yaml")
        seen = await installed.examine(control_plane.kubeconfig)
        with_our_rights = await installed.examine()
    (ours,) = objects.of("HorizontalPodAutoscaler")
    found = seen["autoscaling", f"target of {NAMESPACE}/{ours['metadata']['name']}"]
    assert found.outcome is Outcome.FAILED
    assert f"targets the Deployment {prod}, which does not exist" in found.found
    assert f"point it to {prod}-app" in found.fix
    named = with_our_rights["autoscaling", f"Deployment of {NAMESPACE}/etl-prod"].found
    assert named.startswith(f"it is {prod}-app, as named by the vendor's chart")
    found = seen["autoscaling", f"replicas of {NAMESPACE}/{prod}-app"]
    assert found.outcome is Outcome.WARNING
    assert f"scaled by {prod}-hpa; " in found.found
    assert "Argo CD" in found.found
    assert "RespectIgnoreDifferences=true" in found.fix
    both = f"{NAMESPACE}/etl-old-matillion-agent-app, {NAMESPACE}/{prod}-app"
    found = with_our_rights["autoscaling", f"replicas of {both}"]
    assert found.outcome is Outcome.NOT_CHECKED
    assert 'resources: ["deployments"], verbs: ["get"]' in found.fix
