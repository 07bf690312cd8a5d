"""Every oddity of pages seen in the wild, one at a time."""

import math

import pytest

from exporter.fleet.exposition import FamilyFilter, Outline, Page, Sample, outline, plain, read, samples_of

AGENT_FAMILIES = FamilyFilter([b"app_active_task_count", b"app_version_info", b"app_version", b"jvm_memory_used_bytes"])
TASKS = b"app_active_task_count"
HEAP = b"jvm_memory_used_bytes"


def shown(page: Page) -> tuple[tuple[Sample, ...], int]:
    """Return what a page says, comparable by value."""
    return page.samples, page.rejected_lines


def only(page: bytes) -> Sample:
    result = read(page, AGENT_FAMILIES)
    assert result.rejected_lines == 0
    [sample] = result.samples
    return sample


def labels_of(text: bytes) -> dict[str, str]:
    return dict(only(HEAP + text + b" 1\n").labels)


def test_plain_sample() -> None:
    """A name and a value, as the legacy endpoint writes them."""
    assert only(b"app_active_task_count 12.0\n") == Sample(TASKS, (), 12.0)


def test_labels_are_sorted_whatever_their_order_on_the_page() -> None:
    """Two pages that differ only in label order give the same sample."""
    expected = Sample(HEAP, (("area", "heap"), ("id", "G1 Eden Space")), 7.0)
    assert only(b'jvm_memory_used_bytes{area="heap",id="G1 Eden Space"} 7\n') == expected
    assert only(b'jvm_memory_used_bytes{id="G1 Eden Space",area="heap"} 7\n') == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0.0),
        (b"-1", -1.0),
        (b"+3", 3.0),
        (b"1.5E9", 1.5e9),
        (b"1.0E-4", 1e-4),
        (b".5", 0.5),
        (b"+Inf", math.inf),
        (b"-Inf", -math.inf),
        (b"9" * 400, math.inf),
    ],
)
def test_spellings_of_numbers(text: bytes, value: float) -> None:
    """Every way the formats write a number; what an infinity means is not this module's business."""
    assert only(TASKS + b" " + text + b"\n").value == value


def test_nan_is_handed_on() -> None:
    """NaN is a value to the formats; the reader of the samples decides."""
    assert math.isnan(only(b"app_active_task_count NaN\n").value)


@pytest.mark.parametrize("text", [b"{}", b'{area="heap"}', b""])
@pytest.mark.parametrize("timestamp", [b"", b" 1767234600000", b" 1767234600.123", b" -1"])
def test_a_timestamp_is_not_the_value(text: bytes, timestamp: bytes) -> None:
    """What follows the value is a time, in milliseconds (0.0.4) or seconds (OpenMetrics)."""
    assert only(HEAP + text + b" 42" + timestamp + b"\n").value == 42.0


