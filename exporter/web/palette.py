"""The colors of figures and states: one palette for the status page and the Grafana dashboards.

By Grafana's names, since a dashboard names its colors; `static/page.css` has the same ones as variables, in the shades
of Grafana's light and dark themes (grafana-data, `createVisualizationColors`), and a test compares them.
"""

from collections.abc import Mapping

from exporter.fleet.model import AgentState

CAPACITY, RUNNING, QUEUED, DEMAND, FORECAST, LOST = (
    "#808080", "blue", "dark-orange", "purple", "semi-dark-green", "red",
)  # fmt: skip
"""What charts of tasks draw."""
HELD = "semi-dark-yellow"
"""Work that is assumed or added, in a chart of the parts of a demand."""

FIGURES: Mapping[str, str] = {
    "capacity": CAPACITY,
    "running": RUNNING,
    "queued": QUEUED,
    "demand": DEMAND,
    "forecast": FORECAST,
    "held": HELD,
    "lost": LOST,
}
"""By the words that stand for them in legends."""

STATES: Mapping[AgentState, str] = {
    AgentState.SERVING: "green",
    AgentState.STARTING: "blue",
    AgentState.DRAINING: "yellow",
    AgentState.DISCONNECTED: "red",
    AgentState.STOPPED: "red",
    AgentState.UNREACHABLE: "orange",
}

SHADES: Mapping[str, tuple[str, str]] = {
    "#808080": ("#808080", "#808080"),
    "blue": ("#3274d9", "#5794f2"),
    "dark-orange": ("#e55400", "#fa6400"),
    "orange": ("#ff780a", "#ff9830"),
    "purple": ("#a352cc", "#b877d9"),
    "semi-dark-green": ("#37872d", "#56a64b"),
    "green": ("#56a64b", "#73bf69"),
    "semi-dark-yellow": ("#e0b400", "#f2cc0c"),
    "yellow": ("#f2cc0c", "#fade2a"),
    "red": ("#e02f44", "#f2495c"),
}
"""What Grafana draws for a name in its light and in its dark theme."""
