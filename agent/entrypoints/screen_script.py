"""The script ``screen``: one verdict, and what is known of whether Asterisk has it.

An allow is recorded before Asterisk gets it, so that none is dialled that is not on record. Two things keep the record
from saying more than happened: before an allow is recorded, the line is looked at, and where Asterisk has given up the
call is blocked instead, with ``undelivered``; and when Asterisk does not confirm a verdict that is on record, a
``verdict.undelivered`` follows.

Over FastAGI a look at the connection suffices: Asterisk closes it when the caller hangs up or the dialplan's time is
over. It is not even a system call more than 1 % of a screening, where a question to Asterisk would cost 15 % of the
processor time and 0.17 ms. A classic AGI script was started some tenths of a second ago, or more on a machine that is
busy, and asks.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from agent import dialplan_names as names
from agent import logs
from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiChannelDead, AgiError, AgiHangup, AgiRefused, AgiRequest, AgiTimeout
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.model import DeliveryFailure, Reason, Screened
from agent.domain.phone_number import mask
from agent.domain.watch import Stage
from agent.screening import ScreenRequest, Timings

FASTAGI: Final = "fastagi"
CLASSIC_AGI: Final = "classic_agi"
_REFUSAL_MS: Final = 500
"""For the record of a refusal, whose own deadline has usually passed."""


class ScreenScript:
    """Answers ``screen`` through the door ``source``."""

    def __init__(self, app: Application, source: str) -> None:
        self._app = app
        self._source = source
        agi = app.settings.agi
        self._deadline_s = (agi.classic_deadline_ms if source == CLASSIC_AGI else agi.deadline_ms) / 1000
        self._log = logs.logger()
        self._watch = app.watch

    def screen(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Screen one call, and answer once the verdict is on disk."""
        began = monotonic()
        asked = self._asked(request)
        line = _Line(channel, asks=self._source == CLASSIC_AGI)
        screened, timings = self._app.screening.screen(asked, Deadline(due), line.hung_up)
        self._answer(line, asked, screened, began, timings, due - self._deadline_s)

    def refuse(self, request: AgiRequest, channel: AgiChannel, reason: Reason, failure: str) -> None:
        """Answer with a block, because the request could not be served."""
        if channel.ended:  # it was answered before it failed
            return
        began = monotonic()
        asked = self._asked(request)
        screened = self._app.screening.refuse(asked, reason, failure, Deadline.after_ms(_REFUSAL_MS))
        self._answer(_Line(channel, asks=False), asked, screened, began, Timings(), None)

    def _asked(self, request: AgiRequest) -> ScreenRequest:
        number, campaign, agent, *_ = (*request.arguments, "", "", "")
        return ScreenRequest(
            number=number, campaign=campaign, agent=agent, source=self._source, uniqueid=request.uniqueid
        )

    def _answer(
        self,
        line: _Line,
        asked: ScreenRequest,
        screened: Screened,
        began: float,
        timings: Timings,
        arrived: float | None,
    ) -> None:
        """Hand the verdict to Asterisk in one command, write the one line about this call, and count it.

        ``arrived`` is when the request did; None for a refusal, whose time says nothing of screening.
        """
        decision, answering = screened.decision, monotonic()
        try:
            line.tell(screened)
        finally:
            answered = monotonic()
            undelivered = line.failure
            if undelivered is not None and decision.reason is not Reason.UNDELIVERED:
                self._app.screening.undelivered(asked, screened, undelivered)
            campaign = self._app.campaigns.get(asked.campaign)
            write = self._log.warning if decision.reason.technical or undelivered else self._log.info
            write(
                logs.CALL_SCREENED,
                call=screened.call_id,
                number=mask(asked.number),
                campaign=asked.campaign,
                seller=campaign.seller.key if campaign else None,
                agent=asked.agent,
                verdict=decision.verdict,
                reason=decision.reason,
                rule=decision.rule,
                generation=screened.generation,
                notice=screened.notice,
                failure=screened.failure or None,
                source=asked.source,
                uniqueid=asked.uniqueid,
                delivered=undelivered is None,
                undelivered=undelivered,
                lookup_us=timings.lookup_us,
                decision_us=timings.decision_us,
                journal_us=timings.journal_us,
                total_us=round((answered - began) * 1e6),
            )
            self._watch.screened(decision.reason, campaign.key if campaign else None, delivered=undelivered is None)
            if arrived is not None:
                self._watch.timed(
                    {
                        Stage.QUEUE: began - arrived,
                        Stage.LOOKUP: timings.lookup_us / 1e6,
                        Stage.DECISION: timings.decision_us / 1e6,
                        Stage.JOURNAL: timings.journal_us / 1e6,
                        Stage.ANSWER: answered - answering,
                        Stage.TOTAL: answered - arrived,
                    }
                )


class _Line:
    """The session that waits for one verdict."""

    def __init__(self, channel: AgiChannel, *, asks: bool) -> None:
        self._channel = channel
        self._asks = asks
        self._lost: AgiError | None = None
        self.failure: DeliveryFailure | None = DeliveryFailure.NOT_SENT
        """Why Asterisk is not known to have the verdict; None once it has confirmed it."""

    def hung_up(self) -> str:
        """Why Asterisk does not wait any more; empty while it does."""
        try:
            if self._asks:
                self._channel.ask()
            else:
                self._channel.look()
        except AgiError as error:
            self._lost = error
            return str(error)
        return ""

    def tell(self, screened: Screened) -> None:
        """Set the variables of the verdict and end the session, so that nothing else holds up the call.

        Raises ``AgiError`` when Asterisk did not confirm them, and what ``hung_up`` met, with nothing sent; the session
        has ended then, too.
        """
        if self._lost is not None:
            self._channel.end()
            raise self._lost
        sent = self._channel.commands_sent
        try:
            self._channel.set_variables(
                {
                    names.BMN_VERDICT: screened.decision.verdict,
                    names.BMN_REASON: screened.decision.reason,
                    names.BMN_NUMBER: screened.number_to_dial,
                    names.BMN_CALL: screened.call_id,
                    names.BMN_NOTICE: screened.notice,
                }
            )
        except AgiError as error:
            if self._channel.commands_sent > sent:
                self.failure = _failure(error)
            self._channel.end()
            raise
        self.failure = DeliveryFailure.HUNG_UP if self._channel.hung_up else None
        self._channel.end()


def _failure(error: AgiError) -> DeliveryFailure:
    """Why a command that was sent is not confirmed."""
    match error:
        case AgiRefused() | AgiChannelDead():
            return DeliveryFailure.REFUSED
        case AgiHangup():
            return DeliveryFailure.LOST
        case AgiTimeout():
            return DeliveryFailure.TIMED_OUT
        case _:
            return DeliveryFailure.GARBLED
