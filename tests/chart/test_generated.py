"""Generated files kept in step: written, compared, and taken away when nothing wants them."""

from pathlib import Path

import pytest

from tools.build import main
from tools.generated import bring_in_step


def test_pages_and_copies_are_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    """The documentation's tables, the chart's schema and its copies of rules and dashboards are as generated."""
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_check_names_what_it_would_change_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with another text, one that is missing and one that nobody wants are named, beside the command."""
    same, other, missing, obsolete = (tmp_path / name for name in ("same", "other", "missing", "obsolete"))
    for file in (same, other, obsolete):
        file.write_text("as it was")
    wanted = {same: "as it was", other: "as it should be", missing: "new"}
    assert bring_in_step(wanted, check=True, command="make it", surplus=[obsolete]) == 1
    assert capsys.readouterr().err == "out of step, run `make it`: obsolete, other, missing\n"
    assert (other.read_text(), missing.exists(), obsolete.exists()) == ("as it was", False, True)


def test_otherwise_it_mends_all(tmp_path: Path) -> None:
    """Afterwards a check is content; folders are made as needed, and what was right is not written again."""
    same, missing, obsolete = tmp_path / "same", tmp_path / "folder" / "missing", tmp_path / "obsolete"
    for file in (same, obsolete):
        file.write_text("as it was")
    same.chmod(0o444)
    before = same.stat().st_mtime_ns
    wanted = {same: "as it was", missing: "new"}
    assert bring_in_step(wanted, check=False, command="make it", surplus=[obsolete]) == 0
    assert (missing.read_text(), obsolete.exists(), same.stat().st_mtime_ns) == ("new", False, before)
    assert bring_in_step(wanted, check=True, command="make it") == 0
