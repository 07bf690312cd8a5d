"""What a pod's annotations should be: deletion cost, protection, the mark beside it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.model import Agent, Since
from exporter.fleet.protection import (
    COST,
    KARPENTER,
    MARK,
    PROTECTION,
    AnnotationRules,
    Mark,
    Urgency,
    deletion_cost,
    draining_nodes,
    is_protected,
    kept_annotations,
    mark_changes,
    pod_patch,
    read_mark,
)
from tests.factories import NOW, make_agent, make_facts, make_fleet, make_reading, make_snapshot

ME, OTHER = "monitoring/fleet-exporter", "elsewhere/fleet-exporter"
RULES = AnnotationRules(instance=ME, protection=PROTECTION, idle_for=120.0, bucket=None)
COSTS = AnnotationRules(instance=ME, protection=None, idle_for=120.0, bucket=5)
OFF = AnnotationRules(instance=ME, protection=None, idle_for=120.0, bucket=None)
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
MINE = {**PROTECTION, MARK: Mark(ME, PROTECTION).text}
NOTHING = {MARK: None, **dict.fromkeys(PROTECTION)}


def agent(
    tasks: float = 0.0,
    *,
    queued: float | None = 0.0,
    idle_since: float | None = None,
    annotations: dict[str, str] | None = None,
    draining: bool = False,
    **fields: Any,
) -> Agent:
    """Return an agent's pod as seen at `NOW`."""
    facts = make_facts(annotations=annotations or {}, draining_time=1.0 if draining else None)
    since = Since(idle=idle_since)
    return make_agent(reading=make_reading(tasks, tasks_queued=queued), facts=facts, since=since, **fields)


def after(there: dict[str, str], changes: dict[str, str | None] | None) -> dict[str, str]:
    """Return the annotations of an object after a merge patch."""
    merged = there | (changes or {})
    return {key: value for key, value in merged.items() if value is not None}


def patched(seen: Agent, rules: AnnotationRules = RULES) -> dict[str, str | None] | None:
    patch = pod_patch(seen, rules, NOW)
    return None if patch is None else dict(patch.annotations)


# -- deletion cost -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "bucket", "cost"),
    [
        (0, 5, 0),
        (1, 5, 1),
        (4, 5, 4),
        (5, 5, 5),
        (6, 5, 10),
        (20, 5, 20),
        (35, 5, 35),
        (4, 10, 4),
        (5, 10, 10),
        (7, 1, 7),
        (0.5, 5, 1),
        (1e300, 5, 2**31 - 1),
    ],
)
def test_the_cost_of_tasks(tasks: float, bucket: int, cost: int) -> None:
    """Each task below five, whole buckets above, rounded up, within 32 bits."""
    assert deletion_cost(tasks, bucket) == cost


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 50))
def test_only_idle_costs_nothing_and_more_work_never_less(one: float, other: float, bucket: int) -> None:
    """The order of the costs is the order of the work."""
    assert (deletion_cost(one, bucket) == 0) == (one == 0)
    if one <= other:
        assert deletion_cost(one, bucket) <= deletion_cost(other, bucket)


@pytest.mark.parametrize(
    ("seen", "cost"),
    [
        (agent(12), "15"),
        (agent(0, queued=3), "1"),
        (agent(0), None),
        (agent(0, annotations={COST: "0"}), None),
        (agent(0, annotations={COST: "5"}), "0"),
        (agent(12, annotations={COST: "15"}), None),
        (agent(12, annotations={COST: "a lot"}), "15"),
        (agent(12, draining=True), None),
        (agent(12, age=3600.0), None),
        (agent(12, annotations={MARK: "{", KARPENTER: "true"}), "15"),
    ],
)
def test_a_cost_is_written_only_if_it_differs(seen: Agent, cost: str | None) -> None:
    """A pod without the annotation costs 0; what cannot be seen or is draining keeps what it has."""
    assert patched(seen, COSTS) == (None if cost is None else {COST: cost})


# -- protection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [agent(1), agent(0, queued=2), agent(1, queued=None), agent(3, draining=True)])
def test_a_pod_with_work_is_protected(seen: Agent) -> None:
    """Running or waiting tasks suffice, on draining pods too; the most urgent are those that do not drain."""
    patch = pod_patch(seen, RULES, NOW)
    assert patch is not None
    assert patch.annotations == MINE
    draining = seen.snapshot.target.facts is not None and seen.snapshot.target.facts.draining_time is not None
    assert patch.urgency is (Urgency.DRAINING if draining else Urgency.BUSY)


@pytest.mark.parametrize(
    ("idle_since", "changes"), [(None, None), (NOW - 119.0, None), (NOW - 120.0, NOTHING), (NOW - 9e9, NOTHING)]
)
def test_protection_ends_after_idle_for(idle_since: float | None, changes: dict[str, str | None] | None) -> None:
    """Not before the pod has been idle for long enough."""
    assert patched(agent(idle_since=idle_since, annotations=MINE)) == changes


