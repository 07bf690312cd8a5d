"""The dashboards' JSON against Grafana's own schema: the types of `@grafana/schema` on npm, checked by deno.

A literal of a type may have no key that the type does not have, and each value must be one of those it allows.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from deno import find_deno_bin

from tests.dashboards.dashboards_as_json import DASHBOARDS, EVENT_WORDS, cloudwatch_queries, panels
from tests.waiting import PATIENCE
from tools.generated import ROOT

pytestmark = pytest.mark.slow

SCHEMA = "npm:@grafana/schema@11.6.0/dist/esm/raw"
PANELS = {
    "timeseries": "timeseries/panelcfg/x/TimeSeriesPanelCfg_types",
    "stat": "stat/panelcfg/x/StatPanelCfg_types",
    "state-timeline": "statetimeline/panelcfg/x/StateTimelinePanelCfg_types",
    "heatmap": "heatmap/panelcfg/x/HeatmapPanelCfg_types",
    "table": "table/panelcfg/x/TablePanelCfg_types",
}
"""The types of each kind of panel: its options, and what its fields have of their own."""
WITHOUT_FIELDS = {"stat"}
CLOUDWATCH = f"{SCHEMA}/composable/cloudwatch/dataquery/x/CloudWatchDataQuery_types.gen.d.ts"
HEAD = f"""
import type {{Dashboard}} from "{SCHEMA}/dashboard/x/dashboard_types.gen.d.ts";
import type {{CloudWatchMetricsQuery}} from "{CLOUDWATCH}";
// As JSON: the text of an enumeration's member instead of the member.
type Plain<T> = T extends string ? `${{T}}` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Array<Plain<U>> : {{[K in keyof T]: Plain<T[K]>}};
"""


def literal(name: str, kind: str, value: Any) -> str:
    """Return a constant of a type."""
    return f"export const {name}: Plain<{kind}> = {json.dumps(value)};\n"


def source() -> str:
    """Return every dashboard as a constant of its type, and what that type leaves open as constants of theirs."""
    text = HEAD
    for kind, place in PANELS.items():
        module = f"{SCHEMA}/composable/{place}.gen.d.ts"
        text += f'import type * as {kind.replace("-", "_")} from "{module}";\n'
    for number, board in enumerate(json.loads(json.dumps(DASHBOARDS)).values()):
        for event in board["annotations"].get("list", ()):
            for word in (*EVENT_WORDS, "expr"):
                del event[word]
        text += literal(f"board_{number}", "Dashboard", board)
        for panel in panels(board):
            if panel["type"] == "heatmap":
                del panel["options"]["tooltip"]["show"]  # read by 10.1
            kind, name = panel["type"].replace("-", "_"), f"panel_{number}_{panel['id']}"
            text += literal(f"{name}_options", f"Partial<{kind}.Options>", panel["options"])
            if panel["type"] not in WITHOUT_FIELDS:
                custom = panel["fieldConfig"]["defaults"].get("custom", {})
                text += literal(f"{name}_fields", f"Partial<{kind}.FieldConfig>", custom)
    for number, query in enumerate(cloudwatch_queries()):
        text += literal(f"query_{number}", "CloudWatchMetricsQuery", query)
    return text


def deno(*arguments: str | Path) -> tuple[int, str]:
    """Run deno with a cache of the repository's own; return its code and what it says."""
    environment = os.environ | {"DENO_DIR": str(ROOT / ".tools" / "deno"), "NO_COLOR": "1"}
    command = [find_deno_bin(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def _schema() -> None:
    """Fetch the schema, where it is not there yet."""
    code, said = deno("cache", f"{SCHEMA}/dashboard/x/dashboard_types.gen.d.ts")
    if code:
        pytest.skip(f"the schema cannot be had: {said.strip()[-300:]}")


@pytest.mark.usefixtures("_schema")
def test_the_json_is_of_grafanas_schema(tmp_path: Path) -> None:
    """Dashboards, variables, panels with their options, and queries of CloudWatch."""
    file = tmp_path / "boards.ts"
    file.write_text(source(), encoding="utf-8")
    code, said = deno("check", file)
    assert code == 0, said[:4000]


@pytest.mark.usefixtures("_schema")
def test_what_is_not_of_the_schema_is_found(tmp_path: Path) -> None:
    """A key that Grafana would ignore, and a value that it does not know, are errors."""
    file = tmp_path / "wrong.ts"
    text = literal("key", "Dashboard", {"schemaVersion": 36, "titel": "x"})
    text += literal("value", "Dashboard", {"schemaVersion": 36, "graphTooltip": 7})
    file.write_text(HEAD + text, encoding="utf-8")
    code, said = deno("check", file)
    assert code == 1
    assert "'\"titel\"' does not exist" in said
    assert "TS2322" in said
