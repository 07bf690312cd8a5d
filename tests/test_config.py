"""Settings from files and the environment: what is read, what is refused, and in which words."""

import contextlib
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import (
    DEFAULT_ENDPOINTS,
    CapacitySettings,
    ConfigError,
    DiscoverySettings,
    HostPort,
    KubernetesSettings,
    Problem,
    ScrapeSettings,
    Settings,
    StaticSettings,
    StaticTarget,
    WebSettings,
    load,
)
from exporter.config.shape import keys
from exporter.config.yaml_source import MAX_VALUES, _StrictLoader
from exporter.fleet.model import Dialect, Endpoint
from exporter.kube.selector import parse_selector
from tests.configuration import report
from tools import build, build_configuration

FILES = Path(__file__).parent / "testdata" / "config"
NOBODY = 65534
"""The user of Linux that owns nothing."""


# -- the files of testdata -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((FILES / "bad").glob("*.yaml")), ids=lambda path: path.stem)
def test_bad_file_gives_exactly_the_report_written_in_it(path: Path) -> None:
    """Each bad file says in its `#!` lines what the whole report about it is."""
    expected = [line.removeprefix("#! ") for line in path.read_text().splitlines() if line.startswith("#! ")]
    assert report(path) == "\n".join(expected)


@pytest.mark.parametrize("path", sorted((FILES / "good").glob("*.yaml")), ids=lambda path: path.stem)
def test_good_file_is_taken(path: Path) -> None:
    """Nothing is said about a good file."""
    assert isinstance(load(path, {}), Settings)


def test_the_settings_as_designed_are_the_defaults() -> None:
    """Written out in full, the designed settings are what one gets without writing anything."""
    designed = load(FILES / "good" / "design.yaml", {})
    assert designed.cluster == "prod-eks"
    assert designed.discovery.static.targets == (
        StaticTarget(address="127.0.10.1", fleet="demo", namespace="demo", pod="agent-1"),
    )
    assert designed.pod_logs.failure_pattern == "..."
    own = {"cluster": None, "discovery": designed.discovery.model_copy(update={"static": StaticSettings()})}
    own["pod_logs"] = designed.pod_logs.model_copy(update={"failure_pattern": None})
    assert designed.model_copy(update=own) == Settings() == load(None, {})


def test_the_defaults_have_the_types_that_parts_rely_on() -> None:
    """Durations are seconds, lists are tuples, endpoints and addresses are values of their own."""
    settings = load(FILES / "good" / "defaults.yaml", {})
    assert settings.scrape.interval == 5.0
    assert settings.capacity.forget_after == 600.0
    assert settings.cloudwatch.spool.max_age == 14 * 86400.0
    assert settings.scrape.endpoints == DEFAULT_ENDPOINTS
    assert settings.scrape.endpoints[1] == Endpoint(Dialect.LEGACY, 8080, "/actuator/prometheus")
    assert settings.web.listen == HostPort("0.0.0.0", 9850)
    assert settings.web.tls is settings.web.basic_auth is None


# -- reading the file ------------------------------------------------------------------------------------------------


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """The report names the file and the reason."""
    with pytest.raises(ConfigError, match=r"^/.*/nothing\.yaml: there is no such file$"):
        load(tmp_path / "nothing.yaml", {})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """A directory is named as such."""
    assert report(tmp_path) == "it is a directory, not a file"


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are said to be that, with their place."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"cluster: \xff\xfe")
    assert report(path) == "it is not UTF-8 text (byte 10)"


def test_a_file_this_user_may_not_read_is_refused(write) -> None:
    """A lack of permission is told apart from a missing file; the superuser, who may read every file, steps down."""
    path = write("{}")
    path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    try:
        assert report(path) == "permission denied"
    finally:
        os.seteuid(user)


def test_a_byte_order_mark_does_no_harm(write) -> None:
    """Editors on Windows put one in front."""
    assert load(write("\ufeffcluster: a"), {}).cluster == "a"


def test_a_control_character_is_named_with_its_line(write) -> None:
    """YAML has no place for them."""
    assert report(write("cluster: a\nlog: \x07")) == "line 2: the character 0x0007 is not allowed in YAML"


