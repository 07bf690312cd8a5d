"""An API server with logs, and what follows them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.config import PodLogsSettings
from exporter.podhealth.log_follower import FollowingPace
from exporter.podhealth.pod_logs import PodLogs
from tests.factories import WALL_NOW
from tests.fakes.background import background
from tests.fakes.container_logs import LogApi
from tests.fakes.followed_agents import FollowedAgents
from tests.fakes.leadership import Leader
from tests.fakes.log_following import FAST


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[LogApi]:
    async with LogApi(tmp_path).serving() as server:
        yield server


@pytest.fixture
def agents() -> FollowedAgents:
    return FollowedAgents()


@pytest.fixture
async def follow(api: LogApi, agents: FollowedAgents) -> AsyncIterator[Callable[..., list[int]]]:
    """Start to follow, with settings given; returns what is told of skipped lines."""
    async with await api.client() as client, background() as run:

        def start(replica: Leader | None = None, pace: FollowingPace = FAST, **settings: Any) -> list[int]:
            skipped: list[int] = []
            logs = PodLogs(
                PodLogsSettings(enabled=True, **({"failure_pattern": "task failed"} | settings)),
                client,
                agents,
                replica or Leader(),
                on_skipped=skipped.append,
                pace=pace,
                wall=lambda: WALL_NOW,
            )
            run(logs.run())
            return skipped

        yield start
