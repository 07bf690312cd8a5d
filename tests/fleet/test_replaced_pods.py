"""Work on pods that a rollout replaced, which goes on arriving."""

from dataclasses import replace
from typing import Any

from exporter.fleet.model import AgentSnapshot, Dialect, PodFacts
from exporter.fleet.policy import Policy
from tests.factories import WALL_NOW, make_facts, make_reading, make_snapshot
from tests.fleet.full_fleets import G, full, legacy, of, starting


def pod(template: str, *, made: float, deleted: float | None = None) -> PodFacts:
    """Return a pod of a template; times in seconds before now."""
    asked = None if deleted is None else WALL_NOW - deleted
    return make_facts(template=template, created_time=WALL_NOW - made, draining_time=asked)


def rolled(**fields: Any) -> list[AgentSnapshot]:
    """Twenty pods that were replaced a minute ago, with 16 tasks each."""
    facts = pod("old", made=7200, deleted=60)
    return [make_snapshot(f"old-{i}", tasks_active=16.0, facts=facts, **fields) for i in range(20)]


def renewed(tasks: float = 0.1) -> list[AgentSnapshot]:
    """Return the twenty that came in their place, with hardly anything to do yet."""
    return [make_snapshot(f"new-{i}", tasks_active=tasks, facts=pod("new", made=90)) for i in range(20)]


def test_a_rollout_keeps_the_fleet_s_size() -> None:
    """320 tasks run on the pods it replaced, and as many will come again."""
    fleet = of(rolled(), renewed())
    assert (fleet.tasks_draining, fleet.held_tasks, fleet.desired_agents) == (320.0, 320.0, 21)
    off = of(rolled(), renewed(), policy=Policy(hold_rollouts=False))
    assert (off.held_tasks, off.desired_agents) == (0.0, 1)


def test_what_is_held_runs_down_as_the_old_tasks_end() -> None:
    """Running on the old and on the new ones, it is the same work."""
    old = [replace(snapshot, reading=make_reading(4.0)) for snapshot in rolled()]
    assert of(old, renewed(12.0)).desired_agents == 20


def test_a_rollout_of_legacy_agents_is_not_counted_twice() -> None:
    """Its new pods start, nobody reports a queue: they are filled by what is known of the old ones, not besides."""
    starting_up = [make_snapshot(f"s-{i}", never_read=True, address=None, facts=pod("new", made=9)) for i in range(20)]
    assert of(rolled(reading=make_reading(16, dialect=Dialect.LEGACY)), starting_up).desired_agents == 20


def test_one_rollout_after_another() -> None:
    """What the first replaced is held still; also where the second goes back to the first template."""
    first = [make_snapshot("a", tasks_active=16.0, facts=pod("a", made=7200, deleted=900))]
    second = [make_snapshot("b", tasks_active=3.0, facts=pod("b", made=910, deleted=60))]
    for template in ("a", "c"):
        third = [make_snapshot("c", tasks_active=1.0, facts=pod(template, made=70))]
        taken = [make_snapshot("d", tasks_active=8.0, facts=pod(template, made=65, deleted=2))]
        assert of(first, second, third, taken).held_tasks == 19.0


def test_the_surge_of_a_rollout_is_no_work() -> None:
    """Fifteen full agents are left of twenty, and ten new ones start: five of them are on top of the replicas."""
    kept = [replace(one, target=replace(one.target, facts=pod("old", made=7200))) for one in full(15)]
    gone = [replace(one, reading=make_reading(20, dialect=Dialect.LEGACY)) for one in rolled()[:5]]
    coming = [make_snapshot(f"s-{i}", never_read=True, address=None, facts=pod("new", made=9)) for i in range(10)]
    policy = Policy(saturation_growth=1)
    assert of(kept, gone, coming, policy=policy).demand_tasks == 400.0
    assert of(kept, gone, coming).demand_tasks == 2.0 * G * 15
    # Where nothing is known of templates nothing is on top; nor of what is not the newest.
    unknown = [replace(one, target=replace(one.target, facts=None)) for one in full(15)]
    assert of(unknown, starting(10), policy=policy).demand_tasks == 400.0
    late = [make_snapshot("late", never_read=True, address=None, facts=pod("old", made=7200))]
    assert of(legacy(20, 14.0, facts=pod("new", made=90)), late).held_tasks == G


def test_a_scale_in_takes_its_work_with_it() -> None:
    """Draining pods of the template that the fleet has, and those deleted before there was a newer one."""
    drained = make_snapshot("x", tasks_active=16.0, facts=pod("new", made=90, deleted=30))
    before = make_snapshot("y", tasks_active=16.0, facts=pod("old", made=7200, deleted=600))
    unknown = make_snapshot("z", tasks_active=16.0, facts=pod("old", made=7200, deleted=30))
    without = replace(unknown, target=replace(unknown.target, facts=replace(unknown.target.facts, template=None)))  # type: ignore[type-var]
    assert of(renewed(4.0), [drained, before, without]).held_tasks == 0.0
    assert of([drained, without]).held_tasks == 0.0
    assert of(renewed(4.0), [unknown]).held_tasks == 16.0


def test_a_replaced_pod_out_of_sight_is_held_until_it_is_forgotten() -> None:
    """As every agent is; an unseen one that never answered holds nothing."""
    assert of(rolled(age=600.0), renewed()).held_tasks == 320.0
    assert of(rolled(age=601.0), renewed()).held_tasks == 0.0
    assert of([make_snapshot(never_read=True, facts=pod("old", made=7200, deleted=60))], renewed()).held_tasks == 0.0
