"""Evidence: the dossier of one number, exported with its proof, and checked later, with the journal or without.

The proof has two halves. Every record of the journal is in the keyed hash chain (``agent.domain.chain``); at an export
a tree is built over all of them (``agent.domain.merkle``), and its root is itself put into the journal with the digest
of what was exported. The document carries a short path for each record that it shows. So anybody can see from the
document alone that nothing in it was changed (``agent.evidence_document``), and who has the journal can see that it is
still the one of that day, to the last record, and that no record of the number was left out (``agent.evidence_check``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from agent.domain.deadline import Deadline
from agent.domain.dossier import Dossier
from agent.domain.dossier_reading import Period, read_dossier
from agent.domain.dossier_unknowns import Surroundings
from agent.domain.journal_events import Event, EventType, Record
from agent.domain.merkle import Proofs
from agent.domain.model import Campaign
from agent.domain.phone_number import PhoneNumber
from agent.domain.ports import Journal, Progress
from agent.domain.profile import Profile
from agent.domain.sealed_record import SealedRecord
from agent.evidence_document import (
    Document,
    as_file,
    content_of,
    digest_of,
    document_of,
    into_page,
    page_digest,
)

_APPEND_TIMEOUT_MS: Final = 10_000


class EvidenceSnapshot(Protocol):
    """The journal at one moment."""

    journal: str
    """Its id."""
    upto: int
    """Its last record."""
    head: bytes
    """The link of that."""

    @property
    def begins(self) -> datetime | None:
        """When the first record was made."""

    def about(self, number: str, upto: int) -> list[SealedRecord]:
        """The records of a number (E.164), and the reveals that name it, up to record ``upto``, in order."""

    def loads(self, generations: Collection[str]) -> list[SealedRecord]:
        """The records of these loads of the register."""

    def purged(self, period: Period) -> int:
        """How many bodies were purged by retention from spans of time that touch the period."""

    def scrubs(self, period: Period) -> int:
        """How many scrubs were made in the period."""

    def reveals(self, number: str, period: Period) -> int:
        """How often full numbers were shown in the period without this one being named."""

    def prove(self, upto: int, seqs: Collection[int], progress: Progress) -> Proofs:
        """The tree over the first ``upto`` records, with the paths of ``seqs``."""

    def record(self, seq: int) -> SealedRecord | None:
        """Record ``seq``; None when there is none. Its body is empty when it was purged."""

    def links(self, sealed: SealedRecord) -> bool:
        """Whether the record's link is the one that only our key makes, after the record before it."""

    def is_purged(self, sealed: SealedRecord) -> bool:
        """Whether its body was purged by retention, and not removed by somebody without the key."""


class EvidenceRecords(Protocol):
    """Where dossiers are made of."""

    def snapshot(self) -> AbstractContextManager[EvidenceSnapshot]:
        """The journal as it is now. Raises ``JournalUnavailable``."""


class EvidenceFile(Protocol):
    """The file on its way, under a temporary name."""

    @property
    def name(self) -> str:
        """Without its folder."""

    def page(self, content: Mapping[str, Any]) -> bytes | None:
        """The page that shows ``content``, with an empty place for the document; None for a file of JSON alone."""

    def write(self, document: bytes) -> None:
        """Have it all on disk."""

    def publish(self) -> None:
        """Give it its name."""


