"""Dashboard 3, "Matillion capacity planning": past utilization, and how many agents the demand would have needed."""

from grafana_foundation_sdk.builders import dashboard, table
from grafana_foundation_sdk.models.dashboard import VariableOption

from alerts.prometheus.recording import AGENTS, DEMAND, DESIRED, FREE_SLOTS, QUEUED, UTILIZATION
from alerts.settings import Settings
from dashboards.frame import CAPACITY_UID, CLUSTER, FLEET, FLEET_UID, NAMESPACE, framed, link_to
from dashboards.panels import (
    FULLNESS,
    GREEN,
    RED,
    YELLOW,
    Column,
    Placed,
    Query,
    Section,
    figure,
    graph,
    listing,
    spread,
)
from dashboards.queries import BY_FLEET, FLEET_LEGEND, NOT_DRAINING, of_fleets, recorded

_HOURS = ((None, GREEN), (1, YELLOW), (8, RED))
_STEP = "5m"
_PER_HOUR = 12
"""Steps of `_STEP` in an hour: hours are counted from real samples, and gaps are not filled."""
_WEEK, _MONTH = "7d", "30d"
_HEADROOM = 1.2
"""On top of the highest demand so far, for a day that is busier still."""
_MINIMUM = Settings().min_agents


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    target = (
        dashboard.CustomVariable("target")
        .label("Tasks per agent to plan for")
        .values("10,12,14,15,16,17,18,20")
        .current(VariableOption(selected=True, text="16", value="16"))
    )
    return framed(
        CAPACITY_UID,
        "Matillion capacity planning",
        "Utilization of the fleets over weeks, and how many agents another target would have needed.",
        (CLUSTER, NAMESPACE, FLEET),
        (
            Section("The last 7 and 30 days", _figures(_WEEK) + _figures(_MONTH)),
            Section("Suggested settings", (Placed(_suggestions(), 24, 8),)),
            Section("Over time", _over_time()),
        ),
        since="now-7d",
        refresh="5m",
        more=(target,),
    )


def _hours(condition: str, span: str) -> str:
    """Return how many hours of the span a condition (1 or 0) was true."""
    return f"sum_over_time(({condition})[{span}:{_STEP}]) / {_PER_HOUR}"


def _figures(span: str) -> tuple[Placed, ...]:
    utilization = recorded(UTILIZATION)
    full = f"{recorded(FREE_SLOTS)} == bool 0 and {utilization} > 0"
    return (
        _utilization(
            f"Utilization, median of {span}",
            "Half of the time it was lower.",
            f"quantile_over_time(0.5, {utilization}[{span}])",
        ),
        _utilization(
            f"Utilization, 95th percentile of {span}",
            "It was lower for 95% of the time: size the fleet for this.",
            f"quantile_over_time(0.95, {utilization}[{span}])",
        ),
        _utilization(
            f"Highest utilization in {span}",
            "Interactive tasks can raise it above 100%.",
            f"max_over_time({utilization}[{span}])",
        ),
        Placed(
            figure(
                f"Time without a free slot, {span}",
                "Time in which agents were serving and none had a free slot. Time without data is not counted.",
                [Query(_hours(full, span), FLEET_LEGEND)],
                unit="h",
                limits=_HOURS,
                decimals=1,
            ),
            4,
            5,
        ),
        Placed(
            figure(
                f"Time with a queue, {span}",
                "Time in which tasks were queued, as far as agents report a queue.",
                [Query(_hours(f"{recorded(QUEUED)} > bool 0", span), FLEET_LEGEND)],
                unit="h",
                limits=_HOURS,
                decimals=1,
            ),
            4,
            5,
        ),
        Placed(
            figure(
                f"Longest queue in {span}",
                "The highest number of tasks that were queued at once.",
                [Query(f"max_over_time({recorded(QUEUED)}[{span}])", FLEET_LEGEND)],
            ),
            4,
            5,
        ),
    )


def _utilization(title: str, description: str, query: str) -> Placed:
    panel = figure(title, description, [Query(query, FLEET_LEGEND)], unit="percentunit", limits=FULLNESS, decimals=0)
    return Placed(panel, 4, 5)


