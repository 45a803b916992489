"""The AGI scripts, the same over FastAGI and as a classic AGI script: read the arguments, call, set the variables.

==========  ==========================================  ==========================================================
script      arguments                                   sets
==========  ==========================================  ==========================================================
screen      number as dialled, campaign, agent          BMN_VERDICT BMN_REASON BMN_NUMBER BMN_CALL BMN_NOTICE
notice      call id                                     BMN_NOTICE_RESULT BMN_CHOICE
key         call id of the consumer that the leg is     BMN_KEY_RESULT
            connected to, a key by its name,
            ``connected``, the leg's uniqueid
finish      call id, DIALSTATUS, answered seconds,      nothing
            HANGUPCAUSE, seconds until it rang, who
            ended it, the leg's uniqueid, ``answered``
            or ``not_answered``, who has left already
left        call id, who ended the consumer's leg,      nothing
            that leg's uniqueid
health                                                  BMN_HEALTH
==========  ==========================================  ==========================================================

``key``, ``finish`` and ``left`` come on a channel of their own, where the leg cannot be asked. A key of which the
dialplan does not say that it is ``connected``, as an older one never does, is rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Final

from agent import dialplan_names as names
from agent import logs
from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_line import AgiLine
from agent.adapters.agi_values import AgiRequest
from agent.bootstrap import Application
from agent.choices import KeyPress
from agent.domain.call_story import CallStory, NoticeResult
from agent.domain.choice import Wish
from agent.domain.deadline import Deadline
from agent.domain.errors import BmnError, JournalUnavailable, NothingKept
from agent.domain.phone_number import mask_within
from agent.domain.profile import PROFILES
from agent.domain.wording import counted
from agent.entrypoints import time_limits
from agent.entrypoints.owed_ends import OwedEnds
from agent.entrypoints.screen_script import ScreenScript
from agent.finishing import FinishReport
from agent.unassigned_objections import unassigned_in_words

_FINISH_MS: Final = 3_000
"""A call that is over can wait longer for the disk than one that is to be dialled."""
_KEPT: Final = 80
"""Characters of what came from outside that are logged."""


class AgiScripts:
    """The handlers. ``source`` is the door they stand behind: ``FASTAGI`` or ``CLASSIC_AGI`` of ``screen_script``."""

    def __init__(self, app: Application, source: str) -> None:
        self._app = app
        self._source = source
        self._log = logs.logger()
        self._watch = app.watch
        self.owed_ends = OwedEnds(app.watch)
        """What was reported to ``finish`` and ``left``, and is to be recorded by whoever settles it."""
        verdicts = ScreenScript(app, source)
        self.screen = verdicts.screen
        self.refuse = verdicts.refuse

    def notice(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Conduct the notice on the consumer's line. ``due`` does not bind it: it talks to a person."""
        began = monotonic()
        call, *_ = (*request.arguments, "")
        line = AgiLine(
            channel,
            (names.BMN_NOTICE_RESULT, names.BMN_CHOICE),
            channel_type=request.environment.get("agi_type", ""),
            packet_ms=self._app.settings.agi.packet_ms,
        )
        line.tell(NoticeResult.NOT_PLAYED, Wish().word)
        self._watch.dialogue_began()
        try:
            outcome = self._app.notices.conduct(call, line, request.uniqueid)
        finally:
            channel.end()  # what is told of it holds up nobody
            self._watch.dialogue_ended()
        self._watch.notices_played(outcome.result, outcome.ended)
        if outcome.keys_heard is not None:
            self._watch.keys_awaited(came=outcome.keys_heard)
        unwell = outcome.failure or outcome.result is NoticeResult.NOT_PLAYED
        write = self._log.warning if unwell else self._log.info
        write(
            logs.NOTICE_PLAYED,
            **_about(call, outcome.story),
            result=outcome.result,
            ended=outcome.ended,
            heard_ms=outcome.heard_ms,
            choice=outcome.wish.word,
            keys_heard=outcome.keys_heard,
            late=outcome.late,
            failure=outcome.failure or None,
            source=self._source,
            uniqueid=request.uniqueid,
            total_ms=round((monotonic() - began) * 1e3),
        )
        if line.broken is not None:
            raise line.broken

    def key(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Record a key of the agent; it is on disk before ``recorded`` is answered."""
        began = monotonic()
        call, key, connected, uniqueid, *_ = (*request.arguments, *[""] * 4)
        uniqueid = uniqueid[:_KEPT] or request.uniqueid
        press = KeyPress(call=call, key=key, uniqueid=uniqueid, connected=connected == names.CONNECTED)
        outcome = self._app.choices.press(press, Deadline(due))
        channel.set_variables({names.BMN_KEY_RESULT: outcome.result})
        channel.end()
        if outcome.rejection is not None:
            self._watch.key_rejected(outcome.rejection)
        write = self._log.info if outcome.rejection is None else self._log.warning
        write(
            logs.KEY_PRESSED,
            **_about(call, outcome.story),
            key=key[:_KEPT],
            result=outcome.result,
            rejection=outcome.rejection,
            applied=outcome.applied,
            failure=outcome.failure or None,
            source=self._source,
            uniqueid=uniqueid,
            total_us=round((monotonic() - began) * 1e6),
        )

    def finish(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Record the end of a dialled call."""
        report = _report(request)
        try:
            self._finish(report, Deadline.after_ms(_FINISH_MS), channel.end)
        except NothingKept as error:
            channel.end()
            self._log.error(logs.CALL_FINISHED, call=_unknown(report.call), failure=str(error))
            self.owed_ends.owe(partial(self._finish_again, report))

    def finish_later(self, request: AgiRequest, channel: AgiChannel) -> None:
        """Accept the end of a dialled call, for somebody else to record it."""
        self.owed_ends.owe(partial(self._finish_again, _report(request)))
        channel.end()

    def left(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Record that the consumer's leg ended before the notice that was to follow, where that is so."""
        leg = _Leg.of(request)
        try:
            self._left(leg, Deadline.after_ms(_FINISH_MS), channel.end)
        except NothingKept as error:
            channel.end()
            self._log.error(logs.NOTICE_PLAYED, call=_unknown(leg.call), failure=str(error))
            self.owed_ends.owe(partial(self._left_again, leg, Deadline.after_ms(_FINISH_MS)))

    def left_later(self, request: AgiRequest, channel: AgiChannel) -> None:
        """Accept that, for somebody else to record it."""
        self.owed_ends.owe(partial(self._left_again, _Leg.of(request), Deadline.after_ms(_FINISH_MS)))
        channel.end()

    def _finish_again(self, report: FinishReport) -> bool:
        self._finish(report, Deadline.after_ms(time_limits.OWED_RECORD_MS))
        return True

    def _left_again(self, leg: _Leg, until: Deadline) -> bool:
        """The end of the agent's part, without which nothing can be said, may come until then."""
        return self._left(leg, Deadline.after_ms(time_limits.OWED_RECORD_MS)) or until.remaining_s() <= 0

    def _finish(self, report: FinishReport, deadline: Deadline, end: Callable[[], None] = lambda: None) -> None:
        """Record and log it; ``end`` is called in between. Raises ``NothingKept``."""
        try:
            finished = self._app.finishing.finish(report, deadline)
        except NothingKept:
            raise
        except JournalUnavailable as error:
            end()
            self._log.error(logs.CALL_FINISHED, call=_unknown(report.call), failure=str(error))
            return
        end()
        if finished is None:
            self._log.warning(
                logs.CALL_FINISHED, call=_unknown(report.call), failure="no call with this id was dialled"
            )
        elif not finished.repeated:
            offered = finished.story.choices.offered
            if finished.offer_due:
                self._watch.finished(finished.story.campaign, offered=offered)
            if finished.past_notice is not None:
                self._watch.notices_played(NoticeResult.NOT_PLAYED, finished.past_notice)
            write = self._log.warning if finished.offer_due and not offered else self._log.info
            write(
                logs.CALL_FINISHED,
                **_about(report.call, finished.story),
                dialstatus=report.dialstatus,
                answered_s=report.answered_s,
                ended_by=finished.ended_by,
                offered=offered,
                notice=finished.notice,
                choice=finished.story.choices.wish.word,
                failure=None,
            )

    def _left(self, leg: _Leg, deadline: Deadline, end: Callable[[], None] = lambda: None) -> bool:
        """The same of a consumer who has left; whether there was something to record."""
        try:
            left = self._app.finishing.left(leg.call, leg.who, leg.uniqueid, deadline)
        except NothingKept:
            raise
        except JournalUnavailable as error:
            end()
            self._log.error(logs.NOTICE_PLAYED, call=_unknown(leg.call), failure=str(error))
            return True
        end()
        if left is None:
            return False
        self._watch.notices_played(NoticeResult.NOT_PLAYED, left.ended)
        self._log.warning(
            logs.NOTICE_PLAYED,
            **_about(leg.call, left.story),
            result=NoticeResult.NOT_PLAYED,
            ended=left.ended,
            heard_ms=0,
            choice=left.story.choices.by_consumer.word,
            keys_heard=None,
            late=0,
            failure=None,
            source=self._source,
            uniqueid=leg.uniqueid,
        )
        return True

    def health(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Say ``ok`` when a call could be screened now: the register is loaded and fresh, and the journal open."""
        degraded = self.degraded(Deadline(due))
        channel.set_variables({names.BMN_HEALTH: names.HEALTH_DEGRADED if degraded else names.HEALTH_OK})
        channel.end()
        if degraded:
            self._log.warning(logs.HEALTH_ANSWERED, degraded=degraded)

    def degraded(self, deadline: Deadline) -> list[str]:
        """Why no promotional call could be allowed now, in words; empty when all is well."""
        problems = [] if self._app.campaigns else ["no campaign is configured"]
        try:
            if clock := self._app.clock_keeping.problem():
                problems.append(clock)
            self._app.redis.require_no_eviction(deadline)
            if lag := self._app.outbox.lag(deadline):
                problems.append(f"Redis lacks {counted(lag, 'list change')} of the journal")
            status = self._app.registers.status(PROFILES[self._app.settings.dialling.profile], deadline)
            if status.current is None:
                problems.append("no register is loaded")
            elif status.stale:
                problems.append("the register is stale")
            if unassigned := self._app.unassigned.sellers(self._app.journal.state().restriction_watermark):
                problems.append(unassigned_in_words(unassigned))
        except BmnError as error:
            problems.append(str(error))
        return problems


@dataclass(frozen=True, slots=True)
class _Leg:
    """A consumer's leg that has ended, as it is reported."""

    call: str
    who: str
    uniqueid: str

    @classmethod
    def of(cls, request: AgiRequest) -> _Leg:
        call, who, uniqueid, *_ = (*request.arguments, "", "", "")
        return cls(call, who, uniqueid[:_KEPT] or request.uniqueid)


def _report(request: AgiRequest) -> FinishReport:
    call, dialstatus, answered_s, cause, rang_after_s, ended_by, *rest = (*request.arguments, *[""] * 9)
    uniqueid, answer, left, *_ = rest
    older = answer not in (names.ANSWERED, names.NOT_ANSWERED)
    return FinishReport(
        call=call,
        dialstatus=dialstatus[:_KEPT],
        answered=dialstatus == names.DIALSTATUS_ANSWERED if older else answer == names.ANSWERED,
        answered_s=int(answered_s) if answered_s.isdecimal() else 0,
        cause=int(cause) if cause.isdecimal() else None,
        rang=rang_after_s.isdecimal(),
        ended_by=ended_by,
        uniqueid=uniqueid[:_KEPT] or request.uniqueid,
        left=left,
    )


def _unknown(call: str) -> str:
    """A call id that is not ours, as far as we know: it may be anything."""
    return mask_within(call[:_KEPT])


def _about(call: str, story: CallStory | None) -> dict[str, object]:
    """Which call a log line is about."""
    if story is None:
        return {"call": _unknown(call), "number": None, "campaign": None, "seller": None, "agent": None}
    return {
        "call": story.call,
        "number": str(story.number) if story.number else None,
        "campaign": story.campaign,
        "seller": story.seller,
        "agent": story.agent,
    }
