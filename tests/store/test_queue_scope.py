"""Whether the agents' queues look like one and the same."""

from collections.abc import Iterable

from exporter.store.queue_scope import QueueScope


def looks(queues: Iterable[tuple[float, ...]], *, every: float = 5.0) -> bool:
    """Look at one after the other; return the last verdict."""
    scope, verdict = QueueScope(), False
    for number, seen in enumerate(queues):
        verdict = scope.sample(seen, 1000.0 + every * number)
    return verdict


def test_the_same_figure_at_nearly_every_look_is_one_queue() -> None:
    """However it changes, and allowing for the moment in which some were read before it did."""
    changing = [(float(n), float(n), float(n)) for n in range(1, 25)]
    assert looks(changing)
    assert looks([*changing[:18], *[(3.0, 4.0, 4.0)] * 6])
    assert not looks([*changing[:17], *[(3.0, 4.0, 4.0)] * 7])


def test_it_takes_two_minutes_of_waiting_work() -> None:
    """Empty queues are alike whatever they count, and one agent is always like itself."""
    assert not looks([(7.0, 7.0)] * 23)
    assert not looks([(0.0, 0.0)] * 100)
    assert not looks([(7.0,)] * 100)
    assert not looks([(7.0, 7.0)] * 100, every=0.2)


def test_queues_of_their_own_are_not_alike() -> None:
    """Work spread evenly differs by one."""
    assert not looks([(3.0, 3.0, 2.0)] * 50)