@pytest.mark.parametrize("text", [b"", b'{area="heap"}', b'{area="he}ap # {"}'])
@pytest.mark.parametrize("timestamp", [b"", b" 1767234600.5"])
@pytest.mark.parametrize("exemplar", [b'{trace_id="ab}c",span_id="d # e"} 0.67 1767234600.1', b"{} 1", b'{a="\\""} 99'])
def test_an_exemplar_is_not_part_of_the_sample(text: bytes, timestamp: bytes, exemplar: bytes) -> None:
    """OpenMetrics shows a trace behind ` # `; its braces and numbers are its own."""
    sample = only(HEAP + text + b" 5" + timestamp + b" # " + exemplar + b"\n")
    assert (sample.name, sample.value, len(sample.labels)) == (HEAP, 5.0, 1 if len(text) > 2 else 0)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (b"{}", {}),
        (b"{ }", {}),
        (b'{a="1",}', {"a": "1"}),
        (b'{a="1", }', {"a": "1"}),
        (b'{ a = "1" , b = "2" }', {"a": "1", "b": "2"}),
        (b'{a="1",\tb="2"}', {"a": "1", "b": "2"}),
        (b'{a=""}', {"a": ""}),
        (b'{_a_1="x"}', {"_a_1": "x"}),
        (b'{a="}"}', {"a": "}"}),
        (b'{a="} 7"}', {"a": "} 7"}),
        (b'{a="x,b=\\"y\\","}', {"a": 'x,b="y",'}),
        (b'{a="G1 Old Gen"}', {"a": "G1 Old Gen"}),
        (b'{a=" # {"}', {"a": " # {"}),
        (b'{a="#}",b="{"}', {"a": "#}", "b": "{"}),
        (rb'{a="\""}', {"a": '"'}),
        (rb'{a="\\"}', {"a": "\\"}),
        (rb'{a="\n"}', {"a": "\n"}),
        (rb'{a="\\n"}', {"a": "\\n"}),
        (rb'{a="C:\\dir\\",b="\\\""}', {"a": "C:\\dir\\", "b": '\\"'}),
        (rb'{a="\d\t"}', {"a": "\\d\\t"}),
        ('{a="Zoë 日本"}'.encode(), {"a": "Zoë 日本"}),
        (b'{a="\r\x00\x0b\xc2\x85"}', {"a": "\r\x00\x0b\x85"}),
        (b'{a="' + b"x" * 5000 + b'"}', {"a": "x" * 5000}),
        (b'{"a"="1","b.c"="2"}', {"a": "1", "b_c": "2"}),
        (b'{ "b.c" = "2" , a="1", }', {"a": "1", "b_c": "2"}),
        (rb'{"a\"b"="1","c}d,e\\"="2"}', {'a"b': "1", "c}d,e\\": "2"}),
        ('{"größe"="1"}'.encode(), {"größe": "1"}),
    ],
)
def test_label_sets(text: bytes, labels: dict[str, str]) -> None:
    """Trailing commas, blanks, escapes, and everything that means something elsewhere inside the quotes."""
    assert labels_of(text) == labels


QUOTED = Sample(b"app.active_task.count", (("a", "1"), ("b_c", "2")), 3.0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"app.active_task.count",a="1","b.c"="2"} 3',
        b'{"b.c"="2","app.active_task.count",a="1"} 3',
        b'{a="1","b.c"="2","app.active_task.count"} 3',
        b'{a="1","b.c"="2","app.active_task.count",} 3 1767234600000',
        b'\t{ "app.active_task.count" ,\ta = "1", "b.c"="2" } \t 3 \t',
        b'{"app.active_task.count",a="1","b.c"="2"}3',
        b'{"app.active_task.count",a="1","b.c"="2"} 3 # {"app_version"="x} #"} 0.67 1767234600.1',
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_quoted_name_stands_between_the_braces(line: bytes, end: bytes) -> None:
    """Anywhere between them; it is handed on as it is written, while labels get the names they had before."""
    for _ in range(2):
        assert only(line + end) == QUOTED


def test_a_label_may_have_the_name_of_another_with_dots() -> None:
    """A page may tell them apart, so the line is not lost."""
    assert only(b'jvm_memory_used_bytes{"a.b"="1",a_b="2"} 1\n').labels == (("a_b", "1"), ("a_b", "2"))


@pytest.mark.parametrize("name", [b"app_active_task_count", b"app.active.task.count", b"app.active_task.count"])
def test_a_quoted_name_alone(name: bytes) -> None:
    """The braces hold nothing else."""
    assert only(b'{"' + name + b'"} 3\n') == Sample(name, (), 3.0)


def outlined(page: bytes) -> Outline | None:
    """Return the outline of a page, if it may be used to recognize another page."""
    lines = AGENT_FAMILIES.lines(page)
    return outline(lines) if plain(lines, samples_of(lines, AGENT_FAMILIES)) else None


