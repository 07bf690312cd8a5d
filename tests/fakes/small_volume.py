"""A file system of a few megabytes, in memory: a volume that is really full is like nothing else."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_BLOCK = 4096


@contextmanager
def small_volume(path: Path, megabytes: int) -> Iterator[Path]:
    """Mount a tmpfs of this size at an empty folder; skip the test where that is not allowed."""
    path.mkdir()
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    options = f"size={megabytes}m,uid={os.geteuid()},mode=700"
    try:
        subprocess.run(
            [*as_root, "mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True, capture_output=True
        )
    except FileNotFoundError as error:
        pytest.skip(f"mounting takes {error.filename}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a tmpfs cannot be mounted here: {error.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run([*as_root, "umount", "--lazy", path], check=True)


def fill(volume: Path) -> Path:
    """Take what is left of a volume, as another process does; return the file that does it."""
    neighbour = volume / "neighbour"
    with neighbour.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(_BLOCK))
    assert shutil.disk_usage(volume).free == 0
    return neighbour
