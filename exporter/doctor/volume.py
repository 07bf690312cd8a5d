"""The volume of a folder that the exporter writes to: writable, how much is free, and how long it lives."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from exporter.doctor.check import CheckFailedError, Finding, ok, warning

MOUNTS = Path("/proc/self/mountinfo")
_MOUNT_FIELDS = 6
_GIGABYTE = 1e9


def file_to_write(name: str, setting: str, path: Path, *, in_pod: bool) -> Sequence[Finding]:
    """Write beside a file, as the exporter does when it replaces it; the file itself is left alone.

    Raises CheckFailedError.
    """
    fix = f"point {setting} to a file in a folder that the exporter may write to, on a volume that outlives it"
    folder = next(one for one in path.absolute().parents if one.exists())
    if path.is_dir() or not folder.is_dir():
        raise CheckFailedError(f"{path} is a folder" if path.is_dir() else f"{folder} is not a folder", fix)
    free = free_bytes(folder, fix)
    if folder == path.absolute().parent:
        found = f"{folder} is writable and has {size(free)} free"
    else:
        found = f"{path.parent} does not exist yet; the exporter makes it, as {folder} is writable"
    kind, lasts = mounted(folder)
    if in_pod and not lasts:
        return [warning(name, f"{found}; it is on {kind}", fix)]
    return [ok(name, found)]


def free_bytes(folder: Path, fix: str) -> int:
    """Return the room in a folder after a file was made there. Raises CheckFailedError with `fix` if that fails."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise CheckFailedError(f"{folder} cannot be written to: {error.strerror or error}", fix) from None


def mounted(folder: Path) -> tuple[str, bool]:
    """Return what kind of volume a folder is on (empty if unknown), and whether that outlives a container."""
    return volume(MOUNTS.read_text(encoding="utf-8"), folder.resolve()) if MOUNTS.exists() else ("", True)


def volume(mounts: str, folder: Path) -> tuple[str, bool]:
    """Return what kind of volume a folder of a container is on, and whether what is there outlives the container.

    `mounts` is /proc/self/mountinfo (proc(5)). The kubelet keeps an emptyDir below a folder named after its plugin,
    which shows as the root of the mount.
    """
    best, kind, lasts = -1, "", True
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < _MOUNT_FIELDS or not kinds:
            continue
        root, point = fields[3], Path(fields[4].replace(r"\040", " "))
        # Of two mounts at one point the later one is seen.
        if (point == folder or point in folder.parents) and len(point.parts) >= best:
            best, (kind, lasts) = len(point.parts), _kind(kinds[0], root)
    return kind, lasts


def _kind(filesystem: str, root: str) -> tuple[str, bool]:
    if filesystem == "tmpfs":
        return "memory (tmpfs): it counts against the memory limit and is lost with the pod", False
    if "kubernetes.io~empty-dir" in root:
        return "an emptyDir: it outlives the container but not the pod", True
    if filesystem == "overlay":
        return "the container's writable layer: it is lost with the container", False
    return f"a separate volume ({filesystem}): it outlives the pod", True


def size(size_bytes: float) -> str:
    """Return a size for the reader."""
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes < _GIGABYTE else f"{size_bytes / _GIGABYTE:.0f} GB"
