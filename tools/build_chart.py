"""Writes what the chart repeats from elsewhere: its README's table, the schema of its `config`, copies, its version.

`tables` is for the page as in the other modules; `files` gives every other generated file of the chart as a whole.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

from exporter import __version__
from exporter.config.settings import Settings
from tools.generated import ROOT
from tools.project import PROJECT

CHART = ROOT / "chart"
PAGE = CHART / "README.md"
BEGIN = "<!-- The table from here on is generated (make docs) from chart/values.yaml. -->"
END = "<!-- End of the generated table. -->"

COPIES = {"rules": ROOT / "alerts" / "prometheus", "dashboards": ROOT / "dashboards"}
"""Folders of `chart/files` and where their files are made; Helm reads nothing outside a chart."""
ENDINGS = {"rules": "*.yaml", "dashboards": "*.json"}

CHART_OWNED = frozenset(
    {
        "cloudwatch.spool.path",
        "external_metrics.cert_file",
        "external_metrics.key_file",
        "forecast.path",
        "web.basic_auth",
        "web.bearer_token_file",
        "web.tls",
    }
)
"""Settings that must fit the chart's volumes. The chart sets them, and its schema refuses them."""

Json = dict[str, Any]

_NOT_SHOWN = frozenset({"$defs", "$ref", "title"})

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][A-Za-z0-9_]*):(?P<rest>.*)$")
_COMMENT = re.compile(r"^ *# ?(?P<text>.*)$")


def tables() -> Iterator[str]:
    """Yield the lines of the README's table."""
    yield from ("| value | default | meaning |", "| --- | --- | --- |")
    for path, default, comment in described_values():
        meaning = comment.replace("|", "\\|")
        yield f"| `{path}` | `{json.dumps(default)}` | {meaning} |"


def files() -> Mapping[Path, str]:
    """Return the text of every other generated file, by its path."""
    schema_file, chart_file = CHART / "values.schema.json", CHART / "Chart.yaml"
    schema = json.loads(schema_file.read_text(encoding="utf-8"))
    schema["properties"]["config"] = config_schema()
    _require(schema, yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), within_config=False)
    made = {
        schema_file: json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        chart_file: _with_facts(chart_file.read_text(encoding="utf-8")),
    }
    for folder, source in COPIES.items():
        for file in sorted(source.glob(ENDINGS[folder])):
            made[CHART / "files" / folder / file.name] = file.read_text(encoding="utf-8")
    return made


def _with_facts(text: str) -> str:
    """Return Chart.yaml with what it repeats of the project."""
    facts = {
        "description": PROJECT.description,
        "appVersion": __version__,
        "home": PROJECT.documentation,
        "sources": json.dumps([PROJECT.source]),
        "maintainers": json.dumps([{"name": name, "email": email} for name, email in PROJECT.maintainers]),
    }
    for key, value in facts.items():
        text = re.sub(rf"(?m)^{key}: .*$", f"{key}: {value}", text)
    return text


def _require(schema: Json, defaults: Json, *, within_config: bool) -> None:
    """Require what the templates count on: Helm lets a null in a user's values take a default away."""
    properties = schema["properties"]
    required = set(schema.get("required", ()))
    for key, default in defaults.items():
        section = isinstance(default, dict) and "properties" in properties[key]
        if section:
            _require(properties[key], default, within_config=within_config or key == "config")
        if section or (within_config and default is not None):
            required.add(key)
    if required:
        schema["required"] = sorted(required)


def surplus() -> Iterator[Path]:
    """Yield copies whose original is gone."""
    wanted = files()
    for folder in COPIES:
        yield from (file for file in (CHART / "files" / folder).glob("*") if file not in wanted)


def described_values() -> Iterator[tuple[str, Any, str]]:
    """Yield the path, default and comment of every value in values.yaml, in its order.

    A value is a key with a comment right above it; a key without one is a section and has its values below it. Raises
    ValueError for a value without a comment.
    """
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    # Indentation of the value we are in: the keys below it are no values of their own.
    inside: int | None = None
    for line in text.splitlines():
        if words := _COMMENT.match(line):
            comment.append(words["text"])
            continue
        key = _KEY.match(line)
        if key is not None and (inside is None or len(key["indent"]) <= inside):
            indent = len(key["indent"])
            parents = [*((level, name) for level, name in parents if level < indent), (indent, key["key"])]
            path = [name for _, name in parents]
            default = _at(values, path)
            inside = indent if comment else None
            if comment:
                yield ".".join(path), default, " ".join(comment)
            elif not (isinstance(default, dict) and default):
                raise ValueError(f"{'.'.join(path)} has no comment in chart/values.yaml")
        comment = []


def _at(values: Any, path: list[str]) -> Any:
    for key in path:
        values = values[key]
    return values


def config_schema() -> Json:
    """Return the JSON schema of the `config` value: the exporter's settings but for those the chart sets itself."""
    described = Settings.model_json_schema(schema_generator=_NoDefaults)
    schema: Json = _inlined(described, described["$defs"])
    for path in CHART_OWNED:
        *sections, key = path.split(".")
        section = schema
        for name in sections:
            section = section["properties"][name]
        del section["properties"][key]
    schema["description"] = "The exporter's own settings (docs/configuration.md)."
    return schema


class _NoDefaults(GenerateJsonSchema):
    """Defaults of `config` are those of values.yaml."""

    def default_schema(self, schema: WithDefaultSchema) -> Json:
        return self.generate_inner(schema["schema"])


def _inlined(schema: Any, definitions: Json) -> Any:
    """Return a schema with what it refers to in place of each reference, and without titles, which repeat the names."""
    if isinstance(schema, list):
        return [_inlined(inner, definitions) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")] | schema
    return {key: _inlined(inner, definitions) for key, inner in schema.items() if key not in _NOT_SHOWN}
