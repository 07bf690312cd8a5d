"""Fetches axe-core once from the package registry into `.tools/`: `python -m tools.axe`.

It comes in a package made for Playwright, of which nothing else is used. A test that finds it missing tries once
itself.
"""

import functools
import hashlib
import sys
from pathlib import Path

from tools.generated import ROOT
from tools.programs import FETCH_SECONDS, PATIENT_SECONDS, MissingError, wheel

REQUIREMENT = "axe-playwright-python==0.1.8"
"""With axe-core 4.12.1."""
SHA256 = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"
"""Of the script."""
_MEMBER = "axe_playwright_python/axe.min.js"


@functools.cache
def script(*, seconds: float = FETCH_SECONDS) -> str:
    """Return axe-core's script, fetching it within `seconds` if need be. Raises MissingError."""
    place = ROOT / ".tools" / f"axe-{SHA256[:12]}.js"
    if not place.exists():
        with wheel(REQUIREMENT, seconds) as archive:
            found = archive.read(_MEMBER)
        if hashlib.sha256(found).hexdigest() != SHA256:
            raise MissingError(f"{REQUIREMENT} does not hold the axe-core that is expected")
        place.parent.mkdir(exist_ok=True)
        partial = Path(f"{place}.partial")
        partial.write_bytes(found)
        partial.rename(place)
    return place.read_text(encoding="utf-8")


if __name__ == "__main__":
    try:
        script(seconds=PATIENT_SECONDS)
    except MissingError as error:
        # A missing tool leaves its tests out, it ends nothing.
        sys.stderr.write(f"{error}; the tests of the page's accessibility are left out\n")
