"""The journal as a purge sees it, and how its bytes are made to be gone from the files."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.adapters.journal_file import connect, translated
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType, Record
from agent.domain.retention import FOLDED, Aged

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FOLDED: Final = ", ".join(f"'{name}'" for name in sorted(FOLDED))
_WIPE_TRIES: Final = 20
_WIPE_PAUSE_S: Final = 0.5
"""Between two tries; together they give a reader ten seconds to end."""


class JournalPurge:
    """See ``agent.retention.PurgeRecords``."""

    def __init__(self, journal: SqliteJournal, pause: Callable[[float], None] = time.sleep) -> None:
        """``pause`` waits for so many seconds."""
        self._journal = journal
        self._pause = pause

    def made_at(self, seq: int) -> datetime | None:
        """When record ``seq`` was made; None when there is none."""
        with self._connected() as connection:
            row = connection.execute("SELECT at FROM records WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else _moment(row[0])

    def last_before(self, until: datetime) -> int:
        """Found by halving, for there is no index on times."""
        with self._connected() as connection:
            low, (high,) = 0, connection.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
            while low < high:
                middle = (low + high + 1) // 2
                row = connection.execute("SELECT at FROM records WHERE seq = ?", (middle,)).fetchone()
                if row is not None and row[0] < _microseconds(until):
                    low = middle
                else:
                    high = middle - 1
        return low

    def aged(self, until: Mapping[EventType, datetime], after: int, last: int, limit: int) -> list[Aged]:
        """Read in the order of the table: by the index on types, each step would sort all that follows.

        The end of a call, or that it was never handed out, goes with its beginning or after it, also where a clock was
        set back in between: a beginning without its end would be a call that goes on.
        """
        older = " OR ".join("(+type = ? AND at < ?)" for _ in until)
        pairs = [value for event, moment in until.items() for value in (event, _microseconds(moment))]
        query = (
            "SELECT seq, at, type, call FROM records "
            f"WHERE seq > ? AND seq <= ? AND body IS NOT NULL AND ({older}) AND NOT (+type IN (?, ?) AND EXISTS ("
            "SELECT 1 FROM records begun WHERE begun.call = records.call AND +begun.type = ? AND begun.at >= ?"
            ")) ORDER BY seq LIMIT ?"
        )
        began = _microseconds(until[EventType.CALL_SCREENED])
        ends = (EventType.CALL_FINISHED, EventType.VERDICT_UNDELIVERED, EventType.CALL_SCREENED, began)
        with self._connected() as connection:
            rows = connection.execute(query, (after, last, *pairs, *ends, limit)).fetchall()
        return [Aged(seq=seq, at=_moment(at), type=EventType(kind), call=call) for seq, at, kind, call in rows]

    def numbers(self, until: datetime) -> list[str]:
        """The numbers that have a record which is looked at number by number, and was made before then."""
        query = f"SELECT DISTINCT number FROM records WHERE type IN ({_FOLDED}) AND at < ? AND number IS NOT NULL"
        with self._connected() as connection:
            return [number for (number,) in connection.execute(query, (_microseconds(until),))]

    def of_number(self, number: str) -> list[Record]:
        """The records of a number that are looked at together, in order."""
        return list(self._journal.records(f"number = ? AND type IN ({_FOLDED})", (number,)))

    def newest_at(self) -> datetime | None:
        """See ``agent.domain.ports.JournalState``."""
        return self._journal.state().newest_at

    def restriction_watermark(self) -> int:
        """See ``agent.domain.ports.JournalState``."""
        return self._journal.state().restriction_watermark

    def purge(self, event: Event, seqs: Sequence[int], deadline: Deadline) -> None:
        """See ``SqliteJournal.purge``."""
        self._journal.purge(event, seqs, deadline)

    def wipe(self) -> bool:
        """Bring the write-ahead log into the file, where purged bodies are zeros, and cut it off.

        SQLite holds the lock of the writer while it waits for readers, so it must not wait: no call could be recorded.
        """
        with self._connected() as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            for tried in range(_WIPE_TRIES):
                if tried:
                    self._pause(_WIPE_PAUSE_S)
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    return True
        return False

    def vacuum(self) -> None:
        """Write the whole file anew, without what older versions left in free places."""
        with self._connected() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._journal.vacuumed()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with translated(self._journal.path), contextlib.closing(connect(self._journal.path)) as connection:
            yield connection


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
