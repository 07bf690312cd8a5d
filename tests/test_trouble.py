"""What is wrong is logged when it begins, when its kind changes and when it is over."""

from itertools import pairwise

import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.trouble import ONCE_EACH, Trouble

log = structlog.get_logger(__name__)


def events(kinds: list[str | None], remembered: int = 1) -> list[str]:
    """Return what is logged of a series of kinds of trouble, where None is none."""
    trouble = Trouble(log, "broken", "repaired", remembered=remembered)
    with capture_logs() as logs:
        for kind in kinds:
            if kind is None:
                trouble.resolve()
            else:
                trouble.report(kind, kind=kind)
            assert trouble.active == (kind is not None)
    return [entry.get("kind", entry["event"]) for entry in logs]


def test_a_trouble_is_logged_when_it_begins_and_when_it_is_over() -> None:
    """However often it is met between, and however often nothing is wrong afterwards."""
    assert events([None, "a", "a", "a", None, None]) == ["a", "repaired"]
    assert events(["a", None, "a", None]) == ["a", "repaired", "a", "repaired"]


def test_the_last_event_is_of_the_present_kind() -> None:
    """Trouble that changes its kind is logged again, also where it was of that kind before."""
    assert events(["a", "b", "b", "a", None]) == ["a", "b", "a", "repaired"]


def test_kinds_that_alternate_are_logged_once_each_where_they_are_remembered() -> None:
    """They are, until it is over, or until there are too many of them."""
    assert events(["a", "b", "a", "b", None, "a"], remembered=2) == ["a", "b", "repaired", "a"]
    assert events(["a", "b", "c", "c", "b", "a"], remembered=2) == ["a", "b", "c", "a"]


@given(kinds=st.lists(st.sampled_from(["a", "b", None])), remembered=st.sampled_from([1, 2, ONCE_EACH]))
def test_each_event_is_a_change(kinds: list[str | None], remembered: int) -> None:
    """No two events in a row are the same, and none is over that did not begin."""
    logged = events(kinds, remembered)
    assert all(before != after for before, after in pairwise(logged))
    assert logged[:1] != ["repaired"]


def test_the_fields_of_both_events() -> None:
    """What is always so goes with both, the rest with its own; what needs other words has them."""
    trouble = Trouble(log, "broken", "repaired", part="disk")
    with capture_logs() as logs:
        trouble.report("full", reason="full")
        trouble.report("gone", "there is none", 20, reason="gone")
        trouble.resolve(seconds=3)
    assert logs == [
        {"event": "broken", "log_level": "warning", "part": "disk", "reason": "full"},
        {"event": "there is none", "log_level": "info", "part": "disk", "reason": "gone"},
        {"event": "repaired", "log_level": "info", "part": "disk", "seconds": 3},
    ]


def test_an_end_without_a_message_is_not_logged() -> None:
    """The next time it begins it is logged all the same."""
    trouble = Trouble(log, "broken")
    with capture_logs() as logs:
        for _ in range(2):
            trouble.report()
            trouble.resolve()
    assert [entry["event"] for entry in logs] == ["broken", "broken"]
