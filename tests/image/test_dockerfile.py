"""The Dockerfile says what the image needs to be; nothing is built here but the context."""

import re
import sys
from pathlib import Path

import pytest

from exporter import __version__
from tests.fakes.built_image import build
from tools.base_image import NoImagesError, base_of, require_images
from tools.generated import ROOT

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
STEPS = [(line.split()[0], line.partition(" ")[2]) for line in TEXT.splitlines() if line and not line.startswith("#")]
LAST = STEPS[max(index for index, (word, _) in enumerate(STEPS) if word == "FROM") :]


@pytest.mark.slow
def test_context(tmp_path: Path) -> None:
    """Only the package, what describes and licenses it, and the versions pass .dockerignore."""
    try:
        require_images()
    except NoImagesError as error:
        pytest.skip(str(error))
    copy = tmp_path / "Dockerfile"
    copy.write_text('FROM scratch\nCOPY . /\nENV A=b\nUSER 1:1\nENTRYPOINT ["none"]\nCMD []\n', encoding="utf-8")
    root = build(ROOT, tmp_path / "built", dockerfile=copy).root
    sources = (one for one in (ROOT / "exporter").rglob("*") if one.is_file() and "__pycache__" not in one.parts)
    described = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "requirements.lock", "requirements-build.lock")
    assert {str(one.relative_to(root)) for one in root.rglob("*") if one.is_file()} == {
        *described,
        *(str(one.relative_to(ROOT)) for one in sources),
    }


def test_last_stage() -> None:
    """Nothing runs in it: it is only put together, and nothing of the building is left in it."""
    assert not {"RUN", "ADD", "HEALTHCHECK", "VOLUME"} & {word for word, _ in LAST}
    assert [text for word, text in LAST if word == "COPY"] == [
        "--from=installed /opt/fleet-exporter /opt/fleet-exporter"
    ]


def test_version() -> None:
    """The version that the image bears unless it is told another is the program's."""
    assert ("ARG", f"VERSION={__version__}") in LAST


def test_python_is_the_one_of_the_tests() -> None:
    """The image's Python is the version that these tests run on, where that is the oldest supported one."""
    assert base_of(TEXT) == ("python:3.11-slim-bookworm", "3.11", "bookworm")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("these tests run on another Python")


@pytest.mark.parametrize(
    "text", ["FROM alpine:3", "ARG P=3.11-slim-bookworm\nFROM python:${P}\nFROM python:3.12-slim-trixie"]
)
def test_another_base_is_refused(text: str) -> None:
    """A base that cannot be made of Debian's packages is named, and none is made in its place."""
    with pytest.raises(ValueError, match=re.escape(text.rsplit(maxsplit=1)[-1])):
        base_of(text)


def test_every_architecture() -> None:
    """Only the stage whose result is the same everywhere is bound to the builder's own architecture."""
    bound = [text for word, text in STEPS if word == "FROM" and "--platform" in text]
    assert bound == ["--platform=$BUILDPLATFORM python:${PYTHON} AS wheel"]
    assert any("--only-binary :all:" in text for word, text in STEPS if word == "RUN"), "no compiler is there"
