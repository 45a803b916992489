"""Verify a journal from its first record to its seal, and name the first record that is wrong."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.journal_key import read_key, require_own_key
from agent.domain import chain
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import PROTECTIVE_CHANGES

_REPORT_EVERY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCheck:
    """The outcome: how many records hold, and the first that does not."""

    journal: str
    records: int
    """Records that hold, counted from the first."""
    first_bad: int | None
    """Sequence number of the first record that is wrong or missing; None when the chain is whole."""
    problem: str
    """What is wrong with it; empty when the chain is whole."""

    @property
    def whole(self) -> bool:
        """True when nothing was altered, removed, inserted or reordered."""
        return self.first_bad is None


def verify(path: Path, key_path: Path, progress: Callable[[str, int, int | None], None]) -> ChainCheck:
    """Walk the whole chain. Raises ``JournalUnavailable`` when the file cannot be read as a journal at all."""
    if not path.is_file():
        raise JournalUnavailable(f"there is no journal at {path}")
    key = read_key(key_path, path)
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # one snapshot, whatever is appended meanwhile
            owner = connection.execute("SELECT journal, key_check FROM state").fetchone()
            if owner is not None:
                require_own_key(key, owner[0], owner[1], path)
            return _walk(connection, key, progress)
    except sqlite3.Error as error:
        raise JournalUnavailable(f"journal {path}: {error}") from error


def _walk(connection: sqlite3.Connection, key: bytes, progress: Callable[[str, int, int | None], None]) -> ChainCheck:
    row = connection.execute("SELECT journal, seq, link, seal, protective FROM state").fetchone()
    if row is None:
        return ChainCheck(journal="", records=0, first_bad=1, problem="the journal's state is gone")
    journal_id, last_seq, last_link, seal, protective = row

    def bad(seq: int, problem: str) -> ChainCheck:
        return ChainCheck(journal=journal_id, records=seq - 1, first_bad=seq, problem=problem)

    previous, expected, protective_found = chain.first_link(key, journal_id), 1, 0
    rows = connection.execute("SELECT seq, at, type, salt, body, digest, link FROM records ORDER BY seq")
    for seq, at_us, event_type, salt, body, digest, link in rows:
        if seq != expected:
            return bad(expected, f"record {expected} is missing; the next one there is {seq}")
        if body is None or salt is None:
            return bad(seq, f"the body of record {seq} was removed, and no purge says so")
        if chain.digest(salt, body.encode()) != digest:
            return bad(seq, f"record {seq} was altered: its body does not match its digest")
        if chain.link(key, previous, seq, at_us, event_type, digest) != link:
            return bad(seq, f"record {seq} was altered, replaced or moved: it does not link to the one before it")
        if event_type in PROTECTIVE_CHANGES:
            protective_found = seq
        previous, expected = link, seq + 1
        if seq % _REPORT_EVERY == 0:
            progress("verifying", seq, last_seq)
    end = expected - 1
    if end < last_seq:
        return bad(expected, f"records {expected} to {last_seq} were cut off the end")
    if end > last_seq or previous != last_link or chain.head(key, last_seq, last_link) != seal:
        return bad(last_seq + 1 if end > last_seq else max(end, 1), "the seal on the end of the journal is wrong")
    if protective != protective_found:
        return bad(max(end, 1), f"the journal's state names {protective} as its last protective record")
    progress("verifying", last_seq, last_seq)
    return ChainCheck(journal=journal_id, records=end, first_bad=None, problem="")
