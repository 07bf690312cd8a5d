"""Dashboard 3, "Matillion capacity planning": how full fleets have been, and how many agents it would have taken."""

from grafana_foundation_sdk.builders import dashboard, table
from grafana_foundation_sdk.models.dashboard import VariableOption

from alerts.prometheus.recording import AGENTS, DEMAND, DESIRED, FREE_SLOTS, QUEUED, UTILIZATION
from dashboards.boards import CAPACITY_UID, CLUSTER, FLEET, FLEET_UID, NAMESPACE, board, link_to
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
"""Steps of `_STEP` in an hour: hours are counted from what was really seen, gaps are not made up."""
_WEEK, _MONTH = "7d", "30d"
_HEADROOM = 1.2
"""On top of the highest demand seen, for the day that is busier than any so far."""
_SMALLEST = 2
"""The vendor's advice for an HPA: never fewer than two agents."""


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    target = (
        dashboard.CustomVariable("target")
        .label("Tasks per agent to plan for")
        .values("10,12,14,15,16,17,18,20")
        .current(VariableOption(selected=True, text="16", value="16"))
    )
    return board(
        CAPACITY_UID,
        "Matillion capacity planning",
        "How full the fleets have been over weeks, and how many agents another target would have taken.",
        (CLUSTER, NAMESPACE, FLEET),
        (
            Section("The last 7 and 30 days", _figures(_WEEK) + _figures(_MONTH)),
            Section("What to set", (Placed(_suggestions(), 24, 8),)),
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
            f"Utilisation, median of {span}",
            "Half of the time it was less.",
            f"quantile_over_time(0.5, {utilization}[{span}])",
        ),
        _utilization(
            f"Utilisation, 95 % of {span}",
            "All but 5 % of the time it was less: what the fleet should be sized for.",
            f"quantile_over_time(0.95, {utilization}[{span}])",
        ),
        _utilization(
            f"Highest utilisation in {span}",
            "Above 100 % where interactive tasks came on top.",
            f"max_over_time({utilization}[{span}])",
        ),
        Placed(
            figure(
                f"Full for, in {span}",
                "Time in which agents served and none had a free slot. Time that was not watched is not counted.",
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
                f"With a queue for, in {span}",
                "Time in which tasks waited, as far as agents report a queue.",
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
                "The most tasks that waited at once.",
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
        "Agents it takes, from 30 days of demand",
        f"For the tasks per agent chosen above. Suggested minimum: enough 5 % of the time, at least {_SMALLEST}. "
        f"Suggested maximum: the highest demand and {_HEADROOM - 1:.0%} more. As good as the history is long.",
        [
            Query(f"clamp_min({_agents_for(quiet)}, {_SMALLEST})"),
            Query(_agents_for(f"quantile_over_time(0.5, {demand}[{_MONTH}])")),
            Query(_agents_for(f"quantile_over_time(0.95, {demand}[{_MONTH}])")),
            Query(_agents_for(high)),
            Query(f"clamp_min({_agents_for(f'{_HEADROOM} * {high}')}, {_SMALLEST})"),
            Query(f"max by ({BY_FLEET}) (max_over_time({recorded(DESIRED)}[{_MONTH}]))"),
            Query(f"sum by ({BY_FLEET}) ({recorded(AGENTS, NOT_DRAINING)})"),
        ],
        (
            Column("namespace", "Namespace"),
            Column("fleet", "Fleet"),
            Column("Value #A", "Suggested minimum"),
            Column("Value #B", "Enough half the time"),
            Column("Value #C", "Enough 95 % of the time"),
            Column("Value #D", "Enough always"),
            Column("Value #E", "Suggested maximum"),
            Column("Value #F", "Most with the target in use"),
            Column("Value #G", "Agents now"),
        ),
        link=link_to(FLEET_UID, "The fleet", ("namespace", "Namespace"), ("fleet", "Fleet")),
    )


def _over_time() -> tuple[Placed, ...]:
    actual = f"sum by ({BY_FLEET}) ({recorded(AGENTS, NOT_DRAINING)})"
    return (
        Placed(
            graph(
                "Agents with the chosen target, and as it was",
                "What the demand would have taken at the tasks per agent chosen above, what was desired with the "
                "target in use, and what was there.",
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
                "Utilisation, 95 % of each day",
                "Over the day before each moment: a trend that daily peaks do not hide.",
                [Query(f"quantile_over_time(0.95, {recorded(UTILIZATION)}[1d])", FLEET_LEGEND)],
                unit="percentunit",
                limits=FULLNESS,
            ),
            12,
            9,
        ),
        Placed(
            graph(
                "Agents wanted, and what the scaler allows",
                "Wanted: the agents that the demand takes. Desired, most and fewest: of the fleet's HPA, KEDA's too. "
                "Where wanted stays above most, work waits for the maximum. No line where the HPA is not known.",
                [
                    Query(recorded(DESIRED), f"{FLEET_LEGEND} wanted"),
                    Query(of_fleets("scaler_desired_agents"), f"{FLEET_LEGEND} desired by the scaler"),
                    Query(of_fleets("scaler_max_agents"), f"{FLEET_LEGEND} most"),
                    Query(of_fleets("scaler_min_agents"), f"{FLEET_LEGEND} fewest"),
                ],
            ),
            24,
            9,
        ),
        Placed(
            spread(
                "Utilisation through the days",
                "How many of the chosen fleets were how full, and when: daily and weekly patterns.",
                [Query(recorded(UTILIZATION), FLEET_LEGEND)],
                unit="percentunit",
            ),
            12,
        ),
        Placed(
            graph(
                "Tasks that waited",
                "The queue, as far as agents report one.",
                [Query(recorded(QUEUED), FLEET_LEGEND)],
            ),
            12,
        ),
    )
