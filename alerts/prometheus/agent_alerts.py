"""Alerts about single agents: their connection, their memory, their restarts and how long they drain."""

from alerts.prometheus.recording import AGENT_MEMORY, AGENT_RESTARTS, AGENT_STATE
from alerts.prometheus.rules import Alert, Clock, Group, latest, on
from alerts.prometheus.settings import AGENT, FLEET, OUT_OF_WORK, Settings

_AGENT = "{{ $labels.pod }} of fleet {{ $labels.fleet }} in namespace {{ $labels.namespace }}"
_LIMIT = 'its {{ if eq $labels.memory "heap" }}Java heap{{ else }}container{{ end }} limit'


# As a label the reason would begin the alert anew whenever a container goes from ErrImagePull to ImagePullBackOff and
# back. A text may ask for it at the time.
_WAITS_FOR = """{{ with printf
"max by (reason) (matillion_fleet_agent_waiting{cluster=%q,namespace=%q,fleet=%q,pod=%q})"
$labels.cluster $labels.namespace $labels.fleet $labels.pod | query }}Kubernetes says {{ . | first | label "reason" }}
{{- else }}Kubernetes gives no reason{{ end }}"""


def groups(settings: Settings, clock: Clock) -> tuple[Group, ...]:
    """Return the alerts of agents."""
    return (
        Group(
            "matillion-fleet-agent.alerts",
            (
                *_states(settings, clock),
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
    draining = f'last_over_time({AGENT_STATE}{{state="draining"}}[{clock(settings.bridge)}])'
    return (
        Alert(
            name="MatillionAgentDisconnected",
            severity="warning",
            for_seconds=settings.agent_disconnected_for,
            expr=_with_company(f'{AGENT_STATE}{{state=~"{OUT_OF_WORK}"}}'),
            summary=f"Agent {_AGENT} is {{{{ $labels.state }}}}",
            description=f"""Agent {_AGENT} says that it is {{{{ $labels.state }}}}: it takes no work, and its slots are
            missing. It is one of {{{{ $value | humanize }}}} such agents of its fleet.""",
        ),
        Alert(
            name="MatillionAgentUnreachable",
            severity="warning",
            for_seconds=settings.agent_unreachable_for,
            expr=_with_company(f'{AGENT_STATE}{{state="unreachable"}}'),
            summary=f"Agent {_AGENT} does not answer",
            description=f"""The metrics of agent {_AGENT} cannot be read, so its tasks are not known. It is one of
            {{{{ $value | humanize }}}} such agents of its fleet.""",
        ),
        Alert(
            name="MatillionAgentLegacyMetrics",
            severity="info",
            for_seconds=settings.legacy_for,
            expr=_with_company(f'max by ({", ".join(AGENT)}) (matillion_fleet_agent_info{{endpoint="legacy"}})'),
            summary=f"Agent {_AGENT} is read by its legacy page",
            description=f"""Agent {_AGENT} is read by its legacy page, which has neither queue nor heap and which a
            coming chart of the vendor switches off. Its other page needs chart 0.6 or later with `metrics.otel`, and a
            way to its port. It is one of {{{{ $value | humanize }}}} such agents of its fleet.""",
        ),
        Alert(
            name="MatillionAgentNotStarting",
            severity="warning",
            for_seconds=settings.agent_not_starting_for,
            # One that crashes has an alert of its own.
            expr=f"""
            (
              {_with_company(f'{AGENT_STATE}{{state="starting"}}').strip()}
            )
            unless {on(AGENT)} {_crash_loop(settings, clock)}
            """,
            summary=f"Agent {_AGENT} does not start",
            description=f"""Agent {_AGENT} has been starting for {Clock()(settings.agent_not_starting_for)} and never
            answered: {_WAITS_FOR}. It is one of {{{{ $value | humanize }}}} such agents of its fleet, which gives no
            slot and fills a replica.""",
        ),
        Alert(
            name="MatillionAgentDrainTooLong",
            severity="warning",
            for_seconds=settings.drain_too_long_for,
            expr=_with_company(draining),
            summary=f"Agent {_AGENT} has been draining for {Clock()(settings.drain_too_long_for)}",
            description=f"""Agent {_AGENT} was told to end {Clock()(settings.drain_too_long_for)} ago and still runs. It
            is killed with its tasks when its grace period ends (12h in the vendor's chart). It is one of
            {{{{ $value | humanize }}}} draining agents of its fleet.""",
        ),
    )


def _crash_loop(settings: Settings, clock: Clock) -> str:
    """Return the agents that Kubernetes held back just now because they keep ending."""
    waits = f'matillion_fleet_agent_waiting{{reason="CrashLoopBackOff"}}[{clock(settings.crash_loop_window)}]'
    return f"max by ({', '.join(AGENT)}) (max_over_time({waits})) == 1"


def _memory(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    used = f"""Agent {_AGENT} uses {{{{ $value | humanizePercentage }}}} of {_LIMIT}"""
    ahead = f"{settings.leak_horizon / clock.faster:g}"
    in_words = Clock()(settings.leak_horizon)
    return (
        Alert(
            name="MatillionAgentMemoryPressure",
            severity="warning",
            for_seconds=settings.memory_pressure_for,
            expr=f"{AGENT_MEMORY} > {settings.memory_pressure:g}",
            summary=f"Agent {_AGENT} is short of memory",
            description=f"{used}.",
        ),
        Alert(
            name="MatillionAgentMemoryCritical",
            severity="critical",
            for_seconds=settings.memory_critical_for,
            expr=f"{AGENT_MEMORY} > {settings.memory_critical:g}",
            summary=f"Agent {_AGENT} is about to run out of memory",
            description=f"{used}; if it goes on, all its tasks are lost.",
        ),
        Alert(
            name="MatillionAgentMemoryExhaustionPredicted",
            severity="warning",
            for_seconds=settings.leak_for,
            expr=f"""
            {AGENT_MEMORY} > {settings.leak_floor:g}
            and predict_linear({AGENT_MEMORY}[{clock(settings.leak_window)}], {ahead}) > 1
            """,
            summary=f"Agent {_AGENT} will run out of memory within {in_words}",
            description=f"{used} and grows at a rate that reaches it within {in_words}.",
        ),
    )


def _restarts(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    oom_window, window = clock(settings.oom_window), clock(settings.restarts_window)
    # The count of restarts is a pod's own and never falls, so this is exact, and true of a pod younger than the window.
    recent = f"{AGENT_RESTARTS} - min_over_time({AGENT_RESTARTS}[%s])"
    return (
        Alert(
            name="MatillionAgentOOMKilled",
            severity="warning",
            for_seconds=0,
            # The reason stays for the rest of the pod's life; a restart that was not long ago makes it news.
            expr=f"""
            ({recent % oom_window}) > 0
            and {on(AGENT)} {latest("agent_last_terminated", AGENT, 'reason="OOMKilled"')} == 1
            """,
            summary=f"Agent {_AGENT} was killed for lack of memory",
            description=f"""The container of agent {_AGENT} used more memory than its limit and was killed with its
            tasks; it restarted {{{{ $value | humanize }}}} times within {Clock()(settings.oom_window)}.""",
        ),
        Alert(
            name="MatillionAgentCrashLooping",
            severity="warning",
            for_seconds=settings.crash_looping_for,
            expr=f"""
            (
              {AGENT_RESTARTS}
              and {on(AGENT)} {_crash_loop(settings, clock)}
            )
            unless {on(AGENT)} {AGENT_STATE}{{state="draining"}}
            """,
            summary=f"Agent {_AGENT} crashes again and again",
            description=f"""The container of agent {_AGENT} does not stay up (CrashLoopBackOff): it restarted
            {{{{ $value | humanize }}}} times in the life of its pod. Its slots are missing.""",
        ),
        Alert(
            name="MatillionAgentRestarting",
            severity="warning",
            for_seconds=0,
            expr=f"({recent % window}) >= {settings.restarts}",
            summary=f"Agent {_AGENT} restarts repeatedly",
            description=f"""The container of agent {_AGENT} restarted {{{{ $value | humanize }}}} times within
            {Clock()(settings.restarts_window)}; each time its tasks are lost.""",
        ),
    )
