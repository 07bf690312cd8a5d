"""What must hold for the annotations of the agents' pods."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil

from tests.chaos.facts import Facts, Verdicts
from tests.chaos.pods import Pod
from tests.chaos.seen import Annotated, MetricsSeen

BUCKET = 5
"""Tasks (deletion_cost.bucket)."""
COST_SECONDS = 60.0
"""Least time between two writes of a pod's deletion cost alone (docs/scaling.md)."""
PACE_SECONDS = 20.0
"""For a look at all agents (2 s), a repetition (5 s), and the writes for those that changed since the last look."""
WRITE_SECONDS = 0.5
"""For each pod when none has annotations yet: five writes a second at most, each of which takes its time on top."""
UNLED_SECONDS = 60.0
"""After so long without a leader most agents have other work, and all have to be written again."""


def annotations_right(seen: Annotated, looks: Sequence[MetricsSeen], facts: Facts) -> Verdicts:
    """Every good agent with work is protected, and its deletion cost is that of its work, within the pace.

    Only while a replica has led all the time and reached the API server, and when leaders have had the time to begin
    with all pods, at first and after a time without any. `looks` are all that told of a leader so far.
    """
    window = facts.settled + PACE_SECONDS + 5 * facts.slack(seen.answered)
    since = seen.asked - window
    if not _led_since(since, seen, looks, facts) or _led_seconds(looks) < PACE_SECONDS + WRITE_SECONDS * len(
        seen.costs
    ):
        return
    for pod in facts.pods.values():
        if pod.hostile or pod.announced is None or pod.announced > since or not pod.stays(seen.answered):
            continue
        if all(work > 0 for work in _counts(pod, since, seen.answered, facts, queued=True)):
            wrong = f"{pod.name} has had work for {window:.0f} s and is not protected"
            yield None if seen.protected.get(pod.name) else wrong
        # Costs come last, and small changes after great ones: all others may have their turn first.
        cost_since = since - COST_SECONDS - WRITE_SECONDS * len(seen.costs)
        possible = {cost_of(count) for count in _counts(pod, cost_since, seen.answered, facts)}
        # Without tasks a pod costs nothing, which need not be written.
        possible |= {None} if 0 in possible else set()
        cost = seen.costs.get(pod.name)
        wrong = f"{pod.name} has a deletion cost of {cost}, but lately {sorted(filter(None, possible))} would be right"
        yield None if cost in possible else wrong


def _counts(pod: Pod, since: float, until: float, facts: Facts, *, queued: bool = False) -> list[int]:
    pages = [page for reader in facts.boots for page in facts.truth.readable(pod.name, reader, since, until)]
    return [page.work if queued else page.active or min(1, page.work) for page in pages]


def cost_of(tasks: int) -> int | None:
    """Return the deletion cost of an agent with so many tasks: each counts below five, above they do in steps."""
    return tasks if tasks < BUCKET else ceil(tasks / BUCKET) * BUCKET


def _led_seconds(looks: Sequence[MetricsSeen]) -> float:
    """Return how long leaders have led since nobody did for long."""
    own = [[look for look in looks if look.replica == replica] for replica in {look.replica for look in looks}]
    pairs = (pair for replica in own for pair in pairwise(replica))
    led = sorted((before.answered, after.answered) for before, after in pairs if before.leads and after.leads)
    seconds, last = 0.0, 0.0
    for begin, end in led:
        seconds = end - begin if begin - last > UNLED_SECONDS else seconds + end - begin
        last = end
    return seconds


def _led_since(since: float, seen: Annotated, looks: Sequence[MetricsSeen], facts: Facts) -> bool:
    """Return whether one life of a replica has led since then, and was neither stopped nor cut off."""
    lately = [one for one in looks if one.answered >= since]
    leaders = [one for one in lately if one.leads]
    lives = {(one.replica, one.booted) for one in leaders}
    if len(lives) != 1 or leaders[0].answered > since + facts.times.lease_duration / 2:
        return False
    [(replica, booted)] = lives
    boot = facts.boot(replica, booted)
    return (
        boot.ready is not None
        and boot.ready < since
        and boot.lives(since, seen.answered)
        and not facts.happenings.at(replica, "API server", since, seen.answered)
        and all(one.leads for one in lately if one.replica == replica)
    )
