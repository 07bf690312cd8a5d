"""Text for a person: colours only where they are wanted, lines that fit, and nothing a terminal would obey."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.terminal import PLAIN_WIDTH, Paper, Style, columns, fitted, line_width, shortened, visible, widest


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class OldScreen(Screen):
    """One of another time."""

    encoding = "ascii"


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (Screen(), {}, True),
        (Screen(), {"NO_COLOR": "1"}, False),
        (Screen(), {"NO_COLOR": ""}, True),
        (Screen(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_which_streams_get_colors(stream: Any, environ: dict[str, str], *, expected: bool) -> None:
    """A terminal does, unless its owner or its kind is against it; a file never does."""
    paper = Paper.of(stream, environ)
    assert paper.colours is expected
    assert paper.paint("x", Style.BAD) == ("\x1b[1;31mx\x1b[0m" if expected else "x")


@pytest.mark.parametrize(
    ("given", "width"), [("72", 72), ("9", 40), ("", PLAIN_WIDTH), ("wide", PLAIN_WIDTH), ("0", PLAIN_WIDTH)]
)
def test_widths(given: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As wide as the terminal, or as COLUMNS says, and the same everywhere without either."""
    monkeypatch.setenv("COLUMNS", "72")
    assert Paper.of(Screen(), {}).width == 72
    assert Paper.of(io.StringIO(), {}).width == PLAIN_WIDTH
    assert Paper.of(io.StringIO(), {"COLUMNS": given}).width == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdefgh", 6, "ab…fgh"), ("abcdefgh", 5, "ab…gh"), ("abcdefgh", 1, "…")],
)
def test_names_lose_their_middle(text: str, width: int, shown: str) -> None:
    """They differ at their ends."""
    assert shortened(text, width) == shown
    assert len(shown) <= width


def test_only_names_are_shortened() -> None:
    """The longer one first, down to a length below which it would say nothing; a number stays whole."""
    rows = [["a-long-name-here", "b-name", "123456789"]]
    [[first, second, number]] = fitted(rows, 28, [0, 1], 5, "…")
    assert (first, second, number) == ("a-lo…here", "b-name", "123456789")
    assert line_width([[first, second, number]]) == 28
    assert fitted(rows, 10, [0, 1], 5, "..") == [["a..re", "b..me", "123456789"]]


def test_the_widest_form_that_fits() -> None:
    """Narrower forms are tried in turn; where none fits it is the last, with its names as short as they may be."""
    forms = [
        ([["NAME", "A", "B"], ["a-long-name-here", "1", "22"]], 8),
        ([["NAME", "A"], ["a-long-name-here", "1"]], 8),
    ]
    assert widest(forms, 80, ["NAME"], "…") == forms[0][0]
    assert widest(forms, 15, ["NAME"], "…") == [["NAME", "A", "B"], ["a-l…here", "1", "22"]]
    assert widest(forms, 12, ["NAME"], "…") == [["NAME", "A"], ["a-lo…here", "1"]]
    assert widest(forms, 5, ["NAME"], "…") == [["NAME", "A"], ["a-l…here", "1"]]


def test_bars() -> None:
    """Full is full, more is not longer, and who cannot show blocks gets signs."""
    paper = Paper(80, colours=False)
    assert [paper.bar(share, 4) for share in (0, 0.5, 1, 1.7)] == ["░░░░", "██░░", "████", "████"]
    assert Paper.of(OldScreen(), {}).bar(0.5, 4) == "##--"


def test_sparklines() -> None:
    """Nothing is blank, anything is seen, the unknown is no zero; and signs where there are no blocks."""
    values = [0, 1, 50, 100, 200, None]
    assert Paper(80, colours=False).sparkline(values, 100) == " ▁▄██?"
    assert Paper.of(OldScreen(), {}).sparkline(values, 100) == " .=@@?"
    assert Paper(80, colours=False).sparkline([0, 0], 0) == "  "


def test_columns_line_up() -> None:
    """Text to the left, numbers to the right, as wide as the widest."""
    rows = columns([["NAME", "N"], ["a", "10"], ["longer", "7"]], [False, True])
    assert ["".join(row) for row in rows] == ["NAME     N", "a       10", "longer   7"]


@given(st.text())
def test_nothing_is_obeyed(text: str) -> None:
    """Whatever a server sends is one line without control characters, and no longer than it was."""
    shown = visible(text)
    assert shown.isprintable() or all(char.isprintable() or char.isspace() or ord(char) > 0x9F for char in shown)
    assert not set(shown) & {chr(code) for code in (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E)}
    assert len(shown) == len(text)


@given(st.lists(st.text("abc.", min_size=1, max_size=12), min_size=1), st.integers(0, 20), st.integers(40, 120))
def test_paragraphs_fit(words: list[str], indent: int, width: int) -> None:
    """Lines are no longer than the paper is wide, and no word is lost."""
    lines = Paper(width, colours=False).paragraph(" ".join(words), indent)
    assert all(len(line) <= width - (indent if number == 0 else 0) for number, line in enumerate(lines))
    assert " ".join(lines).split() == words
