"""Checking a certificate: is it what the journal says, is the file still that one, and may it still be used?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from agent.domain.clock import behind, is_behind
from agent.domain.journal_events import EventType, Mark, Record
from agent.domain.ports import JournalState
from agent.domain.scrub import certificate, differences
from agent.domain.wording import counted


class ScrubRecords(Protocol):
    """The journal as certificates are checked against it."""

    @property
    def id(self) -> str:
        """Which journal it is."""

    def record(self, seq: int) -> Record | None:
        """Record ``seq``; None when there is none."""

    def mark(self, seq: int) -> Mark | None:
        """What identifies record ``seq``; None when there is none."""

    def state(self) -> JournalState:
        """How far it goes now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """``certificate``, ``file`` or ``validity``."""
    holds: bool
    text: str
    """A sentence for a person."""


class ScrubChecks:
    """The use case behind ``bmn scrub --check``."""

    def __init__(self, journal: ScrubRecords, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._clock = clock

    def check(self, found: Mapping[str, Any], file_name: str | None, file_sha256: str | None) -> list[Finding]:
        """Each thing that was asked of a certificate; without a file, its digest is None and is not looked at.

        What the journal says is believed, not what the certificate says.
        """
        recorded, problem = self._recorded(found)
        if recorded is None:
            return [Finding(subject="certificate", holds=False, text=problem)]
        wrong = differences(found, recorded)
        if wrong:
            text = f"the certificate was altered: the journal says otherwise of {', '.join(wrong)}"
        else:
            text = f"the certificate is as record {recorded['record']} of the journal has it"
        findings = [Finding(subject="certificate", holds=not wrong, text=text)]
        if file_sha256 is not None:
            findings.append(_file(recorded["clean"], file_name or "", file_sha256))
        findings.append(self._validity(recorded["valid_until"]))
        return findings

    def _recorded(self, found: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The certificate as the journal has it; or why there is none."""
        seq = found.get("record")
        if found.get("journal") != self._journal.id:
            return None, "the certificate is of another journal than this one, or was altered"
        if type(seq) is not int or not 0 < seq < 1 << 63:
            return None, "the certificate was altered: it names no record of the journal"
        record, mark = self._journal.record(seq), self._journal.mark(seq)
        if record is None or mark is None or record.type is not EventType.SCRUB_COMPLETED:
            return None, f"the certificate was altered: record {seq} of the journal is not that of a scrub"
        if not record.body:
            return None, f"record {seq} of the journal was purged, so the certificate cannot be checked"
        return certificate(record, mark), ""

    def _validity(self, until: str) -> Finding:
        end, now, newest_at = datetime.fromisoformat(until), self._clock(), self._journal.state().newest_at
        if newest_at is not None and is_behind(now, newest_at):
            return Finding(subject="validity", holds=False, text=behind(now, newest_at))
        holds = now <= end
        shown = end.astimezone().strftime("%Y-%m-%d %H:%M %Z")
        text = f"the scrub may be used until {shown}" if holds else f"the scrub expired on {shown}: scrub again"
        return Finding(subject="validity", holds=holds, text=text)


def _file(clean: Mapping[str, Any], name: str, sha256: str) -> Finding:
    holds = sha256 == clean["sha256"]
    is_it = (
        f"is the clean file of {counted(int(str(clean['rows'])), 'row')}"
        if holds
        else "is not the clean file, or was altered"
    )
    return Finding(subject="file", holds=holds, text=f"{name} {is_it}")
