"""deploy/terraform, held to the providers' documentation, the page that documents the policy, and the templates."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config import CloudWatchSettings
from tests.chart.rendering import Chart
from tests.deploy.module import FACTS, FOLDER, META, blocks, named_values, objects, read, replaced
from tools.generated import ROOT
from tools.project import PROJECT

TEXT = "\n".join(file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.tf")))
README = (FOLDER / "README.md").read_text(encoding="utf-8")
HEADS: list[tuple[str, str, str]] = re.findall(r'^(resource|data) "(\w+)" "(\w+)"', TEXT, re.MULTILINE)
"""Kind, type and name of each object, without the second that it takes to read HCL."""
CLOUDWATCH = (ROOT / "docs" / "cloudwatch.md").read_text(encoding="utf-8")
FORECAST = (ROOT / "docs" / "forecast.md").read_text(encoding="utf-8")
TEMPLATES = ROOT / "alerts" / "cloudwatch"


def variables() -> dict[str, Any]:
    """Return each variable's block by its name."""
    return dict(blocks("variable"))


def all_objects() -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the block of each resource and each data source by its kind, type and name."""
    return {(kind, *names): content for kind in ("resource", "data") for *names, content in objects(kind)}


def test_every_object_is_read() -> None:
    """What the tests below go through is all that there is."""
    assert all_objects().keys() == set(HEADS)


@pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform is installed here")
def test_form() -> None:
    """As `terraform fmt` writes it."""
    command = ["terraform", "fmt", "-check", "-recursive", "-list=true", FOLDER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(("kind", "type_name", "name"), HEADS)
def test_arguments_are_documented(kind: str, type_name: str, name: str) -> None:
    """Each exists in the provider's documentation, and none that is required is missing."""
    _check(FACTS[kind][type_name], all_objects()[kind, type_name, name])


def _check(facts: dict[str, Any], content: dict[str, Any]) -> None:
    blocks_within = facts.get("blocks", {})
    given = set(content) - META - {"dynamic"}
    assert given <= {*facts["required"], *facts["optional"], *blocks_within}
    assert set(facts["required"]) <= given
    for dynamic in content.get("dynamic", []):
        for name, block in dynamic.items():
            _check(blocks_within[name], block["content"][0])


def test_facts_are_of_what_is_used() -> None:
    """And each names the page it was read from."""
    assert {(kind, one) for kind, one, _ in HEADS} == {(kind, one) for kind, facts in FACTS.items() for one in facts}
    sources = [one["source"] for facts in FACTS.values() for one in facts.values()]
    assert all(re.fullmatch(r"hashicorp/terraform-provider-(aws|helm) \S+", source) for source in sources)


REFERENCE = re.compile(r"(?<![\w.\"-])(data\.)?((?:aws|helm)_\w+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?")


def test_references_lead_somewhere() -> None:
    """What outputs and expressions name is there, with an attribute that the documentation has."""
    known = set(HEADS)
    found = REFERENCE.findall(TEXT)
    assert len(found) > 10
    for data, type_name, name, attribute in found:
        kind = "data" if data else "resource"
        assert (kind, type_name, name) in known
        facts = FACTS[kind][type_name]
        if attribute:
            assert attribute in facts["required"] | facts["optional"] | facts["attributes"], f"{type_name}.{attribute}"
    values = named_values()
    assert set(re.findall(r"\blocal\.(\w+)", TEXT)) == set(values)
    assert set(re.findall(r"\bvar\.(\w+)", TEXT)) == set(variables())


def test_variables_say_what_they_are() -> None:
    """Type and description; one that is text of a certain form says what is wrong with any other."""
    for name, content in variables().items():
        assert {"type", "description"} <= set(content), name
        assert content["description"].endswith("."), name
        if content["type"] == "string":
            assert content["validation"][0]["error_message"].startswith(name), name
        assert f"`{name}`" in README, name
    assert [name for name, content in variables().items() if "default" not in content] == ["cluster_name"]


def test_outputs_say_what_they_are() -> None:
    """In the README too."""
    for name, content in blocks("output"):
        assert content["description"], name
        assert f"`{name}`" in README, name


def test_versions_have_both_ends() -> None:
    """A new major version of Terraform or of a provider is tried before it is allowed."""
    (terraform,) = read((FOLDER / "versions.tf").read_text(encoding="utf-8"))["terraform"]
    (providers,) = terraform["required_providers"]
    assert set(providers) == {one.partition("_")[0] for _, one, _ in HEADS}
    ranges = [terraform["required_version"], *(one["version"] for one in providers.values())]
    assert all(re.fullmatch(r">= \d+\.\d+, < \d+\.\d+", one) for one in ranges)


