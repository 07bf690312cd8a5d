"""What Kubernetes' reasons for a pod that does not run mean, and what to do about each.

Pure: a table. The names are those of kubelet and scheduler (kubernetes, pkg/kubelet/images, pkg/kubelet/container and
pkg/scheduler); an unknown one gets the general row.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodReason:
    """A reason in words. `{namespace}`, `{pod}` and `{workload}` in a fix are of the first pod concerned."""

    meaning: str
    fix: str
    runbook: str = "MatillionAgentNotStarting"
    cost: str = ""
    """What it costs a fleet, if the container is an agent's."""


OOM_KILLED, CRASH_LOOP, NO_NODE = "OOMKilled", "CrashLoopBackOff", "Pending"
STUCK, INITIALIZING = "ContainerCreating", "PodInitializing"
INIT = "Init:"
"""Prefix of the reasons of init containers, as kubectl shows them."""

_DESCRIBE = "kubectl -n {namespace} describe pod {pod}"
_PREVIOUS = "kubectl -n {namespace} logs {pod} --previous --tail=200"
_IMAGE = PodReason(
    "the node cannot get the image",
    f"check that the image and its tag exist, that the node may reach the registry (NAT gateway or endpoints) and is "
    f"allowed to pull (imagePullSecrets, or the node role for ECR): {_DESCRIBE} shows the registry's answer",
)
_CONFIG = PodReason(
    "a Secret, a ConfigMap or a key of one that the container needs does not exist",
    f"create it, or correct its name in the Deployment: {_DESCRIBE}",
)
_CREATE = PodReason(
    "the container runtime cannot create or start the container",
    f"check its command, its mounts and its security context: {_DESCRIBE}",
)
_REASONS = {
    CRASH_LOOP: PodReason(
        "the container ends soon after each start, so Kubernetes delays the next one",
        f"read why it ended: {_PREVIOUS}; if only pods of the newest version crash, undo the rollout "
        "(kubectl -n {namespace} rollout undo deployment {workload})",
        "MatillionAgentCrashLooping",
        "it gives no slots",
    ),
    OOM_KILLED: PodReason(
        "the container exceeded its memory limit and was killed",
        "raise the memory limit or move the largest jobs to another fleet; if memory grows slowly, restart the agents "
        f"in time and report a leak to the vendor: {_PREVIOUS}",
        "MatillionAgentOOMKilled",
        "every task on it was lost",
    ),
    "ImagePullBackOff": _IMAGE,
    "ErrImageNeverPull": _IMAGE,
    "InvalidImageName": PodReason(
        "the name of the image is malformed", "correct the image in the Deployment (in the chart's values: its tag)"
    ),
    "CreateContainerConfigError": _CONFIG,
    "CreateContainerError": _CREATE,
    "RunContainerError": _CREATE,
    "ContainerCannotRun": _CREATE,
    "StartError": _CREATE,
    "Unschedulable": PodReason(
        "no node has room for it or may run it",
        "let the node group grow (its maximum, the subnets' addresses and the quota), lower the pod's requests, or "
        f"lower the fleet's maximum; on Fargate check that a profile selects the namespace: {_DESCRIBE}",
    ),
    "SchedulingGated": PodReason(
        "a scheduling gate keeps it from the scheduler", f"see which controller has to remove the gate: {_DESCRIBE}"
    ),
    NO_NODE: PodReason(
        "no scheduler has considered it",
        f"check schedulerName and, on Fargate, that a profile selects the namespace: {_DESCRIBE}",
    ),
    STUCK: PodReason(
        "its container is not created: a missing volume, Secret or ConfigMap, a subnet without free addresses, or a "
        "large image",
        f"read the pod's events: {_DESCRIBE}",
    ),
    INITIALIZING: PodReason("its init containers have not ended", f"read their logs and the pod's events: {_DESCRIBE}"),
    "Error": PodReason(
        "the container ended with an error",
        f"read why: {_PREVIOUS}",
        "MatillionAgentRestarting",
        "every task on it was lost",
    ),
    "Completed": PodReason(
        "the container ended by itself, without an error", f"read why: {_PREVIOUS}", "MatillionAgentRestarting"
    ),
}
_GENERAL = PodReason("Kubernetes cannot run the container", f"read the pod's events: {_DESCRIBE}")
_ALIASES = {"ErrImagePull": "ImagePullBackOff"}
"""Reasons that alternate with another one."""
_EXIT_CODES = {
    125: "the container runtime failed",
    126: "its command cannot be executed",
    127: "its command was not found",
    137: "killed",
    139: "segmentation fault",
    143: "terminated",
}
"""Exit codes with a meaning by convention: a shell's, and 128 + the number of the signal (POSIX)."""


def canonical(reason: str) -> str:
    """Return the reason under which all pods with this trouble are counted."""
    prefix, bare = _split(reason)
    return prefix + _ALIASES.get(bare, bare)


def pod_reason(reason: str) -> PodReason:
    """Return a reason in words; for an init container those of the same trouble in it."""
    prefix, bare = _split(canonical(reason))
    found = _REASONS.get(bare, _GENERAL)
    if not prefix:
        return found
    fix = f"{found.fix}; the log is that of the init container: add -c NAME"
    return PodReason(f"an init container: {found.meaning}", fix)


def exit_code(code: int) -> str:
    """Return an exit code with its meaning, if it has one by convention."""
    meaning = _EXIT_CODES.get(code)
    return f"exit code {code}" + (f" ({meaning})" if meaning else "")


def _split(reason: str) -> tuple[str, str]:
    bare = reason.removeprefix(INIT)
    return reason[: len(reason) - len(bare)], bare
