"""The journal in SQLite: appending by its writer thread, and everything that is read from it.

The tables are described in ``agent.adapters.journal_schema``; ``agent.adapters.journal_writer`` says how records get
there.
"""

from __future__ import annotations

import json
import operator
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from agent.adapters.journal_file import connect, hold, open_journal, translated
from agent.adapters.journal_identity import JournalFiles, JournalProgress
from agent.adapters.journal_lock import lock_holder
from agent.adapters.journal_writer import Entry, JournalWriter, Sealed
from agent.domain import chain
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, JournalUnavailable, PremiseOutdated
from agent.domain.journal_events import LIST_CHANGES, REGISTER_CHANGES, Event, EventType, Mark, Record
from agent.domain.ports import JournalState, Progress
from agent.domain.premise import Premise
from agent.domain.watch import Watch

THERE: Final = "(records.body IS NOT NULL OR NOT is_purged(records.seq, records.link, records.salt))"
"""Of records, without those that were purged; one whose body went in another way is an error when it is read."""

_COMMIT_S: Final = 0.5
"""How much longer than its deadline a caller waits for a commit that has begun, to hear how it ended."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SqliteJournal:
    """The journal file and its writer thread. Thread-safe; ``close`` it, or use it as a context manager."""

    def __init__(
        self,
        path: Path,
        key_path: Path,
        *,
        create: bool = True,
        progress: Progress | None = lambda *_: None,
        watch: Watch | None = None,
    ) -> None:
        """Open the journal; with ``create``, make it and its key when there is none. Raises ``JournalUnavailable``.

        ``progress`` hears of it when a journal of an older version is brought up to date; with None, that is not done
        and ``JournalOutdated`` raised.
        """
        self.path = path
        key = open_journal(path, key_path, create=create, progress=progress)
        self._key = key
        self._local = threading.local()
        with translated(path):
            self._held = hold(path)
            journal, seq, link = self._held.execute("SELECT journal, seq, link FROM state").fetchone()
        self.id: str = journal
        self._files = JournalFiles(path)
        self._progress = JournalProgress(path, seq, link)
        self._writer = JournalWriter(path, key, self._files, self._progress, watch or Watch())

    def __enter__(self) -> SqliteJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """Write what is queued, and try for some seconds what was promised for later; returns how much of it was lost.

        Appending afterwards raises ``JournalUnavailable``. May be called again.
        """
        lost = self._writer.close()
        if reader := vars(self._local).pop("connection", None):
            reader.close()
        self._held.close()
        return lost

    # --- appending

    def append(self, events: Sequence[Event], deadline: Deadline, premise: Premise | None = None) -> tuple[int, ...]:
        """See ``agent.domain.ports.Journal``."""
        entry = Entry([Sealed.of(event) for event in events], premise)
        try:
            return self._appended(entry, deadline)
        except JournalUnavailable:
            if not entry.over and not entry.given_up:
                self._local.doubted = (tuple(events), entry)
            raise

    def append_later(self, events: Sequence[Event], premise: Premise | None = None) -> bool:
        """See ``agent.domain.ports.Journal``. Events that this thread has just failed to append are written once.

        Their commit may have begun, and end well after all.
        """
        doubted, entry = vars(self._local).pop("doubted", ((), None))
        same = len(doubted) == len(events) and all(map(operator.is_, doubted, events))
        if entry is not None and same and self._writer.promise(entry):
            return True
        return self._writer.put(Entry([Sealed.of(event) for event in events], premise, later=True))

    def purge(self, event: Event, seqs: Sequence[int], deadline: Deadline) -> None:
        """Append ``event`` and remove the bodies of the records ``seqs``, in one transaction.

        What is left of them says that this was done, in a way that only who has the key can say it. Raises as
        ``append``, and when one of them has no body; then nothing was removed.
        """
        self._appended(Entry([Sealed.of(event)], purged=tuple(seqs)), deadline)

    def _appended(self, entry: Entry, deadline: Deadline) -> tuple[int, ...]:
        if self._writer.alive:  # else nobody would ever take it
            self._writer.put(entry)
        if not self._writer.alive:
            raise JournalUnavailable(f"the writer of journal {self.path} has stopped")
        in_time = entry.done.acquire(timeout=deadline.remaining_s())
        entry.given_up = not in_time and entry.take()
        if entry.given_up or not (in_time or entry.done.acquire(timeout=_COMMIT_S)):
            raise JournalUnavailable(self._locked() or f"journal {self.path} did not reach the disk in time")
        if isinstance(entry.error, InputRejected | JournalUnavailable | PremiseOutdated):
            raise entry.error
        if entry.error is not None:
            locked = getattr(entry.error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY and self._locked()
            raise JournalUnavailable(locked or f"journal {self.path}: {entry.error}") from entry.error
        return entry.seqs

    @property
    def has_writer(self) -> bool:
        """False once it was closed, or its writer thread has ended from an error: nothing is appended any more."""
        return self._writer.alive

    @property
    def unwritten(self) -> int:
        """How many appends wait for the disk."""
        return self._writer.unwritten

    def _locked(self) -> str:
        """That the journal is locked, and by whom; empty when it is not."""
        holder = lock_holder(self.path)
        return f"journal {self.path} is locked by {holder}: nothing can be recorded until that ends" if holder else ""

    # --- reading

    def mark(self, seq: int) -> Mark | None:
        """See ``agent.domain.ports.Journal``."""
        if seq == 0:
            return Mark(journal=self.id, seq=0, link="")
        with translated(self.path):
            row = self._reader().execute("SELECT link FROM records WHERE seq = ?", (seq,)).fetchone()
        return Mark(journal=self.id, seq=seq, link=row[0].hex()) if row is not None else None

    def state(self) -> JournalState:
        """See ``agent.domain.ports.Journal``."""
        known = self._progress.seq  # before the read: it only grows
        with translated(self.path):
            query = "SELECT seq, protective, newest_at FROM state"
            seq, watermark, newest_us = self._reader().execute(query).fetchone()
        if seq < known:
            self._progress.require_beyond(seq)
        newest_at = _EPOCH + timedelta(microseconds=newest_us) if newest_us else None
        return JournalState(seq=seq, restriction_watermark=watermark, newest_at=newest_at)

    def vacuumed(self) -> None:
        """The caller has just written the whole file anew."""
        self._files.vacuumed()

    def require_in_place(self) -> None:
        """Raise ``JournalReplaced`` when the file at the journal's path is not the one that is open."""
        self._files.require_in_place()
        self.state()

    def register_changes(self, profile: str) -> list[Record]:
        """See ``agent.domain.ports.Journal``."""
        types = ", ".join(f"'{name}'" for name in sorted(REGISTER_CHANGES))
        return list(self.records(f"type IN ({types}) AND json_extract(body, '$.profile') = ?", (profile,)))

    def list_changes(self, after: int, limit: int) -> list[Record]:
        """See ``agent.domain.ports.Journal``."""
        types = ", ".join(f"'{name}'" for name in sorted(LIST_CHANGES))
        return list(self.records(f"type IN ({types}) AND seq > ?", (after,), limit=limit))

    def records(
        self, where: str = "1", parameters: Sequence[object] = (), *, limit: int = -1, newest_first: bool = False
    ) -> Iterator[Record]:
        """Records that match ``where`` (SQL over the columns in the module docstring), in order of ``seq``.

        Those whose bodies were purged are left out; one whose body went in another way is an error.
        """
        order = "DESC" if newest_first else "ASC"
        return self.selected(
            f"FROM records WHERE ({where}) AND {THERE} ORDER BY seq {order} LIMIT ?", (*parameters, limit)
        )

    def selected(self, source: str, parameters: Sequence[object]) -> Iterator[Record]:
        """The records of a query that begins with FROM: ``records`` and whatever else is needed to choose them."""
        columns = "records.seq, records.at, records.type, CAST(records.body AS BLOB)"
        for row in self.query(f"SELECT {columns} {source}", parameters):
            yield self._record(*row)

    def query(self, sql: str, parameters: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        """The rows of any query over the tables."""
        with translated(self.path):
            yield from self._reader().execute(sql, parameters)

    def record(self, seq: int) -> Record | None:
        """Record ``seq``; None when there is none."""
        return next(self.records("seq = ?", (seq,)), None)

    def head(self) -> chain.Anchor:
        """How far the chain goes now."""
        with translated(self.path):
            return chain.Anchor.at(*self._reader().execute("SELECT seq, link FROM state").fetchone())

    def _record(self, seq: int, at_us: int, event_type: str, body: bytes | None) -> Record:
        if body is None:
            raise JournalUnavailable(
                f"record {seq} of journal {self.path} has no body, and no purge took it (bmn journal verify)"
            )
        try:
            return Record(
                seq=seq,
                at=_EPOCH + timedelta(microseconds=at_us),
                type=EventType(event_type),
                body=json.loads(body.decode()),
            )
        except ValueError as error:
            problem = f"record {seq} of journal {self.path} cannot be read: it was altered (bmn journal verify)"
            raise JournalUnavailable(problem) from error

    def _is_purged(self, seq: int, link: bytes, mark: bytes | None) -> bool:
        return mark == chain.purge_mark(self._key, seq, link)

    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection for reading. Raises ``JournalReplaced``."""
        self._files.require_in_place()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = connect(self.path)
            connection.execute("PRAGMA query_only = ON")
            connection.create_function("is_purged", 3, self._is_purged, deterministic=True)
            self._local.connection = connection
        return connection
