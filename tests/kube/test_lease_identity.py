"""Who a process is, by which clock it counts, and what it does where there are no others."""

import asyncio
import time

import pytest

from exporter.config import LeaderElectionSettings
from exporter.kube.election import (
    ElectionSettings,
    Leadership,
    SoleLeader,
    new_identity,
    suspend_aware_clock,
)


def test_identity_is_the_pod_and_no_other_process_has_it() -> None:
    """It begins with the pod's name, for a person, and differs for a restart in the same pod."""
    first, second = (new_identity({"HOSTNAME": "exporter-5d9f-x2x"}) for _ in range(2))
    assert first.startswith("exporter-5d9f-x2x_")
    assert first != second
    assert new_identity({}).partition("_")[0]


def test_clock_runs_and_never_goes_back() -> None:
    """The clock counts seconds, also those in which the machine was suspended: it is never behind the other one."""
    before = suspend_aware_clock()
    ahead = before - time.monotonic()
    time.sleep(0.01)
    assert suspend_aware_clock() - before >= 0.01
    assert ahead > -0.1


def test_settings_fit() -> None:
    """The settings of the file are what an election takes."""
    settings: ElectionSettings = LeaderElectionSettings()
    assert settings.retry_period < settings.renew_deadline < settings.lease_duration


async def test_sole_leader_leads_while_its_work_runs() -> None:
    """Without replicas there is nobody to agree with; the interface is the same."""
    heard: list[bool] = []
    leadership: Leadership = SoleLeader(heard.append)
    running = asyncio.Event()

    async def work() -> None:
        running.set()
        await asyncio.Event().wait()

    assert not leadership.is_leader()
    task = asyncio.create_task(leadership.run(work), name="sole leader")
    await running.wait()
    assert leadership.is_leader()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not leadership.is_leader()
    assert heard == [True, False]


async def test_sole_leader_fails_with_its_work() -> None:
    """An error of the work is not swallowed."""

    async def work() -> None:
        raise RuntimeError("spool")

    with pytest.raises(RuntimeError, match="spool"):
        await SoleLeader().run(work)