@pytest.mark.parametrize("there", [{}, MINE, {KARPENTER: "true"}])
@pytest.mark.parametrize("fields", [{"age": 3600.0}, {"never_read": True}])
def test_an_agent_that_cannot_be_seen_keeps_what_it_has(there: dict[str, str], fields: dict[str, Any]) -> None:
    """Neither protected nor unprotected by an old reading or by none."""
    facts = make_facts(annotations=there)
    for tasks, idle_since in ((12.0, None), (0.0, NOW - 9e9)):
        seen = make_agent(tasks_active=tasks, since=Since(idle=idle_since), facts=facts, **fields)
        assert patched(seen) is None


def test_an_agent_that_is_no_pod_has_no_annotations() -> None:
    """A static target is never patched."""
    assert pod_patch(make_agent(), RULES, NOW) is None


def test_a_protected_pod_is_not_written_again() -> None:
    """What the watch shows is compared, so that a new leader finds nothing to do."""
    assert patched(agent(12, annotations=MINE)) is None


def test_disabled_protection_removes_its_own_even_from_what_cannot_be_seen() -> None:
    """By the mark alone, whatever the agent does."""
    assert patched(agent(12, annotations=MINE), OFF) == NOTHING
    assert patched(agent(12, annotations=MINE, age=3600.0), OFF) == NOTHING
    assert patched(agent(12, annotations=dict(PROTECTION)), OFF) is None


def test_one_patch_for_cost_and_protection() -> None:
    """The urgency is that of the protection."""
    patch = pod_patch(agent(12), replace(RULES, bucket=5), NOW)
    assert patch is not None
    assert (dict(patch.annotations), patch.cost_change) == ({**MINE, COST: "15"}, 15)
    assert patch.protection == MINE
    assert patch.urgency is Urgency.BUSY


def test_what_another_writer_set_is_kept() -> None:
    """An operator's value stays while the pod is busy and after that; only the other key is set and removed."""
    by_hand = {SAFE_TO_EVICT: "true"}
    busy = patched(agent(12, annotations=by_hand))
    assert busy == {KARPENTER: "true", MARK: Mark(ME, {KARPENTER: "true"}).text}
    there = after(by_hand, busy)
    assert patched(agent(12, annotations=there)) is None
    assert after(there, patched(agent(idle_since=0.0, annotations=there))) == by_hand


def test_a_protection_set_by_hand_stays() -> None:
    """Without a mark nothing is added and nothing is removed."""
    assert patched(agent(12, annotations=dict(PROTECTION))) is None
    assert patched(agent(idle_since=0.0, annotations=dict(PROTECTION))) is None


def test_a_value_that_another_writer_changed_is_no_longer_ours() -> None:
    """It is kept, and leaves the mark."""
    there = MINE | {SAFE_TO_EVICT: "true"}
    assert patched(agent(12, annotations=there)) == {MARK: Mark(ME, {KARPENTER: "true"}).text}
    assert patched(agent(idle_since=0.0, annotations=there)) == {KARPENTER: None, MARK: None}
    both = MINE | dict.fromkeys(PROTECTION, "other")
    assert patched(agent(idle_since=0.0, annotations=both)) == {MARK: None}


def test_changed_settings_replace_what_was_set_with_the_old_ones() -> None:
    """Removed keys go, changed values change, all within one patch."""
    old = {SAFE_TO_EVICT: "false", "example.org/keep": "yes"}
    there = {**old, MARK: Mark(ME, old).text}
    rules = replace(RULES, protection={SAFE_TO_EVICT: "no", KARPENTER: "true"})
    assert after(there, patched(agent(12, annotations=there), rules)) == {
        SAFE_TO_EVICT: "no",
        KARPENTER: "true",
        MARK: Mark(ME, rules.protection or {}).text,
    }


def test_another_instance_keeps_its_own() -> None:
    """Its marks are left alone as long as nothing is missing; else its annotations are taken over with the mark."""
    theirs = {**PROTECTION, MARK: Mark(OTHER, PROTECTION).text}
    assert patched(agent(12, annotations=theirs)) is None
    assert patched(agent(idle_since=0.0, annotations=theirs)) is None
    assert patched(agent(12, annotations=theirs), OFF) is None
    part = {KARPENTER: "true", MARK: Mark(OTHER, {KARPENTER: "true"}).text}
    assert after(part, patched(agent(12, annotations=part))) == MINE


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "{",
        "[]",
        "7",
        '{"by": 1, "annotations": {}}',
        '{"by": "x"}',
        '{"by": "x", "annotations": []}',
        "[" * 99999,
    ],
)
def test_what_is_no_mark_is_none(value: object) -> None:
    """A mark that makes no sense is not known, never an error."""
    assert read_mark(value) is None