@pytest.mark.parametrize(
    ("page", "other"),
    [
        (b"app_active_task_count 3\n", b"# HELP app_active_task_count Tasks.\napp_active_task_count 7.5\nup 1\n"),
        (b'jvm_memory_used_bytes{a="1"} 3\n', b'jvm_memory_used_bytes{a="1"} NaN\n'),
        (b'{"app.active_task.count"} 3\n', b'{"app.active_task.count"} 4\n'),
        (b'{"jvm.memory_used.bytes",a="} 1","b.c"="2"} 4\n', b'{"jvm.memory_used.bytes",a="} 1","b.c"="2"} 5\n'),
    ],
)
def test_pages_that_differ_in_their_values_have_one_hash(page: bytes, other: bytes) -> None:
    """So the second need not be read closely: its values are those of the same series."""
    first, second = outlined(page), outlined(other)
    assert first is not None
    assert second is not None
    assert first.hash == second.hash
    assert repr(second.values) == repr(tuple(sample.value for sample in read(other, AGENT_FAMILIES).samples))


@pytest.mark.parametrize(
    "other",
    [
        b'jvm_memory_used_bytes{a="2"} 1\napp_version 2\n',
        b'jvm_memory_used_bytes{a="1"} 1\n',
        b'app_version 2\njvm_memory_used_bytes{a="1"} 1\n',
        b'jvm_memory_used_bytes{a="1"} 1\napp_version 2\napp_version 3\n',
        b'jvm_memory_used_bytes{"a"="1"} 1\napp_version 2\n',
    ],
)
def test_pages_that_differ_in_anything_else_have_not(other: bytes) -> None:
    """Another label, one line less, another order, one more, or another way to write the same."""
    first, second = outlined(b'jvm_memory_used_bytes{a="1"} 1\napp_version 2\n'), outlined(other)
    assert first is not None
    assert second is not None
    assert first.hash != second.hash


@pytest.mark.parametrize(
    "line",
    [
        b"app_active_task_count 3 1767234600000",
        b"app_active_task_count 3 # {} 1",
        b"app_active_task_count\t3",
        b"app_active_task_count  3",
        b"app_active_task_count 3 ",
        b" app_active_task_count 3",
        b"app_active_task_count 1_000",
        b"app_active_task_count three",
        b'jvm_memory_used_bytes {a="1"} 3',
        b'jvm_memory_used_bytes{a="#"} 3',
        b'jvm_memory_used_bytes{a="1"} 3 4',
        b'jvm_memory_used_bytes{a="1} 3',
        b'{a="app_version","jvm_memory_used_bytes_max"} 3',
    ],
)
def test_a_page_with_a_line_that_is_not_plain_is_read_closely_each_time(line: bytes) -> None:
    """What is the value on it is not evident, or it is none of our families at all."""
    assert outlined(b"app_version 1\n" + line + b"\n") is None


def test_quoted_names_that_are_not_wanted_are_passed_over() -> None:
    """Other families, and what only looks like a name; none of them is a loss."""
    page = (
        b'{"app.active_task.counts"} 1\n{"xapp.active_task.count",a="b"} 2\n{"app.active task.count"} 3\n'
        b'{"target.info","app_version"="x"} 4\n{"other",a="app_version"} 5\n{a="app_version",b="2"} 6\n'
        b'{"other" 7\n{other} 8\n{} 9\n{ 10\n{"" } 11\n'
    )
    assert shown(read(page, AGENT_FAMILIES)) == ((), 0)


def test_blanks_around_the_name_and_the_value() -> None:
    """Blanks and tabs may stand before a name, between the fields, before the braces and at the end."""
    assert only(b" \t app_active_task_count \t  3  \t\n").value == 3.0
    assert only(b"app_active_task_count\t3\n").value == 3.0
    assert only(b"\tapp_active_task_count 3\n").value == 3.0
    assert only(b'jvm_memory_used_bytes {a="1"} 3 \n') == Sample(HEAP, (("a", "1"),), 3.0)
    assert only(b'jvm_memory_used_bytes\t{a="1"}\t3\t1\n').value == 3.0
    assert only(b'jvm_memory_used_bytes{a="1"}3\n').value == 3.0


def test_crlf_and_blank_lines() -> None:
    """A page with Windows line ends and gaps reads like any other."""
    page = b'\r\n\r\napp_active_task_count 3\r\n\r\njvm_memory_used_bytes{a="1"} 4\r\n \r\n\t\n\n'
    assert shown(read(page, AGENT_FAMILIES)) == ((Sample(TASKS, (), 3.0), Sample(HEAP, (("a", "1"),), 4.0)), 0)


