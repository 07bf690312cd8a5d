"""From a file and the environment to settings, or to a report of everything that is wrong with them."""

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exporter.config import checks
from exporter.config.environment import Overrides, merge, read_environment
from exporter.config.problems import ConfigError, Path, Problem, dotted, placed, shown
from exporter.config.settings import Settings, StaticSettings, StaticTarget
from exporter.config.shape import keys, shape_at
from exporter.config.yaml_source import Document, parse_yaml, read_text

_TARGETS: Path = ("discovery", "static", "targets")


Contents = Callable[[Settings], Iterable[Problem]]
"""Looks into the files that settings name, and returns what is wrong with them."""


def load(path: FilePath | None, environ: Mapping[str, str], contents: Contents = lambda _: ()) -> Settings:
    """Read the settings from a YAML file (none: defaults only) with the environment's overrides on top.

    Also checks that the files which settings name can be read, and with `contents` what is in them. Raises ConfigError,
    which reports all problems at once.
    """
    document = _read_file(path)
    data, problems = document.data or {}, document.problems
    understood = bool(data) or not problems
    overrides = read_environment(environ)
    for where, value in overrides.values.items():
        merge(data, where, value)
    settings, wrong = _validate(data)
    problems += overrides.problems + wrong.problems
    if understood:
        problems += checks.check(settings, wrong.paths | overrides.intended)
        problems += checks.files(settings, data, wrong.paths)
        problems += _check_target_file(settings.discovery.static)
        found = checks.Findings([problem.path for problem in problems if problem.path])
        for problem in contents(settings):
            found.add(problem.path, problem.message)
        problems += found.problems
    if problems:
        problems = placed(_name_variables(problems, overrides), document.lines())
        raise ConfigError("configuration" if path is None else str(path), problems)
    return settings


def load_targets(path: FilePath) -> tuple[StaticTarget, ...]:
    """Read the list of targets that `discovery.static.file` names. Raises ConfigError."""
    text, reason = read_text(path)
    if reason is not None:
        raise ConfigError(str(path), [Problem((), reason)])
    document = parse_yaml(text)
    data, problems = document.data, document.problems
    if not problems and not isinstance(data, list):
        problems = [Problem((), f"{shown(data)} is not a list of targets; write [] for none")]
    if problems:
        raise ConfigError(str(path), problems)
    settings, wrong = _validate({"discovery": {"static": {"targets": data}}})
    targets = settings.discovery.static.targets
    depth = len(_TARGETS)
    problems = [replace(one, path=one.path[depth:]) for one in wrong.problems]
    problems += checks.targets(targets, (), {one[depth:] for one in wrong.paths})
    if problems:
        raise ConfigError(str(path), placed(problems, document.lines()))
    return targets


def _check_target_file(static: StaticSettings) -> list[Problem]:
    """Return what is wrong with the file of targets, alone and together with the inline targets."""
    where = ("discovery", "static", "file")
    if static.file is None:
        return []
    try:
        from_file = load_targets(static.file)
    except ConfigError as error:
        return [Problem(where, f"{shown(str(static.file))} cannot be used: {one}") for one in error.problems]
    inline = {target.identity for target in static.targets}
    return [
        Problem(where, f"[{index}] {shown('/'.join(target.identity))} is already listed in discovery.static.targets")
        for index, target in enumerate(from_file)
        if target.identity in inline
    ]


def _read_file(path: FilePath | None) -> Document:
    """Return the file's content; its data is a mapping, or None with at least one problem."""
    if path is None:
        return Document({})
    text, reason = read_text(path)
    if reason is not None:
        return Document(problems=[Problem((), reason)])
    document = parse_yaml(text)
    data, problems = document.data, list(document.problems)
    if data is None and not problems:
        problems = [Problem((), "the file is empty; write {} to use the defaults")]
    elif data is not None and not isinstance(data, dict):
        problems.append(Problem((), f"{shown(data)} is not a mapping of keys to values"))
    return replace(document, data=data if isinstance(data, dict) else None, problems=problems)


