"""The real helm and kubectl, run with nothing of this machine's."""

import subprocess
from pathlib import Path

from tools.programs import ROOT, programs

CHART = ROOT / "chart"
RUN_SECONDS = 60.0


class Tool:
    """`helm` or `kubectl`, in a home of its own."""

    def __init__(self, name: str, home: Path, version: int = 4) -> None:
        """Take the program's name, an empty folder and the version of helm that it is or comes with."""
        self._program = programs(version) / name
        # A run is too short for Go's garbage collector to be worth its time, a quarter of the whole.
        self._environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null", "GOGC": "off"}
        self._done: dict[tuple[str | Path, ...], subprocess.CompletedProcess[str]] = {}

    def __call__(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        return subprocess.run(
            [self._program, *map(str, arguments)],
            input=stdin, capture_output=True, text=True, timeout=RUN_SECONDS, env=self._environment, check=False,
        )  # fmt: skip

    def once(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it for what depends on the arguments alone; return what came of that the first time."""
        if arguments not in self._done:
            self._done[arguments] = self(*arguments)
        return self._done[arguments]

    def good(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run it, fail with what it said unless it ends well, and return what it wrote."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, (
            f"{self._program.name} {' '.join(map(str, arguments))}:\n{done.stderr}{done.stdout}"
        )
        return done.stdout
