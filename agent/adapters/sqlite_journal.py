"""The journal in SQLite: WAL, one writer thread per process with group commit, an fsync before anyone hears "done".

Several processes may append at the same time. Each writer reads the end of the chain inside its own write
transaction, so the chain is one, whoever wrote the links (see ``agent.domain.chain``). The tables
are described in ``agent.adapters.journal_schema``.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from agent.adapters.journal_file import BUSY_MS, connect, open_journal, translated
from agent.adapters.journal_lock import lock_holder
from agent.domain import chain
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, JournalUnavailable
from agent.domain.journal_events import LIST_CHANGES, PROTECTIVE_CHANGES, Event, EventType, Mark, Record
from agent.domain.ports import Progress

_BATCH: Final = 512
_COMMIT_S: Final = 0.5
"""How much longer than its deadline a caller waits for a commit that has begun, to hear how it ended."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """An event made ready for the disk by the thread that appends it: what cannot be written fails there."""

    type: EventType
    salt: bytes
    body: str
    digest: bytes


@dataclass(slots=True)
class _Waiting:
    """Events on their way to the disk, and the caller who waits for them."""

    events: Sequence[_Sealed]
    done: threading.Lock = field(default_factory=threading.Lock)
    seqs: tuple[int, ...] = ()
    error: Exception | None = None
    fate: threading.Lock = field(default_factory=threading.Lock)
    """Taken once: by the writer that will commit the events, or by the caller who has no more time for them."""

    def take(self) -> bool:
        """Whether it is the asker's to decide; what a caller gave up is never written, and the other way round."""
        return self.fate.acquire(blocking=False)