@dataclass(slots=True)
class _Wrong:
    """What validation found, and where the settings it returned are not what was given."""

    problems: list[Problem] = field(default_factory=list)
    paths: set[Path] = field(default_factory=set)


def _validate(data: dict[str, Any]) -> tuple[Settings, _Wrong]:
    """Return the settings with defaults in the place of whatever is wrong, and what that is.

    So the combinations of all the rest can still be checked, and reported together with it.
    """
    data, wrong = copy.deepcopy(data), _Wrong()
    while True:
        try:
            return Settings.model_validate(data), wrong
        except ValidationError as error:
            details = error.errors(include_url=False)
        if not wrong.problems:
            for one in details:
                wrong.problems.append(_describe(one, wrong.paths))
        # From the end, so that positions in lists stay true while items go.
        paths = sorted({one["loc"] for one in details}, reverse=True)
        if not any([_remove(data, path, wrong.paths) for path in paths]):  # noqa: C419 - all of them are to be removed
            # What is required is missing: what should have held it goes.
            for holder in sorted({path[:-1] for path in paths}, reverse=True):
                _remove(data, holder, wrong.paths)


def _remove(data: dict[str, Any], path: Path, removed: set[Path]) -> bool:
    """Take out what is at `path`, if it is there, and note the paths that no longer are what was given."""
    place: Any = data
    for key in path[:-1]:
        place = place.get(key) if isinstance(place, dict) else place[int(key)]
        if not isinstance(place, dict | list):
            return False
    if isinstance(place, dict) and path[-1] not in place:
        return False
    del place[path[-1]]
    removed.add(path if isinstance(place, dict) else path[:-1])
    return True


def _describe(error: ErrorDetails, wrong: set[Path]) -> Problem:
    path, given = error["loc"], error["input"]
    if error["type"] == "extra_forbidden":
        return Problem(path, _unknown_key(path, wrong))
    shape = shape_at(path)
    allowed = shape.allowed if shape else ""
    if error["type"] == "missing" or (given is None and shape and shape.required):
        return Problem(path, f"this is required: {allowed}")
    reason = str(error.get("ctx", {}).get("error", ""))
    if shape and shape.is_text and isinstance(given, bool | int | float):
        reason = f"for text, put {shown(given)} in quotes"
    return Problem(path, f"{shown(given)} is not {allowed}{f'; {reason}' if reason else ''}")


def _unknown_key(path: Path, wrong: set[Path]) -> str:
    shape = shape_at(path[:-1])
    siblings = list(shape.section.model_fields) if shape and shape.section else []
    key = str(path[-1])
    close = difflib.get_close_matches(key.lower().replace("-", "_"), siblings, n=1)
    if close:
        wrong.add((*path[:-1], close[0]))
        return f"unknown key; did you mean {close[0]}?"
    elsewhere = [one.path for one in keys() if one.path.rpartition(".")[2] == key]
    if len(elsewhere) == 1:
        return f"unknown key here; did you mean {elsewhere[0]}?"
    return f"unknown key; valid keys here: {', '.join(siblings)}"


def _name_variables(problems: list[Problem], overrides: Overrides) -> list[Problem]:
    """Call a setting that came from the environment by its variable."""
    return [replace(one, origin=one.origin or _variable(one.path, overrides)) for one in problems]


def _variable(path: Path, overrides: Overrides) -> str | None:
    for length in range(len(path), 0, -1):
        variable = overrides.variables.get(path[:length])
        if variable is None:
            continue
        value, rest = overrides.values.get(path[:length]), path[length:]
        if not rest or not isinstance(value, dict) or rest[0] in value:
            inner = dotted(rest)
            return f"{variable}{'.' if inner and not inner.startswith('[') else ''}{inner}"
    return None
