"""Who a process is and where its lease belongs, and what it does without any."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from exporter.config import LeaderElectionSettings
from exporter.kube.client import CredentialsError
from exporter.kube.election import (
    ElectionSettings,
    Leadership,
    SoleLeader,
    new_identity,
    own_namespace,
    suspend_aware_clock,
)
from tests.fakes.kube_api import kubeconfig


def write_kubeconfig(folder: Path, namespace: str | None) -> Path:
    config = kubeconfig("http://127.0.0.1:1", {"token": "t"})
    if namespace:
        config["contexts"][0]["context"]["namespace"] = namespace
    file = folder / f"{namespace}.kubeconfig"
    file.write_text(json.dumps(config))
    return file


def test_in_a_pod_the_lease_is_in_its_namespace(tmp_path: Path) -> None:
    """The kubelet writes the namespace beside the token."""
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("matillion\n")
    assert own_namespace({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) == "matillion"


def test_pod_without_its_namespace_file_says_so(tmp_path: Path) -> None:
    """A service account that is mounted in part is an error with the file's name."""
    (tmp_path / "token").write_text("t")
    with pytest.raises(CredentialsError, match="namespace"):
        own_namespace({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


@pytest.mark.parametrize(("given", "expected"), [("team-a", "team-a"), (None, "default")])
def test_outside_a_pod_the_current_context_says_it(given: str | None, expected: str, tmp_path: Path) -> None:
    """The kubeconfig's current context names a namespace, or means `default`, as for kubectl."""
    file = write_kubeconfig(tmp_path, given)
    assert own_namespace({"KUBECONFIG": str(file)}, tmp_path) == expected


def test_broken_kubeconfig_is_named(tmp_path: Path) -> None:
    """A file that is no kubeconfig is an error with its path."""
    file = tmp_path / "broken"
    file.write_text("[")
    with pytest.raises(CredentialsError, match="broken"):
        own_namespace({"KUBECONFIG": str(file)}, tmp_path)


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
