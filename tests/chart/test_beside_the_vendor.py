"""The default release beside what the vendor's charts put into a cluster: it gets through, and scales what is there."""

from typing import Any

import pytest

from exporter.kube.selector import parse_selector
from tests.chart.rendering import Chart, Json, Objects
from tests.fakes.helm import ROOT, Tool
from tests.fakes.policies import Place, lets_through
from tests.fakes.vendor import SETS, is_agent, vendor_objects

LEGACY, OTEL = 8080, 9464
HOMES: dict[str, tuple[str, dict[str, str]]] = {
    "with the agents": ("matillion", {}),
    "a namespace made by --create-namespace": ("monitoring", {}),
    "a namespace labelled for the vendor's policy": ("monitoring", {"name": "monitoring"}),
}
each_set = pytest.mark.parametrize("name", SETS)
each_home = pytest.mark.parametrize("home", HOMES)


def agents(name: str) -> dict[str, Place]:
    """Return a pod of each Deployment of agents."""
    return {one["metadata"]["name"]: _pod(one) for one in vendor_objects(name, "Deployment") if is_agent(one)}


def _pod(deployment: Json) -> Place:
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    return Place(deployment["metadata"]["namespace"], template["metadata"]["labels"], ports=ports)


def release(helm: Tool, home: str, **values: Any) -> tuple[Objects, Place]:
    """Return our objects, and our pod."""
    namespace, labels = HOMES[home]
    objects = Chart(helm, namespace).objects(**values)
    pod = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    return objects, Place(namespace, pod, namespace_labels=labels)


@each_set
@each_home
def test_policies_complete_each_other(helm: Tool, name: str, home: str) -> None:
    """With every policy enforced the exporter reaches each agent's ports, those it declares elsewhere too."""
    objects, exporter = release(helm, home)
    policies = vendor_objects(name, "NetworkPolicy") + objects.of("NetworkPolicy")
    found = agents(name)
    assert found
    for agent in found.values():
        for port in {LEGACY, OTEL, *agent.ports.values()}:
            assert lets_through(policies, exporter, agent, port), (agent, port)
        assert not lets_through(policies, exporter, agent, 22)


@each_set
@each_home
def test_no_other_client_is_admitted_or_blocked(helm: Tool, name: str, home: str) -> None:
    """A stranger's pod reaches what it reached before, and so does who the vendor's policy means."""
    objects, _ = release(helm, home)
    theirs = vendor_objects(name, "NetworkPolicy")
    stranger = Place("elsewhere", {"app": "prometheus"})
    for reader in (stranger, Place("monitoring", stranger.labels, namespace_labels={"name": "monitoring"})):
        for agent in agents(name).values():
            for port in {LEGACY, OTEL, *agent.ports.values()}:
                before = lets_through(theirs, reader, agent, port)
                assert lets_through(theirs + objects.of("NetworkPolicy"), reader, agent, port) is before


@each_set
@each_home
def test_without_the_policy_for_the_agents(helm: Tool, name: str, home: str) -> None:
    """The table of docs/install.md: the vendor's policy alone lets in one label, and before chart 0.6 one port."""
    objects, exporter = release(helm, home, networkPolicy__agents__enabled=False)
    policies = vendor_objects(name, "NetworkPolicy") + objects.of("NetworkPolicy")
    labelled = home == "a namespace labelled for the vendor's policy"
    for agent in agents(name).values():
        assert lets_through(policies, exporter, agent, LEGACY) is labelled
        declared = agent.ports.get("otel-metrics")
        assert lets_through(policies, exporter, agent, declared or OTEL) is (labelled and declared is not None)


@pytest.mark.slow
def test_the_table_of_the_install_page(helm: Tool) -> None:
    """Each cell of it, as the policies say."""
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    table = page[page.index("| the exporter is in |") :]
    rows = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table.splitlines()[2:6]]
    shown = [[{"open": True, "dropped": False}[cell] for cell in row] for row in rows]
    assert shown == [[_open(helm, home, column, False) for column in COLUMNS] for home in HOMES] + [
        [all(_open(helm, home, column, "auto") for home in HOMES) for column in COLUMNS]
    ]


