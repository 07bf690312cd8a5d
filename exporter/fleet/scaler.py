"""What autoscales a fleet, as Kubernetes reports it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """A status condition of an autoscaler: its status, reason and message."""

    holds: bool | None
    """None for the status `Unknown`."""
    reason: str = ""
    message: str = ""

    @property
    def why(self) -> str:
        """Reason and message on one line; empty without either."""
        return ": ".join(filter(None, (self.reason, self.message)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """A HorizontalPodAutoscaler (KEDA's too): the part that concerns the fleet it scales."""

    namespace: str
    name: str
    target: str
    """Name of the workload whose replicas it sets."""
    target_kind: str
    """Kind and group of that workload, such as `Deployment.apps`."""
    min_agents: int | None
    max_agents: int | None
    current_agents: int | None
    """Replicas it last saw."""
    desired_agents: int | None
    """Replicas of its last decision; None before the first."""
    active: Condition | None
    """`ScalingActive`: whether it gets its metrics. None while not reported."""
    able: Condition | None
    """`AbleToScale`: whether it can change the replicas."""
    limited: Condition | None
    """`ScalingLimited`: whether its minimum, maximum or scaling policies limit what its metrics call for."""
    keda: bool = False
    metrics: tuple[str, ...] = ()
    """Names of its metrics."""
    tolerance_up: float | None = None
    """Deviation from the target (a share) below which it adds no replicas; None for the cluster's default (0.1)."""
    tolerance_down: float | None = None
    """The same for removing replicas."""

    @property
    def switched_off(self) -> bool:
        """Whether it is disabled on purpose: its workload is scaled to 0."""
        return self.active is not None and self.active.reason == "ScalingDisabled"

    @property
    def asleep(self) -> bool:
        """Whether it has scaled its workload to 0 by itself: KEDA does so, and then disables its HPA."""
        return (self.keda and self.switched_off) or (self.min_agents == 0 and self.current_agents == 0)
