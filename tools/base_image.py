"""Makes the base image that the Dockerfile asks for of Debian's packages: `python -m tools.base_image`.

The tests build the Dockerfile where no registry of images can be reached. debootstrap installs the Debian release and
the Python that the base's name speaks of, and the result bears that very name. It has the layout of the official image
as far as the Dockerfile relies on it. It is kept outside the tree until its recipe (`_make`) changes.
"""

import fcntl
import hashlib
import inspect
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from tools.generated import ROOT

PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "setpriv": "util-linux", "unshare": "util-linux"}
"""What building and running an image takes, with Debian's packages."""
SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
UNUSED_SECONDS = 7 * 86400.0
"""A base that was not used for so long goes: its recipe has changed, and no other checkout has the old one."""
BUILD_SECONDS = 600.0
"""For one step; a minute and a half was measured for the longest, on two busy cores."""


class NoImagesError(Exception):
    """This machine cannot build or run an image; the text says what is missing."""


class Buildah:
    """buildah with storage of its own: a folder a layer (`vfs`), which takes no mounts and no special filesystem."""

    def __init__(self, storage: Path, scratch: Path, base: Path | None = None) -> None:
        """Take folders for what it keeps and for what it needs while it works, and storage to read images from."""
        self._scratch = scratch
        self._options = ["--storage-driver", "vfs", "--root", str(storage), "--runroot", str(scratch / "run")]
        if base is not None:
            self._options += ["--storage-opt", f"vfs.imagestore={base}"]

    def __call__(self, *arguments: str | Path) -> str:
        """Return what it wrote, without the last line's end. Raises RuntimeError with what it said if it fails."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        return _run("buildah", *self._options, *arguments, environment={"TMPDIR": str(self._scratch)})


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    # What it mounts is gone with its mount namespace, however it ends.
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *map(str, command)],
        capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS, check=False,
        env=os.environ | {"PATH": SEARCHED} | (environment or {}),
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.rstrip("\n")


def base_of(dockerfile: str) -> tuple[str, str, str]:
    """Return the name of the base of every stage, the Python and the Debian release that it stands for."""
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    written = re.findall(r"^FROM (?:--platform=\S+ )?(\S+)", dockerfile, re.MULTILINE)
    names = {Template(name).substitute(arguments) for name in written}
    parts = re.fullmatch(r"python:(\d+\.\d+)-slim-([a-z]+)", " ".join(names))
    if parts is None:
        raise ValueError(f"the base is to be one python:VERSION-slim-RELEASE, not {' and '.join(sorted(names))}")
    return parts[0], parts[1], parts[2]


def require_images() -> None:
    """Raise NoImagesError unless this machine can build an image and run it."""
    missing = [f"{one} (Debian: {PROGRAMS[one]})" for one in PROGRAMS if shutil.which(one, path=SEARCHED) is None]
    if missing:
        raise NoImagesError(f"building the image takes {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/etc:/usr", folder)
        except RuntimeError as error:
            raise NoImagesError(f"running the image takes root and overlayfs: {str(error).splitlines()[-1]}") from None


def base_storage() -> Path:
    """Return the storage that has the base, making it if need be. Raises NoImagesError."""
    require_images()
    name, version, release = base_of((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matillion-fleet-exporter"
    recipe = f"{name} {platform.machine()} {inspect.getsource(_make)}"
    place = cache / f"base-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache):
        if not place.exists():
            partial = cache / f"partial-{place.name}"
            shutil.rmtree(partial, ignore_errors=True)
            _make(partial, name, version, release)
            (partial / "storage").rename(place)
            shutil.rmtree(partial)
        os.utime(place)
        for other in cache.glob("base-*"):
            if time.time() - other.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(other)
    return place


@contextmanager
def locked(folder: Path, operation: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Wait for a lock on a folder and hold it; yields the file descriptor that bears it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield descriptor
    finally:
        os.close(descriptor)


def _make(folder: Path, name: str, version: str, release: str) -> None:
    buildah = Buildah(folder / "storage", folder / "scratch")
    container = buildah("from", "scratch")
    root = Path(buildah("mount", container))
    packages = f"python{version},python3-pip,ca-certificates"
    try:
        _run("debootstrap", "--variant=minbase", f"--include={packages}", release, root)
    except RuntimeError as error:
        raise NoImagesError(f"the image's base cannot be made: {error}") from error
    # A slim image has no documentation either; the fewer files, the faster a layer is copied.
    for unneeded in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(root / unneeded)
    for alias in ("python", "python3"):
        (root / "usr/local/bin" / alias).symlink_to(f"/usr/bin/python{version}")
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    buildah("config", "--env", path, "--env", "LANG=C.UTF-8", "--cmd", "python3", container)
    buildah("commit", "--quiet", "--rm", container, f"docker.io/library/{name}")


if __name__ == "__main__":
    try:
        base_storage()
    except NoImagesError as error:
        # What is missing leaves its tests out, it ends nothing.
        sys.stderr.write(f"{error}; the image's tests are left out\n")
