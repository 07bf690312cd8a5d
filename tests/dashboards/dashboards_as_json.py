"""The dashboards as Grafana reads them: the JSON files in the repository."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dashboards.build import FOLDER

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
EVENT_WORDS = ("step", "textFormat", "titleFormat")
"""Fields of an annotation that Grafana's schema leaves to the data source."""


@dataclass(frozen=True)
class Asked:
    """A PromQL query and where it stands."""

    dashboard: str
    panel: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.expr}"


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that show something, those inside closed rows too."""
    every = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", ()))]
    return [panel for panel in every if panel["type"] != "row"]


def _queries() -> Iterator[Asked]:
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel.get("targets", ()):
                if target["datasource"]["type"] == "prometheus":
                    yield Asked(name, panel["title"], target["expr"], bool(target.get("instant")))
        for event in dashboard["annotations"].get("list", ()):
            yield Asked(name, event["name"], event["expr"], instant=False)


QUERIES = tuple(_queries())
"""Every PromQL query of every dashboard: of its panels and of what its graphs mark."""


def cloudwatch_queries() -> Iterator[dict[str, Any]]:
    """Yield every CloudWatch query of every dashboard."""
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            yield from (t for t in panel.get("targets", ()) if t["datasource"]["type"] == "cloudwatch")


def substituted(expr: str, *, interval: str = "5m") -> str:
    """Return the query as Grafana sends it with every variable at All."""
    expr = re.sub(r"\$__rate_interval|\$\{__rate_interval\}", interval, expr).replace("$target", "16")
    expr = expr.replace("$__range", interval)
    return re.sub(r"\$(cluster|namespace|fleet|pod|job)\b", ".*", expr)
