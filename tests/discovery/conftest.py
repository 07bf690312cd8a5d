"""An API server for what is discovered."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.kube_api import ScriptedKubeApi


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ScriptedKubeApi]:
    async with ScriptedKubeApi(tmp_path).serving() as server:
        yield server
