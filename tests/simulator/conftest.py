"""What the simulator's tests share."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """Undo `exporter.logs.configure`, which speaks for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("exporter").setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    structlog.reset_defaults()
