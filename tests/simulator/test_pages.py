"""The pages of fake agents, read back by Prometheus' own parsers."""

import math
import struct
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.fleet.model import Dialect
from exporter.simulator.families import PLANTED_SECRET
from exporter.simulator.pages import Page, actuator_info, example_vitals, java_double, page_of
from exporter.simulator.vitals import CURRENT, LEGACY, OLDEST, PREVIOUS, UNFILTERED, Image, Spelling

OTEL_IMAGES = [CURRENT, PREVIOUS, UNFILTERED]
IMAGES = [*OTEL_IMAGES, LEGACY, OLDEST]
VITALS = example_vitals(seed=3)


def values(families: Iterable[Metric]) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def read(page: bytes, openmetrics: bool = False) -> dict[str, list[tuple[dict[str, str], float]]]:
    return values((parse_openmetrics if openmetrics else parse_text)(page.decode()))


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("image", OTEL_IMAGES)
def test_otel_page_has_the_vitals(image: Image, openmetrics: bool) -> None:
    """Every number of the agent comes back through the parser, under the vendor's name and with a scope."""
    found = read(Page(image, Dialect.OTEL).render(VITALS, openmetrics=openmetrics), openmetrics)
    expected = {
        "matillion_agent_status_unit": VITALS.status,
        "matillion_agent_connected_unit": 1,
        "matillion_agent_task_running_unit": VITALS.tasks_active,
        "matillion_agent_task_queued_unit": VITALS.tasks_queued,
        "matillion_agent_request_active_unit": VITALS.requests_active,
        "matillion_agent_open_sessions_unit": VITALS.sessions_open,
        "matillion_agent_busyness_score": VITALS.busyness_score,
        "jvm_cpu_recent_utilization": VITALS.cpu_utilization,
    }
    for name, value in expected.items():
        [(labels, number)] = found[name]
        assert number == value
        assert labels["otel_scope_name"]
    [(build, one)] = found["matillion_agent_version_unit"]
    assert one == 1
    assert (build["version"], build["commit_hash"]) == (image.version, image.commit)


def test_otel_heap_adds_up_and_only_one_pool_has_a_limit() -> None:
    """Eden and survivor have no limit under G1; the old generation's is the heap's."""
    found = read(Page(CURRENT, Dialect.OTEL).render(VITALS))
    heap = [value for labels, value in found["jvm_memory_used_bytes"] if labels["jvm_memory_type"] == "heap"]
    assert len(heap) == 3
    assert sum(heap) == VITALS.heap_used_bytes
    limits = {labels["jvm_memory_pool_name"]: value for labels, value in found["jvm_memory_limit_bytes"]}
    assert limits["G1 Old Gen"] == VITALS.heap_limit_bytes
    assert not {"G1 Eden Space", "G1 Survivor Space", "Metaspace"} & set(limits)


def test_otel_page_has_the_size_of_the_real_one() -> None:
    """150 to 200 samples in 20 to 35 KB."""
    page = Page(CURRENT, Dialect.OTEL)
    assert 150 <= page.sample_count <= 200
    assert 20_000 <= len(page.render(VITALS)) <= 35_840


def test_histograms_are_cumulative_and_complete() -> None:
    """Bucket counts never fall, and the last equals the count."""
    page = Page(CURRENT, Dialect.OTEL).render(VITALS).decode()
    for family in parse_text(page):
        if family.type != "histogram":
            continue
        series: dict[frozenset[tuple[str, str]], list[float]] = {}
        counts: dict[frozenset[tuple[str, str]], float] = {}
        for sample in family.samples:
            key = frozenset(item for item in sample.labels.items() if item[0] != "le")
            if sample.name.endswith("_bucket"):
                series.setdefault(key, []).append(sample.value)
            elif sample.name.endswith("_count"):
                counts[key] = sample.value
        assert series.keys() == counts.keys()
        for key, buckets in series.items():
            assert buckets == sorted(buckets)
            assert buckets[-1] == counts[key]


def test_openmetrics_page_has_its_oddities() -> None:
    """Units, births of counters, an exemplar, and the end marked."""
    page = Page(CURRENT, Dialect.OTEL).render(VITALS, openmetrics=True).decode()
    assert page.endswith("# EOF\n")
    assert "# UNIT jvm_memory_used_bytes bytes\n" in page
    assert "jvm_cpu_time_seconds_created{" in page
    assert ' # {span_id="' in page


def test_target_info_carries_a_command_line_with_a_secret() -> None:
    """The real one leaks too: quotes and backslashes are escaped, and the bait is there to look for."""
    found = read(Page(CURRENT, Dialect.OTEL).render(VITALS))
    [(labels, _)] = found["target_info"]
    assert PLANTED_SECRET in labels["process_command_args"]
    assert '"-jar","C:\\agent.jar"' in labels["process_command_args"]
    assert labels["host_name"] == VITALS.pod


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("image", [CURRENT, LEGACY])
def test_legacy_page_has_the_vitals(image: Image, openmetrics: bool) -> None:
    """Bare gauges, one of each."""
    found = read(Page(image, Dialect.LEGACY).render(VITALS, openmetrics=openmetrics), openmetrics)
    assert found["app_agent_status"] == [({}, VITALS.status)]
    assert found["app_agent_connected"] == [({}, 1)]
    assert found["app_active_task_count"] == [({}, VITALS.tasks_active)]
    assert found["app_active_request_count"] == [({}, VITALS.requests_active)]
    assert found["app_open_sessions_count"] == [({}, VITALS.sessions_open)]
    assert found["app_version_info"][0][0]["version"] == image.version


