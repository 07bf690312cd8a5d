"""Marks the nodes of draining agents with work, so that Karpenter leaves them alone.

Karpenter takes a node whose pods are all terminating for an empty one (kubernetes-sigs/karpenter, "Disruption"), so
annotations of such pods do not help. By the leader alone; a node that carries the annotation already, set by another
writer, is never changed. Unlike pods, nodes are not watched: all are listed once, when a process begins to lead, and
from then on only those that are marked are read, once a minute.
"""

import asyncio
from collections.abc import Mapping

import structlog

from exporter.fleet.protection import (
    KARPENTER,
    MARK,
    AnnotationRules,
    draining_nodes,
    kept_annotations,
    mark_changes,
    read_mark,
)
from exporter.kube.api import ApiError, Json, KubeError, KubeObjects, Resource
from exporter.kube.election import Leadership
from exporter.kube.fields import mapping, mappings, text
from exporter.publish.annotations import MERGE_PATCH, POD_ERRORS
from exporter.retry import Backoff
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

NODES = Resource("", "v1", "nodes")
VERBS = ("get", "list", "patch")
PAGE = 100
"""Nodes in one answer of a list; a node is up to 30 kB, most of it images."""
_SECONDS = 5.0
"""For one answer."""
_NEVER = float("-inf")
_WANTED: Mapping[str, str] = {KARPENTER: "true"}
_NOTHING: Mapping[str, str] = {}


class NodeAnnotations:
    """Keeps the annotation on the nodes of draining agents with work, and on no others."""

    def __init__(
        self,
        rules: AnnotationRules,
        source: SnapshotStore,
        nodes: KubeObjects,
        leadership: Leadership,
        *,
        poll_every: float = 2.0,
        between: float = 0.2,
        check_every: float = 60.0,
    ) -> None:
        """Mark nodes as the rules' instance; if they disable protection, only remove its marks.

        Pauses in seconds: `poll_every` between two looks at the agents, `between` after each node, `check_every`
        between two reads of the same node.
        """
        self._instance = rules.instance
        self._enabled = rules.protection is not None
        self._source = source
        self._nodes = nodes
        self._leadership = leadership
        self._poll_every = poll_every
        self._between = between
        self._check_every = check_every
        self._read_at: dict[str, float] = {}
        """When each node was last read that is marked, or to be marked."""
        self._listed = False
        self._backoff = Backoff(1.0, 60.0, jitter=0.0)
        self._trouble = Trouble(
            _log, "nodes of draining agents cannot be protected; will retry", "nodes can be protected again"
        )

    async def run(self) -> None:
        """Mark and unmark nodes until cancelled. No answer of the API server ends it. May be run again after that."""
        self._forget()
        while True:
            pause = await self._step()
            await asyncio.sleep(pause)

    def _forget(self) -> None:
        self._listed = False
        self._read_at.clear()

    async def _step(self) -> float:
        """Do what is due; return how many seconds to wait before the next time."""
        if not self._leadership.is_leader():
            self._forget()
            return self._poll_every
        if self._source.not_ready_reason() is not None:
            return self._poll_every
        try:
            if not self._listed:
                await self._find_marked()
            await self._settle()
        except KubeError as error:
            self._trouble.report(error.kind, **error.fields(NODES.grant(*VERBS)))
            return self._backoff.next()
        self._trouble.resolve()
        self._backoff.reset()
        return self._poll_every

    async def _find_marked(self) -> None:
        """List all nodes for marks that an earlier leader left."""
        proceed = ""
        while True:
            query = [("limit", str(PAGE)), *([("continue", proceed)] if proceed else [])]
            page = await self._nodes.get(NODES, query, timeout=_SECONDS)
            for node in mappings(page.get("items")):
                metadata = mapping(node.get("metadata"))
                mark = read_mark(mapping(metadata.get("annotations")).get(MARK))
                if mark is not None and mark.by == self._instance:
                    self._read_at.setdefault(text(metadata.get("name")) or "", _NEVER)
            proceed = text(mapping(page.get("metadata")).get("continue")) or ""
            if not proceed:
                self._listed = True
                return

    async def _settle(self) -> None:
        """Read the nodes that are due, and change those that are not as they should be."""
        for name, wanted in self._due():
            if self._leadership.is_leader():
                await self._bring(name, wanted)
                await asyncio.sleep(self._between)

    def _due(self) -> list[tuple[str, Mapping[str, str]]]:
        busy, unseen = draining_nodes(self._source.fleets()) if self._enabled else (frozenset[str](), frozenset[str]())
        unread_since = self._source.now() - self._check_every
        wanted = [(name, _WANTED) for name in sorted(busy) if self._read_at.get(name, _NEVER) <= unread_since]
        return wanted + [(name, _NOTHING) for name in sorted(self._read_at.keys() - busy - unseen)]

    async def _bring(self, name: str, wanted: Mapping[str, str]) -> None:
        """Make one node carry what is wanted, as far as it is ours to do."""
        node = NODES.named(name)
        try:
            metadata = mapping((await self._nodes.get(node, timeout=_SECONDS)).get("metadata"))
            there = kept_annotations(mapping(metadata.get("annotations")), _WANTED)
            changes = mark_changes(there, wanted, self._instance)
            if changes:
                body: Json = {"metadata": {"uid": metadata.get("uid"), "annotations": changes}}
                await self._nodes.send("PATCH", node, body, content_type=MERGE_PATCH, timeout=_SECONDS)
                _log.info("node protected" if wanted else "node no longer protected", node=name)
        except ApiError as error:
            if error.status not in POD_ERRORS:
                raise
        if wanted:
            self._read_at[name] = self._source.now()
        else:
            del self._read_at[name]
