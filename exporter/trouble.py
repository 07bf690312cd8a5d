"""Logs a problem once when it starts and once when it is resolved, not at every attempt in between."""

import logging

from structlog.typing import FilteringBoundLogger

ONCE_EACH = 1000
"""For `remembered` where each kind is logged once; with more kinds than this, the oldest are logged again."""


class Trouble:
    """One possible problem, and what was logged about it.

    `event` is logged when it starts and when its kind changes; `resolved` when it ends, unless empty. `fields` are part
    of both.

    The last `remembered` kinds are not logged again until it ends. With 1 the last event always shows the current kind;
    with more, alternating kinds are each logged once.
    """

    __slots__ = ("_event", "_fields", "_kinds", "_level", "_log", "_remembered", "_resolved")

    def __init__(
        self,
        log: FilteringBoundLogger,
        event: str,
        resolved: str = "",
        *,
        level: int = logging.WARNING,
        remembered: int = 1,
        **fields: object,
    ) -> None:
        self._log = log
        self._event = event
        self._resolved = resolved
        self._level = level
        self._remembered = remembered
        self._fields = fields
        self._kinds: dict[object, None] = {}
        """Oldest first."""

    @property
    def active(self) -> bool:
        """Whether the problem exists."""
        return bool(self._kinds)

    def report(self, kind: object = True, event: str = "", level: int = 0, /, **fields: object) -> None:
        """Record the problem, and log it if it is new or of another kind.

        `kind` must be hashable. `event` and `level` override the defaults for this kind.
        """
        if kind in self._kinds:
            return
        self._kinds[kind] = None
        if len(self._kinds) > self._remembered:
            del self._kinds[next(iter(self._kinds))]
        self._log.log(level or self._level, event or self._event, **self._fields, **fields)

    def resolve(self, **fields: object) -> None:
        """Record that the problem does not exist, and log it if it did."""
        if self._kinds and self._resolved:
            self._log.info(self._resolved, **self._fields, **fields)
        self._kinds.clear()
