"""Pins what goes into the image, and what builds its wheel, to the newest versions that fit: `python -m tools.pins`.

Every file of a version is listed with its hash, for all architectures, and no registry is named: a build takes the
files from whichever it is set to. Takes uv (`make pins` installs it) and the package registry.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools.generated import ROOT

PYTHON = "3.11"
"""That of the image."""
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
"""The image's: each pinned version has a wheel for both, or it is not pinned."""


def main() -> None:
    """Write both locks, once it is sure that they can be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    _pin("pyproject.toml", "", ROOT / "requirements.lock")
    _pin("-", "\n".join(project["build-system"]["requires"]), ROOT / "requirements-build.lock")


def _pin(source: str, requirements: str, lock: Path) -> None:
    pins = _uv(
        "compile", "--universal", "--python-version", PYTHON, "--generate-hashes", "--only-binary", ":all:",
        "--custom-compile-command", "make pins", source, stdin=requirements,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for platform in PLATFORMS:
            _uv(
                "install", "--dry-run", "--require-hashes", "--only-binary", ":all:", "--python-version", PYTHON,
                "--python-platform", platform, "--target", folder, "--requirements", "-", stdin=pins,
            )  # fmt: skip
    lock.write_text(pins, encoding="utf-8")


def _uv(*arguments: str, stdin: str) -> str:
    """Run `uv pip`, without settings that are not the project's."""
    command = [sys.executable, "-m", "uv", "--no-config", "pip", *arguments]
    return subprocess.run(command, cwd=ROOT, input=stdin, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
