"""What the audit of the locked versions makes of pip-audit's answers."""

import pytest

from tools.audit import ACCEPTED, verdict

UNKNOWN = "ERROR:pip_audit._cli:aioboto3: Dependency not found on PyPI and could not be audited: aioboto3 (15.5.0)"
UNREACHABLE = (
    "ERROR:pip_audit._cli:Failed to connect to PyPI: HTTPSConnectionPool(host='pypi.org', port=443): "
    "Max retries exceeded with url: /pypi/aioboto3/15.5.0/json"
)
FOUND = """Found 1 known vulnerability in 1 package
Name   Version ID                  Fix Versions
------ ------- ------------------- ------------
jinja2 3.1.5   GHSA-cpwx-vrp4-4pq7 3.1.6"""


@pytest.mark.parametrize(
    ("code", "said", "clean"),
    [
        (0, "No known vulnerabilities found", True),
        (1, FOUND, False),
        (1, "usage: pip-audit: unknown option", False),
        (1, UNKNOWN, None),
        (1, UNREACHABLE, None),
    ],
)
def test_only_an_answer_about_every_version_is_one(code: int, said: str, clean: bool | None) -> None:
    """A registry that does not know the versions, or does not answer, proves nothing; any other failure is one."""
    assert verdict(code, said) is clean


def test_each_accepted_advisory_has_a_reason() -> None:
    """Of more than a word."""
    assert all(len(reason.split()) > 2 for reason in ACCEPTED.values())
