"""The threat model: each attack it lists has a test, and the test exists."""

import re

import pytest

from tools.generated import DOCS, ROOT

TEXT = (DOCS / "security.md").read_text(encoding="utf-8")
ATTACKS = re.findall(
    r"^\| it tries \| what stops it \| test \|\n\| --- \| --- \| --- \|\n((?:\|.*\n)+)", TEXT, re.MULTILINE
)
ROWS = [row for table in ATTACKS for row in table.splitlines()]


def test_there_are_attacks_of_each_kind() -> None:
    """Of an agent, a neighbor, and somebody with an identity that is not theirs."""
    assert len(ATTACKS) == 3
    assert min(len(table.splitlines()) for table in ATTACKS) >= 10


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_each_attack_has_its_test(row: str) -> None:
    """By file and name, so that nobody renames or deletes it unseen."""
    _, attack, countermeasure, shown, _ = row.split("|")
    assert attack.strip()
    assert countermeasure.strip()
    named = re.fullmatch(r" `([\w/]+\.py)::(test_\w+)` ", shown)
    assert named is not None, "the third column is `file::test`, below tests/"
    file, test = named.groups()
    defined = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^(?:async )?def {test}\(", defined, re.MULTILINE)


def test_the_way_to_report_leads_to_the_threat_model() -> None:
    """And is not a second one."""
    report = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "(docs/security.md)" in report
    assert "| --- |" not in report
