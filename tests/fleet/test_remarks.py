"""Remarks: what a person should know of a fleet beyond its figures."""

from dataclasses import replace

from exporter.fleet.model import IgnoredPod
from exporter.fleet.remarks import ignored_remarks, remarks
from tests.factories import make_fleet


def test_a_usual_fleet_has_none() -> None:
    """Nothing to say of agents at work."""
    assert remarks(make_fleet()) == ()


def test_each_remark_has_a_fact_and_its_consequence() -> None:
    """In the order of their urgency."""
    fleet = replace(make_fleet(), unseen_queue_tasks=48.0, never_heard=1, queue_alike=True)
    unseen, never, alike = remarks(fleet)
    assert "none reports a queue: 48 tasks are added to the demand" in unseen
    assert never.startswith("1 of 1 agents have never responded")
    assert "set capacity.queue to shared" in alike


def test_ignored_pods_are_reported_by_reason() -> None:
    """A few are named, the others counted; of no pod nothing is said."""
    assert ignored_remarks(()) == ()
    job = [IgnoredPod("matillion", f"job-{number}", "it belongs to a Job") for number in range(5)]
    assert ignored_remarks([job[0], IgnoredPod("b", "ssh-0", "it has no port"), *job[1:]]) == (
        (
            "5 pods match the selector but are not agents: matillion/job-0, matillion/job-1, matillion/job-2 "
            "and 2 more "
            "(it belongs to a Job)"
        ),
        "1 pod matches the selector but is not an agent: b/ssh-0 (it has no port)",
    )
