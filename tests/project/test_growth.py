"""Reading a text takes a time linear in its length, whatever the text.

Nothing here depends on how fast a machine is: the time for a text is compared with that for one of four times the
length in the same run, and where that looks like too much, with 16 times the length. A quadratic reader takes 16 times
as long at each step.
"""

import ast
import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import pytest

from tests.project.growing_texts import ROWS, Row
from tools.generated import ROOT

LARGER = 4
TOO_MUCH = 8.0
"""Between 4 of what is linear, and 16."""
LEAST_SECONDS = 0.001
"""Below, the clock and the machine's other work are all that is measured: a reader is called as often as that takes."""
REPETITIONS, MOST_REPETITIONS = 3, 15
MOST_CALLS = 2000
FUNCTIONS = {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}

BOUNDED = {
    "aws/client.py:_ROOT": "the first 4096 bytes of a response, matched at their beginning only",
    "doctor/fargate.py:_TAINT": "the scheduler's message, cut to 300 characters (`line`), with bounded digits",
    "simulator/agent.py:QUALITY": "the demo's own agents; at most five characters match",
    "web/hosts.py:_HOST": "a header of at most 8190 bytes (aiohttp), and its parts are bounded",
    "web/runbooks.py:_VARIABLE": "a page of the package, with names of at most 253 characters filled in",
    "web/runbooks.py:_DASHBOARD": "a page of the package",
    "web/runbooks.py:_TAG": "a part of such a page",
    "web/runbooks.py:_LINK": "a page of the package",
}
"""Regular expressions that no text from outside reaches unbounded, and why."""


def growth(read: Callable[[str], object], text: Callable[[int], str], size: int) -> float:
    """Return how many times as long a text of four times the size takes, the least of two steps: n to 4n, 4n to 16n.

    What is quadratic is so at each step. Where a text outgrows one of the processor's caches, or Python begins to ask
    the kernel for memory in each call and gives it back, one of the steps may be as large (8 to 10 was seen).
    """
    first = _ratio(read, text(size), text(LARGER * size))
    return first if first < TOO_MUCH else min(first, _ratio(read, text(LARGER * size), text(LARGER**2 * size)))


def _ratio(read: Callable[[str], object], smaller: str, larger: str) -> float:
    """Return how many times as long the larger text takes, each at its best of several times."""
    calls = 1
    while (taken := _seconds(read, smaller, calls)) < LEAST_SECONDS and calls < MOST_CALLS:
        calls = min(MOST_CALLS, 1 + int(calls * max(1.5, LEAST_SECONDS / max(taken, 1e-6))))
    least = most = float("inf")
    # Both in turn, so that a machine that is slow for a while is slow for both.
    for number in range(1, MOST_REPETITIONS + 1):
        least = min(least, _seconds(read, smaller, calls))
        most = min(most, _seconds(read, larger, calls))
        if number >= REPETITIONS and most / least < TOO_MUCH:
            break
    return most / least


def _seconds(read: Callable[[str], object], text: str, calls: int) -> float:
    gc.disable()
    try:
        began = process_time()
        for _ in range(calls):
            read(text)
        return process_time() - began
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_time_is_linear_in_the_text(row: Row) -> None:
    """For each text of the row."""
    grown = {text(60): growth(row.read, text, row.size) for text in row.texts}
    assert {text: ratio for text, ratio in grown.items() if ratio >= TOO_MUCH} == {}


@pytest.mark.slow
def test_what_is_quadratic_is_recognized() -> None:
    """By the same measure: an expression that begins anew at each character, and a list that is searched for each."""

    def distinct(text: str) -> list[str]:
        seen: list[str] = []
        for character in text:
            if character not in seen:
                seen.append(character)
        return seen

    search = re.compile(r"[^\s/\"]+@").search
    assert growth(search, lambda size: "a" * size, 300) > TOO_MUCH
    assert growth(distinct, lambda size: "".join(map(chr, range(256, 256 + size))), 600) > TOO_MUCH


@pytest.mark.slow
def test_what_is_linear_is_not_taken_for_quadratic() -> None:
    """However little each call takes."""
    assert growth(len, lambda size: "a" * size, 16) < TOO_MUCH
    assert growth(str.split, lambda size: "a " * size, 4096) < TOO_MUCH


@pytest.mark.slow
@pytest.mark.parametrize("step", [500, 1000], ids=["n to 4n", "4n to 16n"])
def test_a_step_is_not_taken_for_quadratic(step: int) -> None:
    """A text over some length may cost a multiple of what a shorter one does, once."""

    def split(text: str) -> list[list[str]]:
        return [text.split() for _ in range(1 if len(text) < step else 20)]

    assert growth(split, lambda size: "a " * size, 100) < TOO_MUCH


def test_no_regular_expression_is_forgotten() -> None:
    """Each one that the exporter runs is in a row, or has a reason why it need not be."""
    measured = {expression for row in ROWS for expression in row.runs}
    written = {expression for path in sorted((ROOT / "exporter").rglob("*.py")) for expression in _expressions(path)}
    assert written - measured - set(BOUNDED) == set(), "add a row to ROWS, or a reason to BOUNDED"
    assert (measured | set(BOUNDED)) - written == set(), "these are gone"
    assert measured & set(BOUNDED) == set()


def _expressions(path: Path) -> Iterator[str]:
    """Yield the places of a file that make or run a regular expression, by the name that is defined there."""

    def walk(node: ast.AST, name: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".removeprefix(".")
            elif isinstance(child, ast.Assign | ast.AnnAssign) and not name:
                target = child.targets[0] if isinstance(child, ast.Assign) else child.target
                inner = target.id if isinstance(target, ast.Name) else ""
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr in FUNCTIONS:
                of = child.func.value
                if isinstance(of, ast.Name) and of.id in {"re", "re2"}:
                    yield f"{path.relative_to(ROOT / 'exporter')}:{name}"
            yield from walk(child, inner)

    text = path.read_text(encoding="utf-8")
    return walk(ast.parse(text), "") if re.search(r"\bre2?\.", text) else iter(())


def test_json_from_outside_may_be_nested_as_deep_as_it_likes() -> None:
    """Python raises RecursionError for it, which is no ValueError: whoever reads JSON expects both."""
    careless = [
        f"{path.relative_to(ROOT / 'exporter')}:{call.lineno}"
        for path in sorted((ROOT / "exporter").rglob("*.py"))
        if "json.loads" in path.read_text(encoding="utf-8")
        for tree in [ast.parse(path.read_text(encoding="utf-8"))]
        for call in _calls_of_json_loads(tree)
        if not any(_expects_recursion(statement, call) for statement in ast.walk(tree))
    ]
    assert [place for place in careless if place.rpartition(":")[0] not in OWN_JSON] == []


OWN_JSON = {
    "web/runbooks.py": "a file of the package",
    "simulator/followers.py": "the demo reads what its own exporter serves",
    "simulator/story.py": "the demo reads its own exporter's log",
}


def _calls_of_json_loads(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "json.loads":
            yield node


def _expects_recursion(statement: ast.AST, call: ast.Call) -> bool:
    if not isinstance(statement, ast.Try):
        return False
    within = any(call is node for part in statement.body for node in ast.walk(part))
    return within and any("RecursionError" in ast.unparse(one.type) for one in statement.handlers if one.type)
