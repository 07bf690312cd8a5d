"""The names of everything that can be on `/metrics`, for the checks of what reads it."""

from exporter.fleet.agent_figures import AGENT_FAMILIES, AGENT_FIGURES
from exporter.fleet.figures import FLEET_FAMILIES, FLEET_FIGURES, FLEET_HISTOGRAMS, SCALER_FIGURES
from exporter.publish.instruments import EXPORTER_METRICS, EXPORTER_PREFIX

FLEET_NAMES = frozenset(
    row.metric_name
    for row in (*FLEET_FAMILIES, *FLEET_HISTOGRAMS, *FLEET_FIGURES, *SCALER_FIGURES, *AGENT_FAMILIES, *AGENT_FIGURES)
    if row.metrics is True
)
"""Of the fleets, their scalers and their agents; a histogram without its suffixes."""
EXPORTER_NAMES = frozenset(EXPORTER_PREFIX + instrument.name for instrument in EXPORTER_METRICS)
"""Of the exporter itself; a histogram without its suffixes."""
