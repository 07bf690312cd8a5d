"""Alerts about single agents: their connection, their memory, their restarts and how long they drain."""

from alerts.durations import in_words
from alerts.prometheus.labels import AGENT, FLEET, OUT_OF_WORK
from alerts.prometheus.recording import AGENT_MEMORY, AGENT_RESTARTS, AGENT_STATE
from alerts.prometheus.rules import Alert, Clock, Group, latest, on
from alerts.settings import Settings

_AGENT = "{{ $labels.pod }} of fleet {{ $labels.fleet }} in namespace {{ $labels.namespace }}"
_LIMIT = 'its {{ if eq $labels.memory "heap" }}Java heap{{ else }}container{{ end }} limit'


# As a label, the reason would start a new alert whenever a container goes from ErrImagePull to ImagePullBackOff and
# back. A text can query it when the alert fires.
_WAITS_FOR = """{{ with printf
"max by (reason) (matillion_fleet_agent_waiting{cluster=%q,namespace=%q,fleet=%q,pod=%q})"
$labels.cluster $labels.namespace $labels.fleet $labels.pod
| query }}Kubernetes reports {{ . | first | label "reason" }}
{{- else }}Kubernetes reports no reason{{ end }}"""


_TASKS = """{{ with printf "max by (pod) (matillion_fleet_agent_tasks_active{cluster=%q,namespace=%q,fleet=%q,pod=%q})"
$labels.cluster $labels.namespace $labels.fleet $labels.pod
| query }}{{ . | first | value | humanize }} task
{{- if ne (. | first | value) 1.0 }}s{{ end }}{{ else }}its tasks{{ end }}"""


def groups(settings: Settings, clock: Clock) -> tuple[Group, ...]:
    """Return the alerts of agents."""
    return (
        Group(
            "matillion-fleet-agent.alerts",
            (
                *_states(settings, clock),
                *_drains(settings, clock),
                *_memory(settings, clock),
                *_restarts(settings, clock),
            ),
        ),
    )


def _with_company(state: str) -> str:
    """Return the agents in a state, each valued with how many of its fleet are in it: one alone, or all of them."""
    return f"""
            {state}
            * {on(FLEET)} group_left ()
            count by ({", ".join(FLEET)}) ({state})
            """


