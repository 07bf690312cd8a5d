"""How many agents an HPA chooses for a fleet's demand, which may differ from what the work needs.

Pure. After kubernetes.io, "Horizontal Pod Autoscaling" (algorithm details): within the tolerance around its target an
HPA changes nothing, and it stays between its minimum and its maximum. Scaling policies and stabilization only affect
how fast it gets there.
"""

from math import ceil

from exporter.fleet.model import AgentState, Fleet
from exporter.fleet.scaler_remarks import is_vendors

TOLERANCE = 0.1
"""`--horizontal-pod-autoscaler-tolerance` of the controller manager, unless the HPA sets its own."""


def hpa_agents(fleet: Fleet) -> int | None:
    """Return the number of agents at which an HPA that follows the fleet's demand settles.

    The demand is `demand_ahead_tasks` where an HPA has that metric. None while it is withheld, and if no single HPA
    follows it: there is none, several, or the vendor's.
    If HPAs cannot be read, one without bounds and with the default tolerance is assumed.
    """
    scalers = fleet.scalers
    ahead = scalers is not None and any("demand_ahead" in name for scaler in scalers for name in scaler.metrics)
    demand = fleet.demand_ahead_tasks if ahead else fleet.demand_tasks
    if demand is None or (scalers is not None and (len(scalers) != 1 or is_vendors(scalers[0]))):
        return None
    scaler = scalers[0] if scalers else None
    there = len(fleet.agents) - fleet.states[AgentState.DRAINING]
    current = there if scaler is None or scaler.current_agents is None else scaler.current_agents
    up, down = (scaler.tolerance_up, scaler.tolerance_down) if scaler is not None else (None, None)
    proposed = ceil(round(demand / fleet.target_tasks_per_agent, 9))
    if current:
        ratio = demand / (fleet.target_tasks_per_agent * current)
        if 1 - (TOLERANCE if down is None else down) <= ratio <= 1 + (TOLERANCE if up is None else up):
            proposed = current
    minimum = scaler.min_agents if scaler is not None and scaler.min_agents is not None else 0
    maximum = scaler.max_agents if scaler is not None and scaler.max_agents is not None else proposed
    return max(minimum, min(maximum, proposed))
