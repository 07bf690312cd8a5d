"""How a fleet is classified: every number that a definition depends on."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleInPolicy:
    """Which agents a scale-in may remove, and for how long it waits for that; each field is a setting of `scale_in`."""

    max_tasks: int | None = None
    """Tasks with which an agent may be removed; None for any number."""
    patience: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How snapshots are classified. Times in seconds; each field is a setting of `capacity`, with its default here."""

    tasks_per_agent: int = 20
    """Tasks an agent runs at once. The vendor's EKS guide: "each agent pod can execute up to 20 concurrent tasks"."""
    target_tasks_per_agent: int = 16
    """The load per agent an autoscaler aims at. The vendor's advice for an HPA is 15 to 17."""
    stale_after: float = 30.0
    forget_after: float = 600.0
    max_sync_age: float = 120.0
    min_coverage: float = 0.5
    unknown_agents: Literal["hold", "full", "ignore"] = "hold"
    max_replaced: float = 0.25
    saturation_growth: float = 2.0
    saturated_after: float = 15.0
    hold_rollouts: bool = True
    queue: Literal["per_agent", "shared"] = "per_agent"
    never_heard_after: float = 900.0
    scale_in: ScaleInPolicy = ScaleInPolicy()

    @property
    def headroom(self) -> float:
        """Slots that agents have for each task that they are asked for."""
        return self.tasks_per_agent / self.target_tasks_per_agent