def test_oldest_image_lacks_connected_and_ends_label_sets_with_a_comma() -> None:
    """What the first builds published."""
    page = Page(OLDEST, Dialect.LEGACY).render(VITALS)
    assert b"app_agent_connected" not in page
    assert b",} 1.0\n" in page
    assert read(page)["app_version"][0][0]["commit_hash"] == OLDEST.commit


def test_micrometer_reports_minus_one_without_a_limit() -> None:
    """Summing limits blindly would go wrong."""
    found = read(Page(LEGACY, Dialect.LEGACY).render(VITALS))
    limits = {labels["id"]: value for labels, value in found["jvm_memory_max_bytes"] if labels["area"] == "heap"}
    assert limits == {"G1 Eden Space": -1, "G1 Survivor Space": -1, "G1 Old Gen": VITALS.heap_limit_bytes}


def test_a_filter_gives_the_named_families_only() -> None:
    """A family may be named by itself or by one of its samples."""
    names = frozenset({"matillion_agent_task_running_unit", "jvm_cpu_time_seconds_total", "no_such_family"})
    found = read(Page(CURRENT, Dialect.OTEL).render(VITALS, names=names))
    assert set(found) == {"matillion_agent_task_running_unit", "jvm_cpu_time_seconds_total"}


def test_a_filter_that_meets_nothing_gives_an_empty_page() -> None:
    """As the real servers do."""
    page = Page(CURRENT, Dialect.OTEL)
    assert page.render(VITALS, names=frozenset({"nothing"})) == b""
    assert page.render(VITALS, names=frozenset({"nothing"}), openmetrics=True) == b"# EOF\n"


SPELLINGS = {
    Spelling.UNIT: ("matillion_agent_task_running_unit", "jvm_memory_used_bytes", "jvm_memory_type"),
    Spelling.RATIO: ("matillion_agent_task_running_ratio", "jvm_memory_used_bytes", "jvm_memory_type"),
    Spelling.NONE: ("matillion_agent_task_running", "jvm_memory_used", "jvm_memory_type"),
    Spelling.QUOTED: ("matillion.agent.task.running_unit", "jvm.memory.used_bytes", "jvm.memory.type"),
}


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("spelling", Spelling)
def test_names_are_spelled_as_the_image_s_libraries_do(spelling: Spelling, openmetrics: bool) -> None:
    """Every page is one that Prometheus' parsers read, with the same numbers under other names."""
    count, memory, label = SPELLINGS[spelling]
    image = replace(CURRENT, spelling=spelling)
    found = read(Page(image, Dialect.OTEL).render(VITALS, openmetrics=openmetrics), openmetrics)
    assert [value for _, value in found[count]] == [VITALS.tasks_active]
    heap = [value for labels, value in found[memory] if labels[label] == "heap"]
    assert sum(heap) == VITALS.heap_used_bytes
    assert [
        labels["commit_hash"] for name in found if ".version" in name or "_version" in name for labels, _ in found[name]
    ]
    assert Page(image, Dialect.OTEL).sample_count == Page(CURRENT, Dialect.OTEL).sample_count


@pytest.mark.parametrize("spelling", Spelling)
def test_a_filter_knows_underscored_names(spelling: Spelling) -> None:
    """As client_java does, whose names of families have no dots."""
    count = SPELLINGS[spelling][0]
    page = Page(replace(CURRENT, spelling=spelling), Dialect.OTEL)
    assert set(read(page.render(VITALS, names=frozenset({count.replace(".", "_")})))) == {count}


def test_an_image_that_knows_no_filters_gives_the_whole_page() -> None:
    """The parameter is ignored, not refused."""
    page = Page(UNFILTERED, Dialect.OTEL)
    assert page.render(VITALS, names=frozenset({"nothing"})) == page.render(VITALS)


@pytest.mark.parametrize("image", IMAGES)
def test_pages_are_reproducible(image: Image) -> None:
    """The same seed gives the same bytes, another seed others."""
    page = page_of(image, Dialect.LEGACY)
    assert page.render(example_vitals(8)) == page.render(example_vitals(8))
    assert page.render(example_vitals(8)) != page.render(example_vitals(9))


def test_info_names_the_status_in_words() -> None:
    """`/actuator/info` is JSON."""
    assert b'"agentStatus": "RUNNING"' in actuator_info(CURRENT, VITALS)


@given(st.integers(0, 2**64 - 1))
def test_java_double_is_exact(bits: int) -> None:
    """Every double survives the way through Java's notation."""
    [number] = struct.unpack("<d", bits.to_bytes(8, "little"))
    text = java_double(number)
    assert math.isnan(number) or float(text) == number
    assert b"e" not in text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, b"0.0"),
        (1, b"1.0"),
        (1e7, b"1.0E7"),
        (3221225472, b"3.221225472E9"),
        (0.0001, b"1.0E-4"),
        (-2.5e8, b"-2.5E8"),
    ],
)
def test_java_double_looks_like_javas(number: float, text: bytes) -> None:
    """The spellings seen on real pages."""
    assert java_double(number) == text


def test_java_double_names_what_is_no_number() -> None:
    """The spellings of the exposition formats."""
    assert [java_double(x) for x in (math.nan, math.inf, -math.inf)] == [b"NaN", b"+Inf", b"-Inf"]
