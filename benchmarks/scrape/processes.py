"""Starts programs for a measurement, ends them after it, and reads from the kernel what they take.

Knows nothing of what the programs do.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
# Fields of /proc/<pid>/stat behind the command's closing bracket; proc(5) counts them as the 14th and 15th of the line.
_UTIME, _STIME = 11, 12
_END_WITHIN = 10.0


class ProgramError(Exception):
    """A program that is needed is not there, or did not start; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds in memory, in bytes."""

    resident: int
    peak: int
    proportional: int
    """Pages shared with other processes count as their share only."""


class Program:
    """A running program; leaving the context ends it."""

    def __init__(self, name: str, command: Sequence[str], log: Path, cores: set[int] | None = None) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._cores = cores

    def __enter__(self) -> Self:
        everywhere = os.sched_getaffinity(0)
        # A child inherits where its parent may run.
        os.sched_setaffinity(0, self._cores or everywhere)
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        finally:
            os.sched_setaffinity(0, everywhere)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """Raise ProgramError if the program has ended."""
        code = self._process.poll()
        if code is not None:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ProgramError(f"{self.name} ended with code {code}: {' '.join(last) or 'it said nothing'}")

    def cpu_seconds(self) -> float:
        """Return the processor time taken so far, in user and kernel mode, of all threads."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS

    def waited_seconds(self) -> float:
        """Return how long the main thread was ready to run and kept from it by others."""
        return int(self._proc("schedstat").split()[1]) / 1e9

    def memory(self) -> Memory:
        """Return what the process holds now."""
        status = _kilobytes(self._proc("status"))
        return Memory(status["VmRSS"], status["VmHWM"], _kilobytes(self._proc("smaps_rollup"))["Pss"])

    def log_lines(self) -> list[str]:
        """Return what the program has written so far."""
        return self._log.read_text(errors="replace").splitlines()

    def _proc(self, name: str) -> str:
        self.check()
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


def _kilobytes(text: str) -> dict[str, int]:
    """Return the lines `Name:  123 kB` in bytes."""
    parts = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {fields[0].rstrip(":"): int(fields[1]) * 1024 for fields in parts}
