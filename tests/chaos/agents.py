"""The agents, in a process of their own: pages on real sockets, good ones and hostile ones, and a note of each.

`python -m tests.chaos.agents TRUTH SEED FIRST`: serials are every other number from FIRST on. Each line of its standard
input is an `Order` as JSON; it ends with that.
What an agent does depends on the seed and its name alone, and on how often it was asked.
"""

import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos.truth import Shown
from tests.fakes.hostile import KINDS, Exchange, HostileServer, answer, response

OTEL_PORT, LEGACY_PORT = 9464, 8080
SECRET = "chaos-secret-of-an-agent"
"""On every page, as part of the command line that `target_info` shows; looked for in the logs."""
MOOD_SECONDS = (5.0, 20.0)
"""How long a hostile agent stays with one kind of hostility."""
GOOD = ""
"""The mood of an agent that is not hostile just now; a hostile agent has it by turns."""
GOOD_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an agent is told: to begin, to run no more than so many tasks from now on, or to end."""

    pod: str
    address: str | None = None
    """Where it begins to listen."""
    legacy: bool = False
    hostile: bool = False
    tasks: int | None = None
    """How many tasks it has from now on; None for changing numbers."""
    end: bool = False

    def line(self) -> bytes:
        """Return the order as a line of the input."""
        return json.dumps(asdict(self)).encode() + b"\n"


class Agent:
    """One agent."""

    def __init__(self, order: Order, truth: int, serials: Iterator[int], seed: str) -> None:
        self._pod, self._legacy, self._hostile = order.pod, order.legacy, order.hostile
        self._truth = truth
        self._serials = serials
        self._random = random.Random(f"{seed} {order.pod}")  # noqa: S311 - it picks, it keeps no secret
        self._kind, self._until = GOOD, 0.0
        self._active, self._queued = self._random.randint(0, 20), 0
        self._connected = self._random.random() > 0.05
        self.tasks = order.tasks

    async def behave(self, exchange: Exchange) -> None:
        """Answer one request."""
        now = time.monotonic()
        kind = self.mood(now)
        self._work()
        reader = exchange.request.split("/", 2)[1]
        shown = Shown(
            serial=next(self._serials),
            made=now,
            pod=self._pod,
            reader=reader,
            kind=kind,
            readable=not kind or KINDS[kind].readable,
            active=self._active,
            queued=None if self._legacy else self._queued,
            connected=self._connected,
        )
        os.write(self._truth, shown.line())
        page = legacy_page(shown) if self._legacy else otel_page(shown)
        await (KINDS[kind].treat(page) if kind else answer(response(page)))(exchange)

    def mood(self, now: float) -> str:
        """Return how it answers at an instant: the name of a kind of hostility, or `GOOD`. Instants come in order."""
        if self._hostile and now >= self._until:
            self._until = now + self._random.uniform(*MOOD_SECONDS)
            self._kind = GOOD if self._random.random() < GOOD_SHARE else self._random.choice(sorted(KINDS))
        return self._kind

    def _work(self) -> None:
        """Begin and finish tasks now and then."""
        if self.tasks is not None:
            self._active, self._queued = self.tasks, 0
        elif self._random.random() < 0.2:
            self._active = min(22, max(0, self._active + self._random.randint(-4, 4)))
            self._queued = self._random.randint(1, 5) if self._active >= 20 else 0


def otel_page(shown: Shown) -> bytes:
    """Return a page as an OpenTelemetry agent has it; the serial is its number of sessions."""
    return (
        f'target_info{{process_command_args="java -Dpassword={SECRET} -jar agent.jar"}} 1\n'
        "# TYPE matillion_agent_status_unit gauge\n"
        "matillion_agent_status_unit 1.0\n"
        f"matillion_agent_connected_unit {shown.connected:d}\n"
        f'matillion_agent_task_running_unit{{matillion_agent_cloud_provider="aws"}} {shown.active}\n'
        f"matillion_agent_task_queued_unit {shown.queued}\n"
        f"matillion_agent_open_sessions_unit {shown.serial}\n"
        'jvm_memory_used_bytes{jvm_memory_type="heap",jvm_memory_pool_name="G1 Old Gen"} 1.0e8\n'
        'jvm_memory_limit_bytes{jvm_memory_type="heap",jvm_memory_pool_name="G1 Old Gen"} 3.0e9\n'
    ).encode()


def legacy_page(shown: Shown) -> bytes:
    """Return a page as a legacy agent has it."""
    return (
        f"app_agent_status 1.0\napp_agent_connected {shown.connected:d}\napp_active_task_count {shown.active}\n"
        f"app_open_sessions_count {shown.serial}\n"
        'jvm_memory_used_bytes{area="heap",id="G1 Old Gen"} 1.0E8\n'
    ).encode()


async def main(truth_file: str, seed: str, first: str) -> None:
    """Do as ordered until the input ends."""
    truth = os.open(truth_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    serials = itertools.count(int(first), 2)
    agents: dict[str, tuple[Agent, AsyncExitStack]] = {}
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = Order(**json.loads(line))
        if order.end:
            _, servers = agents.pop(order.pod)
            await servers.aclose()
        elif order.address is not None:
            agent, servers = Agent(order, truth, serials, seed), AsyncExitStack()
            port = LEGACY_PORT if order.legacy else OTEL_PORT
            await servers.enter_async_context(HostileServer(agent.behave, order.address, port))
            agents[order.pod] = agent, servers
        else:
            agents[order.pod][0].tasks = order.tasks
    os._exit(0)  # what still hangs with a reader is of no interest any more


def ordered(process: asyncio.subprocess.Process, order: Order) -> None:
    """Give an order to the process of the agents."""
    assert process.stdin is not None
    process.stdin.write(order.line())


async def start_agents(truth: Path, seed: int, first: int) -> asyncio.subprocess.Process:
    """Start a process for agents, which notes their pages in a file; their serials begin with `first`."""
    with truth.with_suffix(".log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.agents", str(truth), str(seed), str(first),
            stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, cwd=Path(__file__).parents[2],
        )  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
