"""How the journal is, without changing it: its files, its disk, and whether its newest records hold."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.adapters.journal_file import connect, translated
from agent.adapters.journal_key import read_key
from agent.adapters.journal_schema import HOUR_US
from agent.domain import chain
from agent.domain.call_story import ENDED_UNKNOWN
from agent.domain.condition import JournalCondition
from agent.domain.journal_events import EventType

_LOOKED_AT: Final = 1_000
_DAY_US: Final = 24 * HOUR_US
_UNENDED: Final = (
    f"SELECT count(*) FROM records WHERE type = '{EventType.CALL_FINISHED}' AND at >= ? "  # noqa: S608  # constants
    f"AND json_extract(body, '$.ended_by') = '{ENDED_UNKNOWN}' AND NOT EXISTS (SELECT 1 FROM records ended "
    "WHERE ended.call = records.call AND ended.seq > records.seq AND +ended.type = records.type)"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def condition_of(path: Path, key_path: Path) -> JournalCondition:
    """Of a journal that opens. Raises ``JournalUnavailable``."""
    key = read_key(key_path, path)
    with translated(path), contextlib.closing(connect(path, "ro")) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")
        problem, checked = _newest(connection, key)
        unended = connection.execute(_UNENDED, (time.time_ns() // 1000 - _DAY_US,)).fetchone()[0]
        (newest_us,) = connection.execute("SELECT newest_at FROM state").fetchone()
    files = [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"), key_path]
    return JournalCondition(
        problem=problem,
        checked=checked,
        newest_at=_EPOCH + timedelta(microseconds=newest_us) if newest_us else None,
        unended=unended,
        writable=os.access(path, os.W_OK) and os.access(path.parent, os.W_OK),
        exposed=tuple(str(file) for file in files if file.exists() and file.stat().st_mode & 0o077),
        free_bytes=shutil.disk_usage(path.parent).free,
    )


def _newest(connection: sqlite3.Connection, key: bytes) -> tuple[str, int]:
    """What is wrong with the newest records, and how many were looked at."""
    connection.execute("BEGIN")  # one snapshot
    journal, head, head_link = connection.execute("SELECT journal, seq, link FROM state").fetchone()
    first = max(1, head - _LOOKED_AT + 1)
    before = (first - 1, _link_before(connection, key, journal, first))
    if not before[1]:
        return f"record {before[0]} of the journal is missing", 0
    rows = connection.execute(
        "SELECT seq, at, type, salt, CAST(body AS BLOB), digest, link FROM records WHERE seq >= ? ORDER BY seq",
        (first,),
    ).fetchall()
    for seq, at_us, event_type, salt, body, digest, link in rows:
        if seq != before[0] + 1:
            return f"record {before[0] + 1} of the journal is missing", 0
        if body is None and salt != chain.purge_mark(key, seq, link):
            return f"record {seq} of the journal has no body, and no purge took it", 0
        if body is not None and chain.digest(salt, body) != digest:
            return f"record {seq} of the journal was altered", 0
        if chain.link(key, before[1], seq, at_us, event_type, digest) != link:
            return f"record {seq} of the journal was altered, replaced or moved", 0
        before = (seq, link)
    if before != (head, head_link):
        return f"the journal ends at record {before[0]}, and its seal is on record {head}", 0
    return "", len(rows)


def _link_before(connection: sqlite3.Connection, key: bytes, journal: str, first: int) -> bytes:
    """What record ``first`` must link to; empty when the record before it is missing."""
    if first == 1:
        return chain.first_link(key, journal)
    row = connection.execute("SELECT link FROM records WHERE seq = ?", (first - 1,)).fetchone()
    link: bytes = b"" if row is None else row[0]
    return link
