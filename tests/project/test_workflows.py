"""The workflows beyond their schema, which `make lint` checks: least permissions, pinned actions, the same commands."""

import re
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import settings

from tools.generated import ROOT

FOLDER = ROOT / ".github" / "workflows"
TEXTS = {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.yml"))}
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
each_workflow = pytest.mark.parametrize("name", WORKFLOWS)

WRITES = {
    ("release.yml", "image"): {"packages", "id-token"},
    ("release.yml", "chart"): {"packages", "id-token"},
    ("release.yml", "release"): {"contents"},
    ("site.yml", "deploy"): {"pages", "id-token"},
}
"""The only jobs that may write anything, and what."""


def steps(name: str) -> list[dict[str, Any]]:
    """Return the steps of all jobs of a workflow."""
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job.get("steps", [])]


@each_workflow
def test_permissions_are_the_least(name: str) -> None:
    """None by default, and each job names what it needs."""
    assert WORKFLOWS[name]["permissions"] == {}
    for job, content in WORKFLOWS[name]["jobs"].items():
        granted = content["permissions"]
        assert {what for what, how in granted.items() if how == "write"} == WRITES.get((name, job), set()), job
        assert set(granted.values()) <= {"read", "write"}


@each_workflow
def test_actions_are_pinned(name: str) -> None:
    """To a commit, with the version it is beside it, which Dependabot keeps up to date."""
    used = re.findall(r"\buses: (.*)$", TEXTS[name], re.MULTILINE)
    assert used
    loose = [one for one in used if not re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)]
    assert [one for one in loose if not one.startswith("./.github/workflows/")] == []


@each_workflow
def test_no_credentials_stay_in_a_checkout(name: str) -> None:
    """A test that a pull request brings finds no token in `.git/config`."""
    checkouts = [step for step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_scripts_hold_no_expressions(name: str) -> None:
    """What a stranger can name (a branch, a title) reaches a shell as a variable and never as its text."""
    assert [step["run"] for step in steps(name) if "${{" in step.get("run", "")] == []


@each_workflow
def test_commands_are_the_makefiles(name: str) -> None:
    """A workflow runs what a person runs."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", "\n".join(step.get("run", "") for step in steps(name)))) <= targets


def test_every_python_that_is_promised_is_tested() -> None:
    """From the oldest that the package takes on, without a gap, and the image's among them."""
    tested = WORKFLOWS["ci.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    minors = [int(version.removeprefix("3.")) for version in tested]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert len(minors) >= 4
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={tested[0]}"
    (image,) = set(re.findall(r"(?:python:|PYTHON=)(3\.\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
    assert image in tested


def test_a_release_is_tested_built_twice_and_signed() -> None:
    """Nothing is pushed before all tests passed; the image has two architectures, an SBOM and a provenance."""
    jobs = WORKFLOWS["release.yml"]["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    assert {"test", "version"} <= set(jobs["image"]["needs"])
    assert "image" in jobs["chart"]["needs"]
    (build,) = (step for step in jobs["image"]["steps"] if "docker/build-push-action@" in step.get("uses", ""))
    assert build["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert (build["with"]["sbom"], build["with"]["provenance"], build["with"]["push"]) == (True, "mode=max", True)
    for job in ("image", "chart"):
        assert any("cosign sign --yes" in step.get("run", "") for step in jobs[job]["steps"]), job


def test_the_chart_is_released_with_the_images_place() -> None:
    """The line that the release replaces is in the chart's values."""
    assert "\n  repository: matillion-fleet-exporter\n" in (ROOT / "chart" / "values.yaml").read_text(encoding="utf-8")
    assert "s|^  repository: matillion-fleet-exporter$|" in TEXTS["release.yml"]


def test_known_vulnerabilities_are_looked_for_every_week() -> None:
    """YAML reads the key `on` as true."""
    (when,) = WORKFLOWS["audit.yml"][True]["schedule"]
    minute, hour, day, month, weekday = when["cron"].split()
    assert (minute.isdigit(), hour.isdigit(), day, month, weekday.isdigit()) == (True, True, "*", "*", True)


def test_properties_are_tried_with_many_more_examples_every_night() -> None:
    """Random ones, unlike those of pull requests."""
    (when,) = WORKFLOWS["properties.yml"][True]["schedule"]
    minute, hour, *days = when["cron"].split()
    assert (minute.isdigit(), hour.isdigit(), days) == (True, True, ["*", "*", "*"])
    assert any(step.get("run") == "make properties" for step in steps("properties.yml"))
    usual, nightly = settings.get_profile("ci"), settings.get_profile("nightly")
    assert (usual.derandomize, nightly.derandomize) == (True, False)
    assert nightly.max_examples >= 30 * usual.max_examples


HOOKS = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]
}


@pytest.mark.parametrize(
    ("message", "refused_by"),
    [
        ("Withhold free slots of an untrusted fleet\n\nThey rest on readings.\n", set()),
        (f"{'x' * 72}\n\nBecause.\n", set()),
        (f"{'x' * 73}\n\nBecause.\n", {"subject"}),
        (f"Short\n\n{'x' * 100}\n", set()),
        ("Withhold free slots of an untrusted fleet\n", {"body"}),
        ("Withhold free slots\n\n# Please enter the commit message\n# for your changes.\n", {"body"}),
        ("Withhold free slots\n\nBecause.\n# On branch main\n", set()),
    ],
)
def test_form_of_a_commit(message: str, refused_by: set[str]) -> None:
    """pre-commit's pygrep refuses a message in which it finds the expression, with these flags."""
    flags = re.MULTILINE | re.DOTALL
    assert {hook for hook in ("subject", "body") if re.search(HOOKS[hook]["entry"], message, flags)} == refused_by
    assert all(HOOKS[hook]["args"] == ["--multiline"] for hook in ("subject", "body"))


def test_hooks_run_what_lint_runs() -> None:
    """And from the project's environment, so that both have one version."""
    lint = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in ("format", "style"):
        program, *command = HOOKS[hook]["entry"].split()
        assert program.startswith(".venv/bin/")
        assert f"$(BIN)/{program.removeprefix('.venv/bin/')} {command[0]}" in lint
    assert HOOKS["lint"]["entry"] == "make lint"


def test_a_bug_report_comes_with_the_doctors() -> None:
    """The form asks for it, and it has to be given."""
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8"))
    (field,) = (one for one in form["body"] if one.get("id") == "doctor")
    assert "fleet-exporter doctor --json" in field["attributes"]["label"]
    assert field["validations"]["required"] is True
