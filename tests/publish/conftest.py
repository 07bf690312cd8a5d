"""A CloudWatch to publish to, and credentials for it."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import CREDENTIALS, FastClock

MINUTE = 0.2
"""Real seconds that a minute takes on the clock of these tests."""


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the default credential chain something to find, and nothing of this machine's."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def cloudwatch(aws_credentials: None) -> AsyncIterator[FakeCloudWatch]:
    """Yield a CloudWatch on whose clock a minute takes MINUTE seconds."""
    async with FakeCloudWatch(FastClock(60 / MINUTE)) as fake:
        yield fake


@pytest.fixture
async def one_minute(aws_credentials: None) -> AsyncIterator[FakeCloudWatch]:
    """Yield a CloudWatch on whose clock a minute began just now and takes a minute."""
    async with FakeCloudWatch(FastClock(1)) as fake:
        yield fake
