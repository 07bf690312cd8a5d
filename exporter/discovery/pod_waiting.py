"""Why a pod's agent does not run yet, in Kubernetes' words. Pure, and total."""

from dataclasses import dataclass

from exporter.kube.fields import Json, condition, line, mapping, mappings, text

MAX_REASON_LENGTH = 100
"""Characters. It becomes a label of a series; Kubernetes' own are a quarter of that."""
MAX_MESSAGE_LENGTH = 200
"""Characters. The scheduler's message on many nodes, or a registry's on an image, is unbounded otherwise."""

_BEFORE_ITS_TURN = frozenset({"PodInitializing", "ContainerCreating"})
"""What a container waits for while others have to end first."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run; all None where it does not wait."""

    reason: str | None = None
    message: str | None = None


def waiting(status: Json, state: Json) -> Waiting:
    """Return why the agent's container, whose state is given, waits.

    The scheduler's reason is first (`Unschedulable`, `SchedulingGated`): without a node there is no container. One that
    waits for its turn gives the reason of the init container before it, marked as kubectl does: `Init:ErrImagePull`.
    """
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _waiting(scheduled, "Unschedulable")
    if "running" in state or "terminated" in state:
        return Waiting()
    own = _waiting(mapping(state.get("waiting")))
    if own.reason is None or own.reason in _BEFORE_ITS_TURN:
        return _of_init_containers(status) or own
    return own


def _of_init_containers(status: Json) -> Waiting | None:
    """Return why the first stuck init container waits; None where none is stuck."""
    for container in mappings(status.get("initContainerStatuses")):
        state = mapping(container.get("state"))
        waits, ended = mapping(state.get("waiting")), mapping(state.get("terminated"))
        if ended and ended.get("exitCode") != 0:
            return _waiting(ended, "Error", "Init:")
        if text(waits.get("reason")) not in {None, *_BEFORE_ITS_TURN}:
            return _waiting(waits, prefix="Init:")
    return None


def _waiting(entry: Json, default: str | None = None, prefix: str = "") -> Waiting:
    reason = line(entry.get("reason"), MAX_REASON_LENGTH) or default
    if reason is None:
        return Waiting()
    return Waiting(prefix + reason, line(entry.get("message"), MAX_MESSAGE_LENGTH) or None)
