"""The disk that holds what CloudWatch has not accepted yet: writable, with room, and how long it lives.

The spool's own file is left alone: a running exporter has it open for itself.
"""

import asyncio
from collections.abc import Sequence

from exporter.config import SpoolSettings
from exporter.doctor.check import CheckFailedError, Finding, NotPossibleError, ok, warning
from exporter.doctor.volume import free_bytes, mounted, size

NAME = "spool"
DATUM_BYTES = 175
"""On disk, measured (docs/cloudwatch.md)."""
_FIX = "point cloudwatch.spool.path to a file on a writable volume with enough space"


async def examine(settings: SpoolSettings, *, in_pod: bool) -> Sequence[Finding]:
    """Check the folder of the spool's file."""
    return await asyncio.to_thread(_examine, settings, in_pod)


def _examine(settings: SpoolSettings, in_pod: bool) -> Sequence[Finding]:
    folder = settings.path.parent
    if not folder.exists():
        if not in_pod:
            raise NotPossibleError(f"{folder} does not exist here: to check the exporter's, run the doctor in its pod")
        raise CheckFailedError(f"{folder} does not exist", f"{_FIX}; the chart mounts a volume there")
    free = free_bytes(folder, _FIX)
    taken = settings.path.stat().st_size if settings.path.exists() else 0
    room = max(0, settings.max_datums * DATUM_BYTES - taken)
    found = f"{folder} is writable and has {size(free)} free"
    if free < room:
        need = f"cloudwatch.spool.max_datums may need {size(room)} more"
        return [warning(NAME, f"{found}; {need}", "enlarge the volume, or lower cloudwatch.spool.max_datums")]
    kind, lasts = mounted(folder)
    if in_pod and not lasts:
        return [warning(NAME, f"{found}; it is {kind}", _FIX)]
    return [ok(NAME, f"{found}; it is {kind}" if in_pod and kind else found)]
