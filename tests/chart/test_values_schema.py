"""values.schema.json: what it refuses and with which words, and that it and the exporter agree on `config`."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from exporter.config import ConfigError, Settings, load
from exporter.config.shape import Key, keys
from exporter.config.values import Duration, OneOrSeveral, Read
from tests.chart.rendering import Chart
from tests.fakes.helm import CHART
from tools import build_chart
from tools.programs import ROOT

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
CONFIG = jsonschema.Draft7Validator(SCHEMA["properties"]["config"])
GOOD = sorted((ROOT / "tests/testdata/config/good").glob("*.yaml"))
FLEET = {"name": "etl", "deployment": "etl-runner", "min": 2, "max": 5}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    "unknown key within": ({"image__tags": "1"}, "at '/image': additional properties 'tags' not allowed"),
    "unknown setting": (
        {"config__scrape__intervall": "5s"},
        "at '/config/scrape': additional properties 'intervall' not allowed",
    ),
    "a setting of the chart's own": (
        {"config__external_metrics__cert_file": "/x"},
        "at '/config/external_metrics': additional properties 'cert_file' not allowed",
    ),
    "target above 18": (
        {"autoscaling__fleets": [FLEET | {"target": 19}]},
        "at '/autoscaling/fleets/0/target': maximum: got 19, want 18",
    ),
    "a chart that is not the vendor's": (
        {"autoscaling__fleets": [FLEET | {"chart": "runner"}]},
        "at '/autoscaling/fleets/0/chart': value must be one of 'matillion-runner', 'matillion-agent'",
    ),
    "a pace of no name": (
        {"autoscaling__pace": "slow"},
        "at '/autoscaling/pace': value must be one of 'fast', 'vendor'",
    ),
    "a policy that is neither on nor off": (
        {"networkPolicy__agents__enabled": "yes"},
        "at '/networkPolicy/agents/enabled': value must be one of 'auto', true, false",
    ),
    "a port that is none": (
        {"networkPolicy__agentPorts": [9464, 70000]},
        "at '/networkPolicy/agentPorts/1': maximum: got 70,000, want 65,535",
    ),
    "a name that no port has": (
        {"networkPolicy__agentPorts": ["OTel metrics"]},
        "at '/networkPolicy/agentPorts/0': 'OTel metrics' does not match pattern",
    ),
    "target of text": (
        {"autoscaling__fleets": [FLEET | {"target": "16"}]},
        "at '/autoscaling/fleets/0/target': got string, want integer",
    ),
    "no agents at least": (
        {"autoscaling__fleets": [FLEET | {"min": 0}]},
        "at '/autoscaling/fleets/0/min': minimum: got 0, want 1",
    ),
    "no most": (
        {"autoscaling__fleets": [{"name": "etl", "deployment": "etl-runner"}]},
        "at '/autoscaling/fleets/0': missing property 'max'",
    ),
    "a budget that allows no eviction": (
        {"agentsDisruptionBudget__maxUnavailable": 0},
        "at '/agentsDisruptionBudget/maxUnavailable'",
    ),
    "a budget of no percentage": (
        {"agentsDisruptionBudget__maxUnavailable": "one"},
        "at '/agentsDisruptionBudget/maxUnavailable'",
    ),
    "unknown mode": (
        {"autoscaling__mode": "cpu"},
        "at '/autoscaling/mode': value must be one of 'none', 'externalMetrics', 'kedaMetricsApi', 'kedaCloudWatch'",
    ),
    "a fallback of KEDA's": (
        {"autoscaling__keda__failureThreshold": 20},
        "at '/autoscaling/keda': additional properties 'failureThreshold' not allowed",
    ),
    "a default taken away": ({"config__scrape": None}, "at '/config': missing property 'scrape'"),
    "no replica": ({"replicaCount": 0}, "at '/replicaCount': minimum: got 0, want 1"),
    "no role": ({"serviceAccount__roleArn": "admin"}, "at '/serviceAccount/roleArn': 'admin' does not match pattern"),
    "no duration": ({"config__scrape__interval": "5 sec"}, "at '/config/scrape/interval': '5 sec' does not match"),
    "a namespace that is AWS' own": ({"config__cloudwatch__namespace": "AWS/EKS"}, "at '/config/cloudwatch/namespace'"),
    "a word that is no level": (
        {"config__log__level": "loud"},
        "at '/config/log/level': value must be one of 'debug', 'info', 'warning', 'error'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_refused(chart: Chart, case: str) -> None:
    """Helm names the place and what is allowed."""
    values, message = REFUSED[case]
    good, said = chart.attempt(**values)
    assert not good
    assert message in said


def test_every_object_is_closed() -> None:
    """No mapping takes unknown keys but those whose keys are Kubernetes' or the user's own."""
    opened: set[str] = set()

    def walk(schema: Any, path: str) -> None:
        if isinstance(schema, list):
            for inner in schema:
                walk(inner, path)
        if not isinstance(schema, dict):
            return
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            opened.add(path.removeprefix("/properties").replace("/properties", ""))
        for key, inner in schema.items():
            walk(inner, f"{path}/{key}")

    walk(SCHEMA, "")
    assert opened == {
        "/affinity", "/config/protection/annotations", "/definitions/texts", "/extraEnv/items",
        "/extraVolumeMounts/items", "/extraVolumes/items",
        "/global", "/networkPolicy/extraEgress/items", "/networkPolicy/from/items",
        "/prometheus/serviceMonitor/basicAuth", "/prometheus/serviceMonitor/tlsConfig",
        "/resources", "/tolerations/items", "/topologySpreadConstraints/items",
    }  # fmt: skip


def test_defaults_are_the_programs_own() -> None:
    """What values.yaml says of `config` is what the exporter would do without being told."""
    told, untold = Settings.model_validate(DEFAULTS["config"]), Settings()
    assert told == untold


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests/testdata/config/good").glob("*.yaml")), ids=lambda file: file.name
)
def test_schema_takes_what_the_program_takes(file: Path) -> None:
    """A good file of settings is a good `config`, but for what the chart sets itself."""
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    CONFIG.validate(_merged(DEFAULTS["config"], _without_the_charts_own(settings)))


def _without_the_charts_own(value: Any, path: str = "") -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: (f"{path}.{key}".lstrip("."), one) for key, one in value.items()}
    return {
        key: _without_the_charts_own(one, place)
        for key, (place, one) in inner.items()
        if place not in build_chart.CHART_OWNED
    }


@pytest.mark.parametrize(
    "value",
    [
        {"scrape": {"interval": "5 sec"}}, {"scrape": {"interval": -1}}, {"scrape": {"interval": True}},
        {"scrape": {"concurrency": 0}}, {"scrape": {"concurrency": 1.5}}, {"scrape": {"filter_names": "yes"}},
        {"scrape": {"endpoints": [{"kind": "other", "port": 1, "path": "/"}]}},
        {"scrape": {"endpoints": [{"kind": "otel", "port": 1}]}}, {"scrape": {"endpoints": {}}},
        {"capacity": {"min_coverage": 1.1}}, {"capacity": {"unknown_agents": "forget"}},
        {"cluster": ""}, {"cluster": " x"}, {"cluster": "x "}, {"cluster": "é"}, {"cluster": 5},
        {"cloudwatch": {"storage_resolution": 30}}, {"cloudwatch": {"namespace": ":x"}},
        {"cloudwatch": {"spool": {"max_datums": 10}}}, {"discovery": {"kubernetes": {"namespaces": ["A"]}}},
        {"discovery": {"kubernetes": {"label_selector": ""}}}, {"leader_election": {"lease_name": "A"}},
        {"log": {"level": None}}, {"unknown": {}},
    ],
    ids=str,
)  # fmt: skip
def test_schema_and_program_refuse_alike(value: dict[str, Any], tmp_path: Path) -> None:
    """A single value that the exporter refuses is refused by Helm already."""
    merged = _merged(DEFAULTS["config"], value)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(merged), encoding="utf-8")
    with pytest.raises(ConfigError):
        load(config, {})
    assert not CONFIG.is_valid(merged)


def _is_own(path: str) -> bool:
    return any(f"{path}.".startswith(f"{own}.") for own in build_chart.CHART_OWNED)


KEYS = [key for key in keys() if key.shape.section is None and not _is_own(key.path)]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 60, 1.5, 0.5, 9464, 70_000, 10**9,
    "", " ", "x", "A", "-", "é", "a b", " a", "a ", "a/b", "/metrics", "/metrics?a=b", "AWS/EKS", "AWSome", ":x", "x:y",
    "eu-west-1", "5s", " 5s ", "1h30m", "5 sec", "-5s", "1e3", "10", "otel", "full", "hold", "per_agent", "default",
    "all", "debug", "json", "loud", "0.0.0.0:9850", "[::]:80", "10.0.0.1", "http://x", "ftp://x", "app=x", "(",
    "x" * 300, "x" * 3000, [], ["a"], ["A"], [""], ["default"], [1], [{}], [{"address": "10.0.0.1"}],
    [{"kind": "otel", "port": 1, "path": "/"}], {}, {"a": 1},
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_schema_and_program_agree_on_every_key(key: Key) -> None:
    """The schema takes whatever the exporter takes, and refuses the rest but where only a program can tell."""
    for value in VALUES:
        config = _nested(key.path, value)
        taken, good = _is_taken(config), CONFIG.is_valid(_merged(DEFAULTS["config"], config))
        assert good or not taken, f"{value!r} is refused by the schema only"
        if good and not taken:
            assert isinstance(value, str | list), value
            assert any(isinstance(kind, Read | OneOrSeveral | Duration) for kind in key.shape.kinds), value


def _nested(path: str, value: Any) -> dict[str, Any]:
    """Return the mapping in which only this key is given, but for what a list's element must have."""
    first, _, rest = path.partition(".")
    name = first.removesuffix("[]")
    if not rest:
        return {name: value}
    inner = _nested(rest, value)
    return {name: [NEEDED[name] | inner] if name != first else inner}