def test_a_page_may_end_without_a_line_end() -> None:
    """The last line counts too; whether the body is whole is for the transport to say."""
    assert only(b"app_active_task_count 3").value == 3.0


@pytest.mark.parametrize("page", [b"", b"\n", b"# EOF\n", b"\x00\xff\xfe", b"<html><body>hello</body></html>\n", b"{}"])
def test_a_page_of_something_else_has_no_samples(page: bytes) -> None:
    """What is no metrics page gives nothing and rejects nothing: no wanted line was lost."""
    assert shown(read(page, AGENT_FAMILIES)) == ((), 0)


def test_openmetrics_page() -> None:
    """Metadata, `_created` and `# EOF` are passed over without a complaint."""
    page = (
        b"# TYPE app_active_task_count gauge\n# UNIT app_active_task_count tasks\n# HELP app_active_task_count Tasks.\n"
        b"app_active_task_count 3.0\napp_active_task_count_created 1.7672346E9\n# EOF\n"
    )
    assert only(page) == Sample(TASKS, (), 3.0)


def test_a_help_text_that_is_wrapped_loses_nothing_else() -> None:
    """The tail of a HELP line cut in the middle is no sample, even when it starts with a wanted name."""
    page = (
        b"# HELP app_active_task_count How many tasks\nthe agent executes now\napp_active_task_count 3\n"
        b"# HELP app_version_info See also\napp_active_task_count of the agent\napp_version_info 1\n"
    )
    assert shown(read(page, AGENT_FAMILIES)) == ((Sample(TASKS, (), 3.0), Sample(b"app_version_info", (), 1.0)), 1)


@pytest.mark.parametrize("blanks", [b"", b" ", b"\t"])
def test_a_comment_is_never_a_sample(blanks: bytes) -> None:
    """Neither is one that is set in, and none is counted as lost."""
    assert shown(
        read(blanks + b"# app_active_task_count 3\n" + blanks + b"#app_active_task_count 3\n", AGENT_FAMILIES)
    ) == (
        (),
        0,
    )


def test_only_the_very_name_is_wanted() -> None:
    """Names that begin or end alike are other families; `app_version` is not `app_version_info`."""
    page = (
        b"app_active_task_count_total 1\napp_active_task_coun 2\nxapp_active_task_count 3\napp_active_task_counts{} 4\n"
        b'app_version_info_created 5\njvm_memory_used_bytes_max{a="1"} 6\njvm_memory_used 7\napp_versions 8\n'
    )
    assert shown(read(page, AGENT_FAMILIES)) == ((), 0)
    both = read(b"app_version 1\napp_version_info 2\n", AGENT_FAMILIES)
    assert [sample.name for sample in both.samples] == [b"app_version", b"app_version_info"]


def test_a_wanted_name_without_an_underscore() -> None:
    """The quick look at a line's first bytes works for names of any shape."""
    wanted = FamilyFilter([b"up", b"a_b", b"c_"])
    page = read(b"up 1\na_b 2\nc_ 3\na_ 4\n", wanted)
    assert [(sample.name, sample.value) for sample in page.samples] == [(b"up", 1.0), (b"a_b", 2.0), (b"c_", 3.0)]


def test_what_is_not_wanted_is_not_looked_at() -> None:
    """Broken lines of other families are nobody's loss, and `target_info` leaves no trace in the result."""
    page = (
        b'target_info{process_command_args="[java,-Ddb.password=hunter2]"} 1\n'
        b'jvm_gc{ 1\njvm_memory_max_bytes{area="heap 2\napp_active_request_count one\n'
        b"app_active_task_count 3\n"
    )
    result = read(page, AGENT_FAMILIES)
    assert shown(result) == ((Sample(TASKS, (), 3.0),), 0)
    assert "hunter2" not in repr(result)


