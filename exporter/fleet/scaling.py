"""What an HPA makes of a fleet's demand: not always the agents that the work takes.

Pure. After kubernetes.io, "Horizontal Pod Autoscaling" (algorithm details): within its tolerance around the target an
HPA changes nothing, and what it proposes lies between its minimum and its maximum. Its pace and its stabilisation
decide when it gets there; where it ends up is said here.
"""

from math import ceil

from exporter.fleet.model import AgentState, Fleet
from exporter.fleet.scaler_remarks import is_vendors

TOLERANCE = 0.1
"""`--horizontal-pod-autoscaler-tolerance` of the controller manager, where the HPA itself says nothing else."""


def hpa_agents(fleet: Fleet) -> int | None:
    """Return how many agents an HPA that goes by the fleet's demand settles at, if nothing changes.

    None while the demand is withheld, and where none does: there is no HPA, there are several, or it is the vendor's.
    Where nobody may read HPAs, one without bounds and with the usual tolerance is assumed.
    """
    demand, scalers = fleet.demand_tasks, fleet.scalers
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
    least = scaler.min_agents if scaler is not None and scaler.min_agents is not None else 0
    most = scaler.max_agents if scaler is not None and scaler.max_agents is not None else proposed
    return max(least, min(most, proposed))
