"""Writes the dashboards' JSON: `python -m dashboards.build`, or with `--check` only compares."""

import sys
from collections.abc import Sequence
from pathlib import Path

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
        texts[f"{made.uid}.json"] = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(made) + "\n"
    return texts


def main(arguments: Sequence[str]) -> int:
    """Write the files, or say which are out of step."""
    wanted = {FOLDER / name: text for name, text in files().items()}
    return bring_in_step(wanted, check="--check" in arguments, command="make dashboards")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