class SqliteJournal:
    """The journal file and its writer thread. Thread-safe; ``close`` it, or use it as a context manager."""

    def __init__(
        self, path: Path, key_path: Path, *, create: bool = True, progress: Progress | None = lambda *_: None
    ) -> None:
        """Open the journal; with ``create``, make it and its key when there is none. Raises ``JournalUnavailable``.

        ``progress`` hears of it when a journal of an older version is brought up to date; with None, that is not done
        and ``JournalOutdated`` raised.
        """
        self.path = path
        self._key = open_journal(path, key_path, create=create, progress=progress)
        self._local = threading.local()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        with translated(path):
            self.id: str = self._reader().execute("SELECT journal FROM state").fetchone()[0]
        self._writer = threading.Thread(target=self._write, name="journal-writer", daemon=True)
        self._writer.start()

    def __enter__(self) -> SqliteJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued, then stop the writer; for at most as long as one transaction waits for others.

        Appending afterwards raises ``JournalUnavailable``.
        """
        self._queue.put(None)
        self._writer.join(BUSY_MS / 1000)
        if reader := vars(self._local).pop("connection", None):
            reader.close()

    # --- appending

    def append(self, events: Sequence[Event], deadline: Deadline) -> tuple[int, ...]:
        """See ``agent.domain.ports.Journal``."""
        waiting = _Waiting([_sealed(event) for event in events])
        waiting.done.acquire()
        self._queue.put(waiting)
        if not self._writer.is_alive():
            raise JournalUnavailable(f"the writer of journal {self.path} has stopped")
        in_time = waiting.done.acquire(timeout=deadline.remaining_s())
        if not in_time and (waiting.take() or not waiting.done.acquire(timeout=_COMMIT_S)):
            raise JournalUnavailable(self._locked() or f"journal {self.path} did not reach the disk in time")
        if waiting.error is not None:
            locked = getattr(waiting.error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY and self._locked()
            raise JournalUnavailable(locked or f"journal {self.path}: {waiting.error}") from waiting.error
        return waiting.seqs

    def _locked(self) -> str:
        """That the journal is locked, and by whom; empty when it is not."""
        holder = lock_holder(self.path)
        return f"journal {self.path} is locked by {holder}: nothing can be recorded until that ends" if holder else ""

    def append_later(self, event: Event) -> None:
        """See ``agent.domain.ports.Journal``."""
        waiting = _Waiting([_sealed(event)])
        waiting.done.acquire()
        self._queue.put(waiting)

    def _write(self) -> None:
        """The writer thread: take all that is queued, one transaction, one fsync, tell everyone."""
        connection: sqlite3.Connection | None = None
        stopping = False
        while not stopping:
            batch: list[_Waiting] = []
            entry = self._queue.get()
            while True:
                if entry is None:
                    stopping = True
                else:
                    batch.append(entry)
                if stopping or len(batch) >= _BATCH:
                    break
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
            if not batch:
                continue
            try:
                connection = connection or connect(self.path)
                self._write_batch(connection, batch)
            except Exception as error:  # noqa: BLE001  # whatever it was, each caller hears it and the next batch is tried
                for waiting in batch:
                    waiting.error = error
                if connection is not None:
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
                    connection = None
            for waiting in batch:
                waiting.done.release()
        if connection is not None:
            connection.close()

    def _write_batch(self, connection: sqlite3.Connection, batch: list[_Waiting]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        batch = [waiting for waiting in batch if waiting.take()]
        if not batch:
            connection.execute("ROLLBACK")
            return
        seq, link, protective = connection.execute("SELECT seq, link, protective FROM state").fetchone()
        at_us = time.time_ns() // 1000
        rows = []
        for waiting in batch:
            first = seq + 1
            for event in waiting.events:
                seq += 1
                link = chain.link(self._key, link, seq, at_us, event.type, event.digest)
                rows.append((seq, at_us, event.type, event.salt, event.body, event.digest, link))
                if event.type in PROTECTIVE_CHANGES:
                    protective = seq
            waiting.seqs = tuple(range(first, seq + 1))
        connection.executemany(
            "INSERT INTO records (seq, at, type, salt, body, digest, link) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
        )
        connection.execute(
            "UPDATE state SET seq = ?, link = ?, seal = ?, protective = ?",
            (seq, link, chain.head(self._key, seq, link), protective),
        )
        connection.execute("COMMIT")

    # --- reading

    def mark(self, seq: int) -> Mark | None:
        """See ``agent.domain.ports.Journal``."""
        if seq == 0:
            return Mark(journal=self.id, seq=0, link="")
        with translated(self.path):
            row = self._reader().execute("SELECT link FROM records WHERE seq = ?", (seq,)).fetchone()
        return Mark(journal=self.id, seq=seq, link=row[0].hex()) if row is not None else None

    def protective_head(self) -> int:
        """See ``agent.domain.ports.Journal``."""
        with translated(self.path):
            head: int = self._reader().execute("SELECT protective FROM state").fetchone()[0]
        return head

    def register_changes(self, profile: str) -> list[Record]:
        """See ``agent.domain.ports.Journal``."""
        types = f"'{EventType.REGISTER_LOADED}', '{EventType.REGISTER_ROLLED_BACK}'"
        return list(self.records(f"type IN ({types}) AND json_extract(body, '$.profile') = ?", (profile,)))

    def list_changes(self, after: int, limit: int) -> list[Record]:
        """See ``agent.domain.ports.Journal``."""
        types = ", ".join(f"'{name}'" for name in sorted(LIST_CHANGES))
        return list(self.records(f"type IN ({types}) AND seq > ?", (after,), limit=limit))

    def records(
        self, where: str = "1", parameters: Sequence[object] = (), *, limit: int = -1, newest_first: bool = False
    ) -> Iterator[Record]:
        """Records that match ``where`` (SQL over the columns in the module docstring), in order of ``seq``."""
        order = "DESC" if newest_first else "ASC"
        return self.selected(f"FROM records WHERE {where} ORDER BY seq {order} LIMIT ?", (*parameters, limit))

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
        try:
            return Record(
                seq=seq,
                at=_EPOCH + timedelta(microseconds=at_us),
                type=EventType(event_type),
                body=json.loads(body.decode()) if body is not None else {},
            )
        except ValueError as error:
            problem = f"record {seq} of journal {self.path} cannot be read: it was altered (bmn journal verify)"
            raise JournalUnavailable(problem) from error

    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = connect(self.path)
            connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
        return connection


def _sealed(event: Event) -> _Sealed:
    body = json.dumps(event.body, ensure_ascii=False, separators=(",", ":"))
    salt = secrets.token_bytes(chain.SALT_BYTES)
    try:
        digest = chain.digest(salt, body.encode())
    except UnicodeEncodeError as error:
        raise InputRejected("a text that is not Unicode cannot be recorded") from error
    return _Sealed(event.type, salt, body, digest)
