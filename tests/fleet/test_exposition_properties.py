"""What holds for every page: agreement with prometheus_client, no loss beyond the bad line, no runaway cost."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.fleet.dialect import AGENT_FAMILIES, NAMES
from exporter.fleet.exposition import FamilyFilter, Sample, read
from tests.waiting import PATIENCE

FAMILIES = ("app_active_task_count", "jvm_memory_used_bytes", "jvm_memory_pool", "target_info_x", "matillion_agent_x")
PAGE_WANTED = FamilyFilter(name.encode() for name in (*FAMILIES[:2], *(f"{name}_total" for name in FAMILIES[:2])))

# Heavy on what means something outside the quotes.
NASTY = st.text(st.one_of(st.sampled_from('"\\\n}{,= #nx'), st.characters(codec="utf-8")), max_size=12)
LABELS = st.dictionaries(st.from_regex(r"[a-zA-Z][a-zA-Z0-9_.]{0,6}", fullmatch=True), NASTY, max_size=4)
NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70))
COUNTS = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@dataclass(frozen=True)
class Series:
    """One line of a page, before it is written."""

    labels: dict[str, str]
    value: float
    timestamp: int | None


def series(values: st.SearchStrategy[float]) -> st.SearchStrategy[Series]:
    return st.builds(Series, LABELS, values, st.one_of(st.none(), st.integers(0, 2**41)))


def families(values: st.SearchStrategy[float]) -> st.SearchStrategy[dict[str, list[Series]]]:
    """Families with series that differ in their labels, as a valid page has them."""
    one = st.lists(series(values), max_size=4, unique_by=lambda item: tuple(sorted(item.labels.items())))
    return st.dictionaries(st.sampled_from(FAMILIES), one, max_size=4)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") + '"'


def number(value: float) -> str:
    return repr(value).replace("inf", "Inf").replace("nan", "NaN")


def label_name(name: str) -> str:
    return f'"{name}"' if "." in name else name


def found(name: str, labels: Iterable[tuple[str, str]], value: float) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """One sample in a form that can be compared, NaN included; dots in names of labels are underscores to us."""
    return name, tuple(sorted((label.replace(".", "_"), text) for label, text in labels)), repr(float(value))


def ours(page: bytes) -> list[tuple[str, tuple[tuple[str, str], ...], str]]:
    result = read(page, PAGE_WANTED)
    assert result.rejected_lines == 0
    return [found(sample.name.decode(), sample.labels, sample.value) for sample in result.samples]


def theirs(metrics: Iterable[Metric]) -> list[tuple[str, tuple[tuple[str, str], ...], str]]:
    return [
        found(sample.name, sample.labels.items(), sample.value)
        for metric in metrics
        for sample in metric.samples
        if sample.name.replace(".", "_").encode() in PAGE_WANTED.names
    ]


@given(st.data(), families(NUMBERS))
@pytest.mark.slow
def test_text_pages_read_as_prometheus_client_reads_them(data: st.DataObject, page: dict[str, list[Series]]) -> None:
    """Any valid 0.0.4 page, however it is spaced, gives the samples that the full parser finds."""
    blank = st.sampled_from(["", " ", "  "])
    end = st.sampled_from(["\n", "\r\n", "\n\n", " \n", "\r\n\r\n"])
    lines = []
    for name, items in page.items():
        if data.draw(st.booleans()):
            lines.append(f"# HELP {name} Some help.\n# TYPE {name} gauge{data.draw(end)}")
        for item in items:
            pairs = [
                f"{data.draw(blank)}{label_name(label)}{data.draw(blank)}={data.draw(blank)}{quoted(text)}{data.draw(blank)}"
                for label, text in data.draw(st.permutations(list(item.labels.items())))
            ]
            plain = name
            if data.draw(st.booleans()):
                dotted = name.replace("_", data.draw(st.sampled_from("_.")), data.draw(st.integers(1, 3)))
                pairs.insert(data.draw(st.integers(0, len(pairs))), f'"{dotted}"')
                plain = ""
            comma = "," if pairs and data.draw(st.booleans()) else ""
            braces = "" if not pairs and data.draw(st.booleans()) else "{" + ",".join(pairs) + comma + "}"
            at = "" if item.timestamp is None else f" {item.timestamp}"
            space = " " + data.draw(blank)
            lines.append(f"{data.draw(blank)}{plain}{braces}{space}{number(item.value)}{at}{data.draw(end)}")
    text = "".join(lines)
    assert ours(text.encode()) == theirs(text_string_to_metric_families(text))


@given(st.data(), families(COUNTS))
@pytest.mark.slow
def test_openmetrics_pages_read_as_prometheus_client_reads_them(
    data: st.DataObject, page: dict[str, list[Series]]
) -> None:
    """Any valid OpenMetrics page, with exemplars, creation times and UTF-8 labels, gives what the full parser finds."""
    lines = []
    for name, items in page.items():
        lines.append(f"# TYPE {name} counter\n")
        for item in items:
            pairs = [f"{label_name(label)}={quoted(text)}" for label, text in item.labels.items()]
            plain = f"{name}_total"
            if data.draw(st.booleans()):
                pairs.insert(data.draw(st.integers(0, len(pairs))), f'"{plain}"')
                plain = ""
            braces = "{" + ",".join(pairs) + "}" if pairs else ""
            at = "" if item.timestamp is None else f" {item.timestamp}.25"
            exemplar = ""
            if data.draw(st.booleans()):
                trace = data.draw(
                    st.dictionaries(st.sampled_from(["trace_id", "span_id"]), st.text("ab1}{, #=", max_size=9))
                )
                shown = ",".join(f"{label}={quoted(text)}" for label, text in trace.items())
                exemplar = f" # {{{shown}}} {data.draw(COUNTS)}{data.draw(st.sampled_from(['', ' 12.5']))}"
            lines.append(f"{plain}{braces} {number(item.value)}{at}{exemplar}\n")
    text = "".join(lines) + "# EOF\n"
    assert ours(text.encode()) == theirs(openmetrics.text_string_to_metric_families(text))


WANTED_NAMES = tuple(name.encode() for names in NAMES.values() for name in names)
FRAGMENTS = st.sampled_from(
    [
        *WANTED_NAMES,
        b"{",
        b"}",
        b'"',
        b"\\",
        b",",
        b"=",
        b" ",
        b"\t",
        b"\r",
        b"#",
        b" # ",
        b"NaN",
        b"1",
        b"heap",
        b"\xff",
    ]
)
GARBAGE = st.one_of(st.binary(max_size=60), st.lists(FRAGMENTS, max_size=12).map(b"".join))


@given(st.lists(GARBAGE, max_size=8).map(b"\n".join))
def test_no_bytes_raise_and_nothing_unwanted_comes_back(page: bytes) -> None:
    """Whatever a page holds, each line gives at most one sample or one rejection, of wanted families only."""
    result = read(page, AGENT_FAMILIES)
    assert all(sample.name in AGENT_FAMILIES.names for sample in result.samples)
    assert len(result.samples) + result.rejected_lines <= page.count(b"\n") + 1
    for sample in result.samples:
        assert list(sample.labels) == sorted(dict(sample.labels).items())


@given(st.lists(st.one_of(GARBAGE.filter(lambda line: b"\n" not in line), LABELS), max_size=10))
def test_a_valid_line_among_garbage_is_read(parts: list[bytes | dict[str, str]]) -> None:
    """Garbage above and below a good line does not touch it, and its samples keep their order."""
    lines, expected = [], []
    for position, part in enumerate(parts):
        if isinstance(part, dict):
            labels = part | {"position__": str(position)}
            pairs = ",".join(f"{label_name(label)}={quoted(text)}" for label, text in labels.items())
            lines.append(b"app_active_task_count{%b} 7" % pairs.encode())
            read_back = sorted((label.replace(".", "_"), text) for label, text in labels.items())
            expected.append(Sample(b"app_active_task_count", tuple(read_back), 7.0))
        else:
            lines.append(part)
    samples = read(b"\n".join(lines), AGENT_FAMILIES).samples
    assert [sample for sample in samples if "position__" in dict(sample.labels)] == expected


@given(LABELS, st.integers(0, 10_000))
def test_a_label_set_cut_short_is_never_half_a_label_set(labels: dict[str, str], cut: int) -> None:
    """Wherever a line breaks off inside its braces, the line is rejected, not read as something smaller."""
    pairs = ",".join(f"{label_name(label)}={quoted(text)}" for label, text in (labels | {"z": "z"}).items())
    line = f"jvm_memory_used_bytes{{{pairs}}}".encode()
    shortest = len("jvm_memory_used_bytes{")
    page = read(line[: shortest + cut % (len(line) - shortest)], AGENT_FAMILIES)
    assert (page.samples, page.rejected_lines) == ((), 1)


COUNT = b"app_active_task_count"
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "one wanted line after the other": lambda size: b"app_active_task_count 1\n" * (size // 24),
    "labels": lambda size: COUNT + b"{" + b"".join(b'l%d="",' % i for i in range(size // 10)) + b"} 1",
    "labels, the last one open": lambda size: (
        COUNT + b"{" + b"".join(b'l%d="",' % i for i in range(size // 10)) + b'a="} 1'
    ),
    "quoted names, none wanted": lambda size: b'{"app_active_task_counts"} 1\n' * (size // 29),
    "quoted names without an end": lambda size: b"{" + b'"app.active.task.count"x' * (size // 24),
    "quoted names on one line": lambda size: b"{" + b'"app.active.task.count",' * (size // 24) + b"} 1",
    "beginnings of a quoted name": lambda size: b"{" + b'"app.active.task.' * (size // 17),
    "braces at the beginning": lambda size: b"{" * size,
    "lines that are a brace": lambda size: b"{\n" * (size // 2),
    "a brace and quotes": lambda size: b"{" + b'"' * size,
    "a brace and escaped quotes": lambda size: b'{"' + b'\\"' * (size // 2) + b'"app.active.task.count"} 1',
    "blanks behind a quoted name": lambda size: b'{"app.active.task.count"' + b" " * size + b"x} 1",
    "blanks before a quoted name": lambda size: b"{" + b" " * size + b'"app.active.task.count"x} 1',
    "quoted label names": lambda size: COUNT + b"{" + b"".join(b'"l.%d"="",' % i for i in range(size // 12)) + b"} 1",
    "quoted label name": lambda size: COUNT + b'{"' + b"a." * (size // 2) + b'"="} 1',
    "dotted spellings": lambda size: b'{"jvm.memory.used",k="1"} 1\n{"jvm.memory_used",k="1"} 1\n' * (size // 56),
    "label name": lambda size: COUNT + b"{" + b"a" * size + b"} 1",
    "label value": lambda size: COUNT + b'{a="' + b"x" * size + b'"} 1',
    "backslashes": lambda size: COUNT + b'{a="' + b"\\\\" * (size // 2) + b'"} 1',
    "escaped quotes": lambda size: COUNT + b'{a="' + b'\\"' * (size // 2) + b'"} 1',
    "escaped quotes, never closed, a brace": lambda size: COUNT + b'{a="' + b'\\"' * (size // 2) + b"} 1",
    "a quote never closed, a hash": lambda size: COUNT + b'{a="#' + b"\\\\" * (size // 2),
    "quotes": lambda size: COUNT + b"{#" + b'"' * size + b"} 1",
    "quotes, odd": lambda size: COUNT + b"{#" + b'"' * (size | 1) + b"} 1",
    "braces": lambda size: COUNT + b"{" + b"}" * size + b"# 1",
    "blanks behind a label": lambda size: COUNT + b'{a="b"' + b" " * size + b"x} 1",
    "blanks before a label": lambda size: COUNT + b"{" + b" " * size + b"=} 1",
    "blanks before the braces": lambda size: COUNT + b" " * size + b'{a="b"} 1',
    "blanks before the name": lambda size: b" " * size + COUNT,
    "hashes": lambda size: COUNT + b'{a="b"} 1' + b" # " * (size // 3),
    "fields": lambda size: COUNT + b" 1" * (size // 2),
    "digits": lambda size: COUNT + b" 0." + b"1" * size,
    "commas": lambda size: COUNT + b"{" + b"," * size + b"} 1",
    "line ends": lambda size: b"\n" * size,
    "blank lines": lambda size: b" \n" * (size // 2),
}


def read_hostile(name: str) -> int:
    """Read a page as large as a body may be; return its size."""
    page = HOSTILE[name](2**22)
    read(page, AGENT_FAMILIES)
    return len(page)


@pytest.fixture(scope="module")
def other_process() -> Iterator[Pool]:
    """Give a process that can be ended in the midst of a regular expression, as no thread of this one can."""
    with get_context("spawn").Pool(1) as pool:
        yield pool


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.slow
def test_cost_grows_with_the_page_and_not_faster(name: str, other_process: Pool) -> None:
    """The largest page takes well under a second; a quadratic step would make it hours."""
    assert other_process.apply_async(read_hostile, (name,)).get(PATIENCE) >= 2**21


def test_one_line_as_long_as_a_page_may_be() -> None:
    """The body limit's 4 MiB in one label set are read, or rejected, like any other line."""
    fill = b"".join(b'label_%07d="%07d",' % (i, i) for i in range(4 * 2**20 // 24))
    page = read(COUNT + b"{" + fill + b"} 1\n" + COUNT + b"{" + fill + b"x} 1\n" + COUNT + b" 2\n", AGENT_FAMILIES)
    assert [(len(sample.labels), sample.value) for sample in page.samples] == [(4 * 2**20 // 24, 1.0), (0, 2.0)]
    assert page.rejected_lines == 1
