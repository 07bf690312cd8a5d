"""What made an agent leave."""

import pytest

from exporter.fleet.departure import Departure, lost_by_fleet


@pytest.mark.parametrize(
    ("requested_time", "replaced", "cause"),
    [
        (None, None, "ended"),
        (None, True, "ended"),
        (1.0, None, "deletion"),
        (1.0, True, "rollout"),
        (1.0, False, "scale-in"),
    ],
)
def test_cause(requested_time: float | None, replaced: bool | None, cause: str) -> None:
    """Without a request it ended; else its template tells a rollout from a scale-in."""
    departure = Departure(uid="a", namespace="n", fleet="f", pod="p", requested_time=requested_time, replaced=replaced)
    assert departure.cause == cause


def test_lost_tasks_are_added_up_by_fleet() -> None:
    """From a time on, of agents that ended and of those that still drain; what is not known adds nothing."""

    def left(fleet: str, **given: float | None) -> Departure:
        return Departure(uid="a", namespace="n", fleet=fleet, pod="p", **given)  # type: ignore[arg-type]

    departures = [
        left("a", ended_time=99.0, tasks_lost=1.0),
        left("a", ended_time=100.0, tasks_lost=2.0),
        left("a", requested_time=101.0, tasks_lost=4.0),
        left("b", ended_time=101.0, tasks_lost=0.0),
        left("b", ended_time=101.0),
        left("c", tasks_lost=8.0),
    ]
    assert lost_by_fleet(departures, 100.0) == {("n", "a"): 6.0}