def test_a_mark_lists_neither_itself_nor_a_cost() -> None:
    """A forged mark removes nothing but what protects."""
    forged = json.dumps({"by": ME, "annotations": {COST: "5", MARK: "x", KARPENTER: "true", "a": 1}})
    assert read_mark(forged) == Mark(ME, {KARPENTER: "true"})


def test_kept_are_only_the_annotations_of_interest() -> None:
    """Also those that a mark lists and the settings do not."""
    mark = Mark(ME, {"old/key": "1"}).text
    there = {"big": "x" * 10_000, COST: "5", KARPENTER: "true", MARK: mark, "old/key": "1", SAFE_TO_EVICT: 7}
    assert kept_annotations(there, PROTECTION) == {COST: "5", KARPENTER: "true", MARK: mark, "old/key": "1"}
    assert kept_annotations({}, PROTECTION) == {}


@pytest.mark.parametrize(
    ("there", "protection", "protected"),
    [
        (MINE, PROTECTION, True),
        ({KARPENTER: "true"}, PROTECTION, False),
        (MINE | {KARPENTER: "false"}, PROTECTION, False),
        ({}, {}, None),
    ],
)
def test_protected_means_all_of_it(there: dict[str, str], protection: dict[str, str], protected: bool | None) -> None:
    """Every annotation with its value."""
    assert is_protected(there, protection) is protected


# -- properties --------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from([SAFE_TO_EVICT, KARPENTER, "example.org/a", "example.org/b"])
SETS = st.dictionaries(KEYS, st.sampled_from(["true", "false"]), max_size=4)
MARKS = st.none() | st.builds(lambda by, listed: Mark(by, listed).text, st.sampled_from([ME, OTHER]), SETS)


@given(SETS, MARKS, SETS)
def test_one_patch_suffices_and_spares_what_others_set(
    others: dict[str, str], mark: str | None, wanted: dict[str, str]
) -> None:
    """After it there is nothing to change, every wanted key is there, and no value of another writer is another."""
    there = others if mark is None else others | {MARK: mark}
    marked = read_mark(mark)
    changes = mark_changes(there, wanted, ME)
    result = after(there, changes)
    assert mark_changes(result, wanted, ME) == {} or (marked is not None and marked.by == OTHER)
    assert wanted.keys() <= result.keys()
    listed = {} if marked is None else marked.annotations
    assert all(result.get(key) == value for key, value in others.items() if listed.get(key) != value)
    if marked is None or marked.by == ME:
        assert after(result, mark_changes(result, {}, ME)) == {
            key: value for key, value in others.items() if listed.get(key) != value
        }


@given(
    tasks=st.floats(0, 30),
    queued=st.none() | st.floats(0, 30),
    idle=st.none() | st.floats(0, 600),
    age=st.floats(0, 120),
    draining=st.booleans(),
    annotations=SETS,
    bucket=st.none() | st.integers(1, 10),
)
def test_work_is_protected_and_only_idleness_unprotects(
    *,
    tasks: float,
    queued: float | None,
    idle: float | None,
    age: float,
    draining: bool,
    annotations: dict[str, str],
    bucket: int | None,
) -> None:
    """Whatever is on a pod: visible work adds, long visible idleness removes, and all else changes nothing."""
    since = None if idle is None else NOW - idle
    seen = agent(tasks, queued=queued, idle_since=since, annotations=annotations, draining=draining, age=age)
    patch = pod_patch(seen, replace(RULES, bucket=bucket), NOW)
    changes = {} if patch is None else patch.protection
    added = [key for key, value in changes.items() if value is not None]
    removed = [key for key, value in changes.items() if value is None]
    working = tasks > 0 or (queued or 0) > 0
    assert not added or (seen.fresh and working)
    assert not removed or (seen.fresh and not working and idle is not None and idle >= RULES.idle_for)
    if seen.fresh and working:
        assert PROTECTION.keys() <= annotations.keys() | set(added)
    if patch is not None:
        assert (patch.urgency is Urgency.ROUTINE) == (not added)
        assert not (draining and COST in patch.annotations)


# -- nodes -------------------------------------------------------------------------------------------------------------


def test_the_nodes_of_draining_agents() -> None:
    """Those with work, and those that cannot be seen; the rest does not matter."""

    def snapshot(pod: str, node: str | None, *, draining: bool = True, tasks: float = 3.0, age: float = 1.0) -> Any:
        facts = make_facts(node=node, draining_time=1.0 if draining else None)
        return make_snapshot(pod, facts=facts, tasks_active=tasks, age=age)

    fleet = make_fleet(
        [
            snapshot("a", "busy"),
            snapshot("b", "busy", tasks=0),
            snapshot("c", "done", tasks=0),
            snapshot("d", "unseen", age=3600.0),
            snapshot("e", "serving", draining=False),
            snapshot("f", None),
            make_snapshot("static"),
        ]
    )
    assert draining_nodes([fleet]) == (frozenset({"busy"}), frozenset({"unseen"}))
