"""What a plan assumes beyond the past: the agents, the nodes, the price, and how the fleet is scaled today."""

from dataclasses import dataclass
from math import floor
from typing import Literal
from zoneinfo import ZoneInfo

from exporter.fleet.policy import Policy

NODE_DOLLARS = 140.0
"""A month of an m5.xlarge (4 vCPU, 16 GiB), "~$140/month" in the vendor's guide to agents on EKS."""
MONTH_HOURS = 730.0
AGENTS_PER_NODE = 3
"""Of the vendor's smallest size (1 vCPU, 4 GiB) on it, beside what EKS and the system reserve."""
PRICE = round(NODE_DOLLARS / MONTH_HOURS / AGENTS_PER_NODE, 3)
"""Dollars for one hour of one agent."""
START_SECONDS = 90.0
"""From the HPA's decision to an agent that takes tasks: some 45 s on a node that is there, 180 s with a new one."""
START_RANGE = (1.0, 6 * 3600.0)
"""Seconds that a start can take."""
TASK_SECONDS = 300.0
"""How long a task runs on average. No figure is published."""
UTC = ZoneInfo("UTC")
TOLERATED = 1.1
"""By how much full agents must exceed the target for an HPA to see it: its tolerance is 10%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """How the fleet is scaled now."""

    agents: int | None = None
    """A fixed size; None if an HPA on CPU utilization scales it, as in the vendor's guide."""
    least: int = 2
    """Minimum of that HPA."""
    most: int | None = None
    """Its maximum; None for as many as the work takes, which is in its favor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What a plan is made with."""

    fleet: tuple[str, str] = ("matillion", "my-fleet")
    """Namespace and name, for the values of the chart."""
    named: bool = False
    """Whether that is a fleet's name, not a placeholder."""
    zone: ZoneInfo = UTC
    """Where the schedules are that start the work."""
    start_seconds: float = START_SECONDS
    start_source: Literal["assumed", "given", "measured"] = "assumed"
    """Where `start_seconds` comes from; measured: what nine of ten starts took, as a running exporter saw them."""
    task_seconds: float = TASK_SECONDS
    tasks_per_agent: int = Policy().tasks_per_agent
    target: int = Policy().target_tasks_per_agent
    """Tasks per agent that the HPA aims at."""
    least: int = 2
    """Agents at least: losing one is not losing all."""
    most: int | None = None
    """Agents at most; None for half as many again as the highest demand of the first half takes."""
    price: float = PRICE
    """Of one agent-hour."""
    price_given: bool = False
    agents_per_node: int = AGENTS_PER_NODE
    quantile: float = 0.75
    min_days: int = 3
    days: int = 28
    today: Today = Today()

    @property
    def headroom(self) -> float:
        """Return the slots that agents have for each task that they are asked for."""
        return self.tasks_per_agent / self.target

    @property
    def highest_target(self) -> int:
        """Return the highest target that full agents exceed by more than the HPA's tolerance."""
        return max(1, floor(self.tasks_per_agent / TOLERATED))
