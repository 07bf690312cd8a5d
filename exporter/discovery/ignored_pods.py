"""Pods that match the selector but are not agents: delivered for display, and logged once."""

import logging
from collections.abc import Callable, Mapping

import structlog

from exporter.fleet.model import FinishedPod, IgnoredPod, Target
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)

Found = Target | IgnoredPod | FinishedPod
"""A pod: an agent, one that is ignored, or one that ended for good."""


class IgnoredPods:
    """Those of one source."""

    def __init__(
        self, source: str, label_selector: str, deliver: Callable[[str, tuple[IgnoredPod, ...]], None]
    ) -> None:
        """`deliver` receives all ignored pods whenever they change."""
        self._source = source
        self._deliver = deliver
        self._pods: dict[str, IgnoredPod] = {}
        self._agents: set[str] = set()
        # A CronJob makes a new pod with each run, so each namespace and reason is logged once.
        self._ignored = Trouble(_log, "pod is ignored", level=logging.INFO, remembered=ONCE_EACH)
        self._no_agents = Trouble(
            _log,
            "every pod that the selector matches is ignored",
            source=source,
            label_selector=label_selector,
            fix="make discovery.kubernetes.label_selector match the agents, or let them declare their port",
        )

    def replace(self, items: Mapping[str, Found]) -> None:
        """Take all pods by UID."""
        before = self._pods
        self._agents = {uid for uid, item in items.items() if isinstance(item, Target)}
        self._pods = {uid: item for uid, item in items.items() if isinstance(item, IgnoredPod)}
        self._settle(changed=self._pods != before)

    def put(self, uid: str, item: Found | None) -> None:
        """Take one pod; None if it is gone."""
        before = self._pods.pop(uid, None)
        self._agents.discard(uid)
        if isinstance(item, IgnoredPod):
            self._pods[uid] = item
        elif isinstance(item, Target):
            self._agents.add(uid)
        self._settle(changed=self._pods.get(uid) != before)

    def _settle(self, *, changed: bool) -> None:
        if changed:
            self._deliver(self._source, tuple(self._pods.values()))
            for pod in self._pods.values():
                kind = (pod.namespace, pod.reason)
                self._ignored.report(kind, namespace=pod.namespace, pod=pod.pod, reason=pod.reason)
        if self._pods and not self._agents:
            self._no_agents.report(pods=len(self._pods), reason=next(iter(self._pods.values())).reason)
        else:
            self._no_agents.resolve()
