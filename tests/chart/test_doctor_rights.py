"""The doctor asks for exactly the rights that the chart gives, in every scenario."""

import pytest

from exporter.config import Settings
from exporter.doctor.kubernetes import elects, needs
from exporter.kube.front_proxy import AUTHENTICATION
from tests.chart import audit
from tests.chart.audit import Right
from tests.chart.rendering import NAMESPACE, RELEASE_NAME, SCENARIOS, Chart


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_rights(name: str, chart: Chart) -> None:
    """What it looks for and what the rendered roles give are the same; to know the front proxy has Kubernetes' role."""
    objects = chart.scenario(name)
    settings = Settings.model_validate(objects.config)
    wanted = {
        Right(verb, need.resource.group, need.resource.kind, need.resource.namespace or "", _names(need.resource.name))
        for need in needs(settings, NAMESPACE)
        if need.resource != AUTHENTICATION
        for verb in need.verbs
    }
    assert wanted == set(audit.rights(objects, objects.one("ServiceAccount", RELEASE_NAME)))
    assert elects(settings) is any("lease" in role["metadata"]["name"] for role in objects.of("Role"))


def _names(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)
