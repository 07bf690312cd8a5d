"""What the project says of itself, held to the one place that says it: pyproject.toml, and the package's version."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter import __version__
from tools.generated import ROOT
from tools.project import PROJECT, read

PLACEHOLDER = "matillion-fleet-exporter.example"
MENTIONED = re.compile(rf"[\w.+-]*@?(?:https?://)?[\w.-]*{re.escape(PLACEHOLDER)}[\w./-]*")


def tracked() -> list[Path]:
    """Return every file of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_placeholder_is_left_elsewhere() -> None:
    """A name or address that an owner changed in pyproject.toml stands nowhere as it was."""
    known = (PROJECT.documentation, PROJECT.source, *(email for _, email in PROJECT.maintainers))
    stale = {
        f"{file.relative_to(ROOT)}: {found}"
        for file in tracked()
        if file.name != "pyproject.toml" and file != Path(__file__) and file.suffix != ".png"
        for line in file.read_text(encoding="utf-8", errors="ignore").splitlines()
        if PLACEHOLDER in line
        for found in MENTIONED.findall(line)
        if not any(found.startswith(one.rstrip("/")) for one in known)
    }
    assert not stale


def test_chart_repeats_the_project() -> None:
    """Chart.yaml names the same description, site, source and maintainers."""
    chart = yaml.safe_load((ROOT / "chart" / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["name"], chart["description"]) == (PROJECT.name, PROJECT.description)
    assert (chart["home"], chart["sources"]) == (PROJECT.documentation, [PROJECT.source])
    assert [(one["name"], one["email"]) for one in chart["maintainers"]] == list(PROJECT.maintainers)


def test_pages_for_strangers_name_the_maintainers() -> None:
    """Reports of vulnerabilities reach them, and the copyright is theirs."""
    for name, email in PROJECT.maintainers:
        assert f"<{email}>" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
        assert name in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    """No address is made up, and a site's address can be appended to."""
    file = tmp_path / "pyproject.toml"
    urls = '[project.urls]\nDocumentation = "https://docs.test"\nSource = "https://git.test"\n'
    file.write_text(f'[project]\nname = "a"\ndescription = "b"\nauthors = []\n{urls}', encoding="utf-8")
    with pytest.raises(ValueError, match="must end with /"):
        read(file)
    file.write_text('[project]\nname = "a"\n', encoding="utf-8")
    with pytest.raises(KeyError):
        read(file)


def test_one_version() -> None:
    """The package, the chart, the image and the newest section of the changelog agree."""
    chart = yaml.safe_load((ROOT / "chart" / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert f"ARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert releases()[0][0] == __version__


def releases() -> list[tuple[str, str]]:
    """Return version and date of each release in the changelog, newest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)


def test_form_of_the_changelog() -> None:
    """As Keep a Changelog has it: what is not released first, then releases by date, with its kinds of change."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["[Unreleased]", *(f"[{version}] - {date}" for version, date in releases())]
    dates = [date for _, date in releases()]
    assert dates == sorted(dates, reverse=True)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/README.md"])
def test_paths_that_a_page_names_are_there(page: str) -> None:
    """A file or folder in code marks exists; `<…>` stands for a name."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(
        r"`((?:alerts|benchmarks|chart|dashboards|docs|exporter|tests|tools|\.ci|\.github)/[^`]*)`", text
    )
    assert [path for path in named if "<" not in path and not (ROOT / path).exists()] == []


def test_contributing_names_targets_that_there_are() -> None:
    """Each `make` command is a target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"[`$] ?make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert len(named) > 3
    assert named <= targets


def attributes(*files: Path) -> dict[str, bool]:
    """Return which files a review collapses as generated."""
    names = [str(file.relative_to(ROOT)) for file in files]
    command = ["git", "check-attr", "linguist-generated", "--", *names]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return {line.split(": ")[0]: line.endswith(": set") for line in said.splitlines()}


def test_reviews_collapse_what_is_generated() -> None:
    """Files that a generator writes as a whole, and no others: a page has prose between its tables."""
    generated = [
        *(ROOT / "alerts" / "prometheus").glob("*.yaml"),
        *(ROOT / "chart" / "files" / "rules").glob("*"),
        *(ROOT / "chart" / "files" / "dashboards").glob("*"),
        *(ROOT / "dashboards").glob("*.json"),
        *ROOT.glob("*.lock"),
        ROOT / "chart" / "values.schema.json",
    ]
    assert len(generated) > 10
    assert [name for name, collapsed in attributes(*generated).items() if not collapsed] == []
    written = [
        ROOT / "docs" / "metrics.md",
        ROOT / "chart" / "values.yaml",
        ROOT / "alerts" / "cloudwatch" / "matillion-fleet.yaml",
    ]
    assert not any(attributes(*written).values())
