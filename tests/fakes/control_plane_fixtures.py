"""A real control plane as fixtures. The module is a plugin of pytest, so that a process has one for all its tests."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from tests.fakes.control_plane import Admin, ControlPlane, assets

_numbers = count(1)
_running: list[ControlPlane] = []
_afterwards = pytest.StashKey[frozenset[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which tests come after the last one that wants it."""
    users = [at for at, item in enumerate(session.items) if "control_plane" in getattr(item, "fixturenames", ())]
    session.stash[_afterwards] = frozenset(item.nodeid for item in session.items[max(users, default=-1) + 1 :])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End it then: an API server that nobody asks takes a thirtieth of a core all the same."""
    if _running and item.nodeid in item.session.stash[_afterwards]:
        _running.pop().stop()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run etcd and an API server, or leave the test out where there are no binaries."""
    binaries = assets()
    if binaries is None:
        pytest.skip("KUBEBUILDER_ASSETS does not name a folder with etcd and kube-apiserver")
    plane = ControlPlane(binaries, tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        _running.append(plane)
        yield plane
    finally:
        plane.stop()


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
