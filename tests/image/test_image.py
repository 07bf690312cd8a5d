"""The image, built from the Dockerfile and run as user 65534 under a root filesystem that cannot be written."""

import asyncio
import json
import os
import re
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter import __version__
from exporter.config import Settings
from tests.fakes.built_image import REVISION, Image, Mount
from tests.fakes.ports import free_port
from tests.waiting import PATIENCE, eventually
from tools.generated import ROOT

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


PACKAGES = "opt/fleet-exporter/lib/python3.*/site-packages"
VERSIONS = """
import json, re
from importlib.metadata import distributions
own = [one for one in distributions() if "/opt/fleet-exporter/" in str(one.locate_file(""))]
print(json.dumps({re.sub(r"[-_.]+", "-", one.name).lower(): one.version for one in own}))
"""
CLIENTS = """
import asyncio, sys
from aiobotocore.session import AioSession
async def main():
    for service in sys.argv[1:]:
        async with AioSession().create_client(service, region_name="eu-west-1") as client:
            print(client.meta.endpoint_url)
asyncio.run(main())
"""


def run(image: Image, *arguments: str, python: str | None = None, mounts: tuple[Mount, ...] = ()) -> tuple[int, str]:
    """Run the image with arguments, or a program in its Python; return code and output."""
    entry_point = None if python is None else ["python", "-c", python]
    command = image.command(arguments, entry_point=entry_point, mounts=mounts)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


def test_package_is_complete(image: Image) -> None:
    """Every file of the package is there: code, the mark of its types, the web pages' parts, and the license."""
    (packages,) = image.root.glob(PACKAGES)
    assert files(packages / "exporter") == files(ROOT / "exporter")
    (described,) = packages.glob("matillion_fleet_exporter-*.dist-info")
    assert {"licenses/LICENSE", "licenses/NOTICE"} <= files(described)


def files(folder: Path) -> set[str]:
    """Return the files in a folder, without what the interpreter wrote there."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {str(file) for file in found if "__pycache__" not in file.parts}


def test_configuration(image: Image) -> None:
    """A user without a name or rights, the program itself as the first process, its ports, OCI's labels."""
    settings = Settings()
    assert image.config["User"] == "65534:65534"
    assert image.config["Entrypoint"] == ["fleet-exporter"]
    ports = (settings.web.listen.port, settings.external_metrics.listen.port)
    assert set(image.config["ExposedPorts"]) == {f"{port}/tcp" for port in ports}
    assert image.environment["PATH"].startswith("/opt/fleet-exporter/bin:/usr/local/bin:")
    assert image.environment["PYTHONDONTWRITEBYTECODE"] == "1"
    labels = {
        name.rpartition(".")[2]: text for name, text in image.config["Labels"].items() if "opencontainers" in name
    }
    assert set(labels) == {"title", "description", "licenses", "version", "revision"}
    assert (labels["version"], labels["revision"]) == (__version__, REVISION)


def test_entry_point(image: Image) -> None:
    """The program starts from what was installed, without a shell and without pip, and says its version."""
    assert run(image, "--version") == (0, f"fleet-exporter {__version__}\n")
    code, usage = run(image, *image.config["Cmd"])
    assert code == 0
    assert usage.startswith("usage: fleet-exporter")
    programs = image.root / "opt/fleet-exporter/bin"
    assert (programs / "fleet-exporter").read_text(encoding="utf-8").startswith("#!/opt/fleet-exporter/bin/python")
    assert not list(programs.glob("pip*"))
    assert list(image.root.glob(f"{PACKAGES}/exporter/__pycache__/*.pyc"))


def test_versions_are_the_pinned_ones(image: Image) -> None:
    """What is installed is the program and what the lock says; nothing of the building is left."""
    code, said = run(image, python=VERSIONS)
    assert code == 0, said
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", lock, re.MULTILINE))
    assert json.loads(said) == pinned | {"matillion-fleet-exporter": __version__}
    assert sorted(os.listdir(image.root / "opt")) == ["fleet-exporter"]  # noqa: PTH208 - names, not paths
    assert not {"wheels", "source", "build", "requirements.lock"} & {one.name for one in image.root.iterdir()}
    assert not (image.root / "etc/pip.conf").exists()


