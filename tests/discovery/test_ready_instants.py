"""When a pod became Ready: by our clock where we saw it, by its own where we did not."""

import pytest

from exporter.discovery.pods import ReadyInstants

NOW, WALL = 1000.0, 50_000.0


class Watched:
    """Instants on clocks that the test sets."""

    def __init__(self) -> None:
        self.now, self.wall = NOW, WALL
        self.instants = ReadyInstants(lambda: self.now, lambda: self.wall)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def see(self, uid: str = "a", *, skew: float = 0.0, ago: float = 0.0, ready: bool = True) -> float | None:
        """See a pod whose node's clock is ahead of ours by `skew`, and that changed so many seconds ago."""
        return self.instants(uid, ready, self.wall + skew - ago)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_ready_before_we_came_is_dated_by_its_own_time(watched: Watched) -> None:
    """After a restart of this process, a pod that runs for long is not taken for a new one."""
    assert watched.see(ago=7200) == NOW - 7200
    assert watched.see("from the future", ago=-60) == NOW
    assert watched.instants("unsaid", True, None) == NOW


@pytest.mark.parametrize("skew", [-40.0, 40.0, -86_400.0])
def test_ready_under_our_watch_is_dated_by_our_clock(watched: Watched, skew: float) -> None:
    """A node whose clock is 40 s behind must not make agents that became Ready 5 s ago unreachable in a scale-up."""
    assert watched.see(ready=False, skew=skew) is None
    watched.instants.current()
    watched.pass_by(60)
    instant = watched.see(skew=skew)
    assert instant == watched.now
    transition = watched.wall + skew
    watched.pass_by(5)
    watched.wall += 1000
    assert watched.instants("a", True, transition) == instant, "an event later, and after a step of our wall clock"
    watched.pass_by(5)
    assert watched.see(ready=False) is None
    watched.pass_by(5)
    assert watched.see(skew=skew) == watched.now, "it became Ready again"


def test_change_of_a_ready_pod_was_seen_too(watched: Watched) -> None:
    """A watch that merges two changes into one shows only that the time of the condition is another."""
    watched.see(ago=7200)
    watched.instants.current()
    watched.pass_by(60)
    assert watched.see(skew=-40) == watched.now


def test_ready_while_we_did_not_look_is_no_earlier_than_we_last_looked(watched: Watched) -> None:
    """Across a list after a broken watch the pod's own time counts, within what can be true."""
    for uid in ("skewed", "said"):
        watched.see(uid, ready=False)
    watched.instants.current()
    watched.pass_by(100)
    watched.instants.current()  # a bookmark
    last_looked = watched.now
    watched.pass_by(20)
    watched.instants.interrupted()
    assert watched.see("skewed", skew=-40, ago=5) == last_looked
    assert watched.see("said", ago=5) == watched.now - 5
    assert watched.see("new", skew=-4000, ago=5) == last_looked, "it was made meanwhile, so it was not Ready before"
    assert watched.see("future", skew=4000) == watched.now


def test_what_is_known_stays_across_a_list(watched: Watched) -> None:
    """A pod that was Ready before and has not changed is as old as it was."""
    transition = watched.wall - 300
    assert watched.instants("a", True, transition) == NOW - 300
    watched.instants.current()
    watched.pass_by(50)
    watched.instants.interrupted()
    assert watched.instants("a", True, transition) == NOW - 300
    watched.instants.current()
    assert watched.instants("a", True, transition) == NOW - 300


def test_first_seen_ready_under_our_watch_is_dated_by_its_own_time(watched: Watched) -> None:
    """A pod that is labelled anew may be Ready for long."""
    watched.instants.current()
    watched.pass_by(60)
    assert watched.see(ago=7200) == watched.now - 7200


def test_pod_that_is_gone_is_forgotten(watched: Watched) -> None:
    """Seen again, it is dated anew."""
    watched.see("a", ready=False)
    watched.see("b", ready=False)
    watched.instants.current()
    watched.instants.keep_only({"a"})
    watched.instants.forget("a")
    for uid in ("a", "b"):
        assert watched.see(uid, ago=10) == NOW - 10
