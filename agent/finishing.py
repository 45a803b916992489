"""The end of a dialled call: was there a connection, was the offer made, what was heard, what was chosen."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agent.choices import call_fields
from agent.domain.call_story import (
    ENDED_UNKNOWN,
    NOTICE_NOT_DUE,
    NOTICE_TO_FOLLOW,
    NOTICE_UNKNOWN,
    CallChoices,
    CallStory,
    NoticeResult,
)
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, NothingKept, PremiseOutdated
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Notice
from agent.domain.ports import CallRecords, Journal
from agent.domain.premise import Premise
from agent.notices import NoticeEnd, notice_played

_PLAYED: Final = (NoticeResult.HEARD, NoticeResult.PARTIAL)
ENDED_WITHIN: Final = timedelta(hours=4)
"""No conversation takes longer: an allow without an end by then gets one that says so."""
NOTICE_WITHIN: Final = ENDED_WITHIN + timedelta(minutes=15)
"""A notice that has not begun by then never will: it begins when the agent's part ends, or when that of whoever the
consumer was passed on to does. Who leaves before it is reported at once."""
_NOTICE_LASTS: Final = timedelta(minutes=15)
"""No notice takes longer: one that has begun, and of which nothing else is on record by then, was cut off."""
_END_LOOK_S: Final = 0.05
_CLOSED_AT_ONCE: Final = 200
_LOOKED_BACK: Final = timedelta(days=7)
"""By a process that has just started; it goes on from there."""


class EndedBy(StrEnum):
    """Who ended the conversation. Append only: the journal holds these words."""

    AGENT = "agent"
    CONSUMER = "consumer"
    HAND_OVER = "hand_over"
    """The agent handed the consumer to the notice, and was free."""
    TRANSFERRED = "transferred"
    """The agent passed the consumer on to somebody else; the notice follows when that is over."""
    NOT_ANSWERED = "not_answered"
    UNKNOWN = ENDED_UNKNOWN
    """Nothing ever said how it ended, or that it was dialled at all: the books were closed without."""
    CUT_OFF = "cut_off"
    """The consumer did not hang up: somebody ended their channel at the exchange, as a dialler does by AMI."""


_TOLD: Final = frozenset({EndedBy.CONSUMER, EndedBy.CUT_OFF, EndedBy.HAND_OVER, EndedBy.TRANSFERRED})
"""What the dialplan may say."""
_GONE: Final[Mapping[str, NoticeEnd]] = {
    EndedBy.CONSUMER: NoticeEnd.CONSUMER_LEFT,
    EndedBy.CUT_OFF: NoticeEnd.CUT_OFF,
}
"""The consumer's leg is gone, and why there is no notice any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishReport:
    """What Asterisk knows at the end of the agent's channel."""

    call: str
    dialstatus: str
    answered: bool
    """Whether the consumer picked up: not what DIALSTATUS says, which may be about somebody else."""
    answered_s: int
    cause: int | None
    """Q.931, as HANGUPCAUSE has it."""
    rang: bool
    ended_by: str
    """``consumer``, ``cut_off``, ``hand_over`` or ``transferred``; empty when the agent just hung up."""
    uniqueid: str
    left: str = ""
    """``consumer`` or ``cut_off`` when the consumer's leg has ended as well by now, whoever ended the conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What was recorded."""

    story: CallStory
    answered: bool | None
    """None when that is not known."""
    ended_by: EndedBy
    notice: str
    left: NoticeEnd | None = None
    """How the consumer's leg came to its end, where it has; a notice that has not begun by then never will."""
    repeated: bool = False
    """The end of this call was on record already; nothing was added."""

    @property
    def past_notice(self) -> NoticeEnd | None:
        """Why the notice of this call was due and is not played any more; None when that is not so."""
        due = self.notice == NoticeResult.NOT_PLAYED and self.story.notice_result is None
        return self.left if due else None

    @property
    def offer_due(self) -> bool:
        """Whether there was a conversation in which the consumer had to be pointed at the register."""
        choices = self.story.choices
        return bool(self.answered) and self.notice != NOTICE_NOT_DUE and (choices.offered or not choices.voicemail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A consumer left before the notice that was to follow; recorded as not played."""

    story: CallStory
    ended: NoticeEnd


class _LookBack:
    """A stretch of the past that is looked at once; it ends where what is missing will not come any more."""

    def __init__(self, within: timedelta) -> None:
        self._within = within
        self._until: datetime | None = None

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """From where to where it is to be looked at now."""
        until = now - self._within
        return self._until or until - _LOOKED_BACK, until

    def looked(self, now: datetime) -> None:
        """Everything until then is done with."""
        self._until = now - self._within


class Finishing:
    """The use case behind ``finish``. Thread-safe."""

    def __init__(self, journal: Journal, calls: CallRecords, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._calls = calls
        self._clock = clock
        self._never_began = _LookBack(NOTICE_WITHIN)
        self._cut_off = _LookBack(_NOTICE_LASTS)

    def close_open(self, deadline: Deadline) -> Mapping[tuple[NoticeResult, NoticeEnd], int]:
        """Record what became of notices that nothing more will be heard of; how many of each kind.

        One that was to follow and did not begin in time was not played. One that began, and whose end is not on record
        by then, was cut off with this system: some of it may have been heard, and none is known to have been.
        """
        now = self._clock()
        counts: Counter[tuple[NoticeResult, NoticeEnd]] = Counter()
        for story in self._stories(self._calls.unfollowed(*self._never_began.span(now))):
            never_began = _not_played(story, story.uniqueid, NoticeEnd.NEVER_BEGAN)
            with contextlib.suppress(PremiseOutdated):  # it began just now, or somebody else said so
                self._journal.append([never_began], deadline, _unheard(story.call))
                counts[NoticeResult.NOT_PLAYED, NoticeEnd.NEVER_BEGAN] += 1
        for story in self._stories(self._calls.cut_off(*self._cut_off.span(now))):
            with contextlib.suppress(PremiseOutdated):  # how far it came was recorded just now
                self._journal.append([_cut_off(story)], deadline, _without(story.call, EventType.NOTICE_PLAYED))
                counts[NoticeResult.PARTIAL, NoticeEnd.AGENT_LOST] += 1
        self._never_began.looked(now)
        self._cut_off.looked(now)
        return counts

    def _stories(self, calls: Iterable[str]) -> list[CallStory]:
        return [story for call in calls if (story := CallStory.of(self._calls.of_call(call))) is not None]

    def finish(self, report: FinishReport, deadline: Deadline) -> Finished | None:
        """Record the end of a call, once; None when no such call was dialled.

        Raises ``JournalUnavailable``: it is recorded later; and ``NothingKept``: it must be reported again.
        """
        story = self._story(report.call)
        if story is None or story.number is None:
            return None
        ended_by = _ended_by(report)
        left = _left(report, ended_by)
        finished = Finished(
            story=story,
            answered=report.answered,
            ended_by=ended_by,
            notice=_notice(story, report.answered, left),
            left=left,
        )
        if story.ended:
            return replace(finished, repeated=True)
        events = [_event(finished, report)]
        if finished.past_notice is not None:
            events.insert(0, _not_played(story, report.uniqueid, finished.past_notice))
        premise = None if story.finished else _without(report.call, EventType.CALL_FINISHED)
        try:
            self._journal.append(events, deadline, premise)
        except PremiseOutdated:
            return replace(finished, repeated=True)
        except JournalUnavailable:
            self._journal.append_later(events, premise)  # it is true all the same, and is written once
            raise
        return finished

    def left(self, call: str, who: str, uniqueid: str, deadline: Deadline) -> Left | None:
        """Record that the consumer's leg ended with the notice still to follow; None when that is not so.

        The end of the agent's part may be on its way, when both hung up at once: it is waited for. ``who`` is
        ``cut_off``, or else the consumer. Raises as ``finish``.
        """
        story = self._story(call)
        while story is not None and story.number is not None and story.finished is None and deadline.remaining_s() > 0:
            time.sleep(_END_LOOK_S)
            story = self._story(call)
        if story is None or story.finished is None or story.finished.body["notice"] != NOTICE_TO_FOLLOW:
            return None
        passed_on = story.finished.body["ended_by"] == EndedBy.TRANSFERRED
        left = Left(story=story, ended=NoticeEnd.TRANSFERRED if passed_on else _gone(who))
        event = _not_played(story, uniqueid, left.ended)
        try:
            self._journal.append([event], deadline, _unheard(call))
        except PremiseOutdated:
            return None
        except JournalUnavailable:
            self._journal.append_later([event], _unheard(call))
            raise
        return left

    def _story(self, call: str) -> CallStory | None:
        """What is known of a call that something was reported of."""
        try:
            return CallStory.of(self._calls.of_call(call))
        except JournalUnavailable as error:
            raise NothingKept(str(error)) from error

    def close_books(self, deadline: Deadline) -> int:
        """Give each allowed call an end that got none within ``ENDED_WITHIN``; returns how many, some at a time.

        Its end may have been lost, or it was never dialled. Raises ``JournalUnavailable``.
        """
        closed = 0
        for call in self._calls.unfinished(self._clock() - ENDED_WITHIN, _CLOSED_AT_ONCE):
            story = CallStory.of(self._calls.of_call(call))
            if story is None:
                continue
            talked = story.choices != CallChoices() or story.notice_begun is not None or story.notice_result in _PLAYED
            finished = Finished(
                story=story,
                answered=True if talked else None,
                ended_by=EndedBy.UNKNOWN,
                notice=_notice_unless_known(story),
            )
            with contextlib.suppress(PremiseOutdated):  # its end came just now
                self._journal.append([_event(finished)], deadline, _without(call, EventType.CALL_FINISHED))
                closed += 1
        return closed


def _ended_by(report: FinishReport) -> EndedBy:
    if not report.answered:
        return EndedBy.NOT_ANSWERED
    return EndedBy(report.ended_by) if report.ended_by in _TOLD else EndedBy.AGENT


def _left(report: FinishReport, ended_by: EndedBy) -> NoticeEnd | None:
    if ended_by in _GONE:
        return _GONE[ended_by]
    if report.left not in _GONE:
        return None
    return NoticeEnd.TRANSFERRED if ended_by is EndedBy.TRANSFERRED else _gone(report.left)


def _gone(who: str) -> NoticeEnd:
    return _GONE.get(who, NoticeEnd.CONSUMER_LEFT)


def _notice(story: CallStory, answered: bool, left: NoticeEnd | None) -> str:
    if not answered or story.notice is not Notice.REQUIRED:
        return NOTICE_NOT_DUE
    if story.notice_result is not None:
        return story.notice_result
    return NoticeResult.NOT_PLAYED if left is not None and story.notice_begun is None else NOTICE_TO_FOLLOW


def _notice_unless_known(story: CallStory) -> str:
    if story.notice is not Notice.REQUIRED:
        return NOTICE_NOT_DUE
    return NOTICE_UNKNOWN if story.notice_result is None else story.notice_result


def _without(call: str, *kinds: EventType) -> Premise:
    return Premise(upto=0, call=call, without=kinds)


def _unheard(call: str) -> Premise:
    """Its notice has not begun, and nobody has said yet that it will not."""
    return _without(call, EventType.NOTICE_BEGUN, EventType.NOTICE_PLAYED)


def _not_played(story: CallStory, uniqueid: str, why: NoticeEnd) -> Event:
    """The notice was due and not played: that is a record of its own, and no offer."""
    return notice_played(story, uniqueid, None, f"notice-{story.seller}", None, NoticeResult.NOT_PLAYED, why, 0)


def _cut_off(story: CallStory) -> Event:
    """Of the notice's beginning, with what is known of its end."""
    assert story.notice_begun is not None
    known: dict[str, JsonValue] = {"heard_ms": 0, "ended": NoticeEnd.AGENT_LOST, "result": NoticeResult.PARTIAL}
    return Event.of(EventType.NOTICE_PLAYED, {**story.notice_begun.body, **known})


def _event(finished: Finished, report: FinishReport | None = None) -> Event:
    """The end of a call; without a ``report``, what nobody can say is null."""
    story = finished.story
    body: dict[str, JsonValue] = {
        **call_fields(story, report.uniqueid if report else story.uniqueid),
        "dialstatus": report.dialstatus if report else "",
        "rang": report.rang if report else None,
        "answered": finished.answered,
        "answered_s": (report.answered_s if finished.answered else 0) if report else None,
        "cause": report.cause if report else None,
        "ended_by": finished.ended_by,
        "offered": story.choices.offered,
        "voicemail": story.choices.voicemail,
        "notice": finished.notice,
        "choice": story.choices.wish.word,
    }
    return Event.of(EventType.CALL_FINISHED, body)
