"""`python -m tests.chaos`: one run, reported on the screen and in a file; exit code 1 if an invariant was violated."""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.chaos.faults import Kind
from tests.chaos.report import Report
from tests.chaos.run import run
from tests.fakes.control_plane import assets


def main() -> int:
    """Run with what the command line says."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Hurt two exporters, and look whether they lie.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="default: a new one")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--agents", type=int, default=150)
    parser.add_argument("--scale", type=float, default=1.0, help="of all times: settings of the exporter and faults")
    parser.add_argument(
        "--without",
        metavar="PART",
        choices=sorted({kind.part for kind in Kind}),
        nargs="*",
        default=(),
        help="is spared",
    )
    parser.add_argument("--folder", type=Path, help="where logs are kept; default: a temporary one")
    parser.add_argument("--report", type=Path, default=Path("build/chaos.json"))
    options = parser.parse_args()
    binaries = assets()
    if binaries is None:
        print(  # noqa: T201 - a command prints
            "KUBEBUILDER_ASSETS does not name a folder with etcd and kube-apiserver (CONTRIBUTING.md)", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        given = {name: getattr(options, name) for name in ("seed", "minutes", "agents", "scale", "without")}
        try:
            report = asyncio.run(_until_told(run(binaries, folder, **given)))
        except asyncio.CancelledError:
            print("interrupted", file=sys.stderr)  # noqa: T201
            return 130
    options.report.parent.mkdir(parents=True, exist_ok=True)
    report.write(options.report)
    print(report)  # noqa: T201
    return 1 if report.failed else 0


async def _until_told(work: Coroutine[Any, Any, Report]) -> Report:
    """Do the work, unless a signal comes: then end all that was started, and raise CancelledError."""
    task = asyncio.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
