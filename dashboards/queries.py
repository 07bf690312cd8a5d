"""PromQL of the dashboards: selections by the dashboards' variables, aggregated so that replicas never double a number.

What a recording rule has is read from the rule. Knows nothing of panels.
"""

from collections.abc import Callable

from alerts.prometheus.labels import AGENT, CLUSTER_LABEL, FLEET
from alerts.prometheus.recording import AGENT_STATE, AGENTS, HEALTH
from exporter.fleet.health import Word
from exporter.fleet.model import AgentState
from exporter.fleet.outlets import PREFIX
from exporter.publish.instruments import EXPORTER_PREFIX

OF_FLEET = f'{CLUSTER_LABEL}=~"$cluster", namespace=~"$namespace", fleet=~"$fleet"'
OF_AGENT = f'{OF_FLEET}, pod=~"$pod"'
OF_EXPORTER = f'{CLUSTER_LABEL}=~"$cluster", namespace=~"$namespace", job=~"$job"'

BY_FLEET = ", ".join(FLEET)
BY_AGENT = ", ".join(AGENT)
FLEET_LEGEND = "{{namespace}}/{{fleet}}"
NOT_DRAINING = 'state!="draining"'
"""Agents as a Deployment counts its replicas, which a draining one no longer is."""
MANY = 20
"""Agents in one state timeline: what its height has room for."""
MANY_FLEETS = 8
"""The same of fleets."""
_SHOWN = "[$__range] @ end()"
REPLICA = "instance"
"""The label that distinguishes the replicas of an exporter."""

_ONE_EACH = 'state="serving"'
"""Of a series with a sample for each fleet and state: one for each fleet, whatever is withheld."""

HEALTH_NUMBERS = {Word.OK: 0, Word.DEGRADED: 1, Word.DATA_INCOMPLETE: 2, Word.DOWN: 3}
"""The health of a fleet as a number, from good to bad."""

STATE_NUMBERS = {
    AgentState.SERVING: 0,
    AgentState.STARTING: 1,
    AgentState.DRAINING: 2,
    AgentState.DISCONNECTED: 3,
    AgentState.STOPPED: 4,
    AgentState.UNREACHABLE: 5,
}
"""States as numbers, from healthy to unhealthy: a state timeline shows numbers."""


def recorded(series: str, *matchers: str, of: str = OF_FLEET) -> str:
    """Return a recorded series of the selection."""
    return f"{series}{{{', '.join((of, *matchers))}}}"


def by_fleet(expr: str) -> str:
    """Return a value for each fleet without the name of a series: for a table, which would take that for a label."""
    return f"max by ({BY_FLEET}) ({expr})"


def total(series: str, *matchers: str) -> str:
    """Return the sum of a recorded series over the selected fleets."""
    return f"sum({recorded(series, *matchers)})"


def whole(figure: str) -> str:
    """Return the sum of a figure of each fleet, absent while it is withheld of one: a sum of the others would dip."""
    return f"sum({figure}) and count({figure}) == count({recorded(AGENTS, _ONE_EACH)})"


def of_fleets(metric: str) -> str:
    """Return a fleet metric that no rule records."""
    return f"max by ({BY_FLEET}) ({PREFIX}{metric}{{{OF_FLEET}}})"


def of_agents(metric: str, *, also_by: str = "", of: str = OF_AGENT) -> str:
    """Return an agent metric that no rule records."""
    by = BY_AGENT + (f", {also_by}" if also_by else "")
    return f"max by ({by}) ({PREFIX}{metric}{{{of}}})"


def of_replicas(metric: str, *, also_by: str = "", rate: bool = False, prefix: str = EXPORTER_PREFIX) -> str:
    """Return a metric of each replica of the exporter; a counter as its rate."""
    by = REPLICA + (f", {also_by}" if also_by else "")
    series = f"{prefix}{metric}{{{OF_EXPORTER}}}"
    return f"max by ({by}) ({f'rate({series}[$__rate_interval])' if rate else series})"


def health_number() -> str:
    """Return each fleet's health as its number; where two replicas disagree, the worse."""
    one_of = {word: recorded(HEALTH, f'health="{word}"') for word in HEALTH_NUMBERS}
    terms = " or ".join(f"({series} == 1) * {HEALTH_NUMBERS[word]}" for word, series in one_of.items())
    return f"max by ({BY_FLEET}) ({terms})"


def worst_healths() -> str:
    """Return the number of each fleet's worst health in the time shown, the same at each point of a graph."""
    one_of = {word: recorded(HEALTH, f'health="{word}"') for word in HEALTH_NUMBERS}
    terms = " or ".join(f"max_over_time({one_of[word]}{_SHOWN}) * {rank}" for word, rank in HEALTH_NUMBERS.items())
    return f"max by ({BY_FLEET}) ({terms})"


def state_number() -> str:
    """Return each agent's state as its number."""
    return f"max by ({BY_AGENT}) ({_states(lambda series: series)})"


def worst_states() -> str:
    """Return the number of each agent's worst state in the time shown, the same at each point of a graph."""
    return f"max by ({BY_AGENT}) ({_states(lambda series: f'max_over_time({series}{_SHOWN})')})"


def was_connected() -> str:
    """Return whether each agent was connected all the time shown, the same at each point of a graph."""
    return f"min by ({BY_AGENT}) (min_over_time({PREFIX}agent_connected{{{OF_AGENT}}}{_SHOWN}))"


def _states(read: Callable[[str], str]) -> str:
    one_of = {state: read(recorded(AGENT_STATE, f'state="{state}"', of=OF_AGENT)) for state in STATE_NUMBERS}
    return " or ".join(f"{series} * {STATE_NUMBERS[state]}" for state, series in one_of.items())
