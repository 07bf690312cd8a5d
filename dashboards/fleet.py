"""Dashboard 1, "Matillion fleet": the capacity of a fleet, its load, and whether the figures can be trusted."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.common import LegendPlacement

from alerts.prometheus.labels import OUT_OF_WORK
from alerts.prometheus.recording import (
    ACTIVE,
    AGENTS,
    CAPACITY,
    COVERAGE,
    DEMAND,
    DESIRED,
    FREE_SLOTS,
    HEALTH,
    QUEUED,
    UTILIZATION,
)
from alerts.settings import Settings
from dashboards import annotations, lists
from dashboards.frame import CLUSTER, FLEET, FLEET_UID, NAMESPACE, framed
from dashboards.panels import (
    BLUE,
    COUNT,
    FULLNESS,
    GREEN,
    RED,
    YELLOW,
    Column,
    Placed,
    Query,
    Section,
    Steps,
    figure,
    graph,
    listing,
    timeline,
)
from dashboards.queries import (
    BY_FLEET,
    FLEET_LEGEND,
    MANY_FLEETS,
    NOT_DRAINING,
    OF_FLEET,
    by_fleet,
    health_number,
    of_fleets,
    recorded,
    total,
    whole,
    worst_healths,
)
from exporter.fleet.figures import FLEET_HISTOGRAMS
from exporter.fleet.health import Word
from exporter.fleet.model import AgentState
from exporter.fleet.outlets import PREFIX
from exporter.forecast.forecaster import MIN_SKILL
from exporter.web import palette

_SERVING = 'state="serving"'
_NOT_OK = f'health!="{Word.OK}"'


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    return framed(
        FLEET_UID,
        "Matillion fleet",
        "Capacity and load of the fleets, and whether the figures can be trusted.",
        (CLUSTER, NAMESPACE, FLEET),
        (
            # What is wrong comes first, and on a laptop's first screen.
            Section("Now", (*_trouble(), *_load(), lists.fleets(), lists.alerts(), _health())),
            Section("Work", _work()),
            Section("Agents", _agents()),
            Section("Forecast", _forecast(), closed=True),
        ),
        events=annotations.of_fleets(),
    )


def _health() -> Placed:
    panel = timeline(
        "Health",
        "Each fleet's health in one word, as on the status page: down (no agent serves), data incomplete (its figures "
        "are not trusted), degraded, or ok. The page has the reasons. Of more than "
        f"{MANY_FLEETS} fleets, those that were worst in the time shown; choose others by fleet.",
        [Query(f"{health_number()} and on ({BY_FLEET}) topk({MANY_FLEETS}, {worst_healths()})", FLEET_LEGEND)],
        lists.HEALTH,
    )
    return Placed(panel, 24, 6)


def _trouble() -> tuple[Placed, ...]:
    return (
        _figure(
            "Alerts firing",
            "Alerts on the selected fleets, their agents and the exporter. No data while no rules are loaded.",
            # Without a firing alert there is no series, which means zero only where the rules are loaded.
            f"count({annotations.firing()}) or 0 * {total(CAPACITY)}",
            ((None, GREEN), (1, RED)),
        ),
        _figure(
            "Fleets not ok",
            "Selected fleets that are degraded, down, or have incomplete data.",
            f"sum({by_fleet(recorded(HEALTH, _NOT_OK))})",
            ((None, GREEN), (1, RED)),
        ),
        _figure(
            "Unavailable agents",
            "Agents that are disconnected, stopped or unreachable.",
            total(AGENTS, f'state=~"{OUT_OF_WORK}|unreachable"'),
            ((None, GREEN), (1, RED)),
        ),
        _figure(
            "Lowest coverage",
            "Share of the agents that should answer and do, in the fleet with the lowest.",
            f"min({recorded(COVERAGE)})",
            ((None, RED), (Settings().coverage_low, YELLOW), (1, GREEN)),
            unit="percentunit",
        ),
    )


def _load() -> tuple[Placed, ...]:
    return (
        _figure(
            "Utilization",
            "Running tasks as a share of all task slots of the selected fleets. Scaling targets 80% (16 of 20).",
            f"({whole(recorded(ACTIVE))}) / ({total(CAPACITY)} > 0)",
            FULLNESS,
            unit="percentunit",
        ),
        _figure(
            "Free slots",
            "Tasks that the serving agents could start right now.",
            total(FREE_SLOTS),
            ((None, RED), (1, YELLOW), (5, GREEN)),
        ),
        _figure(
            "Queued tasks",
            "Tasks that wait for a slot, on the agents that report a queue. Agents with an old image do not: if all "
            "are old, there is no data.",
            total(QUEUED),
            ((None, GREEN), (1, YELLOW), (20, RED)),
        ),
        _figure(
            "Serving agents",
            "Agents that answer, are connected and take tasks.",
            total(AGENTS, _SERVING),
            ((None, BLUE),),
        ),
    )


def _figure(title: str, description: str, query: str, limits: Steps, *, unit: str = COUNT) -> Placed:
    return Placed(figure(title, description, [Query(query)], unit=unit, limits=limits, decimals=0), 6, 3)


def _work() -> tuple[Placed, ...]:
    return (
        Placed(
            graph(
                "Tasks and capacity",
                "Running and queued tasks of the selected fleets against the slots of their serving agents. Tasks on "
                "draining agents no longer take one of these slots.",
                [
                    Query(total(CAPACITY), "capacity", palette.CAPACITY, dashed=True),
                    Query(whole(recorded(ACTIVE)), "running", palette.RUNNING),
                    Query(total(QUEUED), "queued", palette.QUEUED),
                    Query(
                        f"sum({of_fleets('tasks_draining')})", "on draining agents", palette.STATES[AgentState.DRAINING]
                    ),
                ],
            ),
            12,
            9,
        ),
        Placed(
            graph(
                "Demand, desired and actual agents",
                "Desired: the agents needed to run the demand at the target load; missing while the demand of a fleet "
                "is withheld. Actual: all agents that are not draining, as a Deployment counts its replicas. HPA: its "
                "limits, the replicas that it sees, and what it decided; no data without one.",
                [
                    Query(whole(recorded(DESIRED)), "desired", palette.DEMAND),
                    Query(total(AGENTS, NOT_DRAINING), "actual", palette.RUNNING),
                    Query(total(AGENTS, _SERVING), "serving", palette.STATES[AgentState.SERVING]),
                    Query(_scaler("min"), "HPA minimum", palette.CAPACITY, dashed=True),
                    Query(_scaler("max"), "HPA maximum", palette.LOST, dashed=True),
                    Query(_scaler("current"), "HPA current", palette.QUEUED, dashed=True),
                    Query(_scaler("desired"), "HPA desired", palette.DEMAND, dashed=True),
                ],
            ),
            12,
            9,
        ),
        Placed(
            graph(
                "Components of demand",
                "Held: tasks assumed on unreachable agents. Replacement: capacity requested in place of agents that "
                "are stopped, disconnected or crash looping. Unseen queue: tasks that must be waiting because every "
                "agent is full and none reports a queue. Scale-in: tasks added so that only agents with little work "
                "are removed. The rest is running or queued. The demand is missing while that of one of the fleets is "
                "withheld.",
                [
                    Query(whole(recorded(DEMAND)), "demand", palette.DEMAND),
                    Query(f"sum({of_fleets('held_tasks')})", "held", palette.HELD),
                    Query(f"sum({of_fleets('replacement_tasks')})", "replacement", "light-blue"),
                    Query(f"sum({of_fleets('unseen_queue_tasks')})", "unseen queue", palette.QUEUED),
                    Query(f"sum({of_fleets('scale_in_held_tasks')})", "scale-in", "light-purple"),
                ],
            ),
            8,
        ),
        Placed(
            graph(
                "Utilization by fleet",
                "Tasks on the serving agents as a share of their slots. Interactive tasks, which have no limit, can "
                "raise it above 100%.",
                [Query(recorded(UTILIZATION), FLEET_LEGEND)],
                unit="percentunit",
                limits=FULLNESS,
            ),
            8,
        ),
        Placed(
            graph(
                "Free slots by fleet",
                "Tasks that the serving agents of each fleet could start. At 0, new tasks wait, visible or not.",
                [Query(recorded(FREE_SLOTS), FLEET_LEGEND)],
            ),
            8,
        ),
    )


def _scaler(figure: str) -> str:
    return f"sum({of_fleets(f'scaler_{figure}_agents')})"


def _forecast() -> tuple[Placed, ...]:
    unknown = "No data without the setting `forecast`"
    table = listing(
        "Forecast by fleet",
        "Skill: how much the forecast would have helped in the last days, 1 at best: the share of waiting avoided less "
        f"twice the share of agent-hours added; below {MIN_SKILL} the forecast is withheld. Ahead: how far it looks, "
        "as long as a new agent takes until it works. Age: since the past that it is made from was last read; it grows "
        f"while the source fails, and the last past stays in use. {unknown}, and while the history is too short.",
        [
            Query(of_fleets("forecast_skill_ratio")),
            Query(of_fleets("forecast_lead_seconds")),
            Query(f"time() - {of_fleets('forecast_past_timestamp_seconds')}"),
        ],
        (
            Column("fleet", "Fleet"),
            Column("Value #A", "Skill", limits=((None, YELLOW), (MIN_SKILL, GREEN)), decimals=2, width=65),
            Column("Value #B", "Ahead", "s", decimals=0, width=80),
            Column("Value #C", "Age", "s", ((None, GREEN), (3600, YELLOW), (86400, RED)), decimals=0, width=80),
            Column("namespace", "Namespace", width=105),
        ),
    )
    return (
        Placed(
            graph(
                "Demand and forecast",
                "Of each selected fleet. The forecast at a time is the highest demand expected from then until the "
                "lead time has passed: it should rise that long before the demand does. It is missing while it is "
                f"withheld. {unknown}.",
                [
                    Query(recorded(DEMAND), f"{FLEET_LEGEND} demand"),
                    Query(of_fleets("forecast_tasks"), f"{FLEET_LEGEND} forecast", dashed=True),
                ],
                legend=LegendPlacement.RIGHT,
            ),
            15,
        ),
        Placed(table, 9),
    )


def _agents() -> tuple[Placed, ...]:
    return (
        Placed(
            graph(
                "Agents by state",
                "Every agent is in exactly one state.",
                [Query(f"sum by (state) ({recorded(AGENTS)}) > 0", "{{state}}")],
                stacked=True,
                colors={state.value: color for state, color in palette.STATES.items()},
            ),
            8,
        ),
        Placed(
            graph(
                "Agents without a free slot",
                "Serving agents that run as many tasks as they have slots, by fleet.",
                [Query(of_fleets("agents_saturated"), FLEET_LEGEND)],
            ),
            8,
        ),
        Placed(
            graph(
                "Coverage",
                "Share of the agents that should answer and do. Below the line, demand is withheld from every scaler.",
                [Query(recorded(COVERAGE), FLEET_LEGEND)],
                unit="percentunit",
                limits=((None, RED), (Settings().coverage_low, GREEN)),
            ),
            8,
        ),
        Placed(
            graph(
                "Lost tasks",
                "Tasks that were running on agents that were killed or deleted within 15 minutes, by reason.",
                [
                    Query(
                        f"sum by (reason) (max by ({BY_FLEET}, reason) "
                        f"(round(increase({PREFIX}tasks_lost_total{{{OF_FLEET}}}[15m]))))",
                        "{{reason}}",
                    )
                ],
                stacked=True,
            ),
            12,
        ),
        Placed(
            graph(
                "Start of agents",
                "Time from the creation of an agent's pod to its first reading, median and 90th percentile of the "
                "preceding day: how long before the work a pod must be created. No data without a start that day.",
                [
                    Query(_start_quantile(0.5), f"{FLEET_LEGEND} median"),
                    Query(_start_quantile(0.9), f"{FLEET_LEGEND} p90"),
                ],
                unit="s",
            ),
            12,
        ),
    )


def _start_quantile(quantile: float) -> str:
    """Return a quantile of the starts in the preceding day: agents may start only once a night."""
    [row] = FLEET_HISTOGRAMS
    starts = f"increase({row.metric_name}_bucket{{{OF_FLEET}}}[1d])"
    # Without a start that day the quantile is not a number, which a graph draws as a name without a line.
    return f"histogram_quantile({quantile}, max by ({BY_FLEET}, le) ({starts})) > 0"
