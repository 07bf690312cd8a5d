"""What made an agent leave."""

import pytest

from exporter.fleet.departure import Departure


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
