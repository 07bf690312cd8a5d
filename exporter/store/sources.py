"""The sources of targets, and when each was last known to be current."""

from collections.abc import Iterable


class Sources:
    """Instants are monotonic."""

    def __init__(self) -> None:
        self._expected: set[str] = set()
        self._synced_at: dict[str, float] = {}

    def expect(self, sources: Iterable[str]) -> None:
        """Announce sources before they deliver."""
        self._expected.update(sources)

    def synced(self, source: str, at: float) -> None:
        """Record that what a source delivered was current at this instant."""
        self._synced_at[source] = at

    def known(self, source: str) -> bool:
        """Return whether a source has delivered."""
        return source in self._synced_at

    def at(self, source: str, default: float) -> float:
        """Return when a source was last current; `default` if it has not delivered yet."""
        return self._synced_at.get(source, default)

    def missing(self) -> set[str]:
        """Return the expected sources that have not delivered yet."""
        return self._expected - self._synced_at.keys()

    def age(self, now: float) -> float | None:
        """Return the seconds since the least recently synced source was current; None until all have delivered."""
        return None if self.missing() or not self._synced_at else now - min(self._synced_at.values())

    def age_of(self, sources: Iterable[str], now: float) -> float:
        """Return the same of some sources that have delivered."""
        return now - min(self._synced_at[source] for source in sources)
