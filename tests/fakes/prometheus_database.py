"""A real Prometheus on samples that were written into its database beforehand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.alerts.prometheus_stack import PROMETHEUS, process
from tests.alerts.prometheus_timeline import PROMTOOL
from tests.fakes.ports import free_port
from tests.waiting import eventually

MISSING = PROMETHEUS is None or PROMTOOL is None
"""Whether the programs are not installed (Debian package prometheus)."""


@asynccontextmanager
async def prometheus_with(folder: Path, samples: str) -> AsyncIterator[str]:
    """Serve samples, given in OpenMetrics with times; yields the URL."""
    assert PROMETHEUS is not None
    assert PROMTOOL is not None
    (folder / "samples").write_text(f"{samples}# EOF\n")
    (folder / "empty.yaml").write_text("{}")
    making = await asyncio.create_subprocess_exec(
        PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", folder / "samples", folder / "tsdb",
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await making.wait() == 0
    address = f"127.0.0.1:{free_port()}"
    command = (
        PROMETHEUS,
        f"--config.file={folder / 'empty.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
        "--log.level=warn",
    )
    log = folder / "prometheus.log"
    async with process(*command, log=log), aiohttp.ClientSession() as session:

        async def ready() -> bool:
            try:
                async with session.get(f"http://{address}/-/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(ready, what=lambda: f"Prometheus does not answer: {log.read_text()[-2000:]}")
        yield f"http://{address}"
