"""The agents' grace: how long a deleted agent may continue its tasks."""

from exporter.doctor.check import Outcome
from tests.doctor.cluster import PODS, Cluster, examined, settings
from tests.doctor.draining_agents import agent, given

NAME = ("agents", "grace")


async def test_the_vendors_grace(kube: Cluster) -> None:
    """Twelve hours or longer are as they should be."""
    seen = await examined(settings(), given(kube, agent(), agent("b-0", grace=86_400)))
    assert seen[NAME].outcome is Outcome.OK
    assert seen[NAME].found == "a deleted agent may continue its tasks for 43200 s or longer"


async def test_a_short_grace(kube: Cluster) -> None:
    """Told once for all fleets that have it, with each Deployment to change; fleets with enough are not named."""
    short = [agent(f"{fleet}-{number}", fleet=fleet, grace=30) for fleet in ("etl", "night") for number in range(2)]
    other = agent("c-0", fleet="eu", grace=3600)
    seen = await examined(settings(), given(kube, *short, other, agent("d-0", fleet="us")))
    found = seen["agents", "grace of 30 s"]
    assert found.outcome is Outcome.WARNING
    assert "a deleted agent of matillion/etl, matillion/night is killed after 30 s" in found.found
    assert (
        "set terminationGracePeriodSeconds: 43200 in the pod template of matillion/etl-matillion-runner-app, "
        "matillion/night-matillion-runner-app, while no tasks run" in found.fix
    )
    assert "matillion/eu is killed after 3600 s" in seen["agents", "grace of 3600 s"].found
    assert NAME not in seen


async def test_no_agents(kube: Cluster) -> None:
    """Nothing can be said of their grace, nor of a pod that tells none."""
    assert (await examined(settings(), kube))[NAME].outcome is Outcome.NOT_CHECKED
    assert (await examined(settings(), given(kube, agent(grace=None))))[NAME].outcome is Outcome.NOT_CHECKED


async def test_an_error_on_the_way(kube: Cluster) -> None:
    """It is a failure of each check that needs the pods."""
    kube.refuse(PODS, 500, "InternalError")
    seen = await examined(settings(), kube)
    for name in ("grace", "Cluster Autoscaler", "Karpenter"):
        assert seen["agents", name].outcome is Outcome.FAILED


async def test_without_kubernetes() -> None:
    """Listed addresses have no grace."""
    seen = await examined(settings(discovery={"kubernetes": {"enabled": False}}))
    assert NAME not in seen
    assert ("agents", "Cluster Autoscaler") not in seen
    assert ("agents", "Karpenter") not in seen
