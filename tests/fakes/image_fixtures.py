"""The built image as a pytest fixture, for the conftest.py of each folder that wants it."""

import pytest

from tests.fakes.image import Image, NoContainersError, built
from tools.programs import ROOT


@pytest.fixture(scope="session")
def image() -> Image:
    """Give the image that the Dockerfile makes, or leave the test out where no container can be run."""
    try:
        return built(ROOT)
    except NoContainersError as error:
        pytest.skip(str(error))