def test_size(image: Image) -> None:
    """The layer is no larger than docs/install.md says."""
    (promised,) = re.findall(r"at most (\d+) MB", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"))
    layer = sum(file.lstat().st_size for file in (image.root / "opt/fleet-exporter").rglob("*") if not file.is_dir())
    assert layer <= int(promised) * 1_000_000, f"{layer / 1e6:.1f} MB"


def test_dependencies_are_complete(image: Image) -> None:
    """Every module finds what it imports among what the wheel asks for; only the demo's pictures take an extra."""
    code, said = run(image, python=IMPORT_ALL)
    assert code == 0, said
    assert {line.split()[1] for line in said.splitlines()} <= {"rich"}


def test_nothing_can_be_written_but_a_mounted_volume(image: Image) -> None:
    """As its user the program finds no folder to write to, except the volume that it is given."""
    volume = Path(tempfile.mkdtemp(dir=image.folder))
    os.chown(volume, 0, 65534)
    volume.chmod(0o2770)
    mounts = (Mount(volume, "/var/lib/fleet-exporter", read_only=False),)
    assert run(image, python=TRY_TO_WRITE, mounts=mounts) == (0, "/var/lib/fleet-exporter\n")


def test_services_of_aws_are_described(image: Image) -> None:
    """The services that the program asks, or that give credentials, are among the descriptions that are left."""
    services = ("cloudwatch", "sts", "sso", "sso-oidc")
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "exporter").rglob("*.py"))
    assert set(re.findall(r"client\(\s*\"([a-z-]+)\"", sources)) <= set(services)
    command = image.command(services, entry_point=["python", "-c", CLIENTS])
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, len(services)), done.stderr


def test_check_config(image: Image) -> None:
    """A mounted file of settings is checked, good or bad, with the exit codes of the command line."""
    folder = Path(tempfile.mkdtemp(dir=image.folder))
    folder.chmod(0o755)
    (folder / "good.yaml").write_text("{}", encoding="utf-8")
    (folder / "bad.yaml").write_text(json.dumps({"scrape": {"interval": "soon"}}), encoding="utf-8")
    mounts = (Mount(folder, "/etc/fleet-exporter/config"),)
    good, bad = "/etc/fleet-exporter/config/good.yaml", "/etc/fleet-exporter/config/bad.yaml"
    assert run(image, "check-config", good, mounts=mounts) == (0, f"{good}: good\n")
    code, said = run(image, "check-config", bad, mounts=mounts)
    assert (code, "scrape.interval" in said, "Traceback" in said) == (2, True, False)


def mounted(image: Image, settings: dict[str, Any]) -> Mount:
    """Return the chart's mount of settings."""
    folder = Path(tempfile.mkdtemp(dir=image.folder))
    folder.chmod(0o755)
    (folder / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    return Mount(folder, "/etc/fleet-exporter/config")


def test_looking_on(image: Image) -> None:
    """What docs/install.md lets one run in a pod works in the image: each says in words what is missing here."""
    code, said = run(image, "doctor", mounts=(mounted(image, {}),))
    assert (code, "kubeconfig" in said, "Traceback" in said) == (1, True, False), said
    # Nobody listens on port 1.
    code, said = run(image, "status", "--url", "http://127.0.0.1:1")
    assert (code, "http://127.0.0.1:1" in said, "Traceback" in said) == (1, True, False), said


async def test_run(image: Image) -> None:
    """The exporter becomes ready, tells Prometheus of an agent that does not answer, and ends when asked."""
    port = free_port()
    settings = {
        "discovery": {"kubernetes": {"enabled": False}, "static": {"targets": [{"address": "127.90.0.2:9464"}]}},
        "leader_election": {"enabled": False},
        "web": {"listen": f"127.0.0.1:{port}"},
    }
    arguments = ("run", "--config", "/etc/fleet-exporter/config/config.yaml")
    command = image.command(arguments, mounts=[mounted(image, settings)])
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def ready() -> bool:
                assert process.returncode is None
                with suppress(aiohttp.ClientConnectionError):
                    async with session.get("/readyz") as answer:
                        return answer.status == 200
                return False

            await eventually(ready)
            async with session.get("/metrics") as answer:
                exposition = await answer.text()
    finally:
        process.terminate()
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert 'matillion_fleet_agents{namespace="default",fleet="default",state="unreachable"} 1.0' in exposition
