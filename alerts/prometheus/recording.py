"""Recording rules: series that alerts and dashboards share, the same for any number of replicas."""

from alerts.prometheus.labels import AGENT, FLEET, INSTALLATION
from alerts.prometheus.rules import Clock, Group, Recording, latest, on
from alerts.settings import Settings

AGENTS = "fleet:matillion_fleet_agents:max"
CAPACITY = "fleet:matillion_fleet_capacity_tasks:max"
ACTIVE = "fleet:matillion_fleet_tasks_active:max"
QUEUED = "fleet:matillion_fleet_tasks_queued:max"
DEMAND = "fleet:matillion_fleet_demand_tasks:max"
DESIRED = "fleet:matillion_fleet_desired_agents:max"
FREE_SLOTS = "fleet:matillion_fleet_free_slots:max"
REFUSING = "fleet:matillion_fleet_agents_refusing:max"
COVERAGE = "fleet:matillion_fleet_coverage_ratio:max"
HEALTH = "fleet:matillion_fleet_health:max"
"""1 for the fleet's health, 0 for the other words."""
REPLICAS = "fleet:matillion_fleet_replicas:max"
"""Pods that do not drain. Of each exporter on its own: two that disagree about an agent's state see one pod."""
UTILIZATION = "fleet:matillion_fleet_utilization:ratio"
"""Tasks on the serving agents as a share of their slots: a task on any other agent takes none of these."""
VERSIONS = "fleet:matillion_fleet_agent_versions:count"
TASK_FAILURES = "fleet:matillion_fleet_agent_task_failures:increase"

AGENT_STATE = "agent:matillion_fleet_agent_state:max"
"""Always 1; only the series of the agent's current state exists."""
AGENT_RESTARTS = "agent:matillion_fleet_agent_restarts:max"
AGENT_HEAP = "agent:matillion_fleet_agent_heap_utilization:ratio"
AGENT_MEMORY = "agent:matillion_fleet_agent_memory_utilization:ratio"
"""Share of the container's limit (`memory="container"`) and of the heap's after collection (`memory="heap"`)."""

SYNC_AGE = "installation:matillion_fleet_exporter_discovery_sync_age_seconds:max"
LEADERS = "installation:matillion_fleet_exporter_leader:max"


def groups(settings: Settings, clock: Clock) -> tuple[Group, ...]:
    """Return the recording rules."""
    return (
        Group("matillion-fleet.rules", tuple(_fleet(settings, clock))),
        Group("matillion-fleet-agent.rules", tuple(_agent(settings, clock))),
        Group(
            "matillion-fleet-exporter.rules",
            (
                Recording(SYNC_AGE, latest("exporter_discovery_sync_age_seconds", INSTALLATION)),
                Recording(LEADERS, latest("exporter_leader", INSTALLATION)),
            ),
        ),
    )


def _fleet(settings: Settings, clock: Clock) -> list[Recording]:
    by_fleet = ", ".join(FLEET)
    # Rounded: `increase` extrapolates to the ends of its window, and there is no fraction of a failure.
    failures = (
        f"max by ({', '.join(AGENT)}) "
        f"(round(increase(matillion_fleet_agent_task_failures_total[{clock(settings.task_failures_window)}])))"
    )
    return [
        Recording(AGENTS, latest("agents", (*FLEET, "state"))),
        Recording(HEALTH, latest("health", (*FLEET, "health"))),
        Recording(
            REPLICAS,
            f"""
            max by ({by_fleet}) (
              sum by ({by_fleet}, job, instance) (matillion_fleet_agents{{state!="draining"}})
            )
            """,
        ),
        Recording(CAPACITY, latest("capacity_tasks", FLEET)),
        Recording(ACTIVE, latest("tasks_active", FLEET)),
        Recording(QUEUED, latest("tasks_queued", FLEET)),
        Recording(DEMAND, latest("demand_tasks", FLEET)),
        Recording(DESIRED, latest("desired_agents", FLEET)),
        Recording(FREE_SLOTS, latest("free_slots", FLEET)),
        Recording(REFUSING, latest("agents_refusing", FLEET)),
        Recording(COVERAGE, latest("coverage_ratio", FLEET)),
        Recording(UTILIZATION, latest("utilization_ratio", FLEET)),
        Recording(
            VERSIONS,
            f"""
            count by ({by_fleet}) (
              max by ({by_fleet}, version) (matillion_fleet_agent_info{{version!=""}})
            )
            """,
        ),
        Recording(TASK_FAILURES, f"sum by ({by_fleet}) ({failures})"),
    ]


def _agent(settings: Settings, clock: Clock) -> list[Recording]:
    heap_floor = f"min_over_time({AGENT_HEAP}[{clock(settings.heap_floor_window)}])"
    working_set = latest("agent_memory_working_set_bytes", AGENT)
    limit = latest("agent_memory_limit_bytes", AGENT)
    return [
        Recording(AGENT_STATE, f"{latest('agent_state', (*AGENT, 'state'))} == 1"),
        Recording(AGENT_RESTARTS, latest("agent_restarts_total", AGENT)),
        Recording(
            AGENT_HEAP,
            f"""
            {latest("agent_heap_used_bytes", AGENT)}
            / {on(AGENT)}
            ({latest("agent_heap_limit_bytes", AGENT)} > 0)
            """,
        ),
        Recording(
            AGENT_MEMORY,
            f"""
            label_replace({working_set} / {on(AGENT)} ({limit} > 0), "memory", "container", "", "")
            or
            label_replace({heap_floor} and {on(AGENT)} {AGENT_HEAP}, "memory", "heap", "", "")
            """,
        ),
    ]
