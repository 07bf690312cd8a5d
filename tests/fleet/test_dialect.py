"""Whole pages in, exact readings out."""

from pathlib import Path

import pytest

from exporter.fleet.dialect import AGENT_FAMILIES, NAMES, NotAnAgentError, NoTaskCountError, interpret
from exporter.fleet.exposition import Page, read
from exporter.fleet.model import Dialect, Reading

PAGES = Path(__file__).parent.parent / "golden" / "pages"
GIB = 1024.0**3


def page(name: str) -> Page:
    result = read((PAGES / f"{name}.txt").read_bytes(), AGENT_FAMILIES)
    assert result.rejected_lines == 0
    return result


def reading(text: str) -> Reading:
    return interpret(read(text.encode(), AGENT_FAMILIES))


SPELLED = Reading(
    dialect=Dialect.OTEL,
    tasks_active=13.0,
    tasks_queued=2.0,
    status=1,
    connected=True,
    requests_active=4.0,
    sessions_open=21.0,
    busyness_score=0.65,
    heap_used_bytes=524_288_000.0 + 1_073_741_824.0,
    heap_limit_bytes=3 * GIB,
    version="11.48.2",
    commit="9c1e7d2",
)

READINGS = {
    "legacy_old_image": Reading(
        dialect=Dialect.LEGACY,
        tasks_active=7.0,
        status=1,
        requests_active=3.0,
        sessions_open=11.0,
        version="10.991.0",
        commit="0ddba11",
    ),
    "legacy_app_version": Reading(
        dialect=Dialect.LEGACY,
        tasks_active=23.0,
        status=2,
        connected=False,
        requests_active=0.0,
        sessions_open=0.0,
        version="11.48.2",
        commit="9c1e7d2",
    ),
    "legacy_filtered": Reading(dialect=Dialect.LEGACY, tasks_active=7.0, status=1),
    "legacy_micrometer_jvm": Reading(
        dialect=Dialect.LEGACY,
        tasks_active=5.0,
        status=1,
        connected=True,
        heap_used_bytes=6.1e8,
        heap_limit_bytes=3 * GIB,
    ),
    # The task count decides the dialect: JVM series in the other one do not hide the agent.
    "legacy_beside_otel_jvm": Reading(dialect=Dialect.LEGACY, tasks_active=6.0, status=1, connected=True),
    "otel_full": Reading(
        dialect=Dialect.OTEL,
        tasks_active=13.0,
        tasks_queued=2.0,
        status=1,
        connected=True,
        requests_active=4.0,
        sessions_open=21.0,
        busyness_score=0.65,
        heap_used_bytes=524_288_000.0 + 25_165_824.0 + 1_073_741_824.0,
        heap_limit_bytes=3 * GIB,
        version="11.48.2",
        commit="9c1e7d2",
    ),
    "otel_openmetrics": Reading(
        dialect=Dialect.OTEL,
        tasks_active=13.0,
        tasks_queued=0.0,
        status=1,
        connected=True,
        busyness_score=0.65,
        heap_used_bytes=524_288_000.0 + 1_073_741_824.0,
        heap_limit_bytes=3 * GIB,
        version="11.48.2",
        commit="9c1e7d2",
    ),
    # One agent, its page as different versions of OpenTelemetry's and Prometheus' libraries write it.
    "otel_no_unit": SPELLED,
    "otel_ratio": SPELLED,
    "otel_quoted": SPELLED,
    "otel_quoted_openmetrics": SPELLED,
    # Each figure under several names: the first of its names counts, so nothing is added up twice.
    "otel_two_spellings": Reading(
        dialect=Dialect.OTEL,
        tasks_active=13.0,
        tasks_queued=2.0,
        status=2,
        connected=True,
        heap_used_bytes=200.0,
        heap_limit_bytes=800.0,
        version="11.48.2",
        commit="9c1e7d2",
    ),
    "otel_filtered": Reading(dialect=Dialect.OTEL, tasks_active=0.0, connected=True),
    "otel_parallel_gc": Reading(
        dialect=Dialect.OTEL, tasks_active=1.0, heap_used_bytes=1110.0, heap_limit_bytes=3330.0
    ),
    "otel_no_limit": Reading(dialect=Dialect.OTEL, tasks_active=1.0, heap_used_bytes=100.0),
    # Nothing that is NaN, infinite, negative, half a status or an empty text is passed on.
    "otel_unknown_details": Reading(dialect=Dialect.OTEL, tasks_active=4.0),
    # Counts add up over series, and a series given twice counts once, as said last. What is no count has to agree.
    "otel_several_series": Reading(
        dialect=Dialect.OTEL,
        tasks_active=9.0,
        tasks_queued=3.0,
        status=1,
        requests_active=2.0,
        sessions_open=30.0,
        commit="9c1e7d2",
    ),
    "both_dialects": Reading(
        dialect=Dialect.OTEL,
        tasks_active=8.0,
        status=1,
        connected=True,
        heap_used_bytes=10.0,
        heap_limit_bytes=20.0,
        version="2.0.0",
        commit="bbbbbbb",
    ),
    "both_dialects_nan": Reading(dialect=Dialect.LEGACY, tasks_active=9.0, status=1),
}
REFUSALS: dict[str, type[Exception]] = {
    "otel_nan_count": NoTaskCountError,
    "otel_negative_count": NoTaskCountError,
    "other_jvm": NotAnAgentError,
}


