"""What the doctor's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.doctor.cluster import Cluster, cluster


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Serve a cluster that allows everything and has nothing in it."""
    async with cluster(tmp_path) as served:
        yield served
