"""Remarks on a fleet beyond its figures, as sentences: the same on the page, in `status` and in JSON.

Pure. A remark states a fact and its consequence. What is wrong with a fleet is in `health`, why it is not trusted in
`Fleet.untrusted_reason`, why an agent is in its state in `explain`.
"""

from collections.abc import Callable, Iterator, Sequence

from exporter.fleet.explain import count, duration, named
from exporter.fleet.model import Fleet, IgnoredPod

Remark = Callable[[Fleet], Iterator[str]]


def remarks(fleet: Fleet) -> tuple[str, ...]:
    """Return the sentences that apply to the fleet now, most urgent first; none for a normal fleet."""
    return tuple(sentence for remark in _REMARKS for sentence in remark(fleet))


def ignored_remarks(pods: Sequence[IgnoredPod]) -> tuple[str, ...]:
    """Return a sentence for each reason why pods are ignored."""
    by_reason: dict[str, list[str]] = {}
    for pod in pods:
        by_reason.setdefault(pod.reason, []).append(f"{pod.namespace}/{pod.pod}")
    return tuple(_ignored(reason, names) for reason, names in by_reason.items())


def _ignored(reason: str, names: Sequence[str]) -> str:
    are = (
        "pod matches the selector but is not an agent"
        if len(names) == 1
        else "pods match the selector but are not agents"
    )
    return f"{len(names)} {are}: {named(names)} ({reason})"


def _unseen_queue(fleet: Fleet) -> Iterator[str]:
    if fleet.unseen_queue_tasks:
        yield (
            "every serving agent is full or refuses work, and none reports a queue: "
            f"{count(fleet.unseen_queue_tasks)} tasks are added to the demand for work that must be waiting unseen"
        )


def _scale_in(fleet: Fleet) -> Iterator[str]:
    kept = fleet.scale_in
    if kept.held_tasks:
        tasks = (
            "a task"
            if kept.max_tasks == 0
            else "more than 1 task"
            if kept.max_tasks == 1
            else (f"more than {kept.max_tasks} tasks")
        )
        yield (
            f"demand is held at {count(fleet.demand)} so that no agent with {tasks} is removed, "
            f"for {duration(kept.seconds_left)} more at most"
        )


def _never_heard(fleet: Fleet) -> Iterator[str]:
    if fleet.never_heard:
        yield (
            f"{fleet.never_heard} of {len(fleet.agents)} agents have never responded, for longer than an "
            "agent takes to "
            "start: they are excluded from all other figures"
        )


def _queue_alike(fleet: Fleet) -> Iterator[str]:
    if fleet.queue_alike:
        yield (
            "all agents report the same queue: if it is the fleet's and not each agent's own, it is counted once per "
            "agent; set capacity.queue to shared"
        )


_REMARKS: tuple[Remark, ...] = (_unseen_queue, _scale_in, _never_heard, _queue_alike)
