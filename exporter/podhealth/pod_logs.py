"""Counts failed tasks in the agents' logs, which are followed through the Kubernetes API.

A line is looked at once and let go: it is neither stored nor logged. The count begins when the leader begins to follow,
or with the pod if that is younger; it goes on through streams that are cut, logs that are rotated and containers that
restart. A log that cannot be followed has no count. It must not know what the counts are for.

What can be lost, because the kubelet no longer has it: lines that were rotated away while the log could not be read,
and those of a container that restarted twice meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import structlog

from exporter.config import PodLogsSettings
from exporter.config.line_pattern import LinePattern
from exporter.fleet.model import Target
from exporter.kube.api import KubeReader
from exporter.kube.election import Leadership
from exporter.podhealth.log_follower import AgentLog, FollowingPace, Search
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often to check for added and removed agents, and for changes of leadership."""
STARTS_PER_POLL = 10
"""Maximum streams opened per poll, so that a new leader does not request a hundred logs at once."""


class PodLogs:
    """Follows the logs of all agents, as far as `max_streams` goes, while this process leads."""

    def __init__(
        self,
        settings: PodLogsSettings,
        client: KubeReader,
        store: SnapshotStore,
        leadership: Leadership,
        *,
        on_skipped: Callable[[int], None] = lambda lines: None,
        pace: FollowingPace | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take what to search for, and where the counts go.

        `client` must not be shared: each stream holds one of its connections. `on_skipped` gets the number of lines
        over the rate. `wall` gives Unix time. Raises ValueError for settings without a pattern.
        """
        if settings.failure_pattern is None:
            raise ValueError("pod_logs.failure_pattern is not set")
        self._settings = settings
        self._client = client
        self._store = store
        self._leadership = leadership
        self._search = Search(LinePattern(settings.failure_pattern), settings.max_lines_per_second, on_skipped)
        self._refusals: dict[str, Trouble] = {}
        self._pace = pace or FollowingPace()
        self._wall = wall
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._began: float | None = None
        self._left_out = Trouble(
            _log,
            "more agents than pod_logs.max_streams; failed tasks of the others are not counted",
            "logs of all agents are followed again",
        )

    async def run(self) -> NoReturn:
        """Follow until cancelled. No answer of the API server ends it."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._match_streams(group)
                await asyncio.sleep(POLL_SECONDS)

    def _match_streams(self, group: asyncio.TaskGroup) -> None:
        """End the streams of agents that are gone, open those of new ones, a few at a time."""
        began = self._leading_since()
        needed = self._with_logs() if began is not None else {}
        for uid in [uid for uid, task in self._streams.items() if uid not in needed or task.done()]:
            self._streams.pop(uid).cancel()
        if began is not None:
            self._open_streams(group, [target for uid, target in needed.items() if uid not in self._streams], began)

    def _open_streams(self, group: asyncio.TaskGroup, targets: Sequence[Target], began: float) -> None:
        places = self._settings.max_streams - len(self._streams)
        if len(targets) > places:
            fix = "raise pod_logs.max_streams, or count them where the logs are stored"
            self._left_out.report(left_out=len(targets) - places, maximum=self._settings.max_streams, fix=fix)
        else:
            self._left_out.resolve()
        for target in targets[: min(places, STARTS_PER_POLL)]:
            log = AgentLog(
                self._client,
                self._store,
                target,
                began=began,
                search=self._search,
                refusal=self._refusal(target.namespace),
                pace=self._pace,
            )
            self._streams[target.uid] = group.create_task(log.follow(), name=f"log of {target.pod}")

    def _refusal(self, namespace: str) -> Trouble:
        """Return what the logs of a namespace share: a hundred pods are refused for one and the same reason."""
        refusal = Trouble(
            _log, "no permission to read agents' logs", "permission to read agents' logs granted", namespace=namespace
        )
        return self._refusals.setdefault(namespace, refusal)

    def _leading_since(self) -> float | None:
        """Return when this process began to follow (Unix time), from which on failures count; None if it does not."""
        leads = self._settings.every_replica or self._leadership.is_leader()
        if not leads:
            self._began = None
        elif self._began is None:
            self._began = self._wall()
        return self._began

    def _with_logs(self) -> dict[str, Target]:
        """Return the agents with a log; one that is followed is followed on, whatever becomes of its status."""
        known = (self._store.target(uid) for uid in self._store.uids())
        return {
            target.uid: target
            for target in known
            if target is not None and (_has_log(target) or target.uid in self._streams)
        }


def _has_log(target: Target) -> bool:
    """Whether a container of the agent has ever run. Until then the API has only an error to give."""
    facts = target.facts
    return (
        facts is not None
        and facts.container is not None
        and (facts.started_time is not None or facts.last_terminated_reason is not None)
    )