@pytest.mark.parametrize("name", READINGS)
def test_golden_page_gives_its_reading(name: str) -> None:
    """Every field of the reading is the page's, and what the page does not say is None."""
    assert interpret(page(name)) == READINGS[name]


@pytest.mark.parametrize("name", REFUSALS)
def test_golden_page_with_too_little_is_refused(name: str) -> None:
    """A page without a usable task count is no reading; whether an agent is behind it is told apart."""
    with pytest.raises(REFUSALS[name]):
        interpret(page(name))


def test_every_golden_page_is_used() -> None:
    """A page that no test reads is dead weight."""
    assert {path.stem for path in PAGES.iterdir()} == READINGS.keys() | REFUSALS.keys()


def test_the_full_page_is_one_and_its_secret_stays_behind() -> None:
    """The page is as long as real ones, only wanted families leave it, and no command line is kept."""
    raw = (PAGES / "otel_full.txt").read_bytes()
    series = [line for line in raw.splitlines() if not line.startswith(b"#")]
    assert 150 <= len(series) <= 200
    assert b"golden-secret-do-not-keep" in raw
    result = page("otel_full")
    assert {sample.name.decode() for sample in result.samples} == {
        "jvm_memory_limit_bytes",
        "jvm_memory_used_bytes",
        "matillion_agent_busyness_score",
        "matillion_agent_connected_unit",
        "matillion_agent_open_sessions_unit",
        "matillion_agent_request_active_unit",
        "matillion_agent_status_unit",
        "matillion_agent_task_queued_unit",
        "matillion_agent_task_running_unit",
        "matillion_agent_version_unit",
    }
    assert "golden-secret-do-not-keep" not in repr(result)


def test_the_vocabularies() -> None:
    """The names to filter by are those of the vendor's two endpoints, with every suffix of a unit, no more."""
    gauges = [
        f"matillion_agent_{what}"
        for what in (
            "busyness_score",
            "connected",
            "open_sessions",
            "request_active",
            "status",
            "task_queued",
            "task_running",
            "version",
        )
    ]
    assert {dialect: sorted(names) for dialect, names in NAMES.items()} == {
        Dialect.OTEL: [
            *(f"jvm_memory_{what}{unit}" for what in ("limit", "used") for unit in ("", "_bytes")),
            *(f"{gauge}{unit}" for gauge in gauges for unit in ("", "_ratio", "_unit")),
        ],
        Dialect.LEGACY: [
            "app_active_request_count",
            "app_active_task_count",
            "app_agent_connected",
            "app_agent_status",
            "app_open_sessions_count",
            "app_version",
            "app_version_info",
            "jvm_memory_max_bytes",
            "jvm_memory_used_bytes",
        ],
    }
    assert {name.decode() for name in AGENT_FAMILIES.names} == {name for names in NAMES.values() for name in names}


@pytest.mark.parametrize("text", ["", "# EOF\n", "up 1\n", "<html></html>\n", "jvm_memory_limit_bytes 1\n"])
def test_something_else_is_not_an_agent(text: str) -> None:
    """A page without one family of an agent comes from another service."""
    with pytest.raises(NotAnAgentError):
        reading(text)


