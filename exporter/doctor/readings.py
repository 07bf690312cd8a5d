"""What agents that answer leave in doubt: whether they are read on their best page, and which queue they report.

Called for each fleet with its agents' readings; scrapes again where once is not enough.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from exporter.doctor.check import Finding, some, warning
from exporter.doctor.environment import Environment
from exporter.doctor.network_policies import hint
from exporter.fleet.model import AgentSnapshot, Dialect, Endpoint, Target

LOOKS = 3
PAUSE_SECONDS = 1.5
"""Between two looks at the queues: long enough for tasks to begin and end."""
FEWEST_ALIKE = 2

Ask = Callable[[Target], Awaitable[AgentSnapshot]]


async def doubts(
    env: Environment, ask: Ask, namespace: str, fleet: str, snapshots: Sequence[AgentSnapshot]
) -> list[Finding]:
    """Return a finding for each doubt about a fleet; none where there is none."""
    name = f"{namespace}/{fleet}"
    found = [await _legacy(env, f"OpenTelemetry of {name}", snapshots)]
    if env.settings.capacity.queue == "per_agent":
        found.append(await _queue(ask, f"queue of {name}", snapshots))
    return [one for one in found if one is not None]


# -- the legacy page of agents that declare a better one ---------------------------------------------------------------


async def _legacy(env: Environment, name: str, snapshots: Sequence[AgentSnapshot]) -> Finding | None:
    behind = [(one, otel) for one in snapshots if (otel := _unread_otel(one)) is not None]
    if not behind:
        return None
    first, endpoint = behind[0]
    pods = [one.target.pod for one, _ in behind]
    answering = [one.target for one in snapshots if one.reading is not None and one.reading.dialect is Dialect.OTEL]
    met, fix = await _try(env, first.target, endpoint, [one.target for one, _ in behind], answering)
    found = (
        f"{len(behind)} of {len(snapshots)} agents declare OpenTelemetry (port {endpoint.port}) but are read on their "
        f"legacy page, which has no queue: {some(pods)}; {met}"
    )
    return warning(name, found, fix)


def _unread_otel(snapshot: AgentSnapshot) -> Endpoint | None:
    """Return the OpenTelemetry endpoint that a pod declares, if its agent was read elsewhere."""
    if snapshot.reading is None or snapshot.reading.dialect is Dialect.OTEL:
        return None
    return next((one for one in snapshot.target.endpoints if one.kind is Dialect.OTEL), None)


async def _try(
    env: Environment, target: Target, endpoint: Endpoint, behind: Sequence[Target], answering: Sequence[Target]
) -> tuple[str, str]:
    """Connect to the port; return what happened, and what to do about it."""
    place = f"{target.pod}:{endpoint.port}"
    try:
        async with asyncio.timeout(env.settings.scrape.timeout):
            _, writer = await asyncio.open_connection(target.address, endpoint.port)
        writer.close()
    except TimeoutError:
        below = "the vendor's NetworkPolicy opens only 8080 before chart 0.6"
        return f"no connection to {place}", f"{await hint(env, target.namespace, behind, answering)}; {below}"
    except OSError as error:
        fix = "the image is older than its chart, or its OpenTelemetry exporter is off: update it, and check its log"
        return f"{place} is closed ({error.strerror or error})", fix
    fix = (
        f"check what responds: kubectl -n {target.namespace} port-forward pod/{target.pod} {endpoint.port}, then open "
        f"http://127.0.0.1:{endpoint.port}{endpoint.path}"
    )
    return f"{place} accepts connections but serves no agent metrics in time", fix


# -- which queue it is -------------------------------------------------------------------------------------------------


async def _queue(ask: Ask, name: str, snapshots: Sequence[AgentSnapshot]) -> Finding | None:
    """Ask all agents some times over: figures that are alike once may be so by chance."""
    targets = [one.target for one in snapshots]
    figures = [alike(snapshots)]
    while figures[-1] and len(figures) < LOOKS:
        await asyncio.sleep(PAUSE_SECONDS)
        figures.append(alike(await asyncio.gather(*map(ask, targets))))
    if not figures[-1]:
        return None
    listed = ", ".join(f"{figure:g}" for figure in figures if figure is not None)
    count = sum(1 for _ in _queues(snapshots))
    return warning(
        name,
        f"all {count} agents that report a queue reported the same value each time ({listed}, "
        f"{PAUSE_SECONDS:g} s apart)",
        "compare with the queue in Matillion: if the value is the fleet's queue and not each agent's, "
        "set capacity.queue "
        "to shared, or it is counted once per agent",
    )


def alike(snapshots: Sequence[AgentSnapshot]) -> float | None:
    """Return the queue that all agents report alike; None where they differ, report none, or nothing waits."""
    queues = list(_queues(snapshots))
    if len(queues) < FEWEST_ALIKE or len(set(queues)) > 1:
        return None
    return queues[0] or None


def _queues(snapshots: Sequence[AgentSnapshot]) -> Iterator[float]:
    for snapshot in snapshots:
        draining = snapshot.target.facts is not None and snapshot.target.facts.draining_time is not None
        if snapshot.reading is not None and snapshot.reading.tasks_queued is not None and not draining:
            yield snapshot.reading.tasks_queued
