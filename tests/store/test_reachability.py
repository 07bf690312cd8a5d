"""When a process is taken to see nothing."""

from structlog.testing import capture_logs

from exporter.fleet.model import Fleet
from exporter.store.reachability import UNREACHABLE_AFTER, Reachability
from tests.factories import NOW, make_facts, make_fleet, make_snapshot

SEEN = make_fleet([make_snapshot("etl-1"), make_snapshot("etl-2", age=99)], name="etl")
UNSEEN = make_fleet([make_snapshot("bi-1", age=99), make_snapshot("bi-2", age=500)], name="bi")
NEVER = make_fleet([make_snapshot("new-1", never_read=True, facts=make_facts(ready_since=NOW - 3600))], name="new")
STARTING = make_fleet([make_snapshot("next-1", never_read=True, facts=make_facts(ready=False))], name="next")
DRAINING = make_fleet([make_snapshot("old-1", facts=make_facts(draining_time=1.0))], name="old")


def lost_after(*fleets: Fleet) -> float | None:
    """Return after how many seconds of these fleets sight is lost; None if it is not within an hour."""
    reachability = Reachability()
    return next((float(second) for second in range(3600) if reachability.lost(fleets, 1000.0 + second)), None)


def test_what_is_blind() -> None:
    """No agent of any fleet answers, and some should: for a minute. One that answers anywhere is enough to see."""
    assert lost_after(UNSEEN) == lost_after(NEVER) == lost_after(UNSEEN, NEVER, STARTING) == UNREACHABLE_AFTER
    assert lost_after(UNSEEN, SEEN) is None
    assert lost_after(UNSEEN, DRAINING) is None
    assert lost_after(STARTING) is None
    assert lost_after() is None


def test_a_single_response_restarts_the_time() -> None:
    """Time in which something was seen does not count, and each loss and return stands in the log once."""
    reachability = Reachability()
    with capture_logs() as logs:
        assert not any(reachability.lost([UNSEEN], float(second)) for second in range(59))
        assert not reachability.lost([SEEN, UNSEEN], 59.0)
        assert not reachability.lost([UNSEEN], 60.0)
        assert not reachability.lost([UNSEEN], 119.9)
        assert reachability.lost([UNSEEN], 120.0)
        assert reachability.lost([UNSEEN], 500.0)
        assert not reachability.lost([STARTING], 501.0), "there is nothing to see any more"
    assert [entry["log_level"] for entry in logs] == ["warning", "info"]