def _agents_for(demand: str) -> str:
    return f"ceil({demand} / $target)"


def _suggestions() -> table.Panel:
    demand = recorded(DEMAND)
    quiet, high = f"quantile_over_time(0.05, {demand}[{_MONTH}])", f"max_over_time({demand}[{_MONTH}])"
    return listing(
        "Suggested replicas, from 30 days of demand",
        f"For the tasks per agent selected above. Suggested minimum: enough for 5% of the time, at least {_MINIMUM}. "
        f"Suggested maximum: the highest demand plus {_HEADROOM - 1:.0%}. A longer history gives better figures.",
        [
            Query(f"clamp_min({_agents_for(quiet)}, {_MINIMUM})"),
            Query(_agents_for(f"quantile_over_time(0.5, {demand}[{_MONTH}])")),
            Query(_agents_for(f"quantile_over_time(0.95, {demand}[{_MONTH}])")),
            Query(_agents_for(high)),
            Query(f"clamp_min({_agents_for(f'{_HEADROOM} * {high}')}, {_MINIMUM})"),
            Query(f"max by ({BY_FLEET}) (max_over_time({recorded(DESIRED)}[{_MONTH}]))"),
            Query(f"sum by ({BY_FLEET}) ({recorded(AGENTS, NOT_DRAINING)})"),
        ],
        (
            Column("namespace", "Namespace"),
            Column("fleet", "Fleet"),
            Column("Value #A", "Suggested minimum"),
            Column("Value #B", "Enough for 50% of the time"),
            Column("Value #C", "Enough for 95% of the time"),
            Column("Value #D", "Always enough"),
            Column("Value #E", "Suggested maximum"),
            Column("Value #F", "Highest with the current target"),
            Column("Value #G", "Agents now"),
        ),
        links=(link_to(FLEET_UID, "The fleet", ("namespace", "Namespace"), ("fleet", "Fleet")),),
    )


def _over_time() -> tuple[Placed, ...]:
    actual = f"sum by ({BY_FLEET}) ({recorded(AGENTS, NOT_DRAINING)})"
    return (
        Placed(
            graph(
                "Agents needed at the selected target, and actual agents",
                "Agents that the demand would have needed at the tasks per agent selected above, desired agents with "
                "the current target, and actual agents.",
                [
                    Query(_agents_for(recorded(DEMAND)), f"{FLEET_LEGEND} at $target"),
                    Query(recorded(DESIRED), f"{FLEET_LEGEND} desired"),
                    Query(actual, f"{FLEET_LEGEND} actual"),
                ],
            ),
            12,
            9,
        ),
        Placed(
            graph(
                "Utilization, 95th percentile of each day",
                "Over the preceding day at each point: a trend that daily peaks do not hide.",
                [Query(f"quantile_over_time(0.95, {recorded(UTILIZATION)}[1d])", FLEET_LEGEND)],
                unit="percentunit",
                limits=FULLNESS,
            ),
            12,
            9,
        ),
        Placed(
            graph(
                "Agents needed, and the limits of the scaler",
                "Needed: the agents that the demand requires. Desired, maximum and minimum: those of the fleet's HPA, "
                "including KEDA's. Where needed stays above maximum, tasks wait. No line where the HPA is unknown.",
                [
                    Query(recorded(DESIRED), f"{FLEET_LEGEND} needed"),
                    Query(of_fleets("scaler_desired_agents"), f"{FLEET_LEGEND} desired by the scaler"),
                    Query(of_fleets("scaler_max_agents"), f"{FLEET_LEGEND} maximum"),
                    Query(of_fleets("scaler_min_agents"), f"{FLEET_LEGEND} minimum"),
                ],
            ),
            24,
            9,
        ),
        Placed(
            spread(
                "Utilization by time of day",
                "How many of the selected fleets had which utilization, and when: daily and weekly patterns.",
                [Query(recorded(UTILIZATION), FLEET_LEGEND)],
                unit="percentunit",
            ),
            12,
        ),
        Placed(
            graph(
                "Queued tasks",
                "The queue, as far as agents report one.",
                [Query(recorded(QUEUED), FLEET_LEGEND)],
            ),
            12,
        ),
    )
