"""Writes the Prometheus rule files: `python -m alerts.build`, or with `--check` only compares.

With `--runbook-base-url` the alerts point to runbooks published elsewhere, with `--faster` every time in the rules is
shorter (to see them work), and `--output` writes the files to another folder.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from alerts.prometheus import agent_alerts, exporter_alerts, fleet_alerts, recording
from alerts.prometheus.rules import Clock, Group, written
from alerts.prometheus.settings import RUNBOOK_BASE_URL, Settings
from tools.generated import bring_in_step

FOLDER = Path(__file__).parent / "prometheus"
_HEADER = "# Generated (make alerts) from alerts/prometheus/*.py, thresholds from settings.py. Do not edit.\n"


def files(
    settings: Settings, *, faster: float = 1.0, runbook_base_url: str = RUNBOOK_BASE_URL
) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every rule file."""
    clock = Clock(faster)
    contents: dict[str, tuple[Group, ...]] = {
        "recording-rules.yaml": recording.groups(settings, clock),
        "alerts.yaml": (
            *fleet_alerts.groups(settings, clock),
            *agent_alerts.groups(settings, clock),
            *exporter_alerts.groups(settings, clock),
        ),
    }
    for name, groups in contents.items():
        yield name, _HEADER + written(groups, clock, runbook_base_url)


def main(arguments: Sequence[str]) -> int:
    """Write the files, or say which are out of step."""
    parser = argparse.ArgumentParser(prog="python -m alerts.build", description="Write the Prometheus rule files.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if a file is out of step")
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help="write to another folder")
    parser.add_argument("--faster", type=float, default=1.0, metavar="X", help="divide every time by this")
    parser.add_argument("--runbook-base-url", default=RUNBOOK_BASE_URL, metavar="URL", help="where the runbooks are")
    options = parser.parse_args(arguments)
    if options.faster <= 0:
        parser.error("--faster must be above 0")
    texts = files(Settings(), faster=options.faster, runbook_base_url=options.runbook_base_url)
    wanted = {options.output / name: text for name, text in texts}
    return bring_in_step(wanted, check=options.check, command="make alerts")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
