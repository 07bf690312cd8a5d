"""A CloudWatch to publish to, and credentials for it."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import CREDENTIALS, HandClock


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the default credential chain something to find, and nothing of this machine's."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def cloudwatch(aws_credentials: None) -> AsyncIterator[FakeCloudWatch]:
    """Yield a CloudWatch on whose clock a minute has just begun, and stays until a test moves it on."""
    async with FakeCloudWatch(HandClock()) as fake:
        yield fake
