"""Writes the dashboards' JSON: `python -m dashboards.build`, or with `--check` only compares."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import agents, capacity, cloudwatch, exporter, fleet
from tools.generated import bring_in_step

FOLDER = Path(__file__).parent
DASHBOARDS = (fleet, agents, capacity, exporter, cloudwatch)


def files() -> dict[str, str]:
    """Return the text of every dashboard by the name of its file."""
    texts = {}
    for module in DASHBOARDS:
        made = module.build().build()
        written = fitted(json.loads(JSONEncoder().encode(made)))
        texts[f"{made.uid}.json"] = json.dumps(written, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    return texts


def fitted(board: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard for Grafana 10 and later: the SDK writes what its schema, that of 10.1, has."""
    board.pop("style", None)
    for variable in board["templating"]["list"]:
        for field in ("id", "auto", "auto_min", "auto_count"):
            variable.pop(field, None)
    for panel in board["panels"]:
        if panel["type"] == "heatmap":
            # Later than 10.1; before, `show`.
            panel["options"]["tooltip"]["mode"] = "single"
    return board


def main(arguments: Sequence[str]) -> int:
    """Write the files, or say which are out of step."""
    wanted = {FOLDER / name: text for name, text in files().items()}
    return bring_in_step(wanted, check="--check" in arguments, command="make dashboards")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
