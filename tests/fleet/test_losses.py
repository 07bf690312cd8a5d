"""Tasks lost with an agent: which ends count, under which reason, and what they count."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.departure import LossReason
from exporter.fleet.losses import loss_reason, tasks_at_end
from exporter.fleet.model import AgentSnapshot, AgentStatus, PodFacts
from tests.factories import NOW, WALL_NOW, make_facts, make_reading, make_snapshot

DRAINING = {"draining_time": WALL_NOW - 60, "drain_deadline_time": WALL_NOW + 43_140}
OVERDUE = {"draining_time": WALL_NOW - 600, "drain_deadline_time": WALL_NOW - 1}


def ended(exit_code: int, reason: str = "Error", **fields: Any) -> PodFacts:
    """Return a pod whose container has just ended."""
    return make_facts(
        last_exit_code=exit_code, last_terminated_reason=reason, last_terminated_time=WALL_NOW - 1, **fields
    )


def agent(status: int = AgentStatus.RUNNING, **fields: Any) -> AgentSnapshot:
    return make_snapshot(reading=make_reading(7, status=status), facts=make_facts(**fields))


@pytest.mark.parametrize(
    ("before", "last", "reason"),
    [
        (agent(), ended(137, "OOMKilled"), LossReason.OOM_KILLED),
        (agent(**DRAINING), ended(137, "OOMKilled", **DRAINING), LossReason.OOM_KILLED),
        (agent(), ended(1), LossReason.ERROR),
        (agent(), ended(0, "Completed"), LossReason.ERROR),
        (agent(), ended(137, disruption="Evicted"), LossReason.EVICTED),
        (agent(**DRAINING), ended(137, disruption="EvictionByEvictionAPI", **DRAINING), LossReason.EVICTED),
        (agent(), ended(137, disruption="PreemptionByScheduler"), LossReason.PREEMPTED),
        (agent(), ended(143, disruption="Terminated"), LossReason.NODE_LOST),
        (agent(**DRAINING, disruption="DeletionByPodGC"), None, LossReason.NODE_LOST),
        (agent(**DRAINING), ended(137, **DRAINING), LossReason.GRACE_EXCEEDED),
        (agent(**OVERDUE), None, LossReason.GRACE_EXCEEDED),
        (agent(**OVERDUE), make_facts(**OVERDUE), LossReason.GRACE_EXCEEDED),
        (agent(**DRAINING), make_facts(**DRAINING), LossReason.DELETED),
        (agent(**DRAINING), None, LossReason.DELETED),
        (agent(), make_facts(draining_time=WALL_NOW, drain_deadline_time=WALL_NOW), LossReason.DELETED),
        (agent(**OVERDUE, drain_grace_seconds=0), make_facts(**OVERDUE), LossReason.DELETED),
        (agent(), None, LossReason.DELETED),
        (agent(), ended(137, **DRAINING), LossReason.DELETED),
    ],
    ids=[
        "OOM", "OOM in a drain", "crash", "exit 0 by itself", "kubelet eviction", "killed after an eviction",
        "preemption", "node shut down", "pod of a node that is gone", "killed in a drain", "unobserved, grace over",
        "grace over, no status", "forced in a drain", "unobserved in a drain", "forced",
        "forced, in two events", "unobserved",
        "killed without a grace period that was observed",
    ],
)  # fmt: skip
def test_reason_of_a_loss(before: AgentSnapshot, last: PodFacts | None, reason: LossReason) -> None:
    """The most specific thing Kubernetes reports is the reason."""
    assert loss_reason(before, last, WALL_NOW) is reason


@pytest.mark.parametrize(
    ("before", "last"),
    [
        (agent(**DRAINING), ended(0, "Completed", **DRAINING)),
        (agent(**DRAINING), ended(143, **DRAINING)),
        (agent(), ended(143, **DRAINING)),
        (agent(**DRAINING, disruption="EvictionByEvictionAPI"), ended(143, **DRAINING)),
        (agent(status=AgentStatus.SHUTTING_DOWN), ended(0, "Completed")),
        (make_snapshot(tasks_active=7), None),
    ],
    ids=["exit 0", "exit 143", "deletion and end at once", "eviction", "own shutdown", "static target"],
)
def test_clean_end_has_no_reason(before: AgentSnapshot, last: PodFacts | None) -> None:
    """An agent that ends by itself after SIGTERM has finished its tasks, whatever its last reading was."""
    assert loss_reason(before, last, WALL_NOW) is None


def test_a_previous_end_is_no_reason() -> None:
    """A container that was OOM killed an hour ago and is deleted now was deleted."""
    earlier = {"last_terminated_reason": "OOMKilled", "last_exit_code": 137, "last_terminated_time": WALL_NOW - 3600}
    assert loss_reason(agent(**earlier), make_facts(**earlier, draining_time=WALL_NOW), WALL_NOW) is LossReason.DELETED


REASONS = st.sampled_from((None, *LossReason))


@given(
    tasks=st.floats(0, 200),
    age=st.floats(0, 10_000),
    reason=REASONS,
    stale_after=st.floats(0, 600),
    gap=st.floats(0, 1_000),
)
def test_never_negative_and_only_of_a_current_reading(
    tasks: float, age: float, reason: LossReason | None, stale_after: float, gap: float
) -> None:
    """A loss is what the last reading showed, or unknown; a clean end is 0 whatever it showed."""
    snapshot = make_snapshot(tasks_active=tasks, age=age)
    lost = tasks_at_end(snapshot, reason, stale_after, NOW - gap)
    if reason is None:
        assert lost == 0
    elif reason is LossReason.NODE_LOST or NOW - gap - (NOW - age) <= stale_after:
        assert lost == tasks
    else:
        assert lost is None


def test_an_agent_that_was_never_read_lost_an_unknown_number() -> None:
    """No reading is not 0 tasks."""
    snapshot = make_snapshot(never_read=True, facts=make_facts())
    assert tasks_at_end(snapshot, LossReason.ERROR, 30, NOW) is None
    assert tasks_at_end(snapshot, None, 30, NOW) == 0