@pytest.mark.parametrize("unit", ["[", "{", "- ", "? ", "a: {", "[[],"])
def test_nesting_without_end_is_refused_in_words(write, unit: str) -> None:
    """Soon, and not with a RecursionError."""
    assert re.fullmatch(
        r"line 1, column [0-9]{2,3}: lists or mappings are nested too deeply", report(write(unit * 20_000))
    )


def test_nesting_as_deep_as_allowed_is_read(write) -> None:
    """Whatever is made of it."""
    assert "is not a mapping" in report(write("[" * 49 + "]" * 49))
    assert report(write("cluster: " + "[" * 48 + "]" * 48)).startswith("line 1: cluster: a list of 1 is not")


def test_a_text_of_very_many_values_is_refused() -> None:
    """Before it takes the memory of the container; its size in bytes says little about that."""

    class Loader(_StrictLoader):
        max_values = 10

    assert len(Loader("[a, b, c, d, e, f, g, h, i]").get_single_node().value) == 9
    with pytest.raises(yaml.MarkedYAMLError, match="more than 10 keys and values"):
        Loader("[a, b, c, d, {e: f, g: h}, i]").get_single_node()
    assert _StrictLoader.max_values == MAX_VALUES


@given(st.text(alphabet="{}[]:,-!&*?|>'\"#%@` \nab01.~<=", max_size=60) | st.text(max_size=60))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever a file contains, it is taken or refused with a ConfigError."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(ConfigError):
        load(path, {})


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_places = st.sampled_from([key.path.split(".") for key in keys() if "[" not in key.path])


