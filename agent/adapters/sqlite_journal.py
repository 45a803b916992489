"""The journal in SQLite: WAL, one writer thread per process with group commit, an fsync before anyone hears "done".

Several processes may append at the same time. Each writer reads the end of the chain inside its own write
transaction, so the chain is one, whoever wrote the links (see ``agent.domain.chain``).

Tables (schema version 1):
  ``records``  seq, at (microseconds since 1970 UTC), type, salt, body (JSON text), digest, link. The columns
               ``number``, ``call``, ``verdict``, ``reason``, ``campaign``, ``seller`` and ``agent`` are computed from
               the body by SQLite, for the indexes: there is no second copy that could say something else.
  ``state``    one row: journal id, what its key must match, last seq, last link, its seal, and the last protective seq.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.adapters.journal_key import read_key, require_own_key, write_new_key
from agent.domain import chain
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import LIST_CHANGES, PROTECTIVE_CHANGES, Event, EventType, Mark, Record

SCHEMA_VERSION: Final = 1
_BATCH: Final = 512
_BUSY_MS: Final = 5_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_COMPUTED: Final = ("number", "call", "verdict", "reason", "campaign", "seller", "agent")
_SCHEMA: Final = f"""
CREATE TABLE records (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, type TEXT NOT NULL,
  salt BLOB, body TEXT, digest BLOB NOT NULL, link BLOB NOT NULL,
  {", ".join(f"{name} TEXT GENERATED ALWAYS AS (json_extract(body, '$.{name}')) VIRTUAL" for name in _COMPUTED)}
) STRICT;
CREATE INDEX records_by_number ON records (number, seq) WHERE number IS NOT NULL;
CREATE INDEX records_by_call ON records (call, seq) WHERE call IS NOT NULL;
CREATE INDEX records_by_type ON records (type, seq);
CREATE TABLE state (
  one INTEGER PRIMARY KEY CHECK (one = 1), journal TEXT NOT NULL, key_check BLOB NOT NULL,
  seq INTEGER NOT NULL, link BLOB NOT NULL, seal BLOB NOT NULL, protective INTEGER NOT NULL
) STRICT;
"""


@dataclass(slots=True)
class _Waiting:
    """Events on their way to the disk with their bodies as JSON, and the caller who waits for them."""

    events: Sequence[tuple[EventType, str]]
    done: threading.Lock = field(default_factory=threading.Lock)
    seqs: tuple[int, ...] = ()
    error: Exception | None = None
    abandoned: bool = False


class SqliteJournal:
    """The journal file and its writer thread. Thread-safe; ``close`` it, or use it as a context manager."""

    def __init__(self, path: Path, key_path: Path, *, create: bool = True) -> None:
        """Open the journal; with ``create``, make it and its key when there is none. Raises ``JournalUnavailable``."""
        self.path = path
        self._key = _prepare(path, key_path, create=create)
        self._local = threading.local()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        with _translated(path):
            self.id: str = self._reader().execute("SELECT journal FROM state").fetchone()[0]
        self._writer = threading.Thread(target=self._write, name="journal-writer", daemon=True)
        self._writer.start()

    def __enter__(self) -> SqliteJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued, then stop the writer. Appending afterwards raises ``JournalUnavailable``."""
        self._queue.put(None)
        self._writer.join()

    # --- appending

    def append(self, events: Sequence[Event], deadline: Deadline) -> tuple[int, ...]:
        """See ``agent.domain.ports.Journal``."""
        waiting = _Waiting([_serialised(event) for event in events])
        waiting.done.acquire()
        self._queue.put(waiting)
        if not self._writer.is_alive():
            raise JournalUnavailable(f"the writer of journal {self.path} has stopped")
        if not waiting.done.acquire(timeout=deadline.remaining_s()):
            waiting.abandoned = True
            raise JournalUnavailable(f"journal {self.path} did not reach the disk in time")
        if waiting.error is not None:
            raise JournalUnavailable(f"journal {self.path}: {waiting.error}") from waiting.error
        return waiting.seqs

    def append_later(self, event: Event) -> None:
        """See ``agent.domain.ports.Journal``."""
        waiting = _Waiting([_serialised(event)])
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
                elif not entry.abandoned:
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
                connection = connection or _connect(self.path)
                self._write_batch(connection, batch)
            except (sqlite3.Error, OSError) as error:
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
        seq, link, protective = connection.execute("SELECT seq, link, protective FROM state").fetchone()
        at_us = time.time_ns() // 1000
        rows = []
        for waiting in batch:
            first = seq + 1
            for event_type, body in waiting.events:
                seq += 1
                salt = secrets.token_bytes(chain.SALT_BYTES)
                digest = chain.digest(salt, body)
                link = chain.link(self._key, link, seq, at_us, event_type, digest)
                rows.append((seq, at_us, event_type, salt, body, digest, link))
                if event_type in PROTECTIVE_CHANGES:
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
        with _translated(self.path):
            row = self._reader().execute("SELECT link FROM records WHERE seq = ?", (seq,)).fetchone()
        return Mark(journal=self.id, seq=seq, link=row[0].hex()) if row is not None else None

    def protective_head(self) -> int:
        """See ``agent.domain.ports.Journal``."""
        with _translated(self.path):
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
        query = f"SELECT seq, at, type, body FROM records WHERE {where} ORDER BY seq {order} LIMIT ?"
        with _translated(self.path):
            for seq, at_us, event_type, body in self._reader().execute(query, (*parameters, limit)):
                yield Record(
                    seq=seq,
                    at=_EPOCH + timedelta(microseconds=at_us),
                    type=EventType(event_type),
                    body=json.loads(body) if body is not None else {},
                )

    def last_seq(self) -> int:
        """The number of the newest record; 0 in an empty journal."""
        with _translated(self.path):
            seq: int = self._reader().execute("SELECT seq FROM state").fetchone()[0]
        return seq

    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _connect(self.path)
            connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
        return connection


