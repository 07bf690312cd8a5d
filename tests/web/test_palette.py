"""The colors of the status page are those of the dashboards."""

import re
from pathlib import Path

import pytest

from exporter.web.palette import FIGURES, SHADES, STATES

CSS = (Path(__file__).parents[2] / "exporter" / "web" / "static" / "page.css").read_text(encoding="utf-8")


@pytest.mark.parametrize(("theme", "at"), [("light", 0), ("dark", 1)])
def test_the_page_has_the_shades_of_grafana(theme: str, at: int) -> None:
    """A variable for each figure and state, in both themes."""
    light, dark = CSS.split("@media (prefers-color-scheme: dark)")
    block = (light if theme == "light" else dark).split("}", 1)[0]
    variables = dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", block))
    for name, color in {**FIGURES, **STATES}.items():
        assert variables[name] == SHADES[color][at], f"{name} in the {theme} theme"
