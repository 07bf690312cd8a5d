"""What goes wrong stands in the log once when it begins and once when it is over, and not at every attempt between."""

import logging

from structlog.typing import FilteringBoundLogger

ONCE_EACH = 1000
"""To be remembered where each kind is logged once; with more kinds than this the log begins again with the oldest."""


class Trouble:
    """One thing that can be wrong, and what the log has been told of it.

    `event` is logged when it begins, and again when it is wrong in another way; `resolved` when it is over, unless it
    is empty. `fields` go with both.

    The last `remembered` kinds are not logged again before it is over. With 1 the last event is always the present
    kind; with more of them, kinds that alternate are each logged once.
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
        """Whether it is wrong."""
        return bool(self._kinds)

    def report(self, kind: object = True, event: str = "", level: int = 0, /, **fields: object) -> None:
        """Take note that it is wrong, and log it if it was not, or not in this way.

        `kind` must be hashable. `event` and `level` replace the usual ones for a kind that needs other words.
        """
        if kind in self._kinds:
            return
        self._kinds[kind] = None
        if len(self._kinds) > self._remembered:
            del self._kinds[next(iter(self._kinds))]
        self._log.log(level or self._level, event or self._event, **self._fields, **fields)

    def resolve(self, **fields: object) -> None:
        """Take note that it is not wrong, and log it if it was."""
        if self._kinds and self._resolved:
            self._log.info(self._resolved, **self._fields, **fields)
        self._kinds.clear()