def _serialised(event: Event) -> tuple[EventType, str]:
    return event.type, json.dumps(event.body, ensure_ascii=False, separators=(",", ":"))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    # FULL makes SQLite sync the write-ahead log at every commit; NORMAL would lose the last ones in a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _prepare(path: Path, key_path: Path, *, create: bool) -> bytes:
    """Make sure that the journal and its key exist and belong together; returns the key."""
    try:
        if not path.exists():
            if not create:
                raise JournalUnavailable(f"there is no journal at {path}")
            _create(path, key_path)
        key = read_key(key_path, path)
        with _translated(path), contextlib.closing(_connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise JournalUnavailable(f"journal {path} has schema {version}; this version reads {SCHEMA_VERSION}")
            state = connection.execute("SELECT journal, key_check, seq, link, seal FROM state").fetchone()
    except OSError as error:
        raise JournalUnavailable(f"journal {path}: {error.strerror or error}") from error
    if state is None:
        raise JournalUnavailable(f"journal {path} was tampered with: its state is gone (bmn journal verify)")
    journal_id, key_check, seq, link, seal = state
    require_own_key(key, journal_id, key_check, path)
    if not secrets.compare_digest(chain.head(key, seq, link), seal):
        raise JournalUnavailable(f"journal {path} was tampered with: its end is not sealed (bmn journal verify)")
    return key


def _create(path: Path, key_path: Path) -> None:
    """Create the journal and its key. Two processes that start at once agree: the folder is locked meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            return
        if key_path.exists():
            raise JournalUnavailable(
                f"journal {path} is gone, but its key {key_path} is there: restore the journal, for it holds the "
                "opt-outs and the evidence; to begin a new one, move the key away"
            )
        _create_both(path, write_new_key(key_path))
        os.fsync(folder)
    finally:
        os.close(folder)


def _create_both(path: Path, key: bytes) -> None:
    """Make the journal beside its final name and link it in, so that it is never there half-made."""
    journal_id = secrets.token_hex(8)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with _translated(path), contextlib.closing(_connect(draft)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            link = chain.first_link(key, journal_id)
            connection.execute(
                "INSERT INTO state VALUES (1, ?, ?, 0, ?, ?, 0)",
                (journal_id, chain.key_check(key, journal_id), link, chain.head(key, 0, link)),
            )
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.link(draft, path)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{draft}{suffix}").unlink(missing_ok=True)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors, in the words of the domain."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalUnavailable(f"journal {path}: {error}") from error
