"""axe-core, which looks for what keeps people with disabilities from reading a page; a test without it is skipped."""

import pytest

from tools.axe import MissingError, script

VIOLATIONS = """axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations.flatMap(
  ({id, nodes}) => nodes.map(({html, failureSummary}) => `${id}: ${html.slice(0, 200)}: ${failureSummary}`)))"""
"""What it finds, a sentence each."""


def axe() -> str:
    """Return its script, fetched if need be."""
    try:
        return script()
    except MissingError as missing:
        pytest.skip(str(missing))
