"""A document of evidence against the journal: is all of it still there, and was all of the number shown?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.domain.dossier_reading import Period, belongs, calls_in
from agent.domain.journal_events import Record
from agent.domain.ports import Progress
from agent.domain.sealed_record import SealedRecord
from agent.evidence import EvidenceRecords, EvidenceSnapshot
from agent.evidence_document import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What the journal says of a document that holds by itself."""

    problems: tuple[str, ...]
    purged: int
    """Records of it whose bodies the journal has purged since."""


class EvidenceCheck:
    """The use case behind ``bmn evidence verify --journal``; ``agent.evidence_document.check`` comes before it."""

    def __init__(self, records: EvidenceRecords, read: Callable[[SealedRecord], Record]) -> None:
        """``read`` tells what a sealed record says."""
        self._records = records
        self._read = read

    def match(self, document: Document, progress: Progress) -> Matched:
        """Compare a document that holds by itself with the journal: is all of it still there, and was all of it shown?

        Raises ``JournalUnavailable``.
        """
        with self._records.snapshot() as journal:
            if journal.journal != document.journal:
                return Matched(problems=("it is the document of another journal",), purged=0)
            if journal.upto < document.export.seq:
                text = f"the journal ends at record {journal.upto}, before the export: it was set back or cut off"
                return Matched(problems=(text,), purged=0)
            problems, purged = [], 0
            for record in (*document.records, document.export):
                here = journal.record(record.seq)
                gone = here is not None and journal.is_purged(here)
                purged += gone
                if (problem := _difference(record, here, purged=gone)) is None and not journal.links(record):
                    problem = f"record {record.seq} does not link to the one before it"
                problems += [problem] if problem else []
            if not problems:
                problems += self._left_out(journal, document)
                last = journal.record(document.size)
                proofs = journal.prove(document.size, (), progress)
                if proofs.root != document.root or (last is not None and last.link != document.head):
                    problems.append(
                        f"the journal is not the one of the export any more: a record up to {document.size} was "
                        "altered (bmn journal verify names it)"
                    )
        return Matched(problems=tuple(problems), purged=purged)

    def _left_out(self, journal: EvidenceSnapshot, document: Document) -> list[str]:
        """Records of the number that belong in the document and are not in it."""
        period = Period(since=document.since, until=document.until)
        about = [self._read(one) for one in journal.about(document.number.e164, document.size)]
        calls = calls_in(about, period)
        shown = {one.seq for one in document.records}
        return [
            f"record {one.seq} ({one.type}) is of this number and period, and was left out"
            for one in about
            if belongs(one, period, calls) and one.seq not in shown
        ]


def _difference(shown: SealedRecord, here: SealedRecord | None, *, purged: bool) -> str | None:
    """How the journal's record is not the one that is shown."""
    if here is None:
        return f"record {shown.seq} is not in the journal any more"
    ours = (here.at_us, here.type, here.digest, here.link)
    if ours != (shown.at_us, shown.type, shown.digest, shown.link):
        return f"record {shown.seq} is another one in the journal"
    if not purged and (here.salt, here.body) != (shown.salt, shown.body):
        return f"the body of record {shown.seq} was altered in the journal"
    return None
