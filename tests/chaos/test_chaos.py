"""A minute of `make chaos`: two exporters are hurt in every part of their world, and what they say stays true."""

from pathlib import Path

import pytest

from tests.chaos.run import run
from tests.fakes.control_plane import assets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 20260301
JUDGED_AT_LEAST = {
    "the counts of agents are right": 500,
    "no figure is older than it claims": 500,
    "every good agent is read within two intervals": 100,
    "the demand is enough": 50,
    "tasks lost are counted right": 20,
    "losses add up": 20,
    "/healthz is truthful": 50,
    "the event loop does not stall": 50,
    "memory is within the limit": 20,
    "a process ends in order": 2,
    "no traceback and no secret in a log": 50,
}
"""What a minute has for sure, also on a busy machine; the rest takes leaders and agents that last longer."""


async def test_a_minute_of_chaos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that must hold is violated, and it was looked at often enough to mean something."""
    binaries = assets()
    if binaries is None:
        pytest.skip("KUBEBUILDER_ASSETS does not name a folder with etcd and kube-apiserver")
    report = await run(binaries, tmp_path, seed=SEED, minutes=1.0, agents=40, scale=0.5)
    with capsys.disabled():
        print(f"\n{report}")  # noqa: T201 - the result is to be read
    assert not report.failed
    assert report.faults.total() >= 8
    assert {name: report.checks[name] for name, least in JUDGED_AT_LEAST.items() if report.checks[name] < least} == {}
