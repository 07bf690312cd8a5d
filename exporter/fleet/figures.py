"""Every figure of a fleet and of what scales it: one row each, its outlets as columns.

A new row is on `/metrics`, in the JSON documents and on the pages of the documentation by itself; whether it is in
CloudWatch, in the external metrics API and in the history must be stated, or the reason it is absent.
"""

from collections.abc import Callable

from exporter.fleet.attention import agents_needing_attention
from exporter.fleet.health import Word, health
from exporter.fleet.model import AgentState, Fleet
from exporter.fleet.outlets import (
    Basis,
    CloudWatch,
    Family,
    FleetFigure,
    HistogramFamily,
    LabeledValue,
    MetricSet,
    ScalerFigure,
    Unit,
    Without,
)
from exporter.fleet.outlook import Outlook
from exporter.fleet.scaling import hpa_agents

_NOT_ALARMED = Without("no alarm reads it, and each metric is billed")
_NOT_SCALED_BY = Without("nothing to scale by")
_NOT_CHARTED = Without("the page draws no chart of it")
_IN_DEMAND = Without("part of `DemandTasks`")
_SETTING = Without("a setting, which changes only with the configuration")
_WITHHELD = "the fleet is not trusted, or has no agents and may need some"
_STATES = Without("a series of `agents`")


def _agents_by_state(fleet: Fleet) -> list[LabeledValue]:
    return [((state,), count) for state, count in fleet.states.items()]


def _health(fleet: Fleet) -> list[LabeledValue]:
    now = health(fleet).word
    return [((word,), word is now) for word in Word]


def _lost_by_reason(fleet: Fleet) -> list[LabeledValue]:
    return [((reason,), tasks) for reason, tasks in (fleet.tasks_lost or {}).items()]


def _lost(fleet: Fleet) -> float | None:
    return None if fleet.tasks_lost is None else sum(fleet.tasks_lost.values())


def _crash_looping(fleet: Fleet) -> float | None:
    facts = [agent.snapshot.target.facts for agent in fleet.agents]
    known = [fact for fact in facts if fact is not None]
    return sum(fact.crash_looping for fact in known) if known or not facts else None


def _of_outlook(read: Callable[[Outlook], float | None]) -> Callable[[Fleet], float | None]:
    return lambda fleet: None if fleet.outlook is None else read(fleet.outlook)


def _in_state(state: AgentState, basis: Basis, text: str, cloudwatch: CloudWatch | Without) -> FleetFigure:
    return FleetFigure(
        f"agents_{state}", Unit.AGENTS, basis, lambda fleet: fleet.states[state], text,
        metrics=_STATES, json=f"agents.{state}", cloudwatch=cloudwatch, external=_NOT_SCALED_BY, history=True,
    )  # fmt: skip


# A table is read across: a row begins with its name, and its outlets are the last line.
# fmt: off
FLEET_FAMILIES: tuple[Family[Fleet], ...] = (
    Family("health", ("health",), _health,
        "1 for the word that says whether the fleet does its work, 0 for the others.", "health"),
    Family("agents", ("state",), _agents_by_state,
        "Agents of the fleet by state; every agent is in exactly one.", "agents"),
    Family("tasks_lost", ("reason",), _lost_by_reason,
        "Tasks lost with their agent since the exporter started, by how the agent ended; an estimate from its last "
        "reading.", "tasks_lost, the sum; the departures have the reasons", counter=True),
)

FLEET_HISTOGRAMS: tuple[HistogramFamily[Fleet], ...] = (
    HistogramFamily("agent_start_seconds", lambda fleet: None if fleet.starts is None else fleet.starts.histogram,
        "Time from the creation of an agent's pod to the agent's first reading, for each start since the exporter "
        "started.",
        "the fleet is not in Kubernetes", "usual_start_seconds"),
)

