"""Credentials for AWS."""

import pytest

from tests.fakes.cloudwatch_publishing import CREDENTIALS


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the default credential chain something to find, and nothing of this machine's."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
