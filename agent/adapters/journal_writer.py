"""The journal's writer: one thread per process, group commit, an fsync before anyone hears "done".

Several processes may write at the same time. Each reads the end of the chain inside its own write transaction, so the
chain is one, whoever wrote the links (see ``agent.domain.chain``), and what an entry rests on is compared with the
journal under the same lock: the order of the records is the order in which things were so.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.adapters.journal_file import connect
from agent.adapters.journal_identity import JournalFiles, JournalProgress
from agent.adapters.journal_schema import OBJECTIONS
from agent.domain import chain
from agent.domain.choice import OBJECTING
from agent.domain.errors import InputRejected, PremiseOutdated
from agent.domain.journal_events import PROTECTIVE_CHANGES, REGISTER_CHANGES, RESTRICTING, Event, EventType
from agent.domain.premise import Premise
from agent.domain.watch import Watch

KEPT_FOR_LATER: Final = 10_000
"""Entries that wait for a disk that takes nothing; one more is refused, and counted as lost."""

_BATCH: Final = 512
_RETRY_S: Final = 0.25
"""Between two attempts to write what was promised for later."""
_LAST_TRY_S: Final = 5.0
"""How long a process that ends waits for what it promised: more than ``BUSY_MS``."""
_RESTRICTING: Final = ", ".join(f"'{name}'" for name in sorted(RESTRICTING))
ONCE_A_CALL: Final = frozenset({EventType.CALL_FINISHED, EventType.NOTICE_BEGUN, EventType.NOTICE_PLAYED})
"""What a premise may exclude of a call."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REGISTER: Final = ", ".join(f"'{name}'" for name in sorted(REGISTER_CHANGES))


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event made ready for the disk by the thread that appends it: what cannot be written fails there."""

    type: EventType
    salt: bytes
    body: str
    digest: bytes
    news: tuple[tuple[str, str], ...]
    """What a premise may exclude: ``number``, ``seller``, ``profile`` or the type of a record of a call, and which."""

    @classmethod
    def of(cls, event: Event) -> Sealed:
        """Raises ``InputRejected`` for text that is not Unicode."""
        body = json.dumps(event.body, ensure_ascii=False, separators=(",", ":"))
        salt = secrets.token_bytes(chain.SALT_BYTES)
        try:
            digest = chain.digest(salt, body.encode())
        except UnicodeEncodeError as error:
            raise InputRejected("a text that is not Unicode cannot be recorded") from error
        return cls(event.type, salt, body, digest, _news(event))


def _news(event: Event) -> tuple[tuple[str, str], ...]:
    body = event.body
    if event.type in RESTRICTING:
        objects = event.type is EventType.OPTOUT_ADDED or body.get("answer") in OBJECTING
        return ("number", str(body["number"])), *([("seller", str(body["seller"]))] if objects else [])
    if event.type in REGISTER_CHANGES:
        return (("profile", str(body["profile"])),)
    return ((event.type, str(body["call"])),) if event.type in ONCE_A_CALL else ()


@dataclass(slots=True)
class Entry:
    """Events on their way to the disk, and the caller who waits for them."""

    events: Sequence[Sealed]
    premise: Premise | None = None
    purged: Sequence[int] = ()
    """Records whose bodies go in the same transaction."""
    later: bool = False
    """Promised to a caller who does not wait: tried until it is on disk."""
    done: threading.Lock = field(default_factory=threading.Lock)
    seqs: tuple[int, ...] = ()
    error: Exception | None = None
    given_up: bool = False
    """By its caller, so that it is never written."""
    over: bool = False
    """The writer is done with it; ``error`` says how."""
    fate: threading.Lock = field(default_factory=threading.Lock)
    """Taken once: by the writer that will commit the events, or by the caller who has no more time for them."""

    def __post_init__(self) -> None:
        self.done.acquire()

    @property
    def may_be_tried_again(self) -> bool:
        """Whether it failed for a reason that may pass."""
        return self.error is not None and not isinstance(self.error, PremiseOutdated | InputRejected)

    def take(self) -> bool:
        """Whether it is the asker's to decide; what a caller gave up is never written, and the other way round."""
        return self.later or self.fate.acquire(blocking=False)


