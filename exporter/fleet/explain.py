"""Why an agent is in its state, in one sentence.

Pure: the instants are arguments. The state itself is decided by `classification.classify`.
"""

from collections.abc import Sequence

from exporter.fleet.attention import MEMORY_SHARE, looked_at, memory_share
from exporter.fleet.drains import cut_short, seconds_left, shortened
from exporter.fleet.model import Agent, AgentSnapshot, AgentState, AgentStatus, PodFacts

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_NAMED = 3
"""Maximum number of pods named in a sentence."""


def explain(agent: Agent, now: float, wall_now: float) -> str:
    """Return the reason of the agent's state.

    `now` is on the monotonic clock of the snapshot's ages, `wall_now` the same instant in Unix seconds.
    """
    snapshot, facts = agent.snapshot, agent.snapshot.target.facts
    match agent.state:
        case AgentState.DRAINING:
            return _draining(agent, facts, now, wall_now)
        case AgentState.STARTING:
            return _starting(snapshot, facts, now, wall_now)
        case AgentState.UNREACHABLE:
            return _unreachable(agent, facts, now, wall_now)
        case AgentState.STOPPED:
            return _stopped(snapshot) + _last_exit(facts, wall_now)
        case AgentState.DISCONNECTED:
            return f"not connected to the control plane, {_tasks(snapshot)} active"
        case _:  # serving
            return _serving(snapshot, now) + _refusing(agent) + _memory(agent)


def duration(seconds: float) -> str:
    """Return a readable duration: `42 s`, `3 min`, `11 h`, `2 days`; never negative."""
    seconds = max(0.0, seconds)
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} days"


def named(pods: Sequence[str]) -> str:
    """Return the names of a few pods; the rest are counted."""
    more = f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else ""
    return f"{', '.join(pods[:_NAMED])}{more}"


def count(value: float) -> str:
    """Return a number of tasks without needless decimals."""
    return f"{value:.1f}".removesuffix(".0")


def _draining(agent: Agent, facts: PodFacts | None, now: float, wall_now: float) -> str:
    reading, read_at = agent.snapshot.reading, agent.snapshot.read_at
    deleted = facts.draining_time if facts is not None and facts.draining_time is not None else wall_now
    # A time of day is ambiguous after a day.
    since = (
        f"draining since {_time_of_day(deleted)} UTC"
        if wall_now - deleted < _DAY
        else f"draining for {duration(wall_now - deleted)}"
    )
    if reading is None or read_at is None:
        return f"{since}, its tasks are unknown" + _because(agent.snapshot)
    if facts is not None and cut_short(agent, wall_now):
        return f"killed {_deadline(agent, wall_now)} with {_tasks(agent.snapshot)}: {since}{_shortened(facts)}"
    if agent.fresh:
        return f"{since}, {_tasks(agent.snapshot)} left"
    return f"{since}, {_tasks(agent.snapshot)} left {duration(now - read_at)} ago, not scraped since" + _because(
        agent.snapshot
    )


def _deadline(agent: Agent, wall_now: float) -> str:
    """Return when a draining agent is killed. A shortened grace period can be over already."""
    left = seconds_left(agent, wall_now)
    return f"in {duration(left)}" if left else "at any moment"


def _shortened(facts: PodFacts) -> str:
    cut = shortened(facts)
    return "" if cut is None else f", its grace period was cut from {duration(cut[0])} to {duration(cut[1])}"


def _stopped(snapshot: AgentSnapshot) -> str:
    """Return what a stopped agent reports, and what follows for its pod."""
    match snapshot.reading.status if snapshot.reading is not None else None:
        case AgentStatus.PENDING_SHUTDOWN:
            says = "its shutdown is pending (status 2)"
        case AgentStatus.SHUTTING_DOWN:
            says = "it is shutting down (status 3)"
        case _:
            return "the agent responds and reports that it is not running (status 0)"
    return (
        f"the agent reports that {says}, but its pod is not deleted: it accepts no more work, {_tasks(snapshot)} left"
    )


def _starting(snapshot: AgentSnapshot, facts: PodFacts | None, now: float, wall_now: float) -> str:
    if facts is not None and facts.waiting_reason is not None:
        return _waiting(facts.waiting_reason, facts, wall_now)
    if snapshot.target.address is None:
        return "the pod has no IP address yet" + _last_exit(facts, wall_now)
    if facts is not None and facts.ready and facts.ready_since is not None:
        ready = f"Ready for {duration(now - facts.ready_since)}"
    else:
        ready = "the pod is not Ready"
    return f"{ready} and was never scraped{_because(snapshot)}{_last_exit(facts, wall_now)}"


def _unreachable(agent: Agent, facts: PodFacts | None, now: float, wall_now: float) -> str:
    snapshot = agent.snapshot
    if snapshot.displaced_by is not None:
        return f"its address {snapshot.target.address} belongs to a newer agent, {snapshot.displaced_by}"
    if facts is not None and facts.waiting_reason is not None:
        return _waiting(facts.waiting_reason, facts, wall_now)
    if not looked_at(agent):
        return f"not looked at yet{_last_exit(facts, wall_now)}"
    if snapshot.read_at is not None:
        scraped = f"not scraped for {duration(now - snapshot.read_at)}"
    elif facts is not None and facts.ready_since is not None:
        scraped = f"never scraped in the {duration(now - facts.ready_since)} since it became Ready"
    else:
        scraped = "never scraped"
    return f"{scraped}{_because(snapshot)}{_last_exit(facts, wall_now)}"


def _serving(snapshot: AgentSnapshot, now: float) -> str:
    reading = snapshot.reading
    queued = f", {count(reading.tasks_queued)} queued" if reading is not None and reading.tasks_queued else ""
    sentence = f"serving {_tasks(snapshot)}{queued}"
    if snapshot.error is None or snapshot.read_at is None:
        return sentence
    return f"{sentence} {duration(now - snapshot.read_at)} ago; since then: {snapshot.error}"


def _refusing(agent: Agent) -> str:
    return "" if agent.refusing is None else f", accepts no more work: {agent.refusing}"


def _memory(agent: Agent) -> str:
    share = memory_share(agent)
    return "" if share is None or share < MEMORY_SHARE else f", memory at {share:.0%} of its limit"


def _waiting(reason: str, facts: PodFacts, wall_now: float) -> str:
    # For a crash loop Kubernetes adds the delay and the pod's name; the last exit reason is more useful.
    added = "" if facts.waiting_message is None or facts.crash_looping else f" ({facts.waiting_message})"
    return f"waiting: {reason}{added}{_last_exit(facts, wall_now)}"


def _last_exit(facts: PodFacts | None, wall_now: float) -> str:
    if facts is None or facts.last_terminated_reason is None:
        return ""
    ended = facts.last_terminated_time
    ago = "" if ended is None else f" {duration(wall_now - ended)} ago"
    return f", last exit {facts.last_terminated_reason}{ago}"


def _because(snapshot: AgentSnapshot) -> str:
    return "" if snapshot.error is None else f": {snapshot.error}"


def _tasks(snapshot: AgentSnapshot) -> str:
    if snapshot.reading is None:
        return "an unknown number of tasks"
    tasks = snapshot.reading.tasks_active
    return f"{count(tasks)} task" if tasks == 1 else f"{count(tasks)} tasks"


def _time_of_day(unix_seconds: float) -> str:
    """Return HH:MM in UTC. Unix time has no leap seconds, so a day is always 86,400 of them."""
    minutes = int(unix_seconds % _DAY) // _MINUTE
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
