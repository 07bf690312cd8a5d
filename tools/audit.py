"""Looks for known vulnerabilities in what the image holds: `python -m tools.audit`, a part of `make lint`.

pip-audit asks PyPI about each version in requirements.lock. A registry that does not know the versions, as a mirror, or
does not answer, is no clean bill: then this says that nothing was checked, and fails only with `--required`, as the
weekly workflow has it. A result counts for a day, for the same lock.
"""

import argparse
import hashlib
import subprocess
import sys
import time
from pathlib import Path

from tools.generated import ROOT

LOCK = ROOT / "requirements.lock"
STAMP = ROOT / "build" / "audited"
"""The digest of the lock that was found clean; its time is that of the file."""
GOOD_FOR = 24 * 3600.0
"""Seconds. Advisories come at any time, and the workflow looks again every week."""
TIMEOUT = 60.0
"""Seconds for the whole audit: `make lint` waits for it."""
ACCEPTED: dict[str, str] = {}
"""Advisories that do not apply here, by their ID: each with the reason."""
UNAVAILABLE = ("could not be audited", "ConnectionError", "Max retries exceeded", "Failed to connect", "timed out")
"""What pip-audit says where the registry, and not a package, is the problem."""


def audit() -> tuple[bool | None, str]:
    """Return whether nothing is known against the locked versions (None: not checked), and what pip-audit said."""
    ignored = [part for advisory in ACCEPTED for part in ("--ignore-vuln", advisory)]
    # Strict, since otherwise a version that the registry does not know counts as clean.
    options = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner=off", "--requirement", str(LOCK)]
    command = [sys.executable, "-m", "pip_audit", *options, *ignored]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {TIMEOUT:.0f} s"
    said = (done.stdout + done.stderr).strip()
    return verdict(done.returncode, said), said


def verdict(code: int, said: str) -> bool | None:
    """Return whether nothing is known, by pip-audit's exit code and output; None if it could not be found out."""
    if code == 0:
        return True
    return None if any(sign in said for sign in UNAVAILABLE) else False


def _is_fresh(stamp: Path, digest: str) -> bool:
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != digest:
        return False
    return 0 <= time.time() - stamp.stat().st_mtime < GOOD_FOR


def main() -> int:
    """Run the audit unless it was clean today; return the exit code."""
    parser = argparse.ArgumentParser(description="Look for known vulnerabilities in requirements.lock.")
    parser.add_argument("--required", action="store_true", help="fail if nothing could be checked")
    options = parser.parse_args()
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not options.required and _is_fresh(STAMP, digest):
        return 0
    clean, said = audit()
    if clean is None:
        last = said.splitlines()[-1] if said else ""
        sys.stderr.write(f"pip-audit: NOT CHECKED, the registry has no vulnerability data for us: {last}\n")
        return int(options.required)
    sys.stderr.write(f"{said}\n")
    if clean:
        STAMP.parent.mkdir(exist_ok=True)
        STAMP.write_text(digest, encoding="utf-8")
    return int(not clean)


if __name__ == "__main__":
    sys.exit(main())
