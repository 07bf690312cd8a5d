"""The image, built from the Dockerfile and run as user 65534 under a root filesystem that cannot be written."""

import json
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest

from exporter import __version__
from tests.fakes.image import Image, Mount
from tools.programs import ROOT

pytestmark = pytest.mark.slow

TRY_TO_WRITE = """
import os
for folder, names, files in os.walk("/"):
    if folder in ("/proc", "/sys", "/dev") or folder.count("/") > 5:
        names.clear()
        continue
    if os.access(folder, os.W_OK):
        print(folder)
"""
IMPORT_ALL = """
import importlib, pkgutil, exporter
for module in pkgutil.walk_packages(exporter.__path__, "exporter."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            print(module.name, error.name)
"""


def run(image: Image, *arguments: str, python: str | None = None, mounts: tuple[Mount, ...] = ()) -> tuple[int, str]:
    """Run the image with arguments, or a program in its Python; return code and output."""
    entry_point = None if python is None else ["python", "-c", python]
    command = image.command(arguments, entry_point=entry_point, mounts=mounts)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_wheel_is_complete(image: Image) -> None:
    """Every file of the package is in the wheel: code, the mark of its types, and what the web pages are made of."""
    (wheel,) = (image.layer.parent / "stage-0" / "wheels").glob("*.whl")
    assert wheel.name == f"matillion_fleet_exporter-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("exporter/")}
    files = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "exporter").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert packed == files


def test_entry_point(image: Image) -> None:
    """The program starts from what was installed, without a shell and without pip, and says its version."""
    assert run(image, "--version") == (0, f"fleet-exporter {__version__}\n")
    code, usage = run(image, *image.arguments)
    assert code == 0
    assert usage.startswith("usage: fleet-exporter")
    script = image.layer / "opt/fleet-exporter/bin/fleet-exporter"
    assert script.read_text(encoding="utf-8").startswith("#!/opt/fleet-exporter/bin/python")
    assert not list((image.layer / "opt/fleet-exporter/bin").glob("pip*"))
    assert list((image.layer / "opt/fleet-exporter/lib").glob("python3.*/site-packages/exporter/__pycache__/*.pyc"))


def test_dependencies_are_complete(image: Image) -> None:
    """Every module finds what it imports among what the wheel asks for; only the demo's pictures take an extra."""
    code, said = run(image, python=IMPORT_ALL)
    assert code == 0, said
    assert {line.split()[1] for line in said.splitlines()} <= {"rich"}


def test_nothing_can_be_written_but_a_mounted_volume(image: Image) -> None:
    """As its user the program finds no folder to write to, except the volume that it is given."""
    volume = Path(tempfile.mkdtemp(dir=image.layer.parent))
    os.chown(volume, 0, 65534)
    volume.chmod(0o2770)
    mounts = (Mount(volume, "/var/lib/fleet-exporter", read_only=False),)
    assert run(image, python=TRY_TO_WRITE, mounts=mounts) == (0, "/var/lib/fleet-exporter\n")


def test_check_config(image: Image) -> None:
    """A mounted file of settings is checked, good or bad, with the exit codes of the command line."""
    folder = Path(tempfile.mkdtemp(dir=image.layer.parent))
    folder.chmod(0o755)
    (folder / "good.yaml").write_text("{}", encoding="utf-8")
    (folder / "bad.yaml").write_text(json.dumps({"scrape": {"interval": "soon"}}), encoding="utf-8")
    mounts = (Mount(folder, "/etc/fleet-exporter/config"),)
    good, bad = "/etc/fleet-exporter/config/good.yaml", "/etc/fleet-exporter/config/bad.yaml"
    assert run(image, "check-config", good, mounts=mounts) == (0, f"{good}: good\n")
    code, said = run(image, "check-config", bad, mounts=mounts)
    assert (code, "scrape.interval" in said, "Traceback" in said) == (2, True, False)


def test_looking_on(image: Image) -> None:
    """What docs/install.md lets one run in a pod works in the image: each says in words what is missing here."""
    folder = Path(tempfile.mkdtemp(dir=image.layer.parent))
    folder.chmod(0o755)
    (folder / "config.yaml").write_text("{}", encoding="utf-8")
    mounts = (Mount(folder, "/etc/fleet-exporter/config"),)
    code, said = run(image, "doctor", mounts=mounts)
    assert (code, "kubeconfig" in said, "Traceback" in said) == (1, True, False), said
    # Nobody listens on port 1.
    code, said = run(image, "status", "--url", "http://127.0.0.1:1")
    assert (code, "http://127.0.0.1:1" in said, "Traceback" in said) == (1, True, False), said
