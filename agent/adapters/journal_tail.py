"""The end of the journal, for those who watch calls as they happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.journal_events import EventType, Record

_SHOWN: Final = f"type IN ('{EventType.CALL_SCREENED}', '{EventType.VERDICT_UNDELIVERED}')"


class JournalTail:
    """Screenings, and those that Asterisk did not confirm, by place in the journal. For one thread at a time."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal

    def head(self) -> int:
        """The newest record. Raises ``JournalUnavailable``."""
        return self._journal.head().seq

    def screened(self, after: int, upto: int, limit: int) -> tuple[Sequence[Record], bool]:
        """The newest ``limit`` of these records in between, the oldest first, and whether there were more."""
        where = f"{_SHOWN} AND seq > ? AND seq <= ?"
        newest = list(self._journal.records(where, (after, upto), limit=limit + 1, newest_first=True))
        return newest[:limit][::-1], len(newest) > limit