@given(st.lists(st.tuples(_places, _plain), max_size=5))
def test_no_value_breaks_the_checks(tmp_path_factory: pytest.TempPathFactory, given_values) -> None:
    """Any value at any key is taken, or refused in a report that names the key; nothing else is raised."""
    data: dict[str, object] = {}
    for path, value in given_values:
        place = data
        for key in path[:-1]:
            inner = place.get(key)
            place[key] = place = inner if isinstance(inner, dict) else {}
        place[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "values.yaml"
    file.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    problems: tuple[Problem, ...] = ()
    try:
        load(file, {})
    except ConfigError as error:
        problems = error.problems
    assert all("\n" not in str(problem) for problem in problems)


# -- the environment -------------------------------------------------------------------------------------------------


def test_a_variable_overrides_the_file(write) -> None:
    """Sections that the variable does not speak of keep the file's values."""
    path = write("scrape: {interval: 10s, timeout: 2s}")
    settings = load(path, {"FLEET_EXPORTER__SCRAPE__INTERVAL": "20s", "PATH": "/bin"})
    assert (settings.scrape.interval, settings.scrape.timeout) == (20.0, 2.0)


def test_values_of_variables_are_yaml() -> None:
    """Lists, booleans, mappings and numbers work; where text is taken, text that looks otherwise stays text."""
    settings = load(
        None,
        {
            "FLEET_EXPORTER__DISCOVERY__KUBERNETES__NAMESPACES": "[a, b]",
            "FLEET_EXPORTER__SCRAPE__FILTER_NAMES": "false",
            "FLEET_EXPORTER__CAPACITY__MIN_COVERAGE": "0.75",
            "FLEET_EXPORTER__LEADER_ELECTION": "{lease_name: x, retry_period: 1s}",
            "FLEET_EXPORTER__CLUSTER": "2026",
            "FLEET_EXPORTER__WEB__LISTEN": "[::1]:9850",
        },
    )
    assert settings.discovery.kubernetes.namespaces == ("a", "b")
    assert settings.scrape.filter_names is False
    assert settings.capacity.min_coverage == 0.75
    assert (settings.leader_election.lease_name, settings.leader_election.retry_period) == ("x", 1.0)
    assert settings.cluster == "2026"
    assert settings.web.listen == HostPort("::1", 9850)


def test_an_empty_variable_takes_the_setting_away(write) -> None:
    """As `null` in the file would."""
    assert load(write("cluster: a"), {"FLEET_EXPORTER__CLUSTER": ""}).cluster is None


def test_a_variable_for_a_key_wins_over_one_for_its_section() -> None:
    """The more exact one counts, in whatever order the environment lists them."""
    environ = {"FLEET_EXPORTER__SCRAPE__TIMEOUT": "1s", "FLEET_EXPORTER__SCRAPE": "{interval: 9s, timeout: 9s}"}
    scrape = load(None, environ).scrape
    assert (scrape.interval, scrape.timeout) == (9.0, 1.0)


def test_a_mapping_in_a_variable_is_merged_and_a_list_replaces(write) -> None:
    """Keys that the mapping does not have keep the file's values; two lists are never joined."""
    path = write(
        "capacity: {tasks_per_agent: 10, target_tasks_per_agent: 8}\ndiscovery: {kubernetes: {namespaces: [a, b]}}"
    )
    environ = {
        "FLEET_EXPORTER__CAPACITY": "{target_tasks_per_agent: 9}",
        "FLEET_EXPORTER__DISCOVERY__KUBERNETES": "{namespaces: [c]}",
    }
    settings = load(path, environ)
    assert (settings.capacity.tasks_per_agent, settings.capacity.target_tasks_per_agent) == (10, 9)
    assert settings.discovery.kubernetes.namespaces == ("c",)


def test_the_variables_of_a_kubernetes_service_are_not_ours() -> None:
    """A Service called fleet-exporter makes variables with one underscore."""
    environ = {"FLEET_EXPORTER_SERVICE_HOST": "10.0.0.1", "FLEET_EXPORTER_PORT_9850_TCP": "tcp://10.0.0.1:9850"}
    assert load(None, environ) == Settings()


def test_problems_of_variables_are_called_by_their_variable(write) -> None:
    """Next to the file's own problems, and with what the variable may have meant."""
    environ = {
        "FLEET_EXPORTER__SCRAPE__INTERVALL": "9s",
        "FLEET_EXPORTER__CAPACITY": "{tasks_per_agent: none}",
        "FLEET_EXPORTER__LOG__LEVEL": "[a",
        "FLEET_EXPORTER__SCRAPE__ENDPOINTS": "[{kind: otel, port: 0, path: /}]",
        "FLEET_EXPORTER__SCRAPE__TIMEOUT": "1h",
    }
    lines = report(write("scrape: {concurrency: 0}"), environ).splitlines()
    syntax = "line 1, column 3: expected ',' or ']', but got '<stream end>', while parsing a flow sequence"
    assert lines == [
        "5 problems",
        "  line 1: scrape.concurrency: 0 is not a whole number from 1 to 10000",
        f"  FLEET_EXPORTER__LOG__LEVEL: {syntax}",
        "  FLEET_EXPORTER__SCRAPE__INTERVALL: unknown setting; did you mean FLEET_EXPORTER__SCRAPE__INTERVAL?",
        "  FLEET_EXPORTER__SCRAPE__ENDPOINTS[0].port: 0 is not a whole number from 1 to 65535",
        '  FLEET_EXPORTER__CAPACITY.tasks_per_agent: "none" is not a whole number of at least 1',
    ]


def test_two_spellings_of_one_variable_are_refused() -> None:
    """Which one should count cannot be told."""
    environ = {"FLEET_EXPORTER__CLUSTER": "a", "fleet_exporter__cluster": "b"}
    assert report(None, environ) == (
        "configuration: fleet_exporter__cluster: the same setting is set by FLEET_EXPORTER__CLUSTER"
    )


def test_a_variable_does_not_hide_what_is_wrong_in_the_file(write) -> None:
    """A section that is no mapping is still reported where it stands."""
    assert report(write("web: 5"), {"FLEET_EXPORTER__WEB__LISTEN": "127.0.0.1:1"}) == (
        "line 1: web: 5 is not a mapping of keys to values"
    )


# -- meaning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("discovery", "enabled"),
    [
        ("{}", True),
        ("{static: {targets: []}}", True),
        ("{static: {targets: [{address: a}]}}", False),
        ("{static: {targets: [{address: a}]}, kubernetes: {}}", True),
        ("{static: {targets: [{address: a}]}, kubernetes: {enabled: false}}", False),
    ],
)
def test_static_targets_alone_need_no_cluster(write, discovery: str, enabled: bool) -> None:
    """Kubernetes discovery is on unless it is switched off, or only static discovery is mentioned."""
    assert load(write(f"discovery: {discovery}"), {}).discovery.kubernetes.enabled is enabled


