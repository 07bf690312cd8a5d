"""Since when a fleet has had work that it does not get done."""

from typing import Any

from exporter.fleet.lasting import lasting
from exporter.fleet.model import Lasting
from tests.factories import NOW, make_fleet, make_reading, make_scaler, make_snapshot


def after(before: Lasting, now: float, **seen: Any) -> Lasting:
    """Return what lasts; without other news a fleet of four that has what it needs."""
    return lasting(before, **({"queued": 0.0, "short": False, "agents": 4} | seen), now=now)


def test_a_queue_lasts_from_its_first_task_to_its_last() -> None:
    """Its length does not matter; an unknown queue neither begins nor ends it."""
    begun = after(Lasting(), 10.0, queued=1.0)
    assert begun.queued == 10.0
    assert after(begun, 20.0, queued=300.0) == after(begun, 30.0, queued=None) == begun
    assert after(begun, 40.0) == after(Lasting(), 50.0, queued=None) == Lasting()


def test_too_few_agents_last_until_one_is_added_or_none_is_missing() -> None:
    """Fewer agents than at the beginning change nothing, nor does what is unknown."""
    begun = after(Lasting(), 10.0, short=True)
    assert begun == Lasting(short=10.0, short_agents=4)
    assert after(begun, 20.0, short=True, agents=3) == after(begun, 30.0, short=None) == begun
    assert after(begun, 40.0, short=True, agents=5) == Lasting(short=40.0, short_agents=5)
    assert after(begun, 50.0) == Lasting()


def test_a_fleet_knows_what_lasts() -> None:
    """From the demand that a scaler gets: none while it is withheld, and not at the HPA's maximum."""
    full = [make_snapshot(f"a-{n}", reading=make_reading(20, tasks_queued=5)) for n in range(2)]
    assert make_fleet(full).lasting == Lasting(NOW, NOW, 2)
    assert make_fleet(full, scalers=[make_scaler(max_agents=2), make_scaler("b", max_agents=1)]).lasting == Lasting(NOW)
    assert make_fleet(full, scalers=[make_scaler(max_agents=None)]).lasting == Lasting(NOW, NOW, 2)
    # Above its target, and with slots for all.
    assert make_fleet([make_snapshot(tasks_active=20)]).lasting == Lasting()
    before = Lasting(1.0, 2.0, 2)
    assert make_fleet(full, before=before).lasting == before
    assert make_fleet(full, sync_age=500.0, before=Lasting(1.0)).lasting == Lasting(1.0)
