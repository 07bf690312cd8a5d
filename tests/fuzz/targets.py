"""What reads text from outside, and what must hold for any text: one function for each target.

A target takes bytes and returns; whatever it raises is a finding. An AssertionError is a broken promise: only the
documented errors, nothing larger than what was read, no figure that is negative, NaN or infinite, and what was read is
the same when it is written and read back, or read in pieces.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.fuzz.network import http, pages
from tests.fuzz.stored import history, last_readings, spool
from tests.fuzz.words import log_lines, quantities, selectors, settings, targets

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "pages": pages,
    "http": http,
    "selectors": selectors,
    "quantities": quantities,
    "settings": settings,
    "targets": targets,
    "log_lines": log_lines,
    "history": history,
    "last_readings": last_readings,
    "spool": spool,
}
MAX_LENGTH: Mapping[str, int] = {"settings": 2048, "targets": 2048, "pages": 8192, "http": 8192}
"""Bytes of a text; of the others, 4096."""


def seeds(name: str) -> Sequence[Path]:
    """Return the files of a target's corpus."""
    return sorted((Path(__file__).parent / "corpus" / name).iterdir())
