"""A screened call as the pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.domain.journal_events import EventType, Record
from agent.domain.model import DeliveryFailure, Verdict
from agent.entrypoints.dashboard.language import Words
from agent.entrypoints.masking import Masking


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One screening, or that a verdict was not confirmed, in the words of one language."""

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
    def of(
        cls, record: Record, words: Words, masking: Masking | None, undelivered: DeliveryFailure | None = None
    ) -> CallRow:
        """Of a ``call.screened`` or ``verdict.undelivered``; in full without ``masking``.

        ``undelivered`` is what another record says of this verdict.
        """
        body = {name: masking.field(name, value) if masking else value for name, value in record.body.items()}
        verdict, reason = words.of("verdicts", body.get("verdict")), words.of("reasons", body.get("reason"))
        failure = words.of("deliveries", undelivered) if undelivered else _text(body.get("failure"))
        if late := record.type is EventType.VERDICT_UNDELIVERED:
            verdict, reason = words("verdicts.undelivered"), words.of("deliveries", body["why"])
        return cls(
            seq=record.seq,
            at=record.at,
            time=words.moment(record.at),
            number=_text(body.get("number")),
            blocked=late or body.get("verdict") == Verdict.BLOCK,
            verdict=verdict,
            reason=reason,
            campaign=_text(body.get("campaign")),
            seller=_text(body.get("seller")),
            agent=_text(body.get("agent")),
            call=_text(body.get("call")),
            failure=failure,
        )


def _text(value: object) -> str:
    return "" if value is None else str(value)
