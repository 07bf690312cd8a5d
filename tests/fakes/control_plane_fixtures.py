"""A real control plane as pytest fixtures, for the conftest.py of each folder that wants one.

A folder takes them by importing them there, and may set flags of kube-apiserver by a `control_plane_flags` of its own.
Each folder has a server of its own, which runs while its tests do.
"""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.fakes.control_plane import Admin, ControlPlane, assets

_numbers = count(1)
_running: list[ControlPlane] = []
"""One at most: an API server that nobody asks takes a twentieth of a core all the same."""


@pytest.fixture(scope="session")
def control_plane_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the control plane writes into."""
    return tmp_path_factory.mktemp("control-plane")


@pytest.fixture(scope="session")
def control_plane_flags() -> tuple[str, ...]:
    """Give what kube-apiserver is started with besides the usual."""
    return ()


@pytest.fixture(scope="session")
def control_plane_of_folder(control_plane_folder: Path, control_plane_flags: tuple[str, ...]) -> Iterator[ControlPlane]:
    """Give the folder's etcd and API server, or leave the test out where there are no binaries."""
    binaries = assets()
    if binaries is None:
        pytest.skip("KUBEBUILDER_ASSETS does not name a folder with etcd and kube-apiserver")
    plane = ControlPlane(binaries, control_plane_folder, control_plane_flags)
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def control_plane(control_plane_of_folder: ControlPlane) -> ControlPlane:
    """Give it running. Tests come folder by folder, so that the one before has done its part."""
    if control_plane_of_folder not in _running:
        while _running:
            _running.pop().stop()
        control_plane_of_folder.start()
        _running.append(control_plane_of_folder)
    return control_plane_of_folder


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Admin]:
    async with control_plane.admin() as session:
        yield session


@pytest.fixture
async def namespace(admin: Admin) -> str:
    """Make a namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    await admin.create_namespace(name)
    return name
