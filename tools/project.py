"""Who makes this and where it is published, from the one place that says so: `[project]` in pyproject.toml.

Chart.yaml and the documentation's site take it from here when they are generated; what is
written by hand (SECURITY.md) is held to it by a test.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.generated import ROOT


@dataclass(frozen=True, slots=True)
class Project:
    """The facts that strangers look for; an owner changes them in pyproject.toml and runs `make docs`."""

    name: str
    description: str
    maintainers: tuple[tuple[str, str], ...]
    """Name and e-mail address of each."""
    documentation: str
    """Where the documentation's site is published, with a / at the end."""
    source: str
    """The repository's page."""


def read(file: Path = ROOT / "pyproject.toml") -> Project:
    """Read the facts. Raises KeyError where one is missing, and ValueError for a site without a / at its end."""
    stated: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    documentation = stated["urls"]["Documentation"]
    if not documentation.endswith("/"):
        raise ValueError(f"project.urls.Documentation must end with /: {documentation}")
    return Project(
        name=stated["name"],
        description=stated["description"],
        maintainers=tuple((one["name"], one["email"]) for one in stated["authors"]),
        documentation=documentation,
        source=stated["urls"]["Source"],
    )


PROJECT = read()
