"""The chart's tests: the real helm and kubectl, and what the chart renders."""

import tempfile
from pathlib import Path

import pytest

from tests.chart.rendering import Chart
from tests.fakes.built_image import Image, image
from tests.fakes.helm import Tool
from tools.programs import MissingError, programs

__all__ = ["image"]


@pytest.fixture(scope="session")
def tools() -> Path:
    """Give the folder of helm and kubectl, or leave the test out."""
    try:
        return programs()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def helm(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return Tool("helm", tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def kubectl(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return Tool("kubectl", tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="session")
def chart(helm: Tool) -> Chart:
    return Chart(helm)


@pytest.fixture
def pod_folder(image: Image) -> Path:
    """Give a folder for a pod's volumes, which the pod's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="pod-", dir=image.folder))
    folder.chmod(0o755)
    return folder