FLEET_FIGURES: tuple[FleetFigure, ...] = (
    FleetFigure("trusted", Unit.FLAG, Basis.EXPORTER, lambda fleet: fleet.trusted,
        "1 if a scaler may act on the fleet's figures, 0 while coverage is too low or discovery too old.",
        cloudwatch=Without("`ScrapeCoveragePercent` shows it, and so do the missing figures"),
        external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("coverage", Unit.RATIO, Basis.KUBERNETES, lambda fleet: fleet.coverage,
        "Share of the agents that should respond and do: 0 if none is reachable, 1 if there are none.",
        cloudwatch=CloudWatch("ScrapeCoveragePercent", MetricSet.MINIMAL), external=_NOT_SCALED_BY, history=True),
    FleetFigure("sync_age_seconds", Unit.SECONDS, Basis.EXPORTER, lambda fleet: fleet.sync_age,
        "Age of the list of agents.",
        metrics=Without("`exporter_discovery_sync_age_seconds` has it for all fleets"),
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("reading_age_seconds", Unit.SECONDS, Basis.EXPORTER, lambda fleet: fleet.read_age,
        "Age of the oldest reading that counts.",
        unknown="no reading is current",
        metrics=Without("`agent_last_scrape_timestamp_seconds` has it for each agent"),
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("agents", Unit.AGENTS, Basis.KUBERNETES, lambda fleet: len(fleet.agents),
        "Agents of the fleet in any state.",
        metrics=Without("the sum of its series by state"), json="agents.total",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=Without("the sum of the agents by state")),
    FleetFigure("agents_needing_attention", Unit.AGENTS, Basis.KUBERNETES, agents_needing_attention,
        "Agents that provide no capacity, or soon may not: those listed first on the status page.", json="attention",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    _in_state(AgentState.DRAINING, Basis.KUBERNETES, "Agents that finish their tasks and then terminate.",
        CloudWatch("AgentsDraining", MetricSet.ALL)),
    _in_state(AgentState.STARTING, Basis.KUBERNETES, "Agents that have not responded yet, and are new enough.",
        _NOT_ALARMED),
    _in_state(AgentState.UNREACHABLE, Basis.KUBERNETES, "Agents that should respond and do not.",
        CloudWatch("AgentsUnreachable", MetricSet.ALL)),
    _in_state(AgentState.STOPPED, Basis.READINGS, "Agents that accept no more work but fill a replica.",
        _NOT_ALARMED),
    _in_state(AgentState.DISCONNECTED, Basis.READINGS,
        "Agents that report no connection to the Matillion control plane.",
        CloudWatch("AgentsDisconnected", MetricSet.DEFAULT)),
    _in_state(AgentState.SERVING, Basis.READINGS, "Agents that are connected and accept work.",
        CloudWatch("AgentsServing", MetricSet.ALL)),
    FleetFigure("agents_crash_looping", Unit.AGENTS, Basis.KUBERNETES, _crash_looping,
        "Agents whose container is in CrashLoopBackOff.",
        unknown="the fleet is not in Kubernetes",
        metrics=Without("`agent_waiting` has it for each agent"),
        json=Without("`kubernetes.crash_looping` has it for each agent"),
        cloudwatch=CloudWatch("AgentsCrashLooping", MetricSet.DEFAULT), external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("agents_saturated", Unit.AGENTS, Basis.READINGS, lambda fleet: fleet.agents_saturated,
        "Serving agents with no free slot.",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("agents_refusing", Unit.AGENTS, Basis.READINGS, lambda fleet: fleet.agents_refusing,
        "Serving agents that accept no more work although they have free slots (CPU, heap, memory, busyness).",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("restarts", Unit.COUNT, Basis.KUBERNETES, lambda fleet: fleet.restarts,
        "Restarts of agents' containers since the exporter started, including those of deleted pods.",
        unknown="the fleet is not in Kubernetes", counter=True,
        cloudwatch=Without("`AgentRestarts` adds up the agents'"), external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("usual_start_seconds", Unit.SECONDS, Basis.KUBERNETES,
        lambda fleet: None if fleet.starts is None else fleet.starts.usual_seconds,
        "Time within which nine of ten of the fleet's latest 100 agents started, from the creation of the pod to the "
        "first reading.",
        unknown="no start has been observed",
        metrics=Without("a quantile of `agent_start_seconds`"),
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("tasks_lost", Unit.TASKS, Basis.KUBERNETES, _lost,
        "Tasks lost with their agent since the exporter started; an estimate from the agent's last reading.",
        unknown="the fleet is not in Kubernetes", counter=True,
        metrics=Without("the sum of its series by reason"),
        cloudwatch=CloudWatch("TasksLost", MetricSet.DEFAULT), external=_NOT_SCALED_BY, history=True),
    FleetFigure("tasks_per_agent", Unit.TASKS, Basis.EXPORTER, lambda fleet: fleet.tasks_per_agent,
        "Maximum concurrent tasks per agent (setting capacity.tasks_per_agent).",
        cloudwatch=_SETTING, external=_SETTING, history=_SETTING),
    FleetFigure("target_tasks_per_agent", Unit.TASKS, Basis.EXPORTER, lambda fleet: fleet.target_tasks_per_agent,
        "Target load per agent (setting capacity.target_tasks_per_agent).",
        cloudwatch=_SETTING, external=_SETTING, history=_SETTING),
    FleetFigure("demand_tasks", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.demand_tasks,
        "Tasks the fleet should have room for, the figure to scale on: active, queued, and all that is held or added.",
        unknown=_WITHHELD,
        cloudwatch=CloudWatch("DemandTasks", MetricSet.MINIMAL), external=True, history=True),
    FleetFigure("desired_agents", Unit.AGENTS, Basis.READINGS, lambda fleet: fleet.desired_agents,
        "Agents needed for demand_tasks at target_tasks_per_agent each.",
        unknown=_WITHHELD,
        cloudwatch=Without("`DemandTasks` over a setting"), external=Without("an HPA divides the demand itself"),
        history=True),
    FleetFigure("hpa_agents", Unit.AGENTS, Basis.READINGS, hpa_agents,
        "Agents at which an HPA on the demand settles, within its tolerance and bounds.",
        unknown=f"{_WITHHELD}, or no single HPA scales on its demand",
        metrics=Without("`scaler_desired_agents` is the HPA's own figure"),
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("forecast_tasks", Unit.TASKS, Basis.EXPORTER, lambda fleet: fleet.forecast_tasks,
        "Demand to have agents for before it comes, within the lead time, from the fleet's own past; 0 if none rises "
        "too fast to be followed.",
        unknown="there is no forecast, or it is withheld", json="forecast.tasks",
        cloudwatch=Without("`DemandAheadTasks` contains it"),
        external=Without("alone it could shrink a fleet; `demand_ahead_tasks` contains it"), history=True),
    FleetFigure("forecast_skill", Unit.RATIO, Basis.EXPORTER, _of_outlook(lambda outlook: outlook.skill),
        "How much the forecast would have helped in the last days, 1 at best: the share of waiting avoided less twice "
        "the share of agent-hours added.",
        unknown="there is no forecast, or its past is too short", json="forecast.skill",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("forecast_lead_seconds", Unit.SECONDS, Basis.EXPORTER, _of_outlook(lambda outlook: outlook.lead_time),
        "How far ahead the forecast looks (setting forecast.lead_time).",
        unknown="there is no forecast", json="forecast.lead_time_seconds",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("forecast_past_timestamp_seconds", Unit.SECONDS, Basis.EXPORTER,
        _of_outlook(lambda outlook: outlook.past_read_time),
        "Unix time at which the past that the forecast is made from was last read.",
        unknown="there is no forecast, or its past was never read", json="forecast.past_read_time_seconds",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("demand_ahead_tasks", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.demand_ahead_tasks,
        "The greater of demand_tasks and forecast_tasks, to scale ahead of the work; without a forecast, the demand.",
        unknown=_WITHHELD,
        cloudwatch=CloudWatch("DemandAheadTasks", MetricSet.ALL), external=True,
        history=Without("the greater of two columns")),
    FleetFigure("tasks_active", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.tasks_active,
        "Tasks running on agents that are not draining.",
        unknown="no agent that should respond does",
        cloudwatch=CloudWatch("ActiveTasks", MetricSet.MINIMAL), external=True, history=True),
    FleetFigure("tasks_serving", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.tasks_serving,
        "Tasks running on serving agents; divided by capacity_tasks, the utilization.",
        unknown="no agent that should respond does",
        cloudwatch=Without("`UtilizationPercent` is computed from it"), external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("tasks_draining", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.tasks_draining,
        "Tasks still running on draining agents; they are not part of the demand.",
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=True),
    FleetFigure("tasks_queued", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.tasks_queued,
        "Tasks waiting for a slot, over the agents that report a queue.",
        unknown="no agent reports a queue",
        cloudwatch=CloudWatch("QueuedTasks", MetricSet.MINIMAL), external=True, history=True),
    FleetFigure("held_tasks", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.held_tasks,
        "Work assumed on unreachable agents, or waiting unseen, so that missing data does not shrink the fleet.",
        cloudwatch=_IN_DEMAND, external=_NOT_SCALED_BY, history=True),
    FleetFigure("replacement_tasks", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.replacement_tasks,
        "Demand added for agents that fill a replica but provide no slots (stopped, disconnected or crash looping).",
        cloudwatch=_IN_DEMAND, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("unseen_queue_tasks", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.unseen_queue_tasks,
        "Demand added because work must be waiting unseen: every serving agent is full and none reports a queue.",
        cloudwatch=_IN_DEMAND, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("scale_in_held_tasks", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.scale_in.held_tasks,
        "Demand added so that a scale-in removes only agents with at most capacity.scale_in.max_tasks tasks.",
        cloudwatch=_IN_DEMAND, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("capacity_tasks", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.capacity_tasks,
        "Tasks the serving agents can run concurrently: tasks_per_agent times the agents in state serving.",
        cloudwatch=CloudWatch("CapacityTasks", MetricSet.MINIMAL, at_rest=False),
        external=_NOT_SCALED_BY, history=True),
    FleetFigure("free_slots", Unit.TASKS, Basis.READINGS, lambda fleet: fleet.free_slots,
        "Tasks the serving agents could start right now.",
        cloudwatch=CloudWatch("FreeSlots", MetricSet.DEFAULT, at_rest=False), external=True, history=True),
    FleetFigure("free_slots_certain", Unit.FLAG, Basis.READINGS, lambda fleet: fleet.free_slots_certain,
        "Whether every agent with a free slot is known to accept work; else free_slots is an upper bound.",
        metrics=Without("for people, beside `free_slots`"),
        cloudwatch=_NOT_ALARMED, external=_NOT_SCALED_BY, history=_NOT_CHARTED),
    FleetFigure("utilization", Unit.RATIO, Basis.READINGS, lambda fleet: fleet.utilization,
        "Tasks on the serving agents over their slots; above 1 with interactive tasks, which have no limit.",
        unknown="no agent is serving",
        cloudwatch=CloudWatch("UtilizationPercent", MetricSet.DEFAULT), external=True, history=_NOT_CHARTED),
)

SCALER_FIGURES: tuple[ScalerFigure, ...] = (
    ScalerFigure("min_agents", Unit.AGENTS, Basis.KUBERNETES, lambda scaler: scaler.min_agents,
        "Minimum replicas of the fleet's HPA.",
        unknown="it is not set, and like all of them while the HPA is unknown"),
    ScalerFigure("max_agents", Unit.AGENTS, Basis.KUBERNETES, lambda scaler: scaler.max_agents,
        "Maximum replicas of the fleet's HPA."),
    ScalerFigure("current_agents", Unit.AGENTS, Basis.KUBERNETES, lambda scaler: scaler.current_agents,
        "Replicas as last seen by the fleet's HPA; 0 while its Deployment is scaled to 0, which disables it."),
    ScalerFigure("desired_agents", Unit.AGENTS, Basis.KUBERNETES, lambda scaler: scaler.desired_agents,
        "Desired replicas as last decided by the fleet's HPA.",
        unknown="it has not decided"),
    ScalerFigure("active", Unit.FLAG, Basis.KUBERNETES, lambda scaler: scaler.active.holds if scaler.active else None,
        "1 if the fleet's HPA gets its metrics, 0 if it does not or is disabled.",
        unknown="it has not reported",
        json=Without("`active` is the whole condition, with its reason")),
    ScalerFigure("tolerance_up", Unit.RATIO, Basis.KUBERNETES, lambda scaler: scaler.tolerance_up,
        "Deviation from the target below which the fleet's HPA does not scale up.",
        unknown="the cluster's own applies", metrics=Without("a setting of the HPA")),
    ScalerFigure("tolerance_down", Unit.RATIO, Basis.KUBERNETES, lambda scaler: scaler.tolerance_down,
        "Deviation from the target below which the fleet's HPA does not scale down.",
        unknown="the cluster's own applies", metrics=Without("a setting of the HPA")),
)
# fmt: on