def test_settings_can_be_made_in_code() -> None:
    """As the demo does: from values of their own types."""
    discovery = DiscoverySettings(static=StaticSettings(targets=(StaticTarget(address="a"),)))
    settings = Settings(
        discovery=discovery,
        scrape=ScrapeSettings(interval=0.2, timeout=0.1, endpoints=(Endpoint(Dialect.OTEL, 1, "/m"),)),
        web=WebSettings(listen=HostPort("127.0.0.1", 0)),
        capacity=CapacitySettings(stale_after=1.0),
    )
    assert settings.discovery.kubernetes == KubernetesSettings(enabled=False)
    assert settings.scrape.endpoints == (Endpoint(Dialect.OTEL, 1, "/m"),)


def test_settings_do_not_change() -> None:
    """They are shared between the parts."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().cluster = "other"  # type: ignore[misc]


@pytest.mark.parametrize("selector", ["a=b", "a", "!a", "a in(b, c),d!=e", "example.com/a == b", "a notin (b)", "a="])
def test_label_selectors_of_kubernetes_are_taken(write, selector: str) -> None:
    """Equality, sets and existence."""
    path = write(f"discovery: {{kubernetes: {{label_selector: '{selector}'}}}}")
    assert load(path, {}).discovery.kubernetes.label_selector == selector


@pytest.mark.parametrize(
    ("selector", "reason"),
    [
        ("a=b=c", "expected a comma or the end, found '='"),
        ("a in b", "expected an opening bracket, found 'b'"),
        ("=b", "expected a label key, found '='"),
        ("a,,b", "expected a label key, found ','"),
        ("a>1", "> is not supported; =, !=, in, notin, a key alone and !key are"),
        (" ", "an empty one would match every pod"),
    ],
)
def test_what_is_no_selector_is_refused(write, selector: str, reason: str) -> None:
    """The reason says where it goes wrong."""
    path = write(f"discovery: {{kubernetes: {{label_selector: '{selector}'}}}}")
    text = report(path)
    assert "is not a label selector, such as app.kubernetes.io/name=matillion-runner; " in text
    assert reason in text


def test_default_selector_finds_agents_of_both_charts_and_no_other_component() -> None:
    """The script runner carries the agents' name and instance, and a component."""
    selector = parse_selector(KubernetesSettings().label_selector)
    name = "app.kubernetes.io/name"
    for chart in ("matillion-agent", "matillion-runner"):
        assert selector.matches({name: chart})
        assert not selector.matches({name: chart, "app.kubernetes.io/component": "script-runner"})
    assert not selector.matches({name: "other"})


def test_no_secret_is_shown(write) -> None:
    """Neither credentials inside a value, nor a value under a key that does not exist, nor a pasted token."""
    text = """
web: {bearer_token: hunter2}
cloudwatch: {endpoint_url: "https://me:hunter2@host"}
discovery: {static: {targets: [{address: "me:hunter2@host:9464"}]}}
password: hunter2
"""
    text = report(write(text))
    assert text.startswith("4 problems")
    assert "hunter2" not in text
    assert "hunter2" not in report(write("web: {bearer_token_file: hunter2}"))


# -- documentation ---------------------------------------------------------------------------------------------------


def test_the_page_of_settings_is_up_to_date() -> None:
    """Its tables are what the settings' classes say."""
    assert build.main(["--check"]) == 0


def test_every_setting_is_described() -> None:
    """And says what it takes."""
    assert [key.path for key in keys() if not key.description or not key.shape.allowed] == []


def test_the_examples_of_the_page_are_good(write) -> None:
    """Each YAML block of docs/configuration.md loads."""
    blocks = re.findall(r"```yaml\n(.*?)```", build_configuration.PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        load(write(block), {})


def test_the_report_on_the_page_is_the_real_one(write) -> None:
    """The example of a report is a real one."""
    path = write(
        "scrape: {timeout: 3 sec, intervall: 1s}\ncapacity: {target_tasks_per_agent: 24}",
    )
    text = report(path, {"FLEET_EXPORTER__LOG__LEVEL": "loud"})
    assert f"config.yaml: {text}\n" in build_configuration.PAGE.read_text(encoding="utf-8")
