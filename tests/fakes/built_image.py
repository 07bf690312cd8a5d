"""The image that the Dockerfile makes, built by buildah, and run as a kubelet would with chroot and setpriv.

Nothing of the project under test is used here.
"""

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE
from tools.base_image import Buildah, NoImagesError, base_storage, locked
from tools.generated import ROOT

REVISION = "0123456789abcdef"
"""What the tests' build is told to be made of."""
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it is made for this run
ROOM = 3_000_000_000
"""Bytes; a build takes a third of it."""
PREFIX = "fleet-exporter-image-"
LEFT_SECONDS = 3600.0
"""A run has long locked what it shares."""
HOST_FILES = ("etc/hosts", "etc/resolv.conf")
"""What a kubelet puts in every container."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine inside the container."""

    source: Path
    path: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Image:
    """An image, unpacked."""

    folder: Path
    """For what belongs to the image's tests; it goes when the last of them is over."""
    root: Path
    """Its files."""
    config: Mapping[str, Any]
    """Its configuration, as OCI's image specification has it."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables it sets."""
        return dict(one.split("=", 1) for one in self.config["Env"])

    def command(
        self,
        arguments: Sequence[str] | None = None,
        *,
        entry_point: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        mounts: Sequence[Mount] = (),
        user: str | None = None,
    ) -> list[str]:
        """Return the command that runs the image as a kubelet would with the restricted security context.

        The root filesystem cannot be written, no capability is left, none can be gained. The process that the command
        starts becomes the program itself, so that a signal reaches it.
        """
        scratch = Path(tempfile.mkdtemp(prefix="container-", dir=self.folder))
        root, points = scratch / "root", scratch / "mount-points"
        root.mkdir()
        for path in ("/proc", "/dev", "/etc", *(mount.path for mount in mounts)):
            (points / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for name in HOST_FILES:
            shutil.copyfile(f"/{name}", points / name)
        script = [
            f"mount -t overlay overlay -o lowerdir={points}:{self.root} {root}",
            f"mount --rbind /proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
        ]
        for mount in mounts:
            script.append(f"mount --bind {mount.source} {root}{mount.path}")
            if mount.read_only:
                script.append(f"mount -o remount,bind,ro {root}{mount.path}")
        uid, gid = (user or self.config["User"]).split(":")
        variables = self.environment | dict(environment or {})
        process = [
            "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
            "--no-new-privs", "env", "-i", *(f"{name}={value}" for name, value in variables.items()),
            *(self.config["Entrypoint"] if entry_point is None else entry_point),
            *(self.config["Cmd"] if arguments is None else arguments),
        ]  # fmt: skip
        script.append(f"exec chroot {root} {shlex.join(process)}")
        return _unshared(script)


def _unshared(script: Sequence[str]) -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(script)]


def build(context: Path, folder: Path, *, dockerfile: Path | None = None, base: Path | None = None) -> Image:
    """Build a Dockerfile with `context`, on images that the storage `base` has, and unpack the result in `folder`."""
    storage, scratch = folder / "storage", folder / "scratch"
    buildah = Buildah(storage, scratch, base)
    scratch.mkdir(parents=True)
    buildah(
        "bud", "--isolation", "chroot", "--pull-never", "--quiet", "--build-arg", f"REVISION={REVISION}",
        *(f"--volume={source}:{path}:ro" for path, source in _for_pip(scratch).items()),
        *(("--file", dockerfile) if dockerfile else ()), "--tag", "built", context,
    )  # fmt: skip
    config = json.loads(buildah("inspect", "--type", "image", "built"))["OCIv1"]["config"]
    # With this storage a mounted container is a folder like any other.
    Path(buildah("mount", buildah("from", "--pull-never", "built"))).rename(folder / "root")
    for made in (storage, scratch):
        shutil.rmtree(made)
    return Image(folder, folder / "root", config)


def _for_pip(folder: Path) -> dict[str, Path]:
    """Return what a build must see, and the image must not hold, to reach the package registry as pip does here."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    # "global.index-url='https://…'"; what is in force stands last.
    settings = {
        name.rpartition(".")[2]: value.strip("'")
        for name, _, value in (line.partition("=") for line in listed.stdout.splitlines())
    }
    # A folder of this machine is none in the build.
    more = [url for url in settings.get("extra-index-url", "").split() if url.startswith("http")]
    passed = {name: settings[name] for name in ("index-url", "trusted-host", "proxy", "timeout") if name in settings}
    passed |= {"extra-index-url": " ".join(more)} if more else {}
    mounts = {"/etc/pip.conf": folder / "pip.conf"}
    certificates = Path(settings.get("cert") or os.environ.get("SSL_CERT_FILE") or CERTIFICATES)
    if certificates.exists():
        passed["cert"] = CERTIFICATES
        mounts[CERTIFICATES] = certificates
    lines = ["[global]", *(f"{name} = {value}" for name, value in passed.items()), ""]
    mounts["/etc/pip.conf"].write_text("\n".join(lines), encoding="utf-8")
    return mounts


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """Give the image that the Dockerfile makes, or leave the test out where no image can be built or run."""
    with ExitStack() as stack:
        try:
            built = stack.enter_context(_shared(_place()))
        except NoImagesError as error:
            pytest.skip(str(error))
        yield built


@contextmanager
def _shared(folder: Path) -> Iterator[Image]:
    """Build the image unless another process of this run has; the last one to use it removes it."""
    users, built = folder / "users", folder / "image"
    users.mkdir(parents=True, exist_ok=True)
    with locked(users, fcntl.LOCK_SH) as using:
        with locked(folder):
            description = built / "config.json"
            if not description.exists():
                shutil.rmtree(built, ignore_errors=True)
                config = build(ROOT, built, base=base_storage()).config
                description.write_text(json.dumps(config), encoding="utf-8")
        yield Image(built, built / "root", json.loads(description.read_text(encoding="utf-8")))
        with suppress(BlockingIOError):
            fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(built)


def _place() -> Path:
    """Return the folder that the processes of this run share, and remove what runs left that were killed."""
    # In memory if there is room: a file system on a disk takes half a minute to remove 13,000 files.
    folder = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else Path(tempfile.gettempdir())
    for other in folder.glob(f"{PREFIX}*"):
        # In use, or gone: two runs may begin at once.
        with suppress(BlockingIOError, FileNotFoundError):
            if time.time() - other.stat().st_mtime > LEFT_SECONDS:
                with locked(other / "users", fcntl.LOCK_EX | fcntl.LOCK_NB):
                    shutil.rmtree(other)
    return folder / f"{PREFIX}{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