@pytest.mark.parametrize(
    "text",
    [
        "app_agent_status 1\n",
        "app_version 1\n",
        "matillion_agent_busyness_score 1\n",
        "app_active_task_count many\napp_open_sessions_count 1\n",
        "app_active_task_count NaN\n",
        "app_active_task_count +Inf\n",
        "app_active_task_count -Inf\n",
        "app_active_task_count -1\n",
        "app_active_task_count 9007199254740992\n",
        'matillion_agent_task_running_unit{a="1"} 3\nmatillion_agent_task_running_unit{a="2"} NaN\n',
        'matillion_agent_task_running_unit{a="1"} +Inf\nmatillion_agent_task_running_unit{a="2"} -Inf\n',
    ],
)
def test_an_agent_without_a_usable_task_count_gives_no_reading(text: str) -> None:
    """The count is never made up: not from its absence, not from NaN, not from the parts that are good."""
    with pytest.raises(NoTaskCountError):
        reading(text)


@pytest.mark.parametrize("count", [0.0, 20.0, 21.0, 57.0, 9_007_199_254_740_991.0])
def test_a_count_is_taken_as_it_is(count: float) -> None:
    """More tasks than slots are what the agent says, so they are what is read."""
    assert reading(f"app_active_task_count {count}\n").tasks_active == count


def test_minus_zero_is_zero() -> None:
    """A count that a sum of floats left at -0 is nothing to show a person."""
    assert str(reading("app_active_task_count -0.0\n").tasks_active) == "0.0"


@pytest.mark.parametrize("status", [0, 1, 2, 3, 7])
def test_status_is_a_whole_number(status: int) -> None:
    """The value is handed on as it is, one that is not documented too."""
    assert reading(f"app_active_task_count 1\napp_agent_status {status}.0\n").status == status


@pytest.mark.parametrize("value", ["0.5", "NaN", "+Inf", "-Inf"])
def test_half_a_status_is_none(value: str) -> None:
    """A status that is no whole number is not known."""
    assert reading(f"app_active_task_count 1\napp_agent_status {value}\n").status is None


@pytest.mark.parametrize(
    ("value", "connected"), [("1", True), ("0", False), ("-0.0", False), ("2", None), ("0.5", None), ("NaN", None)]
)
def test_connected_is_one_or_zero(value: str, connected: bool | None) -> None:
    """Any other value is not known, which is neither yes nor no."""
    assert reading(f"app_active_task_count 1\napp_agent_connected {value}\n").connected is connected


@pytest.mark.parametrize(("value", "score"), [("0.65", 0.65), ("-1", -1.0), ("NaN", None), ("+Inf", None)])
def test_busyness_is_any_number(value: str, score: float | None) -> None:
    """The score is the agent's own scale: only what is no number is unknown."""
    page = f"matillion_agent_task_running_unit 1\nmatillion_agent_busyness_score {value}\n"
    assert reading(page).busyness_score == score


@pytest.mark.parametrize(("length", "kept"), [(0, False), (1, True), (128, True), (129, False), (5000, False)])
def test_hostile_lengths_do_not_become_labels(length: int, kept: bool) -> None:
    """A version or commit longer than any real one is not known, rather than a kilobyte on every dashboard."""
    text = "v" * length
    result = reading(f'app_active_task_count 1\napp_version{{version="{text}",commit_hash="{text}"}} 1\n')
    assert result.version == result.commit == (text if kept else None)


@pytest.mark.parametrize("order", [1, -1])
def test_two_builds_on_one_page_are_no_build(order: int) -> None:
    """Which of two versions runs is not guessed from their order; what they agree on is known."""
    builds = ['app_version{version="1",commit_hash="c"} 1', 'app_version_info{version="2",commit_hash="c"} 1'][::order]
    result = reading("\n".join(["app_active_task_count 1", *builds]))
    assert (result.version, result.commit) == (None, "c")


def test_a_build_may_be_reported_twice() -> None:
    """An image between the two names of the family gives both, and one without a commit takes nothing away."""
    result = reading(
        'app_active_task_count 1\napp_version{version="1"} 1\napp_version_info{version="1",commit_hash="c"} 1\n'
    )
    assert (result.version, result.commit) == ("1", "c")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((-1.0, -1.0), None),
        ((-1.0, 64.0), 64.0),
        ((32.0, 64.0), 96.0),
        ((-2.0, 64.0), None),
        ((float("nan"), 64.0), None),
        ((0.0, 64.0), 64.0),
    ],
)
def test_heap_limit_is_what_the_limited_pools_add_up_to(limits: tuple[float, float], expected: float | None) -> None:
    """-1 is "no limit" and no number; any other number that is no size makes the limit unknown."""
    lines = [f'jvm_memory_max_bytes{{area="heap",id="{i}"}} {limit}' for i, limit in enumerate(limits)]
    assert reading("\n".join(["app_active_task_count 1", *lines])).heap_limit_bytes == expected
