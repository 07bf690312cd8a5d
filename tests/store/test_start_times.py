"""How long agents take to start."""

from exporter.store.start_times import AgentStart, StartTimes
from tests.factories import NOW, make_facts, make_target

FLEET = ("matillion", "etl")
BOOTING = make_facts(ready=False)


def test_from_the_first_sight_of_a_pod_to_its_first_answer() -> None:
    """Only the first: a container that starts again in its pod is another matter."""
    times = StartTimes()
    target = make_target(facts=BOOTING)
    times.see(target, NOW)
    assert times.usual(FLEET) is None
    times.heard(target, NOW + 70)
    times.heard(target, NOW + 500)
    assert times.usual(FLEET) == 70
    assert times.latest(FLEET) == (AgentStart(BOOTING.created_time or 0, target.uid, 70),)


def test_agents_that_ran_before_have_no_start_time() -> None:
    """Nobody knows when a Ready pod or a static target began."""
    times = StartTimes()
    for target in (make_target("ready", facts=make_facts()), make_target("static")):
        times.see(target, NOW)
        times.heard(target, NOW + 1)
    assert times.usual(FLEET) is None


def test_nearly_all_of_the_latest_count() -> None:
    """The slowest of a hundred but one; what took long before is forgotten."""
    times = StartTimes()

    def start(seconds: float) -> None:
        target = make_target(facts=BOOTING)
        times.see(target, NOW)
        times.heard(target, NOW + seconds)

    start(900)
    for number in range(99):
        start(number)
    assert times.usual(FLEET) == 98
    for _ in range(100):
        start(40)
    assert times.usual(FLEET) == 40


def test_a_pod_that_goes_before_it_answers_is_forgotten() -> None:
    """It started nothing."""
    times = StartTimes()
    target = make_target(facts=BOOTING)
    times.see(target, NOW)
    times.forget(target.uid)
    times.heard(target, NOW + 9)
    assert times.usual(FLEET) is None
