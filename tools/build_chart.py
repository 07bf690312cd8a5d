"""Writes what the chart repeats from elsewhere: its README's table, the schema of its `config`, copies, its version.

`tables` is for the page as in the other modules; `files` gives every other generated file of the chart as a whole.
"""

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from exporter import __version__
from exporter.config.settings import Settings
from exporter.config.shape import Shape, field_shape
from exporter.config.values import Duration, Matching, Number, OneOrSeveral, Read, ValueKind, WholeNumber
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
        "web.basic_auth",
        "web.bearer_token_file",
        "web.tls",
    }
)
"""Settings that must fit the chart's volumes. The chart sets them, and its schema refuses them."""

Json = dict[str, Any]

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
    schema = _section(Settings, "")
    schema["description"] = "The exporter's own settings (docs/configuration.md)."
    return schema


def _section(section: type[Any], prefix: str) -> Json:
    properties, required = {}, []
    for name, field in section.model_fields.items():
        path = prefix + name
        if path in CHART_OWNED:
            continue
        shape = field_shape(field)
        properties[name] = _value(shape, f"{path}.")
        if shape.required:
            required.append(name)
    schema: Json = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": required} if required else {})


def _value(shape: Shape, prefix: str) -> Json:
    schema = _plain(shape, prefix)
    if not shape.nullable:
        return schema
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema | {"type": [*types, "null"]}


def _plain(shape: Shape, prefix: str) -> Json:
    if shape.section is not None:
        return _section(shape.section, prefix)
    for kind in shape.kinds:
        if isinstance(kind, ValueKind):
            return _kind(kind)
    if shape.item is not None:
        return {"type": "array", "items": _value(shape.item, prefix.removesuffix(".") + "[].")}
    if shape.holds is bool:
        return {"type": "boolean"}
    if get_origin(shape.holds) is Literal:
        return {"enum": list(get_args(shape.holds))}
    if isinstance(shape.holds, type) and issubclass(shape.holds, Enum):
        return {"enum": [choice.value for choice in shape.holds]}
    raise TypeError(f"no schema for {shape.holds!r}")


def _kind(kind: ValueKind) -> Json:
    """Return what JSON Schema can say of a kind of value; the program checks the rest."""
    if isinstance(kind, WholeNumber):
        return {"type": "integer", "minimum": kind.least} | ({} if kind.most is None else {"maximum": kind.most})
    if isinstance(kind, Number):
        return {"type": "number", "minimum": kind.least, "maximum": kind.most}
    if isinstance(kind, Duration):
        pattern = r"^ *([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+) *$"
        return {"type": ["string", "number"], "pattern": pattern, "minimum": kind.least, "maximum": kind.most}
    if isinstance(kind, Matching):
        return {"type": "string", "maxLength": kind.longest} | _pattern(kind.pattern)
    if isinstance(kind, OneOrSeveral):
        text = {"type": "string", "minLength": 1}
        return {"type": ["string", "array"], "minLength": 1, "items": text}
    if isinstance(kind, Read):
        return {"type": "string", "minLength": 1}
    raise TypeError(f"no schema for {kind!r}")


def _pattern(pattern: str) -> Json:
    """Say a Python pattern in the regular expressions of Helm's validator, which cannot look ahead or behind."""
    refused = []
    while ahead := re.match(r"\(\?!([^()]+)\)", pattern):
        refused.append({"type": "string", "pattern": f"^{ahead[1]}"})
        pattern = pattern[ahead.end() :]
    if behind := re.search(r"\(\?<!([^()]+)\)$", pattern):
        refused.append({"type": "string", "pattern": f"{behind[1]}$"})
        pattern = pattern[: behind.start()]
    schema: Json = {"pattern": f"^(?:{pattern})$"}
    return schema | ({"not": {"anyOf": refused}} if refused else {})
