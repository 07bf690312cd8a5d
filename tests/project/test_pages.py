"""The README and the pages that repeat what others say: nothing is forgotten, and no figure is another one."""

import re
from pathlib import Path

import pytest
import yaml

from exporter.config import load
from tools.generated import DOCS, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
INDEX = (DOCS / "README.md").read_text(encoding="utf-8")
PAGES = sorted(path for path in DOCS.glob("*.md") if path.name != "README.md")


def page(name: str) -> str:
    """Return the text of a page of docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [path.name for path in PAGES])
def test_every_page_is_in_the_index(name: str) -> None:
    """And has a role that it is for, in the README."""
    assert f"]({name})" in INDEX
    assert re.search(rf"\]\(docs/{re.escape(name)}[#)]", README)


def test_the_readmes_settings_are_good(tmp_path: Path) -> None:
    """As they stand there."""
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "config.yaml"
    file.write_text(block, encoding="utf-8")
    settings = load(file, {})
    assert settings.cluster == yaml.safe_load(block)["cluster"]


def test_nothing_is_installed_from_where_it_is_not_published() -> None:
    """No registry has the package: by its name, pip would fail, or fetch what somebody else has put there."""
    told = [ROOT / "README.md", *ROOT.glob("*/*.md"), *(ROOT / "exporter").rglob("*.py")]
    assert len(told) > 100
    for path in told:
        assert not re.search(r"pip install [^`\n]*matillion-fleet-exporter", path.read_text(encoding="utf-8")), path


def test_memory_is_that_of_the_benchmarks() -> None:
    """Of pods, and of a list of addresses."""
    benchmarks = page("benchmarks.md")
    closed, opened = re.findall(r"^\| after .* \| (\d+) MiB \| \d+ MiB \| [\d.]+ % \|$", benchmarks, re.MULTILINE)
    listed = re.findall(r"^\| resident memory, MiB +\| \d+ – (\d+) – \d+", benchmarks, re.MULTILINE)[0]
    readme, sizing = " ".join(README.split()), page("sizing.md")
    assert f"{closed} MiB of memory, {opened} with the status page open" in readme
    assert f"it is {listed} MiB" in readme
    assert f"{closed} MiB, {opened} with the status page open" in sizing
    assert f"| {listed} MiB |" in sizing


@pytest.mark.parametrize(
    ("row", "way"),
    [
        ("following demand", "following"),
        ("**ahead of demand**", "ahead"),
        ("cron by hand", "cron by hand"),
        ("fixed size for the peak", "fixed size"),
    ],
)
def test_the_forecast_in_the_comparison_is_that_of_its_page(row: str, way: str) -> None:
    """The first of its months, where pods start in 180 s, in whole hours."""
    measured = re.search(rf"^\| 180 s \| {way} \| ([\d.]+) \| [\d.]+ \| (\d+) \|", page("forecast.md"), re.MULTILINE)
    repeated = re.search(
        rf"^\| {re.escape(row)} \| (\d+)(?: task-hours)? \| ([\d,]+) \|$", page("comparison.md"), re.MULTILINE
    )
    assert measured is not None
    assert repeated is not None
    assert (float(repeated[1]), float(repeated[2].replace(",", ""))) == (round(float(measured[1])), float(measured[2]))
