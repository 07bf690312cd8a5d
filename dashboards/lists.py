"""Tables of the selected fleets and of their alerts; each row leads on: to its agents, the status page, the runbook."""

from alerts.prometheus.recording import ACTIVE, AGENTS, CAPACITY, DESIRED, QUEUED, UTILIZATION
from dashboards.annotations import firing
from dashboards.frame import AGENTS_UID, link_to, link_to_page
from dashboards.panels import FULLNESS, GREEN, ORANGE, RED, YELLOW, Column, Names, Placed, Query, listing
from dashboards.queries import BY_FLEET, HEALTH_NUMBERS, health_number, of_fleets, recorded
from exporter.fleet.health import Word

_SERVING = 'state="serving"'
_TRUST = {0: ("withheld", RED), 1: ("trusted", GREEN)}
_WORD_COLORS = {Word.OK: GREEN, Word.DEGRADED: YELLOW, Word.DATA_INCOMPLETE: ORANGE, Word.DOWN: RED}
HEALTH: Names = {number: (word.value, _WORD_COLORS[word]) for word, number in HEALTH_NUMBERS.items()}


def fleets() -> Placed:
    """Return the table of fleets."""
    table = listing(
        "Fleets",
        "The selected fleets as they are now. Click a fleet to open its agents, here or on the status page.",
        [
            Query(f"sum by ({BY_FLEET}) ({recorded(AGENTS, _SERVING)})"),
            Query(recorded(ACTIVE)),
            Query(recorded(CAPACITY)),
            Query(recorded(QUEUED)),
            Query(recorded(UTILIZATION)),
            Query(recorded(DESIRED)),
            Query(of_fleets("trusted")),
            Query(health_number()),
        ],
        (
            Column("namespace", "Namespace"),
            Column("fleet", "Fleet"),
            Column("Value #H", "Health", names=HEALTH),
            Column("Value #A", "Serving"),
            Column("Value #B", "Running"),
            Column("Value #C", "Capacity"),
            Column("Value #D", "Queued"),
            Column("Value #E", "Utilization", "percentunit", FULLNESS, decimals=0),
            Column("Value #F", "Desired agents"),
            Column("Value #G", "Demand", names=_TRUST),
        ),
        links=(
            link_to(AGENTS_UID, "Agents of the fleet", ("namespace", "Namespace"), ("fleet", "Fleet")),
            link_to_page("Fleet on the status page", "/?fleet=${__data.fields.Namespace}/${__data.fields.Fleet}"),
        ),
    )
    return Placed(table, 14, 9)


def alerts() -> Placed:
    """Return the table of firing alerts."""
    names = (("namespace", "Namespace"), ("fleet", "Fleet"), ("pod", "Pod"))
    query = "&".join(f"{name}=${{__data.fields.{column}}}" for name, column in names)
    table = listing(
        "Firing alerts",
        "Click an alert to open its runbook, with its names filled in. Empty when no alert is firing, and also while "
        "the alerting rules are not loaded.",
        [Query(firing())],
        (
            Column("alertname", "Alert"),
            Column("severity", "Severity"),
            Column("namespace", "Namespace"),
            Column("fleet", "Fleet"),
            Column("pod", "Pod"),
        ),
        links=(
            link_to_page("Runbook", f"/runbooks/${{__data.fields.Alert}}?{query}"),
            link_to(AGENTS_UID, "Agents of the fleet", ("namespace", "Namespace"), ("fleet", "Fleet")),
        ),
    )
    return Placed(table, 10, 9)
