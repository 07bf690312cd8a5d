"""Environment variables that override the file: `FLEET_EXPORTER__SCRAPE__INTERVAL=10s`.

Two underscores begin and part the keys, so that the variables Kubernetes makes for a Service called fleet-exporter
(`FLEET_EXPORTER_SERVICE_HOST`, …) are none of ours. A value is read as YAML, so lists and booleans work; where a
setting takes text, it is taken as it is. A mapping is merged into the file's, a list replaces the file's.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.config.problems import Path, Problem
from exporter.config.shape import keys, shape_at
from exporter.config.yaml_source import parse_yaml

PREFIX = "FLEET_EXPORTER__"


@dataclass(slots=True)
class Overrides:
    """What the environment variables set."""

    values: dict[Path, Any] = field(default_factory=dict)
    """Shorter paths first, so that a variable for a key wins over one for its section."""
    variables: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    intended: set[Path] = field(default_factory=set)
    """Settings that variables with a slip in their names seem to be meant for."""


def variable_name(path: str) -> str:
    """Return the variable for a dotted path."""
    return PREFIX + path.replace(".", "__").upper()


def read_environment(environ: Mapping[str, str]) -> Overrides:
    """Collect the variables that begin with the prefix, in whatever case they are written."""
    known = {variable_name(key.path): tuple(key.path.split(".")) for key in keys() if "[" not in key.path}
    overrides = Overrides()
    for variable in sorted(environ, key=lambda name: (name.count("__"), name)):
        if not variable.upper().startswith(PREFIX):
            continue
        path = known.get(variable.upper())
        if path is None:
            close = difflib.get_close_matches(variable.upper(), known, n=1, cutoff=0.8)
            overrides.intended |= {known[name] for name in close}
            suggestion = f"; did you mean {close[0]}?" if close else ""
            overrides.problems.append(Problem((), f"unknown setting{suggestion}", variable))
        elif path in overrides.variables:
            message = f"the same setting is set by {overrides.variables[path]}"
            overrides.problems.append(Problem((), message, variable))
        else:
            overrides.variables[path] = variable
            _take(overrides, path, environ[variable])
    return overrides


def _take(overrides: Overrides, path: Path, text: str) -> None:
    shape = shape_at(path)
    if shape is not None and shape.is_text and text.strip() not in {"", "null", "~"}:
        overrides.values[path] = text
        return
    document = parse_yaml(text)
    if document.problems:
        variable = overrides.variables[path]
        overrides.problems += [Problem((), problem.message, variable) for problem in document.problems]
    else:
        overrides.values[path] = document.data


def merge(data: dict[str, Any], path: Path, value: Any) -> None:
    """Lay a value over the data at a path of keys.

    Something other than a mapping on the way there stays as it is: it is wrong, and to be reported where it stands.
    """
    place = data
    for key in map(str, path[:-1]):
        if place.get(key) is None:
            place[key] = {}
        if not isinstance(place[key], dict):
            return
        place = place[key]
    last = str(path[-1])
    present = place.get(last)
    if isinstance(value, dict) and isinstance(present, dict):
        for key, inner in value.items():
            merge(present, (key,), inner)
    else:
        place[last] = value
