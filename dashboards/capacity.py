"""Dashboard 3, "Matillion capacity planning": past utilization, and how many agents the demand would have needed."""

from grafana_foundation_sdk.builders import dashboard, table
from grafana_foundation_sdk.models.common import LegendPlacement
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
    graph,
    listing,
    spread,
)
from dashboards.queries import BY_FLEET, FLEET_LEGEND, NOT_DRAINING, by_fleet, of_fleets, recorded

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
            Section("Suggested settings", (Placed(_suggestions(), 24, 7),)),
            Section("The last 7 and 30 days", (_past(_WEEK), _past(_MONTH))),
            Section("Over time", _over_time()),
        ),
        since="now-7d",
        refresh="5m",
        more=(target,),
    )


def _hours(condition: str, span: str) -> str:
    """Return how many hours of the span a condition (1 or 0) was true."""
    return f"sum_over_time(({condition})[{span}:{_STEP}]) / {_PER_HOUR}"


def _past(span: str) -> Placed:
    """Return what was in a span, a row for each fleet: figures in large type would be tiny with a few of them."""
    utilization = recorded(UTILIZATION)
    full = f"{recorded(FREE_SLOTS)} == bool 0 and {utilization} > 0"
    past = listing(
        f"The last {span.removesuffix('d')} days",
        "Utilization: half of the time it was lower than the median, and 95% of the time lower than p95, which to size "
        "the fleet for; interactive tasks can raise it above 100%. No free slot: how long agents were serving and none "
        "had a free slot. Queue: how long tasks were queued, and the longest, as far as agents report queues. Time "
        "without data is not counted.",
        [
            Query(by_fleet(f"quantile_over_time(0.5, {utilization}[{span}])")),
            Query(by_fleet(f"quantile_over_time(0.95, {utilization}[{span}])")),
            Query(by_fleet(f"max_over_time({utilization}[{span}])")),
            Query(by_fleet(_hours(full, span))),
            Query(by_fleet(_hours(f"{recorded(QUEUED)} > bool 0", span))),
            Query(by_fleet(f"max_over_time({recorded(QUEUED)}[{span}])")),
        ],
        (
            Column("fleet", "Fleet", width=130),
            Column("Value #A", "Median", "percentunit", FULLNESS, decimals=0, width=70),
            Column("Value #B", "p95", "percentunit", FULLNESS, decimals=0, width=65),
            Column("Value #C", "Highest", "percentunit", FULLNESS, decimals=0, width=75),
            Column("Value #D", "No free slot", "h", _HOURS, decimals=1, width=98),
            Column("Value #E", "Queue", "h", _HOURS, decimals=1, width=85),
            Column("Value #F", "Longest", width=70),
            Column("namespace", "Namespace", width=100),
        ),
        by=("p95", True),
    )
    return Placed(past, 12)


def _agents_for(demand: str) -> str:
    return f"ceil({demand} / $target)"


def _suggestions() -> table.Panel:
    demand = recorded(DEMAND)
    quiet, high = f"quantile_over_time(0.05, {demand}[{_MONTH}])", f"max_over_time({demand}[{_MONTH}])"
    return listing(
        "Suggested replicas, from 30 days of demand",
        f"For the tasks per agent selected above. Suggested minimum: enough for 5% of the time, at least {_MINIMUM}. "
        f"Suggested maximum: the highest demand plus {_HEADROOM - 1:.0%}. Highest desired: with the current target. A "
        "longer history gives better figures.",
        [
            Query(by_fleet(f"clamp_min({_agents_for(quiet)}, {_MINIMUM})")),
            Query(by_fleet(_agents_for(f"quantile_over_time(0.5, {demand}[{_MONTH}])"))),
            Query(by_fleet(_agents_for(f"quantile_over_time(0.95, {demand}[{_MONTH}])"))),
            Query(by_fleet(_agents_for(high))),
            Query(by_fleet(f"clamp_min({_agents_for(f'{_HEADROOM} * {high}')}, {_MINIMUM})")),
            Query(by_fleet(f"max_over_time({recorded(DESIRED)}[{_MONTH}])")),
            Query(f"sum by ({BY_FLEET}) ({recorded(AGENTS, NOT_DRAINING)})"),
        ],
        (
            Column(
                "fleet",
                "Fleet",
                links=(link_to(FLEET_UID, "The fleet", ("namespace", "Namespace"), ("fleet", "Fleet")),),
            ),
            Column("Value #A", "Suggested minimum", width=150),
            Column("Value #E", "Suggested maximum", width=155),
            Column("Value #G", "Agents now", width=100),
            Column("Value #B", "Enough half of the time", width=175),
            Column("Value #C", "Enough 95% of the time", width=175),
            Column("Value #D", "Always enough", width=120),
            Column("Value #F", "Highest desired", width=130),
            Column("namespace", "Namespace", width=105),
        ),
    )


def _over_time() -> tuple[Placed, ...]:
    actual = f"sum by ({BY_FLEET}) ({recorded(AGENTS, NOT_DRAINING)})"
    return (
        Placed(
            graph(
                "Agents needed at the selected target, and actual agents",
                "Agents that the demand would have needed at the tasks per agent selected above, and actual agents.",
                [
                    Query(_agents_for(recorded(DEMAND)), f"{FLEET_LEGEND} at $target"),
                    Query(actual, f"{FLEET_LEGEND} actual", dashed=True),
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
                    Query(of_fleets("scaler_max_agents"), f"{FLEET_LEGEND} maximum", dashed=True),
                    Query(of_fleets("scaler_min_agents"), f"{FLEET_LEGEND} minimum", dashed=True),
                ],
                legend=LegendPlacement.RIGHT,
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
