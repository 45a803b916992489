"""See whether a journal opens; verify it from its first record to its seal, and name the first that is wrong."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.adapters.journal_file import changed_definition, connect, require_known_version, translated
from agent.adapters.journal_key import read_key, require_own_key
from agent.adapters.journal_schema import HOUR_US, STILL_OPEN, TALLIED
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain import chain
from agent.domain.clock import CLOCK_TOLERANCE
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import PROTECTIVE_CHANGES, EventType

_REPORT_EVERY: Final = 10_000
_JUMPS_SHOWN: Final = 20
_TOLERANCE_US: Final = CLOCK_TOLERANCE // timedelta(microseconds=1)
# Bodies as bytes: what is no UTF-8 must not stop the walk before the record is named.
_RECORDS: Final = """
SELECT seq, at, type, salt, CAST(body AS BLOB), digest, link,
       typeof(at) || typeof(type) || typeof(salt) || typeof(body) || typeof(digest) || typeof(link)
FROM records ORDER BY seq
"""
_KINDS: Final = "integertextblobtextblobblob"
_PURGED: Final = "integertextblobnullblobblob"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump:
    """A record that was made, by the clock, before the record ahead of it. Times are ISO 8601, UTC."""

    seq: int
    before: str
    """The time of the record ahead of it."""
    at: str
    settled: bool
    """Whether it is the ``clock.jumped`` by which somebody vouched for the clock."""


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
    head: str
    """The anchor to keep elsewhere for a later check; empty unless the chain is whole."""
    purged: int = 0
    """Records whose bodies were purged by retention."""
    jumps: tuple[ClockJump, ...] = ()
    """Where time goes back by more than clocks differ, the first ones: the chain is whole all the same."""
    more_jumps: int = 0

    @property
    def whole(self) -> bool:
        """True when nothing was altered, removed, inserted or reordered."""
        return self.first_bad is None


class _Clock:
    """Follows the times of the records."""

    def __init__(self) -> None:
        self.newest_us = 0
        self._last_us = 0
        self.jumps: list[ClockJump] = []
        self.more = 0

    def read(self, seq: int, at_us: int, event_type: str) -> None:
        settled = event_type == EventType.CLOCK_JUMPED
        if self._last_us - at_us > _TOLERANCE_US:
            if len(self.jumps) < _JUMPS_SHOWN:
                self.jumps.append(ClockJump(seq=seq, before=_iso(self._last_us), at=_iso(at_us), settled=settled))
            else:
                self.more += 1
        self._last_us = at_us
        self.newest_us = at_us if settled else max(self.newest_us, at_us)


def _iso(at_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).isoformat(timespec="seconds")


def _wrong_sums(connection: sqlite3.Connection) -> str:
    """What the journal counts of its own records that is not so; empty when all is.

    Purged records still count in their hour, though not for which campaign and reason is known from them any more.
    """
    hours = f"""
        SELECT hour FROM (SELECT hour, type, sum(count) AS count FROM tally GROUP BY 1, 2
        EXCEPT SELECT at / {HOUR_US}, type, count(*) FROM records GROUP BY 1, 2)
    """
    kinds = f"""
        SELECT 1 FROM ({TALLIED}) AS found LEFT JOIN tally USING (hour, type, campaign, reason)
        WHERE tally.count IS NULL OR tally.count < found.count OR tally.first > found.first OR tally.last < found.last
    """
    opened = f"SELECT call, seq FROM ({STILL_OPEN}) EXCEPT SELECT call, seq FROM open_calls"
    closed = f"""
        SELECT 1 FROM open_calls LEFT JOIN records USING (seq)
        WHERE records.seq IS NULL OR (records.body IS NOT NULL AND (open_calls.call, seq) NOT IN ({STILL_OPEN}))
    """
    for query, what in ((hours, "tally"), (kinds, "tally"), (opened, "open calls"), (closed, "open calls")):
        if connection.execute(f"SELECT EXISTS ({query})").fetchone()[0]:
            return f"the journal's {what} do not agree with its records"
    return ""


def opens(path: Path, key_path: Path) -> bool:
    """Open the journal with its key and close it. False when there is neither; raises ``JournalUnavailable``."""
    if not path.exists() and not key_path.exists():
        return False
    SqliteJournal(path, key_path, create=False, progress=None).close()
    return True


def verify(
    path: Path,
    key_path: Path,
    progress: Callable[[str, int, int | None], None],
    anchor: chain.Anchor | None = None,
) -> ChainCheck:
    """Walk the whole chain, which must pass through ``anchor``.

    Raises ``JournalUnavailable`` when the file cannot be read as a journal at all.
    """
    if not path.is_file():
        raise JournalUnavailable(f"there is no journal at {path}")
    key = read_key(key_path, path)
    with translated(path), contextlib.closing(connect(path, "ro")) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")
        connection.execute("BEGIN")  # one snapshot, whatever is appended meanwhile
        require_known_version(connection, path)
        if changed := changed_definition(connection):
            problem = f"the journal's {changed} is not ours, so what it shows may be false"
            return ChainCheck(journal="", records=0, first_bad=1, problem=problem, head="")
        owner = connection.execute("SELECT journal, key_check FROM state").fetchone()
        if owner is not None:
            require_own_key(key, owner[0], owner[1], path)
        return _walk(connection, key, progress, anchor)


def _walk(
    connection: sqlite3.Connection,
    key: bytes,
    progress: Callable[[str, int, int | None], None],
    anchor: chain.Anchor | None,
) -> ChainCheck:
    row = connection.execute("SELECT journal, seq, link, seal, protective, newest_at FROM state").fetchone()
    if row is None:
        return ChainCheck(journal="", records=0, first_bad=1, problem="the journal's state is gone", head="")
    journal_id, last_seq, last_link, seal, protective, newest_us = row
    clock = _Clock()

    def bad(seq: int, problem: str) -> ChainCheck:
        return ChainCheck(journal=journal_id, records=seq - 1, first_bad=seq, problem=problem, head="")

    def leaves_anchor(seq: int, link: bytes) -> bool:
        return anchor is not None and anchor.seq == seq and anchor != chain.Anchor.at(seq, link)

    previous, expected, protective_found = chain.first_link(key, journal_id), 1, 0
    purged, purges = 0, 0
    if leaves_anchor(0, previous):
        return bad(1, "this is not the journal of the anchor")
    for seq, at_us, event_type, salt, body, digest, link, kinds in connection.execute(_RECORDS):
        if seq != expected:
            return bad(expected, f"record {expected} is missing; the next one there is {seq}")
        if kinds == _PURGED and salt == chain.purge_mark(key, seq, link):
            purged += 1
        elif body is None or salt is None:
            return bad(seq, f"the body of record {seq} was removed, and no purge says so")
        elif kinds != _KINDS or len(salt) != chain.SALT_BYTES or chain.digest(salt, body) != digest:
            return bad(seq, f"record {seq} was altered: its body does not match its digest")
        if chain.link(key, previous, seq, at_us, event_type, digest) != link:
            return bad(seq, f"record {seq} was altered, replaced or moved: it does not link to the one before it")
        if leaves_anchor(seq, link):
            return bad(seq, f"record {seq} is not the one of the anchor: it, or one before it, was replaced since")
        if event_type in PROTECTIVE_CHANGES:
            protective_found = seq
        if event_type == EventType.JOURNAL_PURGED and body is not None:
            purges += int(json.loads(body)["count"])
        clock.read(seq, at_us, event_type)
        previous, expected = link, seq + 1
        if seq % _REPORT_EVERY == 0:
            progress("verifying", seq, last_seq)
    end = expected - 1
    if end < last_seq:
        return bad(expected, f"what follows record {end}, up to {last_seq}, was cut off the end")
    if end > last_seq or previous != last_link or chain.head(key, last_seq, last_link) != seal:
        return bad(last_seq + 1 if end > last_seq else max(end, 1), "the seal on the end of the journal is wrong")
    if protective != protective_found:
        return bad(max(end, 1), f"the journal's state names {protective} as its last protective record")
    if newest_us != clock.newest_us:
        return bad(max(end, 1), "the journal's state does not name the highest time of its records")
    if purged != purges:
        return bad(max(end, 1), f"{purged} bodies are gone, and the records of purges tell of {purges}")
    if anchor is not None and anchor.seq > end:
        return bad(
            expected, f"what follows record {end}, up to {anchor.seq}, is gone: the anchor says that it was there"
        )
    (integrity,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if integrity != "ok":
        return bad(1, f"the journal's indexes do not show all its records: {integrity}")
    if wrong := _wrong_sums(connection):
        return bad(1, wrong)
    progress("verifying", last_seq, last_seq)
    head = str(chain.Anchor.at(last_seq, last_link))
    return ChainCheck(
        journal=journal_id,
        records=end,
        first_bad=None,
        problem="",
        head=head,
        purged=purged,
        jumps=tuple(clock.jumps),
        more_jumps=clock.more,
    )
