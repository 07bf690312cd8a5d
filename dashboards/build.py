"""Writes the dashboards' JSON: `python -m dashboards.build`, or with `--check` only compares."""

import sys
from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import agents_board, capacity_board, cloudwatch_board, exporter_board, fleet_board

FOLDER = Path(__file__).parent
BOARDS = (fleet_board, agents_board, capacity_board, exporter_board, cloudwatch_board)


def files() -> dict[str, str]:
    """Return the text of every dashboard by the name of its file."""
    texts = {}
    for module in BOARDS:
        made = module.build().build()
        texts[f"{made.uid}.json"] = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(made) + "\n"
    return texts


def main(arguments: Sequence[str]) -> int:
    """Write the files, or say which are out of step."""
    out_of_step = []
    for name, text in files().items():
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        out_of_step.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    if out_of_step and "--check" in arguments:
        sys.stderr.write(f"out of step, run `make dashboards`: {', '.join(out_of_step)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
