"""The disk that holds what CloudWatch has not accepted yet: writable, with room, and how long it lives.

The spool's own file is left alone: a running exporter has it open for itself.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from exporter.config import SpoolSettings
from exporter.doctor.check import CheckFailedError, Finding, NotPossibleError, ok, warning

NAME = "spool"
DATUM_BYTES = 140
"""On disk, measured (docs/cloudwatch.md)."""
MOUNTS = Path("/proc/self/mountinfo")
_MOUNT_FIELDS = 6
_GIGABYTE = 1e9
_FIX = "point cloudwatch.spool.path to a file on a writable volume with enough space"


async def examine(settings: SpoolSettings, *, in_pod: bool) -> Sequence[Finding]:
    """Check the folder of the spool's file."""
    return await asyncio.to_thread(_examine, settings, in_pod)


def _examine(settings: SpoolSettings, in_pod: bool) -> Sequence[Finding]:
    folder = settings.path.parent
    if not folder.exists():
        if not in_pod:
            raise NotPossibleError(f"{folder} does not exist here: to check the exporter's, run the doctor in its pod")
        raise CheckFailedError(f"{folder} does not exist", f"{_FIX}; the chart mounts a volume there")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CheckFailedError(f"{folder} cannot be written to: {error.strerror or error}", _FIX) from None
    size = settings.path.stat().st_size if settings.path.exists() else 0
    room = max(0, settings.max_datums * DATUM_BYTES - size)
    found = f"{folder} is writable and has {_size(free)} free"
    if free < room:
        need = f"cloudwatch.spool.max_datums may need {_size(room)} more"
        return [warning(NAME, f"{found}; {need}", "enlarge the volume, or lower cloudwatch.spool.max_datums")]
    kind, lasts = volume(MOUNTS.read_text(encoding="utf-8"), folder.resolve()) if MOUNTS.exists() else ("", True)
    if in_pod and not lasts:
        return [warning(NAME, f"{found}; it is {kind}", _FIX)]
    return [ok(NAME, f"{found}; it is {kind}" if in_pod and kind else found)]


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


def _size(size: float) -> str:
    return f"{size / 1e6:.0f} MB" if size < _GIGABYTE else f"{size / _GIGABYTE:.0f} GB"
