"""The user's regular expression for lines of a log: what it finds, what is refused, and in which words."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.line_pattern import MAX_INSTRUCTIONS, LinePattern
from tools.generated import ROOT

FROM_THE_DOCS = "ERROR .*[Tt]ask .* failed"
PATTERNS = (
    FROM_THE_DOCS,
    r"ERROR\s.*[Tt]ask\s.*failed|OutOfMemoryError:\sJava",
    r"(?i)error.*task (?P<id>\d+) (?:failed|aborted)$",
    r"^\S+ \[[^]]*\] (?:ERROR|FATAL)\b.{0,20}task",
    "é.?ü",
)
REPETITION = "the numbers of a repetition must ascend, and be at most 1000 with those around it"
_words = st.sampled_from(
    [
        "ERROR",
        "error",
        " ",
        "Task ",
        "task 12",
        "failed",
        " failed",
        "[main]",
        "\t",
        "OutOfMemoryError: Java",
        "é",
        "ü",
        "x",
    ]
)
_lines = st.text(max_size=30) | st.lists(_words, max_size=12).map("".join)


def test_the_pattern_of_the_docs_is_the_one_tested_here() -> None:
    """docs/pod-health.md shows it."""
    assert f"failure_pattern: '{FROM_THE_DOCS}'" in (ROOT / "docs" / "pod-health.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern", PATTERNS)
@given(line=_lines)
def test_a_pattern_finds_what_python_finds(pattern: str, line: str) -> None:
    """Of classes such as a digit RE2 has the ASCII part, and a line has no line break."""
    line = re.sub(r"[\n\v\x1c-\x1f]", "", line)
    expected = re.search(pattern, line, re.ASCII if "(?i)" not in pattern else 0) is not None
    if line.isascii() or "(?i)" not in pattern:
        assert LinePattern(pattern).found_in(line.encode()) == expected


def test_bytes_that_are_no_text_are_between_other_characters() -> None:
    """A dot stands for them; they do not end the line."""
    pattern = LinePattern("ERROR .* failed")
    assert pattern.found_in(b"ERROR \xff\xfe\xc3 failed")
    assert not pattern.found_in(b"ERROR \xff\xfe\xc3 f\xffailed")


def test_a_dot_is_a_character_not_a_byte() -> None:
    """A letter of two bytes is one."""
    assert LinePattern("^.{3}$").found_in("äöü".encode())


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "an empty one is found in every line"),
        ("(?<=a)b", "at character 1: look-behind is not supported"),
        ("a(?<!x)b", "at character 2: look-behind is not supported"),
        ("ERROR (?=x)", "at character 7: look-ahead is not supported"),
        ("é(?!x)", "at character 2: look-ahead is not supported"),
        (r"(a)b\1", "at character 5: a reference to a group is not supported"),
        ("(?P<a>x)(?P=a)", "at character 9: a reference to a group is not supported"),
        ("(?>a)", "at character 1: an atomic group is not supported"),
        ("(a)(?(1)b)", "at character 4: a condition is not supported"),
        ("a(?#why)", "at character 2: a comment is not supported"),
        ("(?x) a", "at character 1: the flag x is not supported"),
        ("(?a)b", "at character 1: (?a is not supported"),
        ("ab*+", "at character 3: a possessive repetition is not supported"),
        (r"end\Z", r"at character 4: \Z is not supported; use \z"),
        (r"\u00e9", r"at character 1: \u is not supported; use \x{…}"),
        ("ab{,3}", "at character 3: write {0,3} for {,3}"),
        (
            "a{2000}",
            "at character 2: the numbers of a repetition must ascend, and be at most 1000 with those around it",
        ),
        ("a{3,1}", "at character 2: the numbers of a repetition must ascend, and be at most 1000 with those around it"),
        ("[a", "at character 1: missing ]"),
        ("a)", "at character 1: unexpected )"),
        ("a**", "at character 2: bad repetition operator"),
        ("*", "at character 1: no argument for repetition operator"),
        ("a\\", "trailing \\"),
        ("\udc80", "it is not Unicode text"),
        ("é" * 2049, "it is longer than 4096 bytes"),
        (r"\pL{300}", "it is too large; use smaller numbers in repetitions, or fewer alternatives"),
    ],
)
def test_what_is_refused(pattern: str, reason: str) -> None:
    """With the reason in words, and the place."""
    with pytest.raises(ValueError, match=reason and re.escape(reason[-5:])) as refused:
        LinePattern(pattern)
    assert str(refused.value) == reason


def test_a_program_is_bounded() -> None:
    """Its size and the line's bound the time of a search, even where no automaton fits the memory."""
    assert LinePattern("[ab]*a[ab]{900}c")
    with pytest.raises(
        ValueError, match=rf"^it is too large \([0-9]+ steps of {MAX_INSTRUCTIONS}\); use smaller numbers"
    ):
        LinePattern("(?:[ab]*a[ab]{600}c|[ab]*b[ab]{600}c)")


@given(st.text(max_size=40) | st.text(alphabet=r"()[]{}|*+?\.^$,ab01<>P=!:#", max_size=30), st.binary(max_size=40))
def test_no_text_breaks_a_pattern_and_no_bytes_break_a_search(text: str, line: bytes) -> None:
    """An expression is taken or refused with a reason that has the place within it."""
    try:
        pattern = LinePattern(text)
    except ValueError as error:
        reason = str(error)
    else:
        assert pattern.found_in(line) in {True, False}
        return
    place = re.match(r"at character (\d+): .", reason)
    assert reason if place is None else 1 <= int(place[1]) <= len(text)


def test_random_lines_agree_with_python() -> None:
    """Where each line is one of many that nearly match."""
    draws = random.Random(7)  # noqa: S311 - the same lines each time
    pattern, words = LinePattern(FROM_THE_DOCS), ["ERROR ", "Task ", "task", " failed", "failed", "x", " "]
    for _ in range(2000):
        line = "".join(draws.choices(words, k=9))
        assert pattern.found_in(line.encode()) == (re.search(FROM_THE_DOCS, line) is not None), line