def _states(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    answers = f'{AGENT_STATE}{{state!~"unreachable|starting"}}'
    answers = f'{AGENT_STATE}{{state!~"unreachable|starting"}}'
    return (
        Alert(
            name="MatillionAgentDisconnected",
            severity="warning",
            for_seconds=settings.agent_disconnected_for,
            when="an agent is disconnected or stopped",
            expr=_with_company(f'{AGENT_STATE}{{state=~"{OUT_OF_WORK}"}}'),
            summary=f"Agent {_AGENT} is {{{{ $labels.state }}}}",
            description=f"""Agent {_AGENT} reports that it is {{{{ $labels.state }}}}: it takes no new tasks, and its
            slots are missing. Such agents in its fleet: {{{{ $value | humanize }}}}.""",
        ),
        Alert(
            name="MatillionAgentUnreachable",
            severity="warning",
            for_seconds=settings.agent_unreachable_for,
            when="an agent's metrics cannot be scraped",
            # What another replica sees well is no fault of the agent: MatillionReplicasDisagree names the replica.
            expr=_with_company(f'({AGENT_STATE}{{state="unreachable"}} unless {on(AGENT)} {answers})'),
            summary=f"Agent {_AGENT} does not answer",
            description=f"""The metrics of agent {_AGENT} cannot be scraped, so its tasks are unknown. Such agents in
            its fleet: {{{{ $value | humanize }}}}.""",
        ),
        Alert(
            name="MatillionAgentLegacyMetrics",
            severity="info",
            for_seconds=settings.legacy_for,
            when="an agent is scraped on its legacy endpoint, without queue and heap",
            expr=_with_company(f'max by ({", ".join(AGENT)}) (matillion_fleet_agent_info{{endpoint="legacy"}})'),
            summary=f"Agent {_AGENT} is scraped on its legacy endpoint",
            description=f"""Agent {_AGENT} is scraped on its legacy endpoint, which reports neither queue nor heap and
            which the vendor will switch off in a future chart. The OpenTelemetry endpoint needs chart 0.6 or later with
            `metrics.otel`, and a network path to its port. Such agents in its fleet: {{{{ $value | humanize }}}}.""",
        ),
        Alert(
            name="MatillionAgentNotStarting",
            severity="warning",
            for_seconds=settings.agent_not_starting_for,
            when="an agent's pod was created and does not become ready; with the reason that Kubernetes reports",
            # One that crashes has an alert of its own.
            expr=f"""
            (
              {_with_company(f'{AGENT_STATE}{{state="starting"}}').strip()}
            )
            unless {on(AGENT)} {_crash_loop(settings, clock)}
            """,
            summary=f"Agent {_AGENT} does not start",
            description=f"""Agent {_AGENT} has been starting for {Clock()(settings.agent_not_starting_for)} and has
            never answered: {_WAITS_FOR}. It fills a replica and provides no slots. Such agents in its fleet:
            {{{{ $value | humanize }}}}.""",
        ),
    )


def _drains(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    deadline = latest("agent_drain_deadline_timestamp_seconds", AGENT)
    granted = latest("agent_drain_grace_seconds", AGENT)
    own, tasks = latest("agent_grace_seconds", AGENT), latest("agent_tasks_active", AGENT)
    late, short = (f"{seconds / clock.faster:g}" for seconds in (settings.drain_late, settings.drain_short))
    return (
        Alert(
            name="MatillionAgentDrainTooLong",
            severity="warning",
            for_seconds=0,
            when=f"a draining agent has used its pod's own grace period but for {in_words(settings.drain_late)}, "
            f"or but for {settings.drain_late_share:.0%} of a short one",
            # A drain began as long before its deadline as the grace period in force is.
            expr=f"""
            time() - ({deadline} - {on(AGENT)} {granted})
            > {on(AGENT)} {own} - {late}
            > {on(AGENT)} {1 - settings.drain_late_share:g} * {own}
            """,
            summary=f"Agent {_AGENT} drains for too long",
            description=f"""Agent {_AGENT} has been terminating for {{{{ $value | humanizeDuration }}}} and still runs.
            Kubernetes kills it with its tasks when its grace period ends (12h in the vendor's chart).""",
        ),
        Alert(
            name="MatillionAgentDrainCutShort",
            severity="critical",
            for_seconds=settings.drain_cut_short_for,
            when="a draining agent with tasks has a grace period shorter than its pod's own, or less than "
            f"{in_words(settings.drain_short)} left",
            expr=f"""
            clamp_min({deadline} - time(), 0)
            and {on(AGENT)} ({granted} < {on(AGENT)} {own} or {on(AGENT)} {deadline} - time() < {short})
            and {on(AGENT)} {tasks} > 0
            """,
            summary=f"Agent {_AGENT} will be killed with its tasks",
            description=f"""Agent {_AGENT} is draining and will be killed with {_TASKS} in
            {{{{ $value | humanizeDuration }}}}.""",
        ),
    )


def _crash_loop(settings: Settings, clock: Clock) -> str:
    """Return the agents whose restart Kubernetes delayed within the window because they keep crashing."""
    waits = f'matillion_fleet_agent_waiting{{reason="CrashLoopBackOff"}}[{clock(settings.crash_loop_window)}]'
    return f"max by ({', '.join(AGENT)}) (max_over_time({waits})) == 1"


def _memory(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    used = f"""Agent {_AGENT} uses {{{{ $value | humanizePercentage }}}} of {_LIMIT}"""
    ahead = f"{settings.leak_horizon / clock.faster:g}"
    horizon = Clock()(settings.leak_horizon)
    return (
        Alert(
            name="MatillionAgentMemoryPressure",
            severity="warning",
            for_seconds=settings.memory_pressure_for,
            when=f"an agent uses more than {settings.memory_pressure:.0%} of its container or heap limit",
            expr=f"{AGENT_MEMORY} > {settings.memory_pressure:g}",
            summary=f"Agent {_AGENT} is low on memory",
            description=f"{used}.",
        ),
        Alert(
            name="MatillionAgentMemoryCritical",
            # Some rest there for days; the kill itself is a page.
            severity="warning",
            for_seconds=settings.memory_critical_for,
            when=f"an agent uses more than {settings.memory_critical:.0%} of its container or heap limit",
            expr=f"{AGENT_MEMORY} > {settings.memory_critical:g}",
            summary=f"Agent {_AGENT} is about to run out of memory",
            description=f"{used}; at the limit, all its tasks are lost.",
        ),
        Alert(
            name="MatillionAgentMemoryExhaustionPredicted",
            severity="warning",
            for_seconds=settings.leak_for,
            when="at its current growth an agent reaches its container or heap limit within "
            f"{in_words(settings.leak_horizon)}",
            expr=f"""
            {AGENT_MEMORY} > {settings.leak_floor:g}
            and predict_linear({AGENT_MEMORY}[{clock(settings.leak_window)}], {ahead}) > 1
            """,
            summary=f"Agent {_AGENT} will run out of memory within {horizon}",
            description=f"{used} and grows at a rate that reaches it within {horizon}.",
        ),
    )


def _restarts(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    oom_window, window = clock(settings.oom_window), clock(settings.restarts_window)
    # The count of restarts is a pod's own and never falls, so this is exact, and true of a pod younger than the window.
    recent = f"{AGENT_RESTARTS} - min_over_time({AGENT_RESTARTS}[%s])"
    return (
        Alert(
            name="MatillionAgentOOMKilled",
            severity="critical",
            for_seconds=0,
            when=f"an agent's container was killed for lack of memory in the last {in_words(settings.oom_window)}",
            # The reason stays for the rest of the pod's life; only a recent restart makes it news.
            expr=f"""
            ({recent % oom_window}) > 0
            and {on(AGENT)} {latest("agent_last_terminated", AGENT, 'reason="OOMKilled"')} == 1
            """,
            summary=f"Agent {_AGENT} was killed for lack of memory",
            description=f"""The container of agent {_AGENT} exceeded its memory limit and was killed with its tasks.
            Restarts within {Clock()(settings.oom_window)}: {{{{ $value | humanize }}}}.""",
        ),
        Alert(
            name="MatillionAgentCrashLooping",
            severity="warning",
            for_seconds=settings.crash_looping_for,
            when="an agent's container keeps crashing",
            expr=f"""
            (
              {AGENT_RESTARTS}
              and {on(AGENT)} {_crash_loop(settings, clock)}
            )
            unless {on(AGENT)} {AGENT_STATE}{{state="draining"}}
            """,
            summary=f"Agent {_AGENT} is crash looping",
            description=f"""The container of agent {_AGENT} does not stay up (CrashLoopBackOff), and its slots are
            missing. Restarts since its pod was created: {{{{ $value | humanize }}}}.""",
        ),
        Alert(
            name="MatillionAgentRestarting",
            severity="warning",
            for_seconds=0,
            when=f"an agent's container restarted at least {settings.restarts} times within "
            f"{in_words(settings.restarts_window)}",
            expr=f"({recent % window}) >= {settings.restarts}",
            summary=f"Agent {_AGENT} keeps restarting",
            description=f"""The container of agent {_AGENT} restarted {{{{ $value | humanize }}}} times within
            {Clock()(settings.restarts_window)}; each restart loses its tasks.""",
        ),
    )
