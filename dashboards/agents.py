"""Dashboard 2, "Matillion agents": every agent of a fleet, its load and its health."""

from grafana_foundation_sdk.builders import dashboard, table

from alerts.prometheus.recording import AGENT_HEAP, AGENT_MEMORY, AGENT_RESTARTS
from alerts.settings import Settings
from dashboards import annotations
from dashboards.frame import AGENTS_UID, CLUSTER, FLEET, NAMESPACE, POD, framed, link_to
from dashboards.panels import (
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Column,
    Names,
    Placed,
    Query,
    Section,
    graph,
    listing,
    spread,
    timeline,
)
from dashboards.queries import (
    BY_AGENT,
    MANY,
    OF_AGENT,
    STATE_NUMBERS,
    of_agents,
    recorded,
    state_number,
    was_connected,
    worst_states,
)
from exporter.config import CapacitySettings
from exporter.fleet.outlets import PREFIX
from exporter.web.palette import LOST, STATES

_SETTINGS = Settings()
_CAPACITY = CapacitySettings()
"""The exporter's defaults: the lines in the graphs are where most fleets have them."""
_POD = "{{pod}}"
_SOME = f"Of more than {MANY} agents, those that were worst in the time shown; choose others by pod."
_STATES: Names = {number: (state.value, STATES[state]) for state, number in STATE_NUMBERS.items()}
_CONNECTED: Names = {1: ("connected", GREEN), 0: ("disconnected", RED)}
_SLOTS = ((None, GREEN), (_CAPACITY.target_tasks_per_agent, YELLOW), (_CAPACITY.tasks_per_agent, RED))
_MEMORY = ((None, GREEN), (_SETTINGS.memory_pressure, ORANGE), (_SETTINGS.memory_critical, RED))


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    return framed(
        AGENTS_UID,
        "Matillion agents",
        "Each agent of a fleet: state, tasks, memory, connection, restarts.",
        (CLUSTER, NAMESPACE, FLEET, POD),
        (
            Section("Agents now", (Placed(_table(), 24, 10),)),
            Section("Work", _work()),
            Section("Memory", _memory()),
            Section("Connection and lifecycle", _life()),
        ),
        events=annotations.of_fleets(),
    )


def _memory_of(kind: str) -> str:
    """Return one kind of memory without its label, so that it joins the rows of the other columns."""
    series = recorded(AGENT_MEMORY, f'memory="{kind}"', of=OF_AGENT)
    return f"max by ({BY_AGENT}) ({series})"


def _table() -> table.Panel:
    return listing(
        "Agents",
        "Every selected agent, those out of work first. An unknown figure is a dash: the queue with an old image, "
        "memory without metrics-server. Killed in: what is left of a draining agent's grace period. Last scrape: the "
        "age of the last successful one.",
        [
            Query(of_agents("agent_info", also_by="version, node, endpoint")),
            Query(state_number()),
            Query(of_agents("agent_tasks_active")),
            Query(of_agents("agent_tasks_queued")),
            Query(_memory_of("container")),
            Query(_memory_of("heap")),
            Query(f"max by ({BY_AGENT}) ({recorded(AGENT_RESTARTS, of=OF_AGENT)})"),
            Query(f"time() - {of_agents('agent_last_scrape_timestamp_seconds')}"),
            Query(f"time() - {of_agents('agent_created_timestamp_seconds')}"),
            Query(f"clamp_min({of_agents('agent_drain_deadline_timestamp_seconds')} - time(), 0)"),
        ],
        (
            Column("Value #B", "State", names=_STATES, width=110),
            Column(
                "pod",
                "Pod",
                width=215,
                links=(
                    link_to(
                        AGENTS_UID, "Only this agent", ("namespace", "Namespace"), ("fleet", "Fleet"), ("pod", "Pod")
                    ),
                ),
            ),
            Column("Value #C", "Tasks", limits=_SLOTS, width=65),
            Column("Value #D", "Queue", width=70),
            Column("Value #J", "Killed in", "s", ((None, RED), (_SETTINGS.drain_short, YELLOW)), decimals=0, width=90),
            Column("Value #E", "Memory", "percentunit", _MEMORY, decimals=0, width=80),
            Column("Value #F", "Heap", "percentunit", _MEMORY, decimals=0, width=65),
            Column("Value #G", "Restarts", limits=((None, GREEN), (1, ORANGE)), width=80),
            Column("Value #H", "Last scrape", "s", decimals=0, width=100),
            Column("Value #I", "Age", "s", decimals=0, width=85),
            Column("fleet", "Fleet", width=110),
            Column("namespace", "Namespace", width=105),
            Column("version", "Version", width=85),
            Column("endpoint", "Endpoint", width=85),
            Column("node", "Node"),
        ),
        by=("State", True),
    )