def test_the_policy_is_the_documented_one() -> None:
    """docs/cloudwatch.md has it; the doctor checks that permission and asks for no other."""
    permission, trust = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", CLOUDWATCH, re.DOTALL))
    values = named_values()
    given = {"var.metric_namespace": variables()["metric_namespace"]["default"]}
    assert replaced(values["publish"], given) == permission["Statement"][0]
    assert given["var.metric_namespace"] == CloudWatchSettings().namespace
    assert f"`{values['read']['Action']}`" in CLOUDWATCH
    assert set(re.findall(r'"(\w+:[A-Z]\w+)"', TEXT)) == {
        "cloudwatch:PutMetricData",
        "cloudwatch:GetMetricData",
        "aps:QueryMetrics",
        "sts:AssumeRole",
        "sts:AssumeRoleWithWebIdentity",
        "sts:TagSession",
    }
    (workspace,) = re.findall(r'^\{"Effect": "Allow", "Action": "aps:.*\}$', FORECAST, re.MULTILINE)
    documented = json.loads(workspace)
    query = replaced(values["query"], {"var.prometheus_workspace_arn": documented["Resource"]})
    assert query == {"Sid": "QueryPrometheus"} | documented
    issuer = "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE0123456789"
    given = {
        "local.issuer": issuer,
        "var.namespace": variables()["namespace"]["default"],
        "var.service_account": variables()["service_account"]["default"],
        "one(data.aws_iam_openid_connect_provider.this[*].arn)": f"arn:aws:iam::111122223333:oidc-provider/{issuer}",
    }
    assert replaced(values["irsa_trust"], given) == trust
    (association,) = values["pod_identity_trust"]["Statement"]
    for word in (association["Principal"]["Service"], *association["Action"]):
        assert f"`{word}`" in CLOUDWATCH


@pytest.mark.parametrize(("stack", "variable"), [("fleet", "fleets"), ("task_failures", "task_failures")])
def test_stacks_fit_their_templates(stack: str, variable: str) -> None:
    """What the module sets and what its caller may set are together the template's parameters."""
    content = all_objects()["resource", "aws_cloudformation_stack", stack]
    path = re.search(r"\$\{path\.module\}/(\S+?)\"", content["template_body"])
    assert path is not None
    file = (FOLDER / path[1]).resolve()
    assert file.parent == TEMPLATES
    text = file.read_text(encoding="utf-8")
    # The limit of `template_body` (documentation of aws_cloudformation_stack).
    assert len(text.encode()) <= 51_200
    parameters = yaml.safe_load(re.sub(r"!\w+", "", text))["Parameters"]
    own = set(re.findall(r"(\w+) = ", content["parameters"].partition("}, each.value")[0].partition("}, var.")[0]))
    free = set(re.findall(r'"(\w+)"', variables()[variable]["validation"][0]["condition"]))
    assert own | free == set(parameters)
    assert {name for name, one in parameters.items() if "Default" not in one} <= own


@pytest.mark.slow
def test_the_chart_takes_the_values(chart: Chart, tmp_path: Path) -> None:
    """What the module gives to the chart renders, and the service account is the one that may assume the role."""
    role = "arn:aws:iam::111122223333:role/prod-eks-fleet-exporter"
    given = {
        "var.service_account": variables()["service_account"]["default"],
        'var.credentials == "irsa" ? aws_iam_role.exporter.arn : ""': role,
        "var.cluster_name": "prod-eks",
        "local.agent_namespaces": ["matillion"],
        "var.metric_namespace": "Matillion/AgentFleet",
        "var.page_url": None,
    }
    values = replaced(named_values()["chart_values"], given)
    assert "${" not in json.dumps(values)
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values | {"image": {"repository": "r", "tag": "", "digest": ""}}), encoding="utf-8")
    rendered = chart.objects(file)
    account = rendered.one("ServiceAccount")["metadata"]
    assert account["name"] == variables()["service_account"]["default"]
    assert account["annotations"] == {"eks.amazonaws.com/role-arn": role}
    settings = yaml.safe_load(rendered.one("ConfigMap", "matillion-fleet-exporter")["data"]["config.yaml"])
    assert settings["cloudwatch"]["enabled"] is True


def test_the_lines_to_paste() -> None:
    """They are HCL, the address is the project's, and each argument is a variable of the module."""
    examples = re.findall(r"```hcl\n(.*?)```", README, re.DOTALL)
    modules = [block for text in examples for block in read(text).get("module", [])]
    assert modules
    for module in modules:
        (content,) = module.values()
        assert content["source"].startswith(f"git::{PROJECT.source}//deploy/terraform?ref=v")
        assert set(content) - {"source", "depends_on", "providers"} <= set(variables())
    assert len(examples[0].strip().splitlines()) - 2 <= 6
