"""The pods that the selector finds and that are no agents: delivered for people to see, and said once in the log."""

from collections.abc import Callable, Mapping

import structlog

from exporter.fleet.model import PassedOver, Target

_log = structlog.get_logger(__name__)

Found = Target | PassedOver | None
"""What a pod is: an agent, something else, or nothing any more."""


class PassedOverPods:
    """Those of one source."""

    def __init__(
        self, source: str, label_selector: str, deliver: Callable[[str, tuple[PassedOver, ...]], None]
    ) -> None:
        """Take who is told, at once, of all there are whenever that changes."""
        self._source = source
        self._selector = label_selector
        self._deliver = deliver
        self._pods: dict[str, PassedOver] = {}
        self._agents: set[str] = set()
        self._said: set[tuple[str, str]] = set()
        self._alone = False

    def replace(self, items: Mapping[str, Found]) -> None:
        """Take all pods by UID."""
        before = self._pods
        self._agents = {uid for uid, item in items.items() if isinstance(item, Target)}
        self._pods = {uid: item for uid, item in items.items() if isinstance(item, PassedOver)}
        self._settle(changed=self._pods != before)

    def put(self, uid: str, item: Found) -> None:
        """Take one pod."""
        before = self._pods.pop(uid, None)
        self._agents.discard(uid)
        if isinstance(item, PassedOver):
            self._pods[uid] = item
        elif item is not None:
            self._agents.add(uid)
        self._settle(changed=self._pods.get(uid) != before)

    def _settle(self, *, changed: bool) -> None:
        if changed:
            self._deliver(self._source, tuple(self._pods.values()))
            for pod in self._pods.values():
                self._say(pod)
        alone = bool(self._pods) and not self._agents
        if alone and not self._alone:
            _log.warning(
                "every pod that the selector finds is passed over",
                source=self._source,
                label_selector=self._selector,
                pods=len(self._pods),
                reason=next(iter(self._pods.values())).reason,
                fix="let discovery.kubernetes.label_selector find the agents, or let them declare their port",
            )
        self._alone = alone

    def _say(self, pod: PassedOver) -> None:
        """Say once for each namespace and reason: a CronJob makes a new pod with each run."""
        kind = (pod.namespace, pod.reason)
        if kind not in self._said:
            self._said.add(kind)
            _log.info("pod is passed over", namespace=pod.namespace, pod=pod.pod, reason=pod.reason)
