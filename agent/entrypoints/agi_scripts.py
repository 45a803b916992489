"""The AGI scripts, the same over FastAGI and as a classic AGI script: read the arguments, call, set the variables.

==========  ==========================================  ==========================================================
script      arguments                                   sets
==========  ==========================================  ==========================================================
screen      number as dialled, campaign, agent          BMN_VERDICT BMN_REASON BMN_NUMBER BMN_CALL BMN_NOTICE
health                                                  BMN_HEALTH
==========  ==========================================  ==========================================================
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from agent import dialplan_names as names
from agent import logs
from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiError, AgiRequest
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.errors import BmnError
from agent.domain.model import Reason, Screened
from agent.domain.phone_number import mask
from agent.domain.profile import PROFILES
from agent.screening import ScreenRequest, Timings

_REFUSAL_MS: Final = 500
"""For the record of a refusal, whose own deadline has usually passed."""


class AgiScripts:
    """The handlers. ``source`` is the door they stand behind: ``fastagi`` or ``classic_agi``."""

    def __init__(self, app: Application, source: str) -> None:
        self._app = app
        self._source = source
        self._log = logs.logger()

    def screen(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Screen one call, and answer once the verdict is on disk."""
        began = monotonic()
        asked = self._asked(request)
        screened, timings = self._app.screening.screen(asked, Deadline(due))
        self._answer(channel, asked, screened, began, timings)

    def refuse(self, request: AgiRequest, channel: AgiChannel, reason: Reason, failure: str) -> None:
        """Answer ``screen`` with a block, because it could not be served."""
        began = monotonic()
        asked = self._asked(request)
        screened = self._app.screening.refuse(asked, reason, failure, Deadline.after_ms(_REFUSAL_MS))
        self._answer(channel, asked, screened, began, Timings())

    def health(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Say ``ok`` when a call could be screened now: the register is loaded and fresh, and the journal open."""
        degraded = self.degraded(Deadline(due))
        channel.set_variables({names.BMN_HEALTH: names.HEALTH_DEGRADED if degraded else names.HEALTH_OK})
        if degraded:
            self._log.warning(logs.HEALTH_ANSWERED, degraded=degraded)

    def degraded(self, deadline: Deadline) -> list[str]:
        """Why no promotional call could be allowed now, in words; empty when all is well."""
        problems = [] if self._app.campaigns else ["no campaign is configured"]
        try:
            self._app.redis.require_no_eviction(deadline)
            if lag := self._app.outbox.lag(deadline):
                problems.append(f"{lag} list changes of the journal are not in Redis yet")
            status = self._app.registers.status(PROFILES[self._app.settings.dialling.profile], deadline)
            if status.current is None:
                problems.append("no register is loaded")
            elif status.stale:
                problems.append("the register is stale")
        except BmnError as error:
            problems.append(str(error))
        return problems

    def _asked(self, request: AgiRequest) -> ScreenRequest:
        number, campaign, agent, *_ = (*request.arguments, "", "", "")
        return ScreenRequest(
            number=number, campaign=campaign, agent=agent, source=self._source, uniqueid=request.uniqueid
        )

    def _answer(
        self, channel: AgiChannel, asked: ScreenRequest, screened: Screened, began: float, timings: Timings
    ) -> None:
        """Hand the verdict to Asterisk in one command, and write the one line about this call."""
        decision = screened.decision
        delivered = False
        try:
            channel.set_variables(
                {
                    names.BMN_VERDICT: decision.verdict,
                    names.BMN_REASON: decision.reason,
                    names.BMN_NUMBER: screened.number_to_dial,
                    names.BMN_CALL: screened.call_id,
                    names.BMN_NOTICE: screened.notice,
                }
            )
            delivered = True
        except AgiError as error:
            self._log.warning(logs.SESSION_ABORTED, call=screened.call_id, why=type(error).__name__)
            raise
        finally:
            campaign = self._app.campaigns.get(asked.campaign)
            write = self._log.warning if decision.reason.technical else self._log.info
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
                delivered=delivered,
                lookup_us=timings.lookup_us,
                journal_us=timings.journal_us,
                total_us=round((monotonic() - began) * 1e6),
            )
