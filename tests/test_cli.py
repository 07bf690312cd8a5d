"""The command line: exit codes, and errors of one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from exporter import __version__
from exporter.cli import main

DATA = Path(__file__).parent / "testdata" / "config"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the program and its version."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"fleet-exporter {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run", "--no-such-option"]])
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong use is exit 2 with how it is used right."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: fleet-exporter" in capsys.readouterr().err


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file is said to be good, with exit 0."""
    file = tmp_path / "config.yaml"
    file.write_text("discovery: {static: {targets: [{address: 127.0.0.1}]}}\n")
    assert main(["check-config", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: good\n"


@pytest.mark.parametrize("command", [["check-config"], ["run", "--config"]])
def test_a_bad_file(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything wrong with a file is said at once, with exit 2 and no traceback, before anything runs."""
    file = tmp_path / "config.yaml"
    file.write_text("scrape: {interval: soon, timeouts: 3s}\ncapacity: {target_tasks_per_agent: 30}\n")
    assert main([*command, str(file)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for part in ("scrape.interval", "scrape.timeouts", "capacity.target_tasks_per_agent"):
        assert part in error


def test_a_simulation_that_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    """Options that contradict each other are wrong use, in one sentence."""
    assert main(["simulate", "--agents", "2", "--legacy", "3"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("fleet-exporter: ")


@pytest.mark.slow
def test_commands_that_simulate_nothing_do_without_the_simulation() -> None:
    """It is imported by the commands that need it, when they run."""
    program = (
        "import sys; from exporter.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print([name for name in sys.modules if name.startswith('exporter.simulation')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "simulate" in done.stdout
    assert done.stdout.endswith("\n[]\n")
