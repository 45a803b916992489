"""The journal as evidence: one number's records to the byte, the tree over all records, read in one snapshot."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.adapters.journal_file import connect, require_known_version, translated
from agent.adapters.journal_key import read_key, require_own_key
from agent.domain import chain, merkle
from agent.domain.dossier_reading import Period
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import EventType, Record
from agent.domain.ports import Progress
from agent.domain.sealed_record import SealedRecord

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REPORT_EVERY: Final = 50_000
_SEALED: Final = "SELECT seq, at, type, salt, body, digest, link FROM records WHERE body IS NOT NULL AND "
_NAMES: Final = "type = ? AND instr(body, ?) > 0"


def record_of(sealed: SealedRecord) -> Record:
    """What a sealed record says."""
    try:
        body = json.loads(sealed.body)
        return Record(
            seq=sealed.seq,
            at=_EPOCH + timedelta(microseconds=sealed.at_us),
            type=EventType(sealed.type),
            body=body,
        )
    except ValueError as error:
        raise JournalUnavailable(f"record {sealed.seq} cannot be read: it was altered (bmn journal verify)") from error


class JournalEvidence:
    """See ``agent.evidence.EvidenceRecords``."""

    def __init__(self, path: Path, key_path: Path) -> None:
        self._path = path
        self._key_path = key_path

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[JournalSnapshot]:
        """The journal as it is now, whatever is appended or purged meanwhile. Raises ``JournalUnavailable``."""
        if not self._path.is_file():
            raise JournalUnavailable(f"there is no journal at {self._path}")
        key = read_key(self._key_path, self._path)
        with translated(self._path), contextlib.closing(connect(self._path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            require_known_version(connection, self._path)
            state = connection.execute("SELECT journal, key_check, seq, link FROM state").fetchone()
            if state is None:
                raise JournalUnavailable(f"journal {self._path} was tampered with: its state is gone")
            journal, key_check, upto, head = state
            require_own_key(key, journal, key_check, self._path)
            yield JournalSnapshot(connection, key, journal, upto, head)


class JournalSnapshot:
    """See ``agent.evidence.EvidenceSnapshot``."""

    def __init__(self, connection: sqlite3.Connection, key: bytes, journal: str, upto: int, head: bytes) -> None:
        self._connection = connection
        self._key = key
        self.journal = journal
        self.upto = upto
        self.head = head

    @property
    def begins(self) -> datetime | None:
        """When the first record was made."""
        row = self._connection.execute("SELECT at FROM records ORDER BY seq LIMIT 1").fetchone()
        return None if row is None else _EPOCH + timedelta(microseconds=row[0])

    def about(self, number: str, upto: int) -> list[SealedRecord]:
        """The records of a number (E.164), and the reveals that name it, up to record ``upto``, in order."""
        own = self._sealed("number = ? AND seq <= ?", (number, upto))
        naming = self._sealed(f"{_NAMES} AND seq <= ?", (EventType.NUMBER_REVEALED, number, upto))
        return sorted([*own, *naming], key=lambda one: one.seq)

    def loads(self, generations: Collection[str]) -> list[SealedRecord]:
        """The records of these loads of the register."""
        wanted = json.dumps(sorted(generations))
        of_them = "json_extract(body, '$.generation') IN (SELECT value FROM json_each(?))"
        return self._sealed(f"type = ? AND {of_them}", (EventType.REGISTER_LOADED, wanted))

    def purged(self, period: Period) -> int:
        """How many bodies were purged by retention from spans of time that touch the period."""
        count = 0
        for sealed in self._sealed("type = ?", (EventType.JOURNAL_PURGED,)):
            body = record_of(sealed).body
            first, last = (datetime.fromisoformat(str(body[name])) for name in ("first_at", "last_at"))
            if first < period.until and last >= period.since:
                count += int(str(body["count"]))
        return count

    def scrubs(self, period: Period) -> int:
        """How many scrubs were made in the period."""
        return self._count("type = ?", period, EventType.SCRUB_COMPLETED)

    def reveals(self, number: str, period: Period) -> int:
        """How often full numbers were shown in the period without this one being named."""
        return self._count("type = ? AND instr(body, ?) = 0", period, EventType.NUMBER_REVEALED, number)

    def prove(self, upto: int, seqs: Collection[int], progress: Progress) -> merkle.Proofs:
        """The tree over the first ``upto`` records, with the paths of ``seqs``."""
        return merkle.prove(self._leaves(upto, progress), [seq - 1 for seq in seqs])

    def record(self, seq: int) -> SealedRecord | None:
        """Record ``seq``; None when there is none. Its body and salt are empty when it was purged."""
        row = self._connection.execute(
            "SELECT seq, at, type, coalesce(salt, x''), coalesce(body, ''), digest, link FROM records WHERE seq = ?",
            (seq,),
        ).fetchone()
        return None if row is None else _sealed(*row)

    def links(self, sealed: SealedRecord) -> bool:
        """Whether the record's link is the one that only our key makes, after the record before it."""
        if sealed.seq == 1:
            previous = chain.first_link(self._key, self.journal)
        else:
            row = self._connection.execute("SELECT link FROM records WHERE seq = ?", (sealed.seq - 1,)).fetchone()
            if row is None:
                return False
            (previous,) = row
        made = chain.link(self._key, previous, sealed.seq, sealed.at_us, sealed.type, sealed.digest)
        return made == sealed.link

    def is_purged(self, sealed: SealedRecord) -> bool:
        """Whether its body was purged by us, and not removed by somebody without the key."""
        return not sealed.body and sealed.salt == chain.purge_mark(self._key, sealed.seq, sealed.link)

    def _leaves(self, upto: int, progress: Progress) -> Iterator[bytes]:
        rows = self._connection.execute(
            "SELECT seq, at, type, digest, link FROM records WHERE seq <= ? ORDER BY seq", (upto,)
        )
        for expected, row in enumerate(rows, 1):
            if row[0] != expected:
                raise JournalUnavailable(f"record {expected} is missing (bmn journal verify)")
            if expected % _REPORT_EVERY == 0:
                progress("proving", expected, upto)
            yield merkle.leaf(*row)
        progress("proving", upto, upto)

    def _sealed(self, where: str, parameters: tuple[object, ...]) -> list[SealedRecord]:
        rows = self._connection.execute(f"{_SEALED}{where} ORDER BY seq", parameters)
        return [_sealed(*row) for row in rows]

    def _count(self, where: str, period: Period, *parameters: object) -> int:
        span = tuple((moment - _EPOCH) // timedelta(microseconds=1) for moment in (period.since, period.until))
        query = f"SELECT count(*) FROM records WHERE {where} AND at >= ? AND at < ?"
        count: int = self._connection.execute(query, (*parameters, *span)).fetchone()[0]
        return count


def _sealed(seq: int, at_us: int, event_type: str, salt: bytes, body: str, digest: bytes, link: bytes) -> SealedRecord:
    return SealedRecord(seq=seq, at_us=at_us, type=event_type, salt=salt, body=body, digest=digest, link=link)