class Evidence:
    """The use cases behind ``bmn evidence``. ``by`` is the system user who asks."""

    def __init__(
        self,
        *,
        records: EvidenceRecords,
        read: Callable[[SealedRecord], Record],
        journal: Journal,
        profiles: Mapping[str, Profile],
        campaigns: Mapping[str, Campaign],
        clock: Callable[[], datetime],
        version: str,
        by: str,
    ) -> None:
        """``read`` tells what a sealed record says."""
        self._records = records
        self._read = read
        self._journal = journal
        self._profiles = profiles
        self._campaigns = campaigns
        self._clock = clock
        self._version = version
        self._by = by

    def dossier(self, number: PhoneNumber, profile: Profile, period: Period) -> Dossier:
        """The dossier of ``number``. ``profile`` says where its days are days. Raises ``JournalUnavailable``."""
        with self._records.snapshot() as journal:
            return self._gathered(journal, number, profile, period)[0]

    def export(
        self,
        number: PhoneNumber,
        profile: Profile,
        period: Period,
        language: str,
        file: EvidenceFile,
        progress: Progress,
    ) -> Document:
        """Make the document of ``number`` and give ``file`` its name, once the journal has the export.

        Raises ``JournalUnavailable`` or ``InputRejected``; then there is no file.
        """
        with self._records.snapshot() as journal:
            dossier, records = self._gathered(journal, number, profile, period)
            proofs = journal.prove(journal.upto, dossier.records, progress)
            head = journal.head
        made = {
            "version": self._version,
            "language": language,
            "made_at": self._clock().isoformat(),
            "by": self._by,
        }
        content = content_of(dossier, records, proofs, head, made)
        page = file.page(content)
        event = Event(
            EventType.EVIDENCE_EXPORTED,
            {
                "number": number.e164,
                "from": period.since.isoformat(),
                "to": period.until.isoformat(),
                "upto": proofs.size,
                "head": head.hex(),
                "root": proofs.root.hex(),
                "count": len(dossier.records),
                "sha256": digest_of(content),
                "page_sha256": None if page is None else page_digest(page),
                "file": file.name,
                "by": self._by,
            },
        )
        (seq,) = self._journal.append([event], Deadline.after_ms(_APPEND_TIMEOUT_MS))
        with self._records.snapshot() as journal:
            export = journal.record(seq)
        assert export is not None
        document = document_of(content, export)
        file.write(as_file(document) if page is None else into_page(page, document))
        file.publish()
        return Document(
            content=content,
            records=tuple(records[one] for one in dossier.records),
            export=export,
            journal=dossier.journal,
            size=proofs.size,
            head=head,
            root=proofs.root,
        )

    def _gathered(
        self, journal: EvidenceSnapshot, number: PhoneNumber, profile: Profile, period: Period
    ) -> tuple[Dossier, dict[int, SealedRecord]]:
        """The dossier, and the records that it may rest on."""
        about = journal.about(number.e164, journal.upto)
        records = [self._read(one) for one in about]
        named = {str(one.body["generation"]) for one in records if one.body.get("generation") is not None}
        loads = self._loads(journal, named)
        dossier = read_dossier(
            number,
            period,
            self._profiles,
            profile,
            self._campaigns,
            records,
            {str(one.body["generation"]): one for one in map(self._read, loads)},
            Surroundings(
                journal=journal.journal,
                upto=journal.upto,
                begins=journal.begins,
                purged=journal.purged(period),
                scrubs=journal.scrubs(period),
                reveals=journal.reveals(number.e164, period),
            ),
        )
        return dossier, {one.seq: one for one in (*about, *loads)}

    def _loads(self, journal: EvidenceSnapshot, generations: set[str]) -> list[SealedRecord]:
        """The records of these loads, and of those that they were made of."""
        found: list[SealedRecord] = []
        asked: set[str] = set()
        while wanted := generations - asked:
            asked |= wanted
            new = journal.loads(wanted)
            found += new
            generations = {str(base) for one in map(self._read, new) if (base := one.body.get("base")) is not None}
        return found


def days(profile: Profile, first: date | None, last: date | None, now: datetime) -> Period:
    """The period from the day ``first`` up to and with the day ``last``, where the profile's days are days.

    From the beginning without ``first``, to now without ``last``. Raises ``ValueError`` when it ends before it begins.
    """
    zone = ZoneInfo(profile.timezone)
    since = datetime(1970, 1, 1, tzinfo=UTC) if first is None else datetime.combine(first, time(), tzinfo=zone)
    until = now if last is None else datetime.combine(last + timedelta(days=1), time(), tzinfo=zone)
    if until <= since:
        raise ValueError("the period ends before it begins")
    return Period(since=since, until=until)
