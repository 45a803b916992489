"""A screened call as the pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.domain.journal_events import Record
from agent.domain.model import Verdict
from agent.entrypoints.dashboard.language import Words
from agent.entrypoints.masking import Masking


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One screening, in the words of one language."""

    seq: int
    """Of its record."""
    at: datetime
    time: str
    number: str
    """Masked, unless it was revealed."""
    blocked: bool
    verdict: str
    reason: str
    campaign: str
    seller: str
    agent: str
    call: str
    failure: str

    @classmethod
    def of(cls, record: Record, words: Words, masking: Masking | None) -> CallRow:
        """Of a ``call.screened``; in full without ``masking``."""
        body = {name: masking.field(name, value) if masking else value for name, value in record.body.items()}
        return cls(
            seq=record.seq,
            at=record.at,
            time=words.moment(record.at),
            number=_text(body.get("number")),
            blocked=body.get("verdict") == Verdict.BLOCK,
            verdict=words.of("verdicts", body.get("verdict")),
            reason=words.of("reasons", body.get("reason")),
            campaign=_text(body.get("campaign")),
            seller=_text(body.get("seller")),
            agent=_text(body.get("agent")),
            call=_text(body.get("call")),
            failure=_text(body.get("failure")),
        )


def _text(value: object) -> str:
    return "" if value is None else str(value)
