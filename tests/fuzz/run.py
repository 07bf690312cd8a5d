"""Starts libFuzzer on one target, in a process of its own: it ends the process that it runs in."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import MAX_LENGTH
from tools.generated import ROOT

_CORPUS = Path(__file__).parent / "corpus"
_SLOWEST_SECONDS = 20
"""For one text. The longest takes milliseconds; a machine may be busy."""
_MEMORY_MIB = 2048


@dataclass(frozen=True, slots=True)
class Done:
    """What libFuzzer has done."""

    runs: int
    features: int
    """Branches, and how often each was taken: what it goes by."""


def fuzz(name: str, folder: Path, *, seconds: int, seed: int = 0, program: Sequence[str] = ()) -> Done:
    """Fuzz a target; texts that lead somewhere new are kept in the folder, beside those that break it.

    `program` is run in the place of the target, on its corpus. Raises subprocess.CalledProcessError, with the traceback
    in its `stderr`, for a text that breaks it.
    """
    kept = folder / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, *(program or ("-m", "tests.fuzz.one", name)), f"-max_total_time={seconds}", f"-seed={seed}",
        f"-max_len={MAX_LENGTH.get(name, 4096)}", f"-timeout={_SLOWEST_SECONDS}", f"-rss_limit_mb={_MEMORY_MIB}",
        f"-artifact_prefix={folder}/", "-print_final_stats=1", str(kept), str(_CORPUS / name),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise subprocess.CalledProcessError(ended.returncode, command, ended.stdout, ended.stdout + ended.stderr)
    runs = re.findall(r"number_of_executed_units: (\d+)", ended.stderr)
    features = re.findall(r" ft: (\d+)", ended.stderr)
    return Done(int(runs[-1]), int(features[-1]) if features else 0)
