"""Replicas as processes, one real API server, and everything that can go wrong between them.

Each pair of processes stands for one Lease. Each process reaches the API server through a proxy of its own and meets
one fault after another, from a seed: an API that hangs, refuses, lies or cuts, before or after it has done what was
asked; the process stopped in the midst of whatever it did, or killed. The promise: no instant at which both publish.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from os import SEEK_END
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.kube.client import KubeClient
from exporter.kube.election import LeaderElection
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.fault_proxy import FaultProxy, ProxyFault
from tests.fakes.kube_api import kubeconfig
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

SEED = 20260301
PAIRS = 3
FAULTS_EACH = 34
"""Faults a process meets: 204 in all."""
PAUSE, KILL = "process stopped", "process killed"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"


@dataclass(frozen=True)
class Times:
    """An election's times, shortened."""

    lease_name: str = "exporter"
    lease_duration: float = 2.0
    renew_deadline: float = 1.2
    retry_period: float = 0.2


LONG = Times(lease_duration=15.0, renew_deadline=10.0)
"""Where nobody is to lose a lease, however late the API server's answers are."""


def rules(*lease_names: str) -> list[dict[str, object]]:
    """Return the rules that docs/leadership.md says."""
    group, leases = ["coordination.k8s.io"], ["leases"]
    return [
        {"apiGroups": group, "resources": leases, "verbs": ["create"]},
        {"apiGroups": group, "resources": leases, "resourceNames": list(lease_names), "verbs": ["get", "update"]},
    ]


async def idle() -> None:
    await asyncio.Event().wait()


async def test_permissions_as_documented(control_plane: ControlPlane, admin: Admin, namespace: str) -> None:
    """Without the Role the log names it and nobody leads; with exactly that Role the service account leads."""
    token = await admin.service_account_token(namespace, "exporter")
    kubeconfig = control_plane.kubeconfig_for_token(namespace, token)
    async with await KubeClient.connect({"KUBECONFIG": str(kubeconfig)}) as client:
        election = LeaderElection(Times(), client, namespace, "me")
        with capture_logs() as logs:
            task = asyncio.create_task(election.run(idle), name="election")
            await eventually(lambda: logs)
            assert not election.is_leader()
            await admin.grant(namespace, "exporter", "lease", rules("exporter"))
            await eventually(election.is_leader)
        await stop(task)
    assert 'resources: ["leases"], verbs: ["get", "create", "update"]' in logs[0]["fix"]
    assert namespace in logs[0]["fix"]


async def test_object_on_the_real_server(control_plane: ControlPlane, admin: Admin, namespace: str) -> None:
    """Renewals keep the labels people gave the lease; deleting it changes nobody; a stop leaves it free."""
    path = LEASES.format(namespace)
    async with await KubeClient.connect({"KUBECONFIG": str(control_plane.kubeconfig)}) as client:
        first, second = (LeaderElection(LONG, client, namespace, name) for name in ("first", "second"))
        with capture_logs() as logs:
            tasks = [asyncio.create_task(first.run(idle), name="first")]
            await eventually(first.is_leader)
            tasks.append(asyncio.create_task(second.run(idle), name="second"))
            await eventually(lambda: any(entry["event"] == "standing by" for entry in logs))
            labels = {"metadata": {"labels": {"team": "data"}}}
            await admin.call("PATCH", f"{path}/exporter", labels, "application/merge-patch+json")
            await renewed(admin, f"{path}/exporter")
            lease = await admin.call("GET", f"{path}/exporter")
            assert lease["metadata"]["labels"] == {"team": "data"}
            assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == ("first", 15)
            for _ in range(5):
                await admin.call("DELETE", f"{path}/exporter")
                await renewed(admin, f"{path}/exporter")
            assert first.is_leader()
            assert [entry["event"] for entry in logs] == ["leadership gained", "standing by"]
            await stop(tasks[0])
            await eventually(second.is_leader)
            await stop(tasks[1])
    lease = await admin.call("GET", f"{path}/exporter")
    assert (lease["spec"].get("holderIdentity", ""), lease["spec"]["leaseDurationSeconds"]) == ("", 1)


async def renewed(admin: Admin, lease: str) -> None:
    """Wait until a lease, which may be there or not, has been renewed twice: the first may have been under way."""
    seen: set[str] = set()

    async def twice() -> bool:
        with suppress(RuntimeError):  # 404: it has not been written since it was deleted
            seen.add((await admin.call("GET", lease))["spec"]["renewTime"])
        return len(seen) > 2

    await eventually(twice)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@dataclass