NEEDED: dict[str, dict[str, Any]] = {
    "targets": {"address": "10.0.0.1"},
    "endpoints": {"kind": "otel", "port": 9464, "path": "/metrics"},
}


def _is_taken(config: dict[str, Any]) -> bool:
    try:
        Settings.model_validate(config)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("duration", ["250ms", "5s", "2m", "1h30m", "1.5s", 5, 0.5, "30"])
def test_durations_in_every_form(duration: Any) -> None:
    """The schema takes a duration however the exporter takes it."""
    merged = _merged(DEFAULTS["config"], {"capacity": {"stale_after": duration}})
    assert CONFIG.is_valid(merged)
    assert Settings.model_validate(merged).capacity.stale_after > 0


def test_every_value_has_a_row() -> None:
    """No value of values.yaml is left out of the README's table."""
    described = {path for path, _, _ in build_chart.described_values()}

    def leaves(values: dict[str, Any], prefix: str = "") -> Any:
        for key, value in values.items():
            path = prefix + key
            if path in described or not (isinstance(value, dict) and value):
                yield path
            else:
                yield from leaves(value, f"{path}.")

    assert set(leaves(DEFAULTS)) == described


def _merged(base: Any, over: Any) -> Any:
    """Lay values over the defaults as Helm does; an empty section changes nothing."""
    if over is None and isinstance(base, dict):
        return base
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merged(base[key], value) if key in base else value for key, value in over.items()}
