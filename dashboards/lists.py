"""Tables of the selected fleets and of their alerts; each row leads on: to its agents, the status page, the runbook."""

from alerts.prometheus.recording import ACTIVE, AGENTS, CAPACITY, DESIRED, QUEUED, UTILIZATION
from dashboards.annotations import firing
from dashboards.frame import AGENTS_UID, link_to, link_to_page
from dashboards.panels import BLUE, FULLNESS, GREEN, ORANGE, RED, YELLOW, Column, Names, Placed, Query, listing
from dashboards.queries import HEALTH_NUMBERS, by_fleet, health_number, recorded
from exporter.fleet.health import Word

_SERVING = 'state="serving"'
_WORD_COLORS = {Word.OK: GREEN, Word.DEGRADED: YELLOW, Word.DATA_INCOMPLETE: ORANGE, Word.DOWN: RED}
HEALTH: Names = {number: (word.value, _WORD_COLORS[word]) for word, number in HEALTH_NUMBERS.items()}
_SEVERITIES: Names = {name: (name, color) for name, color in (("critical", RED), ("warning", ORANGE), ("info", BLUE))}


def fleets() -> Placed:
    """Return the table of fleets."""
    table = listing(
        "Fleets",
        "The selected fleets as they are now, the worst first. Click a fleet to open its agents, here or on the status "
        "page.",
        [
            Query(health_number()),
            Query(by_fleet(recorded(AGENTS, _SERVING))),
            Query(by_fleet(recorded(DESIRED))),
            Query(by_fleet(recorded(ACTIVE))),
            Query(by_fleet(recorded(QUEUED))),
            Query(by_fleet(recorded(CAPACITY))),
            Query(by_fleet(recorded(UTILIZATION))),
        ],
        (
            Column("Value #A", "Health", names=HEALTH, width=120),
            Column(
                "fleet",
                "Fleet",
                width=140,
                links=(
                    link_to(AGENTS_UID, "Agents of the fleet", ("namespace", "Namespace"), ("fleet", "Fleet")),
                    link_to_page(
                        "Fleet on the status page", "/?fleet=${__data.fields.Namespace}/${__data.fields.Fleet}"
                    ),
                ),
            ),
            Column("Value #B", "Serving", width=72),
            Column("Value #C", "Desired", width=72),
            Column("Value #D", "Running", width=74),
            Column("Value #E", "Queued", width=74),
            Column("Value #F", "Slots", width=60),
            Column("Value #G", "Utilization", "percentunit", FULLNESS, decimals=0, width=92),
            Column("namespace", "Namespace", width=100),
        ),
        by=("Health", True),
    )
    return Placed(table, 14)


def alerts() -> Placed:
    """Return the table of firing alerts."""
    names = (("namespace", "Namespace"), ("fleet", "Fleet"), ("pod", "Pod"))
    query = "&".join(f"{name}=${{__data.fields.{column}}}" for name, column in names)
    table = listing(
        "Firing alerts",
        "Critical ones first. Click an alert to open its runbook, with its names filled in. If it is empty, the figure "
        "above tells whether none is firing, or no rules are loaded.",
        [Query(firing())],
        (
            Column("severity", "Severity", names=_SEVERITIES, width=85),
            Column(
                "alertname",
                "Alert",
                width=235,
                links=(
                    link_to_page("Runbook", f"/runbooks/${{__data.fields.Alert}}?{query}"),
                    link_to(AGENTS_UID, "Agents of the fleet", ("namespace", "Namespace"), ("fleet", "Fleet")),
                ),
            ),
            Column("fleet", "Fleet", width=110),
            Column("pod", "Pod", width=150),
            Column("namespace", "Namespace", width=105),
        ),
        # By the alphabet: critical, info, warning.
        by=("Severity", False),
        empty="no alert is firing, or no rules are loaded",
    )
    return Placed(table, 10)