class JournalWriter:
    """The thread, and the queues before it. Thread-safe; ``close`` it once."""

    def __init__(self, path: Path, key: bytes, files: JournalFiles, progress: JournalProgress, watch: Watch) -> None:
        self._path = path
        self._key = key
        self._files = files
        self._progress = progress
        self._watch = watch
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._promised: deque[Entry] = deque()
        """Entries for later that an attempt has not brought to the disk; the thread's own."""
        self._counting = threading.Lock()
        self._unwritten = 0
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False once it was closed."""
        return self._thread.is_alive()

    @property
    def unwritten(self) -> int:
        """How many records wait for the disk."""
        return self._unwritten

    def put(self, entry: Entry) -> bool:
        """Queue ``entry``; False, and counted, when it is for later and too many of those wait already."""
        with self._counting:
            taken = not entry.later or (self.alive and self._unwritten < KEPT_FOR_LATER)
            if taken:
                self._unwritten += len(entry.events)
                self._queue.put(entry)
        if not taken:
            self._watch.records_lost(len(entry.events))
        return taken

    def promise(self, entry: Entry) -> bool:
        """Have an entry tried until it is on disk whose commit had begun when its caller gave up.

        False when that has failed meanwhile: then nothing of it is on disk.
        """
        with self._counting:
            if entry.over:
                return entry.error is None
            entry.later = True
            return True

    def close(self) -> int:
        """Write what is queued, and try for a while what was promised; returns how many records did not get there.

        They are lost when the process ends now.
        """
        self._queue.put(None)
        self._thread.join(_LAST_TRY_S)
        return self.unwritten

    def _run(self) -> None:
        """Take all that is queued, one transaction, one fsync, say so to everyone."""
        connection: sqlite3.Connection | None = None
        ending = False
        while not ending or self._promised or not self._queue.empty():
            batch, ending = self._next(ending=ending)
            if batch:
                connection = self._written(connection, batch)
                with self._counting:
                    kept = [entry for entry in batch if entry.later and entry.may_be_tried_again]
                    self._promised.extend(kept)
                    self._unwritten -= _records_in(batch) - _records_in(kept)
                    for entry in batch:
                        entry.over = not (entry.later and entry.may_be_tried_again)
                for entry in batch:
                    if not entry.later:
                        entry.done.release()
        if connection is not None:
            connection.close()

    def _next(self, *, ending: bool) -> tuple[list[Entry], bool]:
        """The next batch, and whether the writer was told to stop: what is queued by then is written."""
        batch: list[Entry] = []
        try:
            entry = self._queue.get(timeout=_RETRY_S if self._promised else None)
            while True:
                if entry is None:
                    ending = True
                else:
                    batch.append(entry)
                if len(batch) >= _BATCH:
                    break
                entry = self._queue.get_nowait()
        except queue.Empty:
            pass
        promised: list[Entry] = []
        while self._promised and len(promised) + len(batch) < _BATCH:
            entry = self._promised.popleft()
            entry.error = None
            promised.append(entry)
        return promised + batch, ending  # what was promised first is on record first

    def _written(self, connection: sqlite3.Connection | None, batch: list[Entry]) -> sqlite3.Connection | None:
        """Write ``batch``, or leave the error with each entry; returns the connection for the next one."""
        began = time.perf_counter()
        try:
            connection = connection or connect(self._path)
            if written := self._commit(connection, batch):
                self._watch.committed(written, time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001  # whatever it was, each caller hears it and the next batch is tried
            for entry in batch:
                entry.error = entry.error or error
            self._watch.commit_failed()
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            return None
        return connection

    def _commit(self, connection: sqlite3.Connection, batch: list[Entry]) -> int:
        """Commit what its callers still wait for, and what still holds; how many records that was."""
        self._files.require_in_place()
        connection.execute("BEGIN IMMEDIATE")
        batch = [entry for entry in batch if entry.take()]
        seq, link, watermark = connection.execute("SELECT seq, link, protective FROM state").fetchone()
        self._progress.require_same(connection, seq, link)
        at_us = time.time_ns() // 1000
        rows: list[tuple[object, ...]] = []
        news: set[tuple[str, str]] = set()
        for entry in batch:
            self._remove_bodies(connection, entry)
            if entry.premise is not None and _is_outdated(connection, entry.premise, watermark, news, at_us):
                entry.error = PremiseOutdated("the journal has moved on from what this entry rests on")
            if entry.error is not None:
                continue
            first = seq + 1
            for event in entry.events:
                seq += 1
                link = chain.link(self._key, link, seq, at_us, event.type, event.digest)
                rows.append((seq, at_us, event.type, event.salt, event.body, event.digest, link))
                news.update(event.news)
                if event.type in PROTECTIVE_CHANGES:
                    watermark = seq
            entry.seqs = tuple(range(first, seq + 1))
        if not rows:
            connection.execute("ROLLBACK")
            return 0
        connection.executemany(_INSERT, rows)
        connection.execute(
            "UPDATE state SET seq = ?, link = ?, seal = ?, protective = ?",
            (seq, link, chain.head(self._key, seq, link), watermark),
        )
        connection.execute("COMMIT")
        self._files.require_in_place()  # after the commit: what was replaced before it would keep the records
        self._progress.moved(seq, link)
        return len(rows)

    def _remove_bodies(self, connection: sqlite3.Connection, entry: Entry) -> None:
        """Put the mark of a purge where salt and body were; a refusal is the error of that caller alone."""
        if not entry.purged:
            return
        found = connection.execute(
            "SELECT seq, link FROM records WHERE seq IN (SELECT value FROM json_each(?)) AND body IS NOT NULL",
            (json.dumps(entry.purged),),
        ).fetchall()
        if len(found) != len(entry.purged):
            entry.error = InputRejected("a body was removed already: another purge is at work")
            return
        marks = [(chain.purge_mark(self._key, seq, link), seq) for seq, link in found]
        connection.executemany("UPDATE records SET body = NULL, salt = ? WHERE seq = ?", marks)


def _records_in(entries: Iterable[Entry]) -> int:
    return sum(len(entry.events) for entry in entries)


def _is_outdated(
    connection: sqlite3.Connection, premise: Premise, watermark: int, news: set[tuple[str, str]], at_us: int
) -> bool:
    """Whether the journal holds what ``premise`` excludes, or ``news`` does, what this batch brings before it.

    ``watermark`` is the last record that may turn an allow into a block, those of this batch included, and ``at_us``
    when this batch is written.
    """
    if premise.until is not None and at_us > (premise.until - _EPOCH) // timedelta(microseconds=1):
        return True
    if premise.call is not None and any(
        (kind, premise.call) in news or _any(connection, _OF_CALL, kind, premise.call) for kind in premise.without
    ):
        return True
    if watermark <= premise.upto:
        return False
    if premise.number is not None and (
        ("number", premise.number) in news or _any(connection, _RESTRICTED, premise.number, premise.upto)
    ):
        return True
    if premise.assigned is not None and (
        any(kind == "seller" and seller not in premise.assigned for kind, seller in news)
        or _any(connection, _OBJECTED_TO_ANOTHER, premise.upto, json.dumps([*premise.assigned]))
    ):
        return True
    return premise.profile is not None and (
        ("profile", premise.profile) in news or _any(connection, _REGISTER_CHANGED, premise.upto, premise.profile)
    )


def _any(connection: sqlite3.Connection, query: str, *parameters: object) -> bool:
    return connection.execute(query, parameters).fetchone() is not None


_INSERT: Final = "INSERT INTO records (seq, at, type, salt, body, digest, link) VALUES (?, ?, ?, ?, ?, ?, ?)"
# By the indexes on call and number: the one on types would walk through all records of a type.
_OF_CALL: Final = "SELECT 1 FROM records WHERE +type = ? AND call = ? LIMIT 1"
_RESTRICTED: Final = f"SELECT 1 FROM records WHERE number = ? AND seq > ? AND +type IN ({_RESTRICTING}) LIMIT 1"
_OBJECTED_TO_ANOTHER: Final = (
    f"SELECT 1 FROM records INDEXED BY records_by_type WHERE type IN ('{EventType.OPTOUT_ADDED}', "
    f"'{EventType.CHOICE_RECORDED}') AND seq > ? AND seller NOT IN (SELECT value FROM json_each(?)) "
    f"AND {OBJECTIONS} LIMIT 1"
)
# A body that was purged may have been of any profile.
_REGISTER_CHANGED: Final = (
    f"SELECT 1 FROM records WHERE type IN ({_REGISTER}) AND seq > ? "
    "AND ifnull(json_extract(body, '$.profile') = ?, 1) LIMIT 1"
)