class Term:
    """One run of a candidate's work."""

    began: float
    ended: float
    ticks: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0

    @property
    def published(self) -> tuple[float, float] | None:
        """First and last instant of publishing."""
        return (self.ticks[0][0], self.ticks[-1][0]) if self.ticks else None


class Process:
    """One candidate: its process, its proxy, and the faults it meets."""

    def __init__(self, folder: Path, name: str, proxy: FaultProxy, token: str, **settings: str) -> None:
        self.events = folder / f"{name}.events"
        self.events.touch()
        self.log = folder / f"{name}.log"
        self.proxy = proxy
        self.faults: Counter[str] = Counter()
        config = folder / f"{name}.kubeconfig"
        config.write_text(json.dumps(kubeconfig(proxy.url, {"token": token})))
        settings |= {"events": str(self.events), "kubeconfig": str(config)}
        times = {key: value for key, value in asdict(Times()).items() if key != "lease_name"}
        self._argument = json.dumps({"settings": settings, "times": times})
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._boots_before = self._boots()
        script = Path(__file__).with_name("candidate.py")
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, script, self._argument], stdout=log, stderr=log)

    async def suffer(self, rng: random.Random) -> None:
        """Meet one fault after another."""
        for _ in range(FAULTS_EACH):
            await asyncio.sleep(rng.uniform(0.1, 0.5))
            fault = rng.choice([*ProxyFault, PAUSE, PAUSE, PAUSE, KILL])
            # Mostly long enough to cost a leader its lease, and else mostly short.
            seconds = (
                rng.uniform(0.8, 2.8) if rng.random() < (0.8 if self.publishes() else 0.3) else rng.uniform(0, 0.6)
            )
            self.faults[fault] += 1
            if isinstance(fault, ProxyFault):
                self.proxy.begin(fault)
                await asyncio.sleep(seconds)
                self.proxy.end()
            elif fault is PAUSE:
                self.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(seconds)
                self.process.send_signal(signal.SIGCONT)
            else:
                self.process.kill()
                await asyncio.to_thread(self.process.wait)
                self.process = self._start()

    def terms(self) -> list[Term]:
        """Read what the process wrote."""
        found: list[Term] = []
        for line in self.events.read_text().splitlines():
            event, *rest = line.split()
            times = [float(each) for each in rest]
            if event == "boot":
                continue
            if event == "start":
                found.append(Term(times[0], times[0]))
            found[-1].ended = times[-1]
            if event == "tick":
                found[-1].ticks.append((times[0], times[1]))
            found[-1].refused += event == "refused"
        return found

    def began(self) -> bool:
        """Whether it has begun since it was started last."""
        return self._boots() > self._boots_before

    def _boots(self) -> int:
        return self.events.read_text().count("boot")

    def publishes(self) -> bool:
        """Whether it published within the last second."""
        with self.events.open("rb") as file:
            file.seek(max(0, file.seek(0, SEEK_END) - 200))
            lines = file.read().splitlines()
        event, *times = lines[-1].split() if lines else [b""]
        return event == b"tick" and float(times[0]) > time.monotonic() - 1.0

    def destroy(self) -> None:
        """End it whatever state it is in."""
        self.process.kill()
        self.process.wait()


