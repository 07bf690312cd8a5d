"""Where discovery delivers: the one seam between finding agents and scraping them."""

from collections.abc import Iterable
from typing import Protocol

from exporter.fleet.model import PassedOver, Target


class TargetSink(Protocol):
    """Takes the targets of several sources. A source owns the targets it delivered and no others.

    Every call that changes the membership also counts as `synced`.
    """

    def replace(self, source: str, targets: Iterable[Target]) -> None:
        """Make `targets` the whole membership of `source`; what it had besides is gone."""

    def upsert(self, source: str, target: Target) -> None:
        """Add one target of `source`, or take its newer facts."""

    def remove(self, source: str, uid: str) -> None:
        """Forget one target of `source`; one that is not known is no error."""

    def synced(self, source: str) -> None:
        """Take note that the membership of `source` was current just now (a bookmark, an unchanged file)."""


class PodSink(TargetSink, Protocol):
    """Takes targets that are pods, and what is found beside them."""

    def passed_over(self, source: str, pods: tuple[PassedOver, ...]) -> None:
        """Take all pods of `source` that the selector finds and that are no agents."""
