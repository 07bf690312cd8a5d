"""The benchmark's own arithmetic: what it makes of the numbers it measured."""

from pathlib import Path

import pytest

from benchmarks.scrape.figures import Row, Spread, Verdict, judge_stalls, percentile, samples, total
from benchmarks.scrape.processes import Memory
from benchmarks.scrape.report import BEGIN, END, missed, table, write
from benchmarks.scrape.stages import Window, _Boundary
from benchmarks.scrape.subjects import Answer, Count, Exporter

LIMIT = 0.05


def test_a_spread_names_least_median_and_greatest():
    """A spread keeps the extremes and the middle, in the unit asked for."""
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(1.0, 2.0, 3.0)
    assert Spread.of([0.003, 0.001, 0.002]).text(1e3, 1) == "1.0 – 2.0 – 3.0"


def test_a_spread_of_nothing_is_an_error():
    """Without a window there is no figure."""
    with pytest.raises(ValueError, match="no window"):
        Spread.of([])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share, expected):
    """The nearest rank is taken, nothing is interpolated."""
    assert percentile(list(range(100, 0, -1)), share) == expected


@pytest.mark.parametrize(
    ("exporter", "idle", "expected"),
    [
        ([0.01, 0.02], [0.0, 0.0], (Verdict.PASS, 0)),
        ([0.01, 0.06], [0.0, 0.01], (Verdict.FAIL, 0)),
        ([0.01, 0.06], [0.0, 0.07], (Verdict.PASS, 1)),
        ([0.01, 0.02], [0.0, 0.07], (Verdict.PASS, 0)),
        ([0.06, 0.08], [0.07, 0.09], (Verdict.UNJUDGED, 2)),
        ([0.06, 0.08], [0.07, 0.01], (Verdict.FAIL, 1)),
    ],
)
def test_a_stall_counts_unless_an_idle_loop_stalled_as_well(exporter, idle, expected):
    """A minute in which the machine held up even an idle loop is no evidence against the exporter, nor for it."""
    assert judge_stalls(exporter, idle, LIMIT) == expected


PAGE = b"""# HELP up Whether.
# TYPE up gauge
up{a="1 }"} 1
up{a="2"} 2.5e+00
up_more 7
alone 4
"""


def test_samples_of_one_family_are_read_from_a_page():
    """A family's samples are found, those whose name only begins alike are not."""
    assert samples(PAGE, "up") == [('a="1 }"', 1.0), ('a="2"', 2.5)]
    assert total(PAGE, "up") == 3.5
    assert total(PAGE, "alone") == 4.0


def test_a_counter_that_is_not_there_is_an_error_and_not_0():
    """A page without the family cannot be counted from."""
    with pytest.raises(LookupError, match="up_less"):
        total(PAGE, "up_less")


def test_ages_are_taken_against_the_end_of_the_answer():
    """An agent's reading is as old as the reader finds it once it has the page, unless asked otherwise."""
    line = b'matillion_fleet_agent_last_scrape_timestamp_seconds{namespace="n",pod="a"} 1.0005e+02\n'
    assert Exporter.ages(Answer(line, seconds=0.1, time=103.0)) == [pytest.approx(2.95)]
    assert Exporter.ages(Answer(line, seconds=0.1, time=103.0), asked=True) == [pytest.approx(2.85)]


def _boundary(at: float, cpu: float, scrapes: float) -> _Boundary:
    answer = Answer(b"", 1.0, 0.0)
    return _Boundary(at, at + 1.0, cpu, cpu + 0.5, 0.0, Memory(1, 2, 3), Count(scrapes, 0.0, answer))


def test_a_window_leaves_out_what_the_question_cost():
    """CPU spent on the benchmark's own question is in neither window, and the scrapes are those of the rest."""
    window = _boundary(0.0, 10.0, 0.0).until(_boundary(10.0, 11.5, 1000.0))
    assert window == Window(9.0, 900.0, 0.0, 1.0, 1.5, 0.0, Memory(1, 2, 3))
    assert window.cpu_per_scrape == pytest.approx(1 / 900)


def test_a_target_that_could_not_be_evaluated_is_not_met():
    """Only rows that pass, or have no target, are not missed."""
    rows = [Row(what=str(verdict), exporter="1", verdict=verdict) for verdict in Verdict]
    assert [row.verdict for row in missed(rows)] == [Verdict.FAIL, Verdict.UNJUDGED]


def test_a_table_leaves_out_unused_columns():
    """A table of the exporter alone has no column for Prometheus."""
    assert table([Row(what="speed", exporter="1", target="2", verdict=Verdict.PASS)]).splitlines() == [
        "|       | exporter | target |      |",
        "|-------|----------|--------|------|",
        "| speed | 1        | 2      | pass |",
    ]


def test_the_report_replaces_what_stood_between_its_marks(tmp_path: Path):
    """Prose around the marks stays, however often the report is written."""
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write("new\n", document)
    write("newer\n", document)
    assert document.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"


def test_a_document_without_marks_is_left_alone(tmp_path: Path):
    """Without a place for it the report is not written anywhere."""
    document = tmp_path / "benchmarks.md"
    document.write_text("prose\n")
    with pytest.raises(ValueError, match="no place"):
        write("new\n", document)
    assert document.read_text() == "prose\n"
