"""Reads an agent's page that is too large for one step, block by block as it arrives.

However large the page, no more of it is held than what came in at once and the beginning of a line.
Knows nothing of HTTP.
"""

from typing import Protocol, TypeVar

from exporter.fleet import exposition
from exporter.fleet.dialect import AGENT_FAMILIES, PageFigures, PageReading
from exporter.scrape.turns import BLOCK_BYTES

_T_co = TypeVar("_T_co", covariant=True)


class Blocks(Protocol[_T_co]):
    """Reads one large page."""

    def feed(self, text: bytes) -> None:
        """Take the next part of the page, of any size."""

    def step(self) -> bool:
        """Read one block. Returns whether there was one; the rest waits for more, or for `result`."""

    def result(self) -> _T_co:
        """Return what was read, when all of the page is there."""


class PageInBlocks:
    """Reads one large page of an agent."""

    __slots__ = ("_figures", "_skipping", "_text")

    def __init__(self) -> None:
        self._figures = PageFigures()
        self._text = bytearray()
        self._skipping = False
        """Whether `_text` begins in the midst of a line that was given up."""

    def feed(self, text: bytes) -> None:
        """Take the next part of the page."""
        self._text += text

    def step(self) -> bool:
        """Read one block if there is one. Raises TooManySeriesError."""
        if len(self._text) < BLOCK_BYTES:
            return False
        self._read_block()
        return True

    def result(self) -> PageReading:
        """Return the reading on the page. Raises what `AgentPages.read` does."""
        while self._text and (self._skipping or b"\n" in self._text):
            self._read_block()
        self._read(len(self._text))
        return self._figures.result()

    def _read_block(self) -> None:
        if self._skipping:
            end = self._text.find(b"\n", 0, BLOCK_BYTES) + 1
            self._skipping = not end
            del self._text[: end or BLOCK_BYTES]
            return
        end = self._text.rfind(b"\n", 0, BLOCK_BYTES) + 1
        if end:
            self._read(end)
            return
        # No agent's line is as long as a block: it loses itself, not the page.
        needed = AGENT_FAMILIES.line(bytes(self._text[:BLOCK_BYTES])) is not None
        self._figures.add(exposition.Page((), rejected_lines=int(needed)))
        self._skipping = True
        del self._text[:BLOCK_BYTES]

    def _read(self, end: int) -> None:
        self._figures.add(exposition.read(bytes(self._text[:end]), AGENT_FAMILIES))
        del self._text[:end]
