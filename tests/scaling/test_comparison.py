"""The table of the README: that it says what the simulation shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scaling import __main__ as command
from benchmarks.scaling import table, trials
from benchmarks.scaling.ways import OURS, WAYS

SEED = 0


@pytest.mark.slow
def test_no_way_finds_enough_agents_sooner_where_the_queue_is_reported() -> None:
    """The external metrics API is as quick as any, and two thirds quicker than a rule without the queue."""
    ours, *others = (trials.burst(way, SEED, otel=True) for way in WAYS)
    assert ours.seconds is not None
    assert all(other.seconds is None or other.seconds >= ours.seconds for other in others)
    assert all(other.task_seconds >= ours.task_seconds for other in others)
    adapter = next(way for way in WAYS if way.name == "the vendor's adapter rule")
    assert ours.seconds * 3 <= (trials.burst(adapter, SEED, otel=True).seconds or 0)


@pytest.mark.slow
def test_missing_data_takes_no_agent_away() -> None:
    """By our way none; by the rule that takes missing data for 0 many."""
    sidecar = next(way for way in WAYS if "0 on failure" in way.name)
    assert trials.missing_data(OURS, SEED) == 0
    assert trials.missing_data(sidecar, SEED) > 0


def test_the_same_seed_gives_the_same_result() -> None:
    """Else the table could not be checked."""
    assert trials.burst(OURS, 3, otel=True) == trials.burst(OURS, 3, otel=True)
    assert trials.burst(OURS, 3, otel=True) != trials.burst(OURS, 4, otel=True)


def test_cells_say_the_median_and_the_range() -> None:
    """And how often there were never enough agents."""
    done, never = trials.Burst(50.0, 600.0), trials.Burst(None, 6000.0)
    result = table.Result(replace(OURS, name="way"), [done] * 3, [done, never, never], [0, 0, 0], [1, 2, 4])
    assert table.full([result]).splitlines()[-1] == (
        "| way | 50 s (50 – 50) | 10 min (10 – 10) | not within 30 min (2 of 3) | 100 min (10 – 100) | 0 | 2 (1 – 4) |"
    )
    assert table.short([result]).splitlines()[-1] == "| way | 50 s (50 – 50) | 10 min (10 – 10) | 0 | 2 (1 – 4) |"


def test_a_page_out_of_step_is_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` changes nothing and fails; without it the page is written, and then in step."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")

    def run(*arguments: str) -> int:
        return command.main(arguments, lambda: {page: "new"})

    assert run("--check") == 1
    assert "page.md" in capsys.readouterr().err
    assert run() == 0
    assert run("--check") == 0
    assert page.read_text(encoding="utf-8") == f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n"