def _work() -> tuple[Placed, ...]:
    return (
        Placed(
            timeline(
                "State",
                f"The state of each agent, exactly one at a time. {_SOME}",
                [Query(f"{state_number()} and on ({BY_AGENT}) topk({MANY}, {worst_states()})", _POD)],
                _STATES,
            ),
            24,
            12,
        ),
        Placed(
            graph(
                "Tasks per agent",
                "Running tasks of each agent. Scaling targets the first line; at the second an agent takes no more "
                "tasks, except interactive ones, which have no limit.",
                [Query(of_agents("agent_tasks_active"), _POD)],
                limits=_SLOTS,
                legend=None,
            ),
            14,
            9,
        ),
        Placed(
            spread(
                "Distribution of tasks",
                "How many agents run how many tasks. A single bright band means that the load is even.",
                [Query(of_agents("agent_tasks_active"), _POD)],
            ),
            10,
            9,
        ),
        Placed(
            graph(
                "Queue per agent",
                "Tasks that wait for a slot of the agent; agents with an old image do not report them.",
                [Query(of_agents("agent_tasks_queued"), _POD)],
                legend=None,
            ),
            12,
        ),
        Placed(
            graph(
                "Failed tasks",
                "Tasks that failed within 15 minutes, according to the agent's log; only where pod_logs is enabled.",
                [
                    Query(
                        f"max by ({BY_AGENT}) (round(increase({PREFIX}agent_task_failures_total{{{OF_AGENT}}}[15m])))",
                        _POD,
                    )
                ],
                legend=None,
            ),
            12,
        ),
    )


def _memory() -> tuple[Placed, ...]:
    return (
        Placed(
            graph(
                "Memory against its limit",
                "Working set of the container as a share of its limit (needs metrics-server), and heap after garbage "
                "collection as a share of its maximum. The lines are the thresholds of the alerts.",
                [Query(recorded(AGENT_MEMORY, of=OF_AGENT), "{{pod}} {{memory}}")],
                unit="percentunit",
                limits=_MEMORY,
                legend=None,
            ),
            8,
        ),
        Placed(
            graph(
                "Container memory",
                "Working set, and the limit at which the kernel kills the container.",
                [
                    Query(of_agents("agent_memory_working_set_bytes"), _POD),
                    Query(of_agents("agent_memory_limit_bytes"), "{{pod}} limit", LOST, dashed=True),
                ],
                unit="bytes",
                legend=None,
            ),
            8,
        ),
        Placed(
            graph(
                "Java heap",
                "Used heap as a share of its maximum, with the sawtooth of garbage collection.",
                [Query(recorded(AGENT_HEAP, of=OF_AGENT), _POD)],
                unit="percentunit",
                legend=None,
            ),
            8,
        ),
    )


def _life() -> tuple[Placed, ...]:
    return (
        Placed(
            timeline(
                "Connected to the control plane",
                f"The connection that each agent reports; very old images do not report it. {_SOME}",
                [Query(f"{of_agents('agent_connected')} and on ({BY_AGENT}) bottomk({MANY}, {was_connected()})", _POD)],
                _CONNECTED,
            ),
            24,
            12,
        ),
        Placed(
            listing(
                "Terminated or waiting",
                "Why containers last terminated, and why they are not running now; empty when neither applies.",
                [
                    Query(of_agents("agent_last_terminated", also_by="reason")),
                    Query(of_agents("agent_waiting", also_by="reason")),
                ],
                (
                    Column("pod", "Pod", width=225),
                    Column("reason", "Reason"),
                    Column("Value #A", "Last terminated", names={1: ("yes", ORANGE)}, width=125),
                    Column("Value #B", "Waiting now", names={1: ("yes", RED)}, width=110),
                ),
                by=("Waiting now", True),
                empty="none, or no data",
            ),
            12,
        ),
        Placed(
            graph(
                "Restarts",
                "Restarts of each agent's container since its pod was created. A rollout creates pods instead.",
                [Query(recorded(AGENT_RESTARTS, of=OF_AGENT), _POD)],
                legend=None,
            ),
            12,
        ),
        Placed(
            graph(
                "Open warehouse sessions",
                "Sessions that each agent holds open in data warehouses.",
                [Query(of_agents("agent_sessions_open"), _POD)],
                legend=None,
            ),
            6,
        ),
        Placed(
            graph(
                "Requests",
                "HTTP requests in progress on each agent.",
                [Query(of_agents("agent_requests_active"), _POD)],
                legend=None,
            ),
            6,
        ),
        Placed(
            graph(
                "Busyness",
                "The agent's own estimate of its load.",
                [Query(of_agents("agent_busyness_score"), _POD)],
                legend=None,
            ),
            6,
        ),
        Placed(
            graph(
                "Scrape duration by agent",
                "Duration of the last scrape of each agent. A rise points to garbage collection or to the network.",
                [Query(of_agents("agent_scrape_duration_seconds"), _POD)],
                unit="s",
                legend=None,
            ),
            6,
        ),
    )