BAD_LINES = [
    TASKS,
    TASKS + b" ",
    TASKS + b" three",
    TASKS + b" 1_000",
    TASKS + b" 0x1F",
    TASKS + b" 0X1p4",
    TASKS + b" 1,5",
    TASKS + b" 1 2 3",
    TASKS + b" 1 soon",
    TASKS + b" 1 1_0",
    TASKS + b" 1 #",
    TASKS + b" # 1",
    TASKS + b' 1{a="b"}',
    TASKS + b'\t1{a="b"}',
    TASKS + b" 1\x00",
    TASKS + " ٣".encode(),
    HEAP + b"{",
    HEAP + b"{} ",
    HEAP + b"{}",
    HEAP + b'{a="1"}',
    HEAP + b'{a="1"} x',
    HEAP + b'{a="1"} 1_0',
    HEAP + b'{a="1"} 1 2 3',
    HEAP + b'{a="1"} 1 x',
    HEAP + b'{a="1" 1',
    HEAP + b'{a="1',
    HEAP + b'{a="1} 1',
    HEAP + b'{a="1} 1 # {b="2"} 1',
    HEAP + b'{a="#',
    HEAP + b'{a="1"} 3} 4',
    HEAP + b'{a="1" b="2"} 1',
    HEAP + b'{a="1",,b="2"} 1',
    HEAP + b"{,} 1",
    HEAP + b'{,a="1"} 1',
    HEAP + b'{a="1",,} 1',
    HEAP + b"{a=1} 1",
    HEAP + b"{a='1'} 1",
    HEAP + b"{a} 1",
    HEAP + b'{="1"} 1',
    HEAP + b'{1a="1"} 1',
    HEAP + b'{a-b="1"} 1',
    HEAP + b'{a:b="1"} 1',
    HEAP + b'{a="1"x} 1',
    HEAP + b'{a="1",a="1"} 1',
    HEAP + b'{a="1\\"} 1',
    HEAP + b'{a="\xff"} 1',
    HEAP + b'{a="\xed\xa0\x80"} 1',
    HEAP + '{é="1"} 1'.encode(),
    HEAP + b'{a.b="1"} 1',
    HEAP + b'{""="1"} 1',
    HEAP + b'{"a"="1",a="1"} 1',
    HEAP + b'{"\xff"="1"} 1',
    HEAP + b'{"a"=1} 1',
    # A name outside and one inside, or two inside.
    HEAP + b'{"jvm_memory_used_bytes"} 1',
    HEAP + b'{""} 1',
    b'{"jvm_memory_used_bytes","jvm_memory_used_bytes"} 1',
    b'{"jvm_memory_used_bytes","other"} 1',
    b'{"jvm_memory_used_bytes"}',
    b'{"jvm_memory_used_bytes"} x',
    b'{"jvm_memory_used_bytes"} 1_0',
    b'{"jvm_memory_used_bytes"} 3} 4',
    b'{"jvm_memory_used_bytes",a="1',
    b'{"jvm_memory_used_bytes",a="1} 1',
    b'{"jvm_memory_used_bytes",a} 1',
    b'{"jvm_memory_used_bytes",,} 1',
    b'{"jvm_memory_used_bytes",a="1" b="2"} 1',
    b'{a="1" "jvm_memory_used_bytes"} 1',
    b'{"jvm_memory_used_bytes",a="#',
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_loses_only_itself_and_is_counted(line: bytes, end: bytes) -> None:
    """Whatever is wrong with one wanted line, its neighbours are read and the loss is known."""
    page = end.join([b"app_version 1", line, b'jvm_memory_used_bytes{a="1"} 2', b""])
    expected = (Sample(b"app_version", (), 1.0), Sample(HEAP, (("a", "1"),), 2.0))
    assert shown(read(page, AGENT_FAMILIES)) == (expected, 1)


def test_every_bad_line_is_counted_every_time() -> None:
    """A label set that could not be read is no better the second time."""
    page = b"\n".join(BAD_LINES)
    for _ in range(2):
        assert shown(read(page, AGENT_FAMILIES)) == ((), len(BAD_LINES))


def test_an_empty_wish_list_reads_nothing() -> None:
    """Lines that start with a blank are looked at for any wish list, and still not wanted."""
    assert shown(read(b" app_active_task_count 3\n app_active_task_count{ 3\n", FamilyFilter([]))) == ((), 0)