COLUMNS = ((tuple(SETS), "metrics"), (("objects", "runner-0.5"), "otel-metrics"), (("runner-0.6",), "otel-metrics"))
"""The sets of each column of the page's table, and the port that is asked, by its name."""


def _open(helm: Tool, home: str, column: tuple[tuple[str, ...], str], enabled: bool | str) -> bool:
    """Return whether the port of each agent is open; it must not be open on some only."""
    objects, exporter = release(helm, home, networkPolicy__agents__enabled=enabled)
    names, port = column
    opened = {
        lets_through(
            vendor_objects(name, "NetworkPolicy") + objects.of("NetworkPolicy"),
            exporter,
            agent,
            agent.ports.get(port, OTEL),
        )
        for name in names
        for agent in agents(name).values()
    }
    (answer,) = opened
    return answer


def test_a_port_that_names_do_not_open(helm: Tool) -> None:
    """Where a network plugin resolves no names, the number opens the port in both policies."""
    objects, exporter = release(helm, "with the agents", networkPolicy__agentPorts=[9555])
    policies = vendor_objects("runner-0.6", "NetworkPolicy") + objects.of("NetworkPolicy")
    assert all(lets_through(policies, exporter, agent, 9555) for agent in agents("runner-0.6").values())


@each_set
def test_the_selector_finds_the_agents_and_nothing_else(helm: Tool, name: str) -> None:
    """Of both charts; the script runner has the agents' name and is none."""
    objects, exporter = release(helm, "with the agents")
    selector = parse_selector(objects.config["discovery"]["kubernetes"]["label_selector"])
    for one in vendor_objects(name, "Deployment"):
        assert selector.matches(one["spec"]["template"]["metadata"]["labels"]) is is_agent(one)
    assert not selector.matches(exporter.labels)


@each_set
def test_the_scaler_finds_its_deployment(helm: Tool, name: str) -> None:
    """A fleet's name and the vendor's chart are enough to name the Deployment of its agents."""
    deployments = {one["metadata"]["name"]: one for one in vendor_objects(name, "Deployment") if is_agent(one)}
    fleets = []
    for one in deployments.values():
        labels = one["spec"]["template"]["metadata"]["labels"]
        chart = labels["app.kubernetes.io/name"]
        given = {} if chart == "matillion-runner" else {"chart": chart}
        fleets.append({"name": labels["app.kubernetes.io/instance"], "max": 9} | given)
    objects, _ = release(
        helm,
        "with the agents",
        config__external_metrics__enabled=True,
        autoscaling__mode="externalMetrics",
        autoscaling__fleets=fleets,
    )
    hpas = objects.of("HorizontalPodAutoscaler")
    assert {one["spec"]["scaleTargetRef"]["name"] for one in hpas} == deployments.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fleet", "deployment"),
    [
        ({"name": "etl-prod"}, "etl-prod-matillion-runner-app"),
        ({"name": "etl-prod", "chart": "matillion-agent"}, "etl-prod-matillion-agent-app"),
        ({"name": "matillion-runner"}, "matillion-runner-app"),
        ({"name": "eu-matillion-runner-2"}, "eu-matillion-runner-2-app"),
        ({"name": "matillion-runner", "chart": "matillion-agent"}, "matillion-runner-matillion-agent-app"),
        # Helm cuts the full name at 63 characters, and a hyphen at its end.
        ({"name": "r" * 53}, f"{'r' * 53}-matillion-app"),
        ({"name": "r" * 52}, f"{'r' * 52}-matillion-app"),
        ({"name": "r" * 46}, f"{'r' * 46}-matillion-runner-app"),
        ({"name": "r" * 47}, f"{'r' * 47}-matillion-runne-app"),
        ({"name": "etl", "deployment": "workers"}, "workers"),
    ],
    ids=str,
)
def test_name_of_the_deployment(chart: Chart, fleet: Json, deployment: str) -> None:
    """As the vendor's chart makes it from the release's name; one that is given goes before."""
    objects = chart.objects(
        config__external_metrics__enabled=True,
        autoscaling__mode="externalMetrics",
        autoscaling__fleets=[fleet | {"max": 3}],
    )
    assert objects.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == deployment
