"""One agent under the names that different libraries give its families: always the same reading."""

import gc
import math
from itertools import product
from time import process_time

import pytest

from exporter.fleet.dialect import AGENT_FAMILIES, NotAnAgentError, interpret
from exporter.fleet.exposition import read
from exporter.fleet.model import Dialect, Reading


def reading(text: str) -> Reading:
    return interpret(read(text.encode(), AGENT_FAMILIES))


COUNTS = [
    "matillion_agent_task_running_unit",
    "matillion_agent_task_running",
    "matillion_agent_task_running_ratio",
    '{"matillion_agent_task_running"}',
    '{"matillion.agent.task.running"}',
    '{"matillion.agent.task.running.unit"}',
    '{"matillion.agent.task.running_unit"}',
    '{"matillion.agent.task.running.ratio"}',
    '{"matillion.agent.task_running.unit","cloud.provider"="AWS"}',
    '{"cloud.provider"="AWS","matillion.agent.task.running.unit"}',
    '{"cloud.provider"="AWS","matillion.agent.task.running.unit",otel_scope_name="x",}',
    '  { "matillion.agent.task.running.unit" , k = "v" } ',
]


@pytest.mark.parametrize("count", COUNTS)
def test_every_spelling_of_the_count_is_the_count(count: str) -> None:
    """With or without a unit, underscored or dotted, plain or quoted; first read and read again."""
    for _ in range(2):
        assert reading(f"{count} 3\n") == Reading(dialect=Dialect.OTEL, tasks_active=3.0)


@pytest.mark.parametrize(
    "name",
    [
        "matillion_agent_task_running_total",
        "matillion_agent_task_running_unit_foo",
        "matillion_agent_task_running_unit_unit",
        "matillion_agent_task_running_unit_ratio",
        "matillion_agent_task_running_bytes",
        "matillion_agent_task_running_seconds_count",
        "matillion_agent_task_running_",
        "matillion_agent_task_runnings",
        "matillion_agent_task_running:sum",
        "matillion_agent_task",
        "matillion_agent_task_unit",
        "xmatillion_agent_task_running_unit",
        "matillion__agent_task_running_unit",
        # Without quotes a dot is no part of a name.
        "matillion.agent.task.running",
    ],
)
@pytest.mark.parametrize("form", ["{}", '{{"{}"}}', '{{"{}",k="v"}}', '{{k="v","{}"}}'])
def test_a_name_that_means_something_else_is_not_taken(name: str, form: str) -> None:
    """A total, a histogram or a family of somebody else is no count of running tasks."""
    if form != "{}":
        name = name.replace("_", ".") if "." not in name else name.replace(".", "-")
    with pytest.raises(NotAnAgentError):
        reading(form.format(name) + " 3\n")


def test_a_label_with_a_family_s_name_is_no_family() -> None:
    """Neither as a label's text nor as its name."""
    with pytest.raises(NotAnAgentError):
        reading(
            '{k="matillion.agent.task.running"} 3\n{"other",k="matillion.agent.task.running",z="z"} 3\n'
            '{"other","matillion.agent.task.running"="x"} 3\n{"matillion.agent.task.running"="x"} 3\n'
        )


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("unusable", ["NaN", "-1", "+Inf"])
def test_a_count_that_cannot_be_used_is_looked_for_under_its_next_name(order: int, unusable: str) -> None:
    """All else rests on it. Any other figure stays with the first of its names, and is unknown if that says nothing."""
    lines = [
        f"matillion_agent_task_running_unit {unusable}",
        "matillion_agent_task_running 5",
        "matillion_agent_task_running_ratio 6",
        "matillion_agent_task_queued_unit NaN",
        "matillion_agent_task_queued 7",
    ]
    assert reading("\n".join(lines[::order])) == Reading(dialect=Dialect.OTEL, tasks_active=5.0)


@pytest.mark.parametrize("order", [1, -1])
def test_the_same_figure_dotted_and_underscored_counts_once(order: int) -> None:
    """Even where the series differ in a label, as two versions of a scope do."""
    lines = [
        '{"matillion.agent.task.running_unit","otel.scope.version"="2"} 6',
        '{"matillion.agent.task.running.unit"} 7',
        'matillion_agent_task_running_unit{otel_scope_version="1"} 5',
        '{"jvm.memory.used_bytes","jvm.memory.type"="heap"} 2',
        'jvm_memory_used_bytes{jvm_memory_type="heap"} 1',
        # One series, however its label is written.
        'jvm_memory_limit_bytes{jvm_memory_type="heap"} 4',
        'jvm_memory_limit_bytes{"jvm.memory.type"="heap"} 4',
    ]
    expected = Reading(dialect=Dialect.OTEL, tasks_active=5.0, heap_used_bytes=1.0, heap_limit_bytes=4.0)
    assert reading("\n".join(lines[::order])) == expected


def test_a_legacy_count_stands_in_where_no_spelling_has_one() -> None:
    """The other dialect comes after all names of the first."""
    count = "matillion_agent_task_running"
    assert reading(f"app_active_task_count 4\n{count}_unit NaN\n{count} NaN\n") == Reading(
        dialect=Dialect.LEGACY, tasks_active=4.0
    )


def test_memory_of_the_other_dialect_under_the_same_name_hides_no_heap() -> None:
    """Micrometer's series have other labels, so OpenTelemetry's are looked for under their next name."""
    page = (
        "matillion_agent_task_running 1\n"
        'jvm_memory_used_bytes{area="heap",id="G1 Old Gen"} 11\n'
        '{"jvm.memory.used","jvm.memory.type"="heap"} 12\n'
    )
    assert reading(page).heap_used_bytes == 12.0


def cost(size: int, name: str) -> float:
    """Return the CPU seconds of the quickest of three readings of so many series, in every spelling there is."""
    best = math.inf
    dotted = [f"matillion{a}agent{b}task{c}running{d}unit" for a, b, c, d in product("._", repeat=4)]
    memory = [f"jvm{a}memory{b}used{c}bytes" for a, b, c in product("._", repeat=3)]
    for attempt in range(3):
        lines = [
            f'{{"{spelled}",id="{name} {attempt} {number}"}} 1\n'
            for number in range(size // len([*dotted, *memory]))
            for spelled in [*dotted, *memory]
        ]
        page = "".join(lines).encode()
        start = process_time()
        assert interpret(read(page, AGENT_FAMILIES)).tasks_active == size // len([*dotted, *memory])
        best = min(best, process_time() - start)
    return best


@pytest.mark.slow
def test_cost_grows_with_the_spellings_and_not_faster() -> None:
    """Four times the series, in all spellings, cost about four times as much; a quadratic step would make it 16."""
    gc.collect()
    cost(240, "warm")
    small, large = cost(240, "few"), cost(960, "many")
    assert large / small < 10
