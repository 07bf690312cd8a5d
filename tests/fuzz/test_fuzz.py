"""Every text of the corpus is read again, and a few seconds are spent on looking for new ones."""

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS, seeds

SECONDS = 6
"""For each target: a minute for all ten."""


@pytest.mark.parametrize(("name", "path"), [(name, path) for name in TARGETS for path in seeds(name)],
                         ids=lambda given: given.name if isinstance(given, Path) else given)  # fmt: skip
def test_what_was_found_stays_mended(name: str, path: Path) -> None:
    """Each file is an example of its format, or was found to break its reader."""
    TARGETS[name](path.read_bytes())


def test_each_target_has_a_corpus() -> None:
    """Of small files, and nothing else is there."""
    corpus = Path(__file__).parent / "corpus"
    assert {folder.name for folder in corpus.iterdir()} == set(TARGETS)
    assert all(0 < path.stat().st_size <= 4096 for name in TARGETS for path in seeds(name))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has wheels for Linux on x86_64 only")
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    """With the same seed each time: `make fuzz` looks further."""
    try:
        done = fuzz(name, tmp_path, seconds=SECONDS, seed=1)
    except subprocess.CalledProcessError as error:
        texts = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
        pytest.fail(f"{texts}\n{error.stderr[-6000:]}")
    assert done.runs > len(seeds(name))
    assert done.features > 0


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has wheels for Linux on x86_64 only")
def test_a_reader_that_breaks_is_found(tmp_path: Path) -> None:
    """By libFuzzer in the same way, so that the tests above can fail."""
    program = tmp_path / "broken.py"
    program.write_text(
        "import sys, atheris\n"
        "def broken(data):\n"
        "    if data[:1] == b'{':\n"
        "        raise RecursionError\n"
        "atheris.Setup(sys.argv, atheris.instrument_func(broken))\n"
        "atheris.Fuzz()\n"
    )
    with pytest.raises(subprocess.CalledProcessError, match="exit") as found:
        fuzz("selectors", tmp_path, seconds=60, seed=1, program=[str(program)])
    assert "RecursionError" in found.value.stderr
    assert [path.read_bytes()[:1] for path in tmp_path.glob("crash-*")] == [b"{"]
