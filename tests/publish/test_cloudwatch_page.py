"""docs/cloudwatch.md is in step with what it describes."""

import json
import re
from pathlib import Path

import yaml

from exporter.config import CloudWatchSettings
from exporter.fleet.cloudwatch_catalogue import select
from exporter.fleet.outlets import AgentFigure
from exporter.publish.fleet_datums import monthly_dollars
from tools import build_cloudwatch
from tools.generated import rendered

ROOT = Path(__file__).parents[2]
PAGE = build_cloudwatch.PAGE.read_text(encoding="utf-8")


def test_the_tables_are_generated() -> None:
    """`make docs` would change nothing."""
    for block in build_cloudwatch.blocks():
        assert rendered(PAGE, block.begin, block.end, list(block.lines())) == PAGE


def test_the_policies_can_be_pasted() -> None:
    """Each policy is JSON; the permission is PutMetricData alone, in the default namespace."""
    permission, trust = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    [statement] = permission["Statement"]
    assert statement["Action"] == "cloudwatch:PutMetricData"
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": CloudWatchSettings().namespace}}
    assert trust["Statement"][0]["Action"] == "sts:AssumeRoleWithWebIdentity"


def test_the_alarms_are_those_of_the_template() -> None:
    """The page lists every alarm of the template and no other."""
    text = re.sub(r"!\w+", "", (ROOT / "alerts/cloudwatch/matillion-fleet.yaml").read_text(encoding="utf-8"))
    resources = yaml.safe_load(text)["Resources"]
    alarms = {name for name, one in resources.items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    table = PAGE.split("| alarm | when |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([A-Z]\w+)`(?=[^|]*\|[^|]*\|$)", table, re.MULTILINE)) >= alarms
    first_column = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", first_column)) == alarms


def test_the_prices_are_those_of_the_estimate() -> None:
    """What the page says a month costs is what the exporter estimates."""
    per_set = {name: monthly_dollars(len(select([name])), 0, 60) for name in ("minimal", "default")}
    for name, dollars in per_set.items():
        assert f"| one fleet, `{name}` | ${dollars:.2f}" in PAGE
    for interval in (60, 10):
        assert f"${monthly_dollars(0, 1, interval):.2f}" in PAGE
    assert f"| ${per_set['default'] * 10:.0f} and the same" in PAGE
    own = sum(isinstance(metric.figure, AgentFigure) for metric in select(["default"]))
    assert f"| ${50 * own * 0.30:.0f} more" in PAGE
