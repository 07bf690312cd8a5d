"""Writes everything that follows from the alerts' thresholds: `python -m alerts.build`; with `--check` only compares.

These are the Prometheus rule files, the alarms of the CloudFormation template, the runbooks that the exporter serves,
and tables of docs/alerts.md and docs/cloudwatch.md. With `--output` only the rule files are written, to another folder:
with `--runbook-base-url` their alerts link to runbooks published elsewhere, and with `--faster` every time in them is
shorter (to see them fire).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from alerts import runbook_pages, tables
from alerts.cloudwatch import template
from alerts.cloudwatch.alarms import stack
from alerts.pairs import pairs
from alerts.prometheus import agent_alerts, exporter_alerts, fleet_alerts, recording
from alerts.prometheus.rules import Alert, Clock, Group, written
from alerts.settings import RUNBOOK_BASE_URL, Settings
from tools.generated import DOCS, bring_in_step, rendered

FOLDER = Path(__file__).parent / "prometheus"
_HEADER = "# Generated (make alerts) from alerts/prometheus/*.py, thresholds from alerts/settings.py. Do not edit.\n"


def files(
    settings: Settings, *, faster: float = 1.0, runbook_base_url: str = RUNBOOK_BASE_URL
) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every rule file."""
    clock = Clock(faster)
    contents = {"recording-rules.yaml": recording.groups(settings, clock), "alerts.yaml": _groups(settings, clock)}
    for name, groups in contents.items():
        yield name, _HEADER + written(groups, clock, runbook_base_url)


def _groups(settings: Settings, clock: Clock) -> tuple[Group, ...]:
    return (
        *fleet_alerts.groups(settings, clock),
        *agent_alerts.groups(settings, clock),
        *exporter_alerts.groups(settings, clock),
    )


def alerts(settings: Settings) -> Iterator[Alert]:
    """Yield every Prometheus alert."""
    for group in _groups(settings, Clock()):
        yield from (rule for rule in group.rules if isinstance(rule, Alert))


def sections(settings: Settings) -> Iterator[tuple[Path, str, str, Iterator[str]]]:
    """Yield the generated part of every file that is otherwise written by hand: its marks and its lines."""
    of_fleet = stack(settings)
    yield template.FILE, template.THRESHOLDS, template.END, template.thresholds(of_fleet)
    yield template.FILE, template.ALARMS, template.END, template.alarms(of_fleet, pairs(settings))
    yield DOCS / "alerts.md", tables.ALERTS, tables.END, tables.of_alerts(alerts(settings))
    yield DOCS / "alerts.md", tables.PAIRS, tables.END, tables.of_pairs(pairs(settings))
    yield DOCS / "cloudwatch.md", tables.ALARMS, tables.END, tables.of_alarms(of_fleet)


def _pages(settings: Settings) -> dict[Path, str]:
    pages: dict[Path, str] = {}
    for page, begin, end, lines in sections(settings):
        text = pages.get(page) or page.read_text(encoding="utf-8")
        pages[page] = rendered(text, begin, end, list(lines))
    return pages


def main(arguments: Sequence[str]) -> int:
    """Write the files, or report which are out of step."""
    parser = argparse.ArgumentParser(prog="python -m alerts.build", description="Write the alerts and their tables.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if a file is out of step")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write only the rule files, to this folder")
    parser.add_argument("--faster", type=float, default=1.0, metavar="X", help="divide every time by this")
    parser.add_argument("--runbook-base-url", default=RUNBOOK_BASE_URL, metavar="URL", help="where the runbooks are")
    options = parser.parse_args(arguments)
    if options.faster <= 0:
        parser.error("--faster must be above 0")
    texts = files(Settings(), faster=options.faster, runbook_base_url=options.runbook_base_url)
    made = {(options.output or FOLDER) / name: text for name, text in texts}
    if options.output is None:
        made |= _pages(Settings())
        made[runbook_pages.OUTPUT] = runbook_pages.written(alerts(Settings()))
    return bring_in_step(made, check=options.check, command="make alerts")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
