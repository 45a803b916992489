"""The end of a dialled call: was there a connection, was the offer made, what was heard, what was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent.choices import call_fields
from agent.domain.call_story import CallStory, NoticeResult
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Notice
from agent.domain.ports import CallRecords, Journal
from agent.notices import NoticeEnd, notice_played

_ANSWERED: Final = "ANSWER"


class EndedBy(StrEnum):
    """Who ended the conversation. Append only: the journal holds these words."""

    AGENT = "agent"
    CONSUMER = "consumer"
    HAND_OVER = "hand_over"
    """The agent handed the consumer to the notice, and was free."""
    NOT_ANSWERED = "not_answered"


NOTICE_NOT_DUE: Final = "not_due"
"""No conversation, or one that needs no notice."""
NOTICE_TO_FOLLOW: Final = "to_follow"
"""The agent's side is over and the consumer hears the notice now; ``notice.played`` tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishReport:
    """What Asterisk knows at the end of the agent's channel."""

    call: str
    dialstatus: str
    answered_s: int
    cause: int | None
    """Q.931, as HANGUPCAUSE has it."""
    rang: bool
    ended_by: str
    """``consumer`` or ``hand_over`` when the dialplan knows; empty when the agent's channel just ended."""
    uniqueid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What was recorded."""

    story: CallStory
    answered: bool
    ended_by: EndedBy
    notice: str
    repeated: bool = False
    """The end of this call was on record already; nothing was added."""


class Finishing:
    """The use case behind ``finish``. Thread-safe."""

    def __init__(self, journal: Journal, calls: CallRecords) -> None:
        self._journal = journal
        self._calls = calls

    def finish(self, report: FinishReport, deadline: Deadline) -> Finished | None:
        """Record the end of a call, once; None when no such call was dialled. Raises ``JournalUnavailable``."""
        story = CallStory.of(self._calls.of_call(report.call))
        if story is None or story.number is None:
            return None
        answered = report.dialstatus == _ANSWERED
        ended_by = _ended_by(report, answered)
        notice = _notice(story, answered, ended_by)
        finished = Finished(story=story, answered=answered, ended_by=ended_by, notice=notice)
        if story.finished is not None:
            return Finished(story=story, answered=answered, ended_by=ended_by, notice=notice, repeated=True)
        events = [_event(report, finished)]
        if notice == NoticeResult.NOT_PLAYED and story.notice_result is None:
            events.insert(0, _not_played(story, report.uniqueid))
        self._journal.append(events, deadline)
        return finished


def _ended_by(report: FinishReport, answered: bool) -> EndedBy:
    if not answered:
        return EndedBy.NOT_ANSWERED
    known = report.ended_by in (EndedBy.CONSUMER, EndedBy.HAND_OVER)
    return EndedBy(report.ended_by) if known else EndedBy.AGENT


def _notice(story: CallStory, answered: bool, ended_by: EndedBy) -> str:
    if not answered or story.notice is not Notice.REQUIRED:
        return NOTICE_NOT_DUE
    if story.notice_result is not None:
        return story.notice_result
    return NoticeResult.NOT_PLAYED if ended_by is EndedBy.CONSUMER else NOTICE_TO_FOLLOW


def _not_played(story: CallStory, uniqueid: str) -> Event:
    """The consumer left before the notice: that is a record of its own, and no offer."""
    left = NoticeEnd.CONSUMER_LEFT
    return notice_played(story, uniqueid, None, f"notice-{story.seller}", None, NoticeResult.NOT_PLAYED, left, 0)


def _event(report: FinishReport, finished: Finished) -> Event:
    story = finished.story
    body: dict[str, JsonValue] = {
        **call_fields(story, report.uniqueid),
        "dialstatus": report.dialstatus,
        "rang": report.rang,
        "answered": finished.answered,
        "answered_s": report.answered_s if finished.answered else 0,
        "cause": report.cause,
        "ended_by": finished.ended_by,
        "offered": story.choices.offered,
        "voicemail": story.choices.voicemail,
        "notice": finished.notice,
        "choice": story.choices.wish.word,
    }
    return Event.of(EventType.CALL_FINISHED, body)
