"""The spool's disk: writable, with room, and how long what is there lives."""

import os
from pathlib import Path

import pytest

from exporter.config import SpoolSettings
from exporter.doctor.check import CheckFailedError, NotPossibleError, Outcome
from exporter.doctor.spool import examine
from exporter.doctor.volume import volume

FOLDER = Path("/var/lib/fleet-exporter")
OVERLAY = "812 690 0:98 / / rw,relatime - overlay overlay rw,lowerdir=/x"
SYS = "813 812 0:100 / /sys ro,nosuid - sysfs sysfs ro"
EMPTY_DIR = (
    "820 812 259:1 /var/lib/kubelet/pods/1f0/volumes/kubernetes.io~empty-dir/spool /var/lib/fleet-exporter"
    " rw,noatime - xfs /dev/nvme0n1p1 rw"
)
CLAIM = "821 812 259:4 / /var/lib/fleet-exporter rw,relatime shared:5 - ext4 /dev/nvme1n1 rw"
IN_MEMORY = "822 812 0:77 / /var/lib/fleet-exporter rw - tmpfs tmpfs rw,size=1024k"


@pytest.mark.parametrize(
    ("mounts", "part", "lasts"),
    [
        ([OVERLAY, SYS], "container's writable layer", False),
        ([OVERLAY, SYS, EMPTY_DIR], "an emptyDir", True),
        ([OVERLAY, CLAIM], "a separate volume (ext4)", True),
        ([OVERLAY, IN_MEMORY], "tmpfs", False),
        ([OVERLAY, EMPTY_DIR, CLAIM], "ext4", True),
        (["", "nonsense", "1 2 3 - "], "", True),
    ],
)
def test_what_kind_of_volume(mounts: list[str], part: str, *, lasts: bool) -> None:
    """Told from the process' mounts, as the kubelet makes them; of two at one place the later one counts."""
    kind, outlives = volume("\n".join(mounts), FOLDER)
    assert part in kind
    assert outlives is lasts


async def test_a_good_folder(tmp_path: Path) -> None:
    """It is written to, and nothing stays there."""
    [found] = await examine(SpoolSettings(path=tmp_path / "spool.db", max_datums=1000), in_pod=False)
    assert found.outcome is Outcome.OK
    assert "is writable and has" in found.found
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - to an async function the one is as blocking as the other


async def test_a_folder_without_room(tmp_path: Path) -> None:
    """Room for fewer data than the settings allow is a warning."""
    [found] = await examine(SpoolSettings(path=tmp_path / "spool.db", max_datums=10**14), in_pod=False)
    assert found.outcome is Outcome.WARNING
    assert "max_datums" in found.fix


async def test_a_folder_that_cannot_be_written_to() -> None:
    """Whoever runs the test, nobody can make files in /proc."""
    with pytest.raises(CheckFailedError, match="cannot be written to"):
        await examine(SpoolSettings(path=Path("/proc/spool.db")), in_pod=True)


async def test_no_folder(tmp_path: Path) -> None:
    """In the exporter's pod it must be there; elsewhere there is nothing to look at."""
    settings = SpoolSettings(path=tmp_path / "none" / "spool.db")
    with pytest.raises(NotPossibleError, match="run the doctor in its pod"):
        await examine(settings, in_pod=False)
    with pytest.raises(CheckFailedError, match="does not exist"):
        await examine(settings, in_pod=True)


async def test_a_running_exporters_spool_is_left_alone(tmp_path: Path) -> None:
    """What is in use there is counted and not opened."""
    file = tmp_path / "spool.db"
    file.write_bytes(b"in use by somebody else")
    await examine(SpoolSettings(path=file), in_pod=False)
    assert file.read_bytes() == b"in use by somebody else"
