"""Why a pod's agent does not run yet."""

from typing import Any

import pytest

from exporter.discovery.pod_waiting import MAX_MESSAGE_LENGTH, MAX_REASON_LENGTH, Waiting, waiting

INITIALIZING = {"waiting": {"reason": "PodInitializing"}}


def scheduled(status: str, **said: Any) -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": status, **said}]}


def stuck(*states: dict[str, Any]) -> dict[str, Any]:
    return {"initContainerStatuses": [{"name": f"init-{number}", "state": one} for number, one in enumerate(states)]}


@pytest.mark.parametrize("reason", ["Unschedulable", "SchedulingGated"])
def test_scheduler_reports_why_there_is_no_node(reason: str) -> None:
    """Without a node no container has anything to say."""
    status = scheduled("False", reason=reason, message="0/3 nodes are available: 3 Insufficient cpu.")
    assert waiting(status, {}) == Waiting(reason, "0/3 nodes are available: 3 Insufficient cpu.")


def test_no_node_needs_no_reason() -> None:
    """That it is not scheduled is one."""
    assert waiting(scheduled("False"), {}) == Waiting("Unschedulable")
    assert waiting(scheduled("True"), {}) == Waiting()
    assert waiting({}, {}) == Waiting()


def test_container_reports_why_it_waits() -> None:
    """With what Kubernetes adds to it."""
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
    assert waiting(scheduled("True"), state) == Waiting("ImagePullBackOff", 'Back-off pulling image "x"')
    assert waiting({}, {"waiting": {"reason": "ContainerCreating"}}) == Waiting("ContainerCreating")


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([{"waiting": {"reason": "ImagePullBackOff"}}], "Init:ImagePullBackOff"),
        ([{"terminated": {"exitCode": 0}}, {"waiting": {"reason": "CrashLoopBackOff"}}], "Init:CrashLoopBackOff"),
        ([{"terminated": {"exitCode": 1, "reason": "Error"}}, INITIALIZING], "Init:Error"),
        ([{"terminated": {"exitCode": 137, "reason": "OOMKilled"}}], "Init:OOMKilled"),
        ([{"terminated": {"exitCode": 1}}], "Init:Error"),
        ([{"running": {}}, INITIALIZING], "PodInitializing"),
        ([{"terminated": {"exitCode": 0}}, INITIALIZING], "PodInitializing"),
        ([{}], "PodInitializing"),
    ],
)
def test_init_container_that_is_stuck_is_why_the_agent_waits(states: list[dict[str, Any]], reason: str) -> None:
    """In kubectl's spelling; one that runs or waits for its turn is no trouble."""
    assert waiting(stuck(*states), INITIALIZING).reason == reason


def test_init_container_is_heard_before_the_agents_status_is_there() -> None:
    """A kubelet may report one before the other."""
    assert waiting(stuck({"waiting": {"reason": "ErrImagePull"}}), {}).reason == "Init:ErrImagePull"


@pytest.mark.parametrize("state", [{"running": {}}, {"terminated": {}}])
def test_what_ran_does_not_wait_for_a_sidecar(state: dict[str, Any]) -> None:
    """An init container that stays beside the agent may crash while the agent runs."""
    assert waiting(stuck({"waiting": {"reason": "CrashLoopBackOff"}}), state) == Waiting()


def test_agents_own_trouble_comes_before_an_init_containers() -> None:
    """It had its turn already."""
    own = {"waiting": {"reason": "CrashLoopBackOff"}}
    assert waiting(stuck({"waiting": {"reason": "ErrImagePull"}}), own).reason == "CrashLoopBackOff"


def test_texts_are_one_line_of_bounded_length() -> None:
    """They go into a label, a page and a terminal."""
    said = {"reason": "A" * 1000, "message": "one\n\ttwo \x1b[31m\u202ered" + " and more" * 100}
    found = waiting({}, {"waiting": said})
    assert found.reason is not None
    assert found.message is not None
    assert len(found.reason) == MAX_REASON_LENGTH
    assert len(found.message) == MAX_MESSAGE_LENGTH
    assert found.message.startswith("one two [31m red and more")
    assert found.message.isprintable()


@pytest.mark.parametrize("odd", [None, 5, "x", [], [None], {"waiting": 5}, {"waiting": {"reason": 5, "message": []}}])
def test_nonsense_is_ignored(odd: Any) -> None:
    """And is never an error."""
    assert waiting({"initContainerStatuses": odd, "conditions": odd}, odd if isinstance(odd, dict) else {}) == Waiting()
    assert waiting({"initContainerStatuses": [odd, {"state": odd}]}, {}) == Waiting()
