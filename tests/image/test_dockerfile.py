"""The Dockerfile says what the image needs to be; nothing is built here."""

import re
import sys
from pathlib import Path

import pytest

from exporter import __version__
from exporter.config import Settings
from tests.fakes.image import Builder, instructions
from tools.programs import ROOT

STEPS = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))
LAST = STEPS[max(index for index, (word, _) in enumerate(STEPS) if word == "FROM") :]
CONTEXT = [(word, text) for word, text in STEPS if word == "COPY" and not text.startswith("--from=")]


def last(word: str) -> str:
    """Return what the last stage says with an instruction that stands there once."""
    (text,) = (text for found, text in LAST if found == word)
    return text


def test_copies_what_is_there(tmp_path: Path) -> None:
    """Every file that the image is made of exists and passes .dockerignore; nothing else does."""
    builder = Builder(ROOT, tmp_path)
    for _, text in CONTEXT:
        *names, _ = text.split()
        for name in names:
            assert (ROOT / name).exists()
            assert not builder.ignores(ROOT / name)
    assert not builder.ignores(ROOT / "exporter" / "fleet" / "model.py")
    for name in (
        "tests",
        ".git",
        ".venv",
        "chart/values.yaml",
        "exporter/__pycache__",
        "exporter/fleet/__pycache__/x.pyc",
    ):
        assert builder.ignores(ROOT / name), name


def test_last_stage() -> None:
    """A user without a name or rights, the program itself as the first process, and the ports it listens on."""
    settings = Settings()
    assert last("USER") == "65534:65534"
    assert last("ENTRYPOINT") == '["fleet-exporter"]'
    assert {int(port) for port in last("EXPOSE").split()} == {
        settings.web.listen.port,
        settings.external_metrics.listen.port,
    }
    assert "PYTHONDONTWRITEBYTECODE=1" in last("ENV")
    assert not {"RUN", "ADD", "HEALTHCHECK", "VOLUME"} & {word for word, _ in LAST}, "it is only put together"


def test_labels_and_version() -> None:
    """OCI's labels are there, and the version is the program's."""
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", last("LABEL")))
    assert labels == {"title", "description", "licenses", "version", "revision"}
    assert ("ARG", f"VERSION={__version__}") in LAST


def test_python_is_the_one_of_the_tests() -> None:
    """The image's Python is the version that these tests run on, where that is the oldest supported one."""
    (version,) = (text.partition("=")[2] for word, text in STEPS if word == "ARG" and text.startswith("PYTHON="))
    assert version == "3.11-slim-bookworm"
    if sys.version_info[:2] != (3, 11):
        pytest.skip("these tests run on another Python")


def test_every_architecture() -> None:
    """Only the stage whose result is the same everywhere is bound to the builder's own architecture."""
    bound = [text for word, text in STEPS if word == "FROM" and "--platform" in text]
    assert bound == ["--platform=$BUILDPLATFORM python:${PYTHON} AS wheel"]
    assert any("--only-binary :all:" in text for word, text in STEPS if word == "RUN"), "no compiler is there"
