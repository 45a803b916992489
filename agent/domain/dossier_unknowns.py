"""What a dossier does not tell, so that nobody reads more into it than the journal knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent.domain.choice import Answer
from agent.domain.dossier import Attempt, ChoiceMade, Load, Unknown, UnknownKind
from agent.domain.model import Notice, Reason, Verdict

_GENERAL: Final = (
    *(UnknownKind.ANSWERED, UnknownKind.OFFER, UnknownKind.HEARD, UnknownKind.REDIS, UnknownKind.CLOCK),
    *(UnknownKind.OUTSIDE, UnknownKind.SPELLING, UnknownKind.REGISTER_FILE),
)
"""Holds of every dossier."""


_CUT_OFF: Final = "agent_lost"
"""Of a notice: ``agent.notices.NoticeEnd``, which is not of the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the journal holds around a number's own records."""

    journal: str
    upto: int
    begins: datetime | None
    """When its first record was made; None when there is none."""
    purged: int
    """Records of the period whose bodies were purged, of whatever number."""
    scrubs: int
    """Scrubs in the period."""
    reveals: int
    """Times in the period that full numbers were shown without this one being named."""


def unknowns(attempts: Sequence[Attempt], around: Surroundings) -> Iterator[Unknown]:
    """Of each attempt, of the period, and what no dossier ever tells."""
    for attempt in attempts:
        for kind in _unknown_of(attempt):
            yield Unknown(kind=kind, call=attempt.call)
    counted = {
        UnknownKind.PURGED: around.purged,
        UnknownKind.SCRUBS: around.scrubs,
        UnknownKind.REVEALS: around.reveals,
    }
    yield from (Unknown(kind=kind, count=count) for kind, count in counted.items() if count)
    yield Unknown(kind=UnknownKind.BEFORE_JOURNAL, since=around.begins)
    yield from (Unknown(kind=kind) for kind in _GENERAL)


def _unknown_of(attempt: Attempt) -> Iterator[UnknownKind]:
    ending = attempt.ending
    if attempt.verdict is Verdict.ALLOW and attempt.source == "command":
        yield UnknownKind.FROM_COMMAND
    elif attempt.verdict is Verdict.ALLOW and ending is None:
        yield from _unknown_of_silence(attempt)
    if attempt.notices_begun and all(notice.ended == _CUT_OFF for notice in attempt.notices):
        yield UnknownKind.NOTICE_CUT_OFF
    elif ending is not None and ending.answered and attempt.notice_due is Notice.REQUIRED and not attempt.notices:
        yield UnknownKind.NOTICE_NOT_FOLLOWED
    if any(notice.heard_ms and notice.long_ms is None for notice in attempt.notices):
        yield UnknownKind.NOTICE_UNMEASURED
    if any(notice.heard_ms and notice.sent is None for notice in attempt.notices):
        yield UnknownKind.NOTICE_NOT_COUNTED
    if any(choice.applied_ms is None and _changes_lists(choice) for choice in attempt.choices):
        yield UnknownKind.CHOICE_NOT_APPLIED
    broken = any(one.base_generation is not None and one.base is None for one in lineage(attempt.load))
    if broken or (attempt.generation is not None and attempt.load is None):
        yield UnknownKind.LOAD_MISSING
    if attempt.reason is Reason.EXEMPT_CUSTOMER and not attempt.customers:
        yield UnknownKind.CUSTOMER_MISSING
    if len(attempt.customers) > 1:
        yield UnknownKind.CUSTOMER_AMBIGUOUS
    if attempt.voicemail:
        yield UnknownKind.MACHINE


def _unknown_of_silence(attempt: Attempt) -> Iterator[UnknownKind]:
    """Of an allowed call without an end: nothing, where Asterisk never got the permission."""
    if attempt.undelivered is None or attempt.choices or attempt.notices:
        yield UnknownKind.NOT_FINISHED
    elif attempt.undelivered.why.may_have_arrived:
        yield UnknownKind.NOT_CONFIRMED


def _changes_lists(choice: ChoiceMade) -> bool:
    return choice.answer not in (Answer.OFFERED, Answer.DECLINED, Answer.VOICEMAIL)


def lineage(load: Load | None) -> Iterator[Load]:
    """A load, and those that it was made of."""
    while load is not None:
        yield load
        load = load.base
