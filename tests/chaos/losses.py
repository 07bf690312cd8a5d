"""What must hold for the tasks that are counted as lost."""

from collections import defaultdict

from tests.chaos.facts import Facts, Verdicts
from tests.chaos.pods import End, Pod
from tests.chaos.seen import DepartureSeen, DeparturesSeen

REASONS = {End.FORCED: "Deleted", End.OUT_OF_MEMORY: "OOMKilled"}
"""What a departure is called that was watched (docs/metrics.md, "Lost tasks")."""


def losses_right(seen: DeparturesSeen, facts: Facts) -> Verdicts:
    """Each agent that is said to have ended did, with the tasks that it showed last, for the reason that there was."""
    for departure in seen.departures:
        if departure.ended:
            wrong = _wrong_loss(departure, seen, facts)
            yield None if wrong is None else f"{departure.pod} {wrong}"


def _wrong_loss(departure: DepartureSeen, seen: DeparturesSeen, facts: Facts) -> str | None:
    pod = facts.pods.get(departure.pod)
    if pod is None or pod.leaves is None or pod.end is None or pod.leaves > seen.answered:
        return "is said to have ended, which it has not"
    watched = _watched(pod, seen, facts)
    lost = departure.tasks_lost
    if lost is None:
        return "has lost an unknown number of tasks, although it was watched" if watched and not pod.hostile else None
    shown, nothing = _shown(pod, seen, facts), {0.0}
    # Of what was not watched until its end, nothing may have been known.
    possible = (nothing if pod.end is End.CLEAN else shown) if watched and not pod.hostile else shown | nothing
    if lost not in possible:
        return f"has lost {lost:g}, but was {pod.end} and showed {sorted(possible)} last"
    misnamed = watched and lost and departure.reason != REASONS.get(pod.end)
    return f"was lost as {departure.reason}, but was {pod.end}" if misnamed else None


def _shown(pod: Pod, seen: DeparturesSeen, facts: Facts) -> set[float]:
    """Return the counts that its last reading may have had. A new leader has the readings of the one before.

    A reading counts if it was current when the pod was last known to exist: before the list of pods could not be seen.
    """
    assert pod.leaves is not None
    last_known = facts.saw_until(seen.replica, pod.leaves)
    since = last_known - facts.times.stale_after - facts.settled - facts.slack(pod.leaves)
    until = (pod.gone or pod.leaves) + facts.slack(pod.leaves)
    pages = [page for reader in facts.boots for page in facts.truth.readable(pod.name, reader, since, until)]
    return {float(page.active) for page in pages}


def _watched(pod: Pod, seen: DeparturesSeen, facts: Facts) -> bool:
    """Return whether this process read the agent until its end, and saw that as it came."""
    assert pod.leaves is not None
    window = facts.settled + facts.slack(pod.leaves)
    until = (pod.gone or pod.leaves) + window
    boot = facts.boot(seen.replica, seen.booted)
    ready = boot.ready is not None and boot.ready < pod.leaves - window
    read = pod.announced is not None and pod.announced < pod.leaves - window
    disturbed = boot.paused(pod.leaves - window, until) or facts.blind(seen.replica, pod.leaves - window, until)
    return ready and read and not disturbed


def losses_complete(seen: DeparturesSeen, facts: Facts) -> Verdicts:
    """Each agent that was killed with tasks, and was watched until then, has been counted."""
    said = {departure.pod for departure in seen.departures if departure.ended}
    for pod in facts.pods.values():
        window = facts.settled + facts.slack(seen.answered)
        if pod.hostile or pod.end not in REASONS or pod.leaves is None or pod.gone is None:
            continue
        old_enough = pod.announced is not None and pod.announced < pod.leaves - 2 * window
        if (
            old_enough
            and pod.gone < seen.asked - window
            and _watched(pod, seen, facts)
            and min(_shown(pod, seen, facts), default=0)
        ):
            yield None if pod.name in said else f"{pod.name}, {pod.end}, is not among those that ended"


def losses_add_up(seen: DeparturesSeen, facts: Facts) -> Verdicts:
    """Each fleet's count is what its agents lost."""
    lost: dict[str, float] = defaultdict(float)
    for departure in seen.departures:
        lost[departure.fleet] += departure.tasks_lost or 0.0
    for fleet, after in seen.lost_after.items():
        before = seen.lost_before.get(fleet, 0.0)
        wrong = f"{fleet} has lost {before:g} to {after:g} tasks, but its agents {lost[fleet]:g}"
        yield None if before <= lost[fleet] <= after else wrong
