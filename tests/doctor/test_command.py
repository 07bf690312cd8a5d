"""`fleet-exporter doctor` as it is used: exit codes, the report, and JSON."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.exporter_process import exporter
from tests.fakes.hostile import OTEL_PAGE, HostileServer, page
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow


async def doctor(
    folder: Path, settings: Any, *arguments: str, environ: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run it with settings of its own; return exit code, output and errors."""
    file = folder / "doctor.yaml"
    # JSON is YAML.
    file.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exporter", "doctor", "--config", str(file), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"KUBECONFIG": "/nowhere"} | (environ or {}),
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def static(address: str) -> dict[str, Any]:
    """Return settings for one agent."""
    return {"discovery": {"static": {"targets": [{"address": address, "path": "/metrics"}]}}}


async def test_nothing_failed(tmp_path: Path) -> None:
    """Exit 0, with an exporter that runs beside it and an agent that answers."""
    async with HostileServer(page(OTEL_PAGE)) as agent:
        settings = static(f"127.0.0.1:{agent.port}")
        async with exporter(tmp_path, settings) as running:
            await running.ready()
            settings |= {"web": {"listen": running.url.removeprefix("http://")}}
            code, out, err = await doctor(tmp_path, settings)
    assert (code, err) == (0, "")
    assert "is ready" in out
    assert "1 of 1 agent answers" in out
    assert out.endswith("Nothing failed: 3 ok, 3 not checked.\n")
    assert "\x1b" not in out


async def test_something_failed(tmp_path: Path) -> None:
    """Exit 1, and as JSON the same for machines."""
    code, out, err = await doctor(tmp_path, static("127.0.0.1:1"), "--json")
    assert (code, err) == (1, "")
    document = json.loads(out)
    assert document["good"] is False
    [failed] = [check for check in document["checks"] if check["outcome"] == "failed"]
    assert failed["subject"] == "agents"
    assert "connection refused on 127.0.0.1:1" in failed["found"]


async def test_a_bad_configuration(tmp_path: Path) -> None:
    """Exit 2 and everything that is wrong with it; nothing is checked with settings that are none."""
    code, out, err = await doctor(tmp_path, "scrape: {interval: soon}\nwebb: {}\n")
    assert (code, out) == (2, "")
    assert "scrape.interval" in err
    assert "webb" in err


async def test_no_cluster(tmp_path: Path) -> None:
    """A person without a kubeconfig is told where it was looked for, and nothing is logged beside the report."""
    code, out, err = await doctor(tmp_path, "{}")
    assert (code, err) == (1, "")
    assert "there is no kubeconfig at /nowhere" in " ".join(out.split())