@dataclass
class Tally:
    """What came of it."""

    faults: Counter[str] = field(default_factory=Counter)
    requests_met: int = 0
    """Requests that met a fault of a proxy."""
    leaderships: int = 0
    publications: int = 0
    refused: int = 0
    """Times at which a work that still ran was told that it does not lead any more."""
    overlaps: list[float] = field(default_factory=list)
    """Seconds in which both of a pair published."""
    work_overlaps: list[float] = field(default_factory=list)
    """Seconds in which the work of both ran, of which at most one was allowed to publish."""
    late: int = 0
    """Publications that were begun as leader and finished while another led: the process was stopped between."""
    gaps: list[float] = field(default_factory=list)
    """Seconds without a publisher."""

    def add(self, pair: list[Process]) -> None:
        """Judge one pair."""
        for process in pair:
            self.faults += process.faults
            self.requests_met += process.proxy.met.total()
        histories = [process.terms() for process in pair]
        for term in (each for terms in histories for each in terms):
            self.leaderships += 1
            self.publications += len(term.ticks)
            self.refused += term.refused
        for one, other in ((a, b) for a in histories[0] for b in histories[1]):
            self._compare(one, other)
        spans = sorted(term.published for terms in histories for term in terms if term.published)
        self.gaps += [after[0] - before[1] for before, after in pairwise(spans)]

    def _compare(self, one: Term, other: Term) -> None:
        self.work_overlaps += _common((one.began, one.ended), (other.began, other.ended))
        if one.published is None or other.published is None:
            return
        self.overlaps += _common(one.published, other.published)
        for term, span in ((one, other.published), (other, one.published)):
            self.late += sum(span[0] <= finished <= span[1] for _, finished in term.ticks)

    def __str__(self) -> str:
        gaps = sorted(self.gaps) or [0.0]
        kinds = ", ".join(f"{fault} {number}" for fault, number in sorted(self.faults.items()))
        return (
            f"faults {self.faults.total()} ({kinds}); requests that met one {self.requests_met}\n"
            f"leaderships {self.leaderships}; publications {self.publications}; refused {self.refused}\n"
            f"overlaps of publishing {len(self.overlaps)}; overlaps of work {len(self.work_overlaps)}"
            f" (longest {max(self.work_overlaps, default=0.0):.2f} s); finished late {self.late}\n"
            f"gaps {len(self.gaps)}: median {gaps[len(gaps) // 2]:.2f} s, longest {gaps[-1]:.2f} s"
        )


def _common(one: tuple[float, float], other: tuple[float, float]) -> list[float]:
    """Return the length of what two spans have in common, if anything."""
    length = min(one[1], other[1]) - max(one[0], other[0])
    return [length] if length >= 0 else []


async def start_pairs(
    resources: AsyncExitStack, plane: ControlPlane, admin: Admin, namespace: str, folder: Path
) -> list[list[Process]]:
    """Start the pairs, with no more rights than documented."""
    leases = [f"pair-{number}" for number in range(PAIRS)]
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "leases", rules(*leases))
    pairs = []
    for lease in leases:
        pair = []
        for side in "ab":
            proxy = await resources.enter_async_context(FaultProxy(plane.url, plane.ca.certificate_file).serving())
            process = Process(folder, f"{lease}{side}", proxy, token, lease_name=lease, namespace=namespace)
            resources.callback(process.destroy)
            pair.append(process)
        pairs.append(pair)
    return pairs


async def end(processes: list[Process]) -> list[int]:
    """Tell processes to end; return their exit codes."""
    for process in processes:
        process.process.send_signal(signal.SIGTERM)
    return [await asyncio.to_thread(process.process.wait, PATIENCE) for process in processes]


async def one_leads(pairs: list[list[Process]]) -> None:
    """Wait until one of each pair publishes, all at the same moment."""
    await eventually(lambda: all(sum(process.publishes() for process in pair) == 1 for pair in pairs))


async def test_no_two_publish_at_once_whatever_goes_wrong(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through more than 200 faults no two of a pair publish at the same instant, and afterwards one of each does."""
    async with AsyncExitStack() as resources:
        pairs = await start_pairs(resources, control_plane, admin, namespace, tmp_path)
        await one_leads(pairs)
        processes = [process for pair in pairs for process in pair]
        async with asyncio.TaskGroup() as group:
            for number, process in enumerate(processes):
                rng = random.Random(SEED + number)  # noqa: S311 — the same faults every time
                group.create_task(process.suffer(rng), name=f"faults {number}")
        await eventually(lambda: all(process.began() for process in processes))
        await one_leads(pairs)

        # Those that stand by first: none is to take, while it ends, what a leader gives back.
        leaders = [process for process in processes if process.publishes()]
        codes = await end([process for process in processes if process not in leaders])
        codes += await end(leaders)
        leases = (await admin.call("GET", LEASES.format(namespace)))["items"]

    tally = Tally()
    for pair in pairs:
        tally.add(pair)
    with capsys.disabled():
        print(f"\n{tally}")  # noqa: T201 — the count is what the test is for
    assert tally.faults.total() == 2 * PAIRS * FAULTS_EACH > 200
    assert tally.overlaps == []
    assert tally.leaderships > 4 * PAIRS, "the leadership did change hands"
    assert tally.requests_met > tally.faults.total(), "the faults were felt"
    assert codes == [0] * len(processes)
    assert [lease["spec"].get("holderIdentity", "") for lease in leases] == [""] * PAIRS, "free for the next"
