"""Screening one live call: normalise, look up, decide, record, answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agent.domain.clock import behind
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, ListsBehind, LookupTimedOut, LookupUnavailable, PremiseOutdated
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import (
    Call,
    Campaign,
    Decision,
    DeliveryFailure,
    Facts,
    LookupFailure,
    Notice,
    Reason,
    Screened,
    Verdict,
)
from agent.domain.phone_number import Dialled, EmergencyNumber, PhoneNumber, read_dialled
from agent.domain.ports import Journal, JournalState, Lists
from agent.domain.premise import Premise
from agent.domain.profile import Profile
from agent.domain.rules import decide, needs_lists, notice_for
from agent.outbox import Outbox
from agent.unassigned_objections import UnassignedObjections, unassigned_in_words

JOURNAL_RULE: Final = "verdict_is_on_disk"
"""Names what blocked when the rules had spoken but the record could not be kept."""
DOOR_RULE: Final = "request_can_be_served"
"""Names what blocked before the rules could be asked."""
ANSWER_RULE: Final = "somebody_waits_for_the_answer"
"""Names what blocked when whoever asked was gone before the allow was recorded."""
_CATCH_UPS: Final = 2
"""A drain that was joined may have looked before the record that matters was there; the next one finds it."""
_DECISIONS: Final = 3
"""How often a call is decided when what forbids it keeps coming in between; then it is blocked."""
_RESTLESS: Final = "the lists of this number changed each time that it was looked up"
_KEPT: Final = 80
"""Characters of what somebody dialled or named that are recorded; Asterisk's own limit on an extension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenRequest:
    """What the dialplan, or a person at the command line, asks."""

    number: str
    campaign: str
    agent: str
    source: str
    """Through which door it came: ``fastagi``, ``classic_agi`` or ``command``."""
    uniqueid: str = ""
    """Asterisk's id of the channel; empty from the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one screening went, in microseconds."""

    lookup_us: int = 0
    decision_us: int = 0
    journal_us: int = 0


class Screening:
    """The use case behind ``screen``. Thread-safe; holds no state of its own."""

    def __init__(
        self,
        *,
        lists: Lists,
        journal: Journal,
        outbox: Outbox,
        unassigned: UnassignedObjections,
        campaigns: Mapping[str, Campaign],
        profiles: Mapping[str, Profile],
        default_profile: Profile,
        pbx_prefixes: tuple[str, ...],
        lookup_timeout_ms: int,
        clock: Callable[[], datetime],
        new_call_id: Callable[[], str],
    ) -> None:
        self._lists = lists
        self._journal = journal
        self._outbox = outbox
        self._unassigned = unassigned
        self._campaigns = campaigns
        self._profiles = profiles
        self._default_profile = default_profile
        self._pbx_prefixes = pbx_prefixes
        self._lookup_timeout_ms = lookup_timeout_ms
        self._clock = clock
        self._new_call_id = new_call_id

    def screen(
        self, request: ScreenRequest, deadline: Deadline, hung_up: Callable[[], str] = lambda: ""
    ) -> tuple[Screened, Timings]:
        """Decide, and have the verdict on disk before it is returned. Never raises for a service that is away.

        An allow is written only where nothing that restricts its number was written since its facts were read; else
        the facts are read again. And only for somebody: ``hung_up`` says why whoever asked does not wait any more, and
        is empty while they do; an emergency number does not depend on it.
        """
        call, profile = self._read(request)
        call_id = self._new_call_id()
        looked = decided = written = 0
        for _ in range(_DECISIONS):
            started = time.perf_counter_ns()
            facts, failure = self._facts(call, deadline)
            looked_up = time.perf_counter_ns()
            screened = _unless_hung_up(self._screened(call_id, call, profile, facts, failure), hung_up)
            at = time.perf_counter_ns()
            looked, decided = looked + looked_up - started, decided + at - looked_up
            try:
                screened = self._recorded(
                    request, call, profile, screened, deadline, self._premise(screened, profile, facts)
                )
                break
            except PremiseOutdated:
                continue
            finally:
                written += time.perf_counter_ns() - at
        else:
            screened = self._refused(request, call, profile, call_id, Reason.LOOKUP_UNAVAILABLE, _RESTLESS, deadline)
        return screened, Timings(lookup_us=looked // 1000, decision_us=decided // 1000, journal_us=written // 1000)

    def would_be(self, number: PhoneNumber, campaign: Campaign, deadline: Deadline) -> tuple[Decision, str]:
        """What a call would get now, and what failed; nothing is recorded, so nobody may dial because of it."""
        profile = self._profiles[campaign.profile]
        call = Call(dialled=read_dialled(number.e164, profile), campaign=campaign)
        facts, failure = self._facts(call, deadline)
        screened = self._screened("", call, profile, facts, failure)
        return screened.decision, screened.failure

    def refuse(self, request: ScreenRequest, reason: Reason, failure: str, deadline: Deadline) -> Screened:
        """Block without asking the rules: the service is overloaded, or failed. Emergency numbers still go through."""
        call, profile = self._read(request)
        return self._refused(request, call, profile, self._new_call_id(), reason, failure, deadline)

    def _refused(
        self,
        request: ScreenRequest,
        call: Call,
        profile: Profile,
        call_id: str,
        reason: Reason,
        failure: str,
        deadline: Deadline,
    ) -> Screened:
        emergency = isinstance(call.dialled, EmergencyNumber)
        screened = Screened(
            call_id=call_id,
            decision=Decision(reason=Reason.EMERGENCY_NUMBER if emergency else reason, rule=DOOR_RULE),
            dialled=call.dialled,
            notice=Notice.NONE,
            generation=None,
            failure=failure,
        )
        return self._recorded(request, call, profile, screened, deadline)

    def _screened(self, call_id: str, call: Call, profile: Profile, facts: Facts, failure: str) -> Screened:
        now = self._clock()
        decision = decide(call, facts, profile, now)
        if decision.reason is Reason.CLOCK_UNSOUND and facts.newest_at is not None:
            failure = behind(now, facts.newest_at)
        if decision.reason is Reason.OBJECTIONS_UNASSIGNED:
            failure = unassigned_in_words(facts.unassigned)
        return Screened(
            call_id=call_id,
            decision=decision,
            dialled=call.dialled,
            notice=notice_for(call, decision, profile),
            generation=facts.generation.id if facts.generation else None,
            failure=failure,
        )

    def undelivered(self, request: ScreenRequest, screened: Screened, why: DeliveryFailure) -> None:
        """Record as soon as may be that a verdict, which is on record, is not known to be with Asterisk."""
        campaign = self._campaigns.get(request.campaign)
        body: dict[str, JsonValue] = {
            "call": screened.call_id,
            "number": _number(request, screened.dialled),
            "campaign": request.campaign[:_KEPT],
            "seller": campaign.seller.key if campaign else None,
            "agent": request.agent[:_KEPT],
            "uniqueid": request.uniqueid,
            "verdict": screened.decision.verdict,
            "why": why,
        }
        self._journal.append_later([Event(EventType.VERDICT_UNDELIVERED, body)])

    def _read(self, request: ScreenRequest) -> tuple[Call, Profile]:
        campaign = self._campaigns.get(request.campaign)
        profile = self._profiles[campaign.profile] if campaign else self._default_profile
        return Call(dialled=read_dialled(request.number, profile, self._pbx_prefixes), campaign=campaign), profile

    def _facts(self, call: Call, deadline: Deadline) -> tuple[Facts, str]:
        """The facts, and what failed while they were fetched (empty when nothing did)."""
        if not needs_lists(call) or not isinstance(call.dialled, PhoneNumber) or call.campaign is None:
            return Facts(), ""
        limit = Deadline(min(deadline.at, Deadline.after_ms(self._lookup_timeout_ms).at))
        try:
            journal = self._journal.state()
            facts = self._looked_up(call.dialled, call.campaign, journal, limit)
            return self._unassigned.added_to(facts, call.dialled, journal.restriction_watermark), ""
        except LookupTimedOut as error:
            return Facts(failure=LookupFailure.TIMED_OUT), str(error)
        except (LookupUnavailable, JournalUnavailable) as error:
            return Facts(failure=LookupFailure.UNAVAILABLE), str(error)

    def _looked_up(self, number: PhoneNumber, campaign: Campaign, journal: JournalState, limit: Deadline) -> Facts:
        for _ in range(_CATCH_UPS):
            try:
                return self._lists.facts(number, campaign, journal, limit)
            except ListsBehind:
                self._outbox.catch_up(limit)
        return self._lists.facts(number, campaign, journal, limit)

    def _premise(self, screened: Screened, profile: Profile, facts: Facts) -> Premise | None:
        """What an allow rests on; a block needs nothing to go on being so."""
        if screened.decision.verdict is not Verdict.ALLOW or not isinstance(screened.dialled, PhoneNumber):
            return None
        generation = facts.generation if screened.decision.reason is Reason.NOT_REGISTERED else None
        return Premise(
            upto=facts.upto,
            number=screened.dialled.e164,
            profile=profile.key,
            assigned=self._unassigned.assigned,
            until=None if generation is None else profile.valid_until(generation),
        )

    def _recorded(
        self,
        request: ScreenRequest,
        call: Call,
        profile: Profile,
        screened: Screened,
        deadline: Deadline,
        premise: Premise | None = None,
    ) -> Screened:
        """The verdict once it is on disk; a block instead when it does not get there. Raises ``PremiseOutdated``."""
        try:
            self._journal.append([_event(request, call, profile, screened)], deadline, premise)
        except JournalUnavailable as error:
            if isinstance(call.dialled, EmergencyNumber):
                return screened
            blocked = Screened(
                call_id=screened.call_id,
                decision=Decision(reason=Reason.JOURNAL_UNAVAILABLE, rule=JOURNAL_RULE),
                dialled=screened.dialled,
                notice=Notice.NONE,
                generation=screened.generation,
                failure=str(error),
            )
            # The first record may yet reach the disk; this one then says what Asterisk was really told.
            self._journal.append_later([_event(request, call, profile, blocked)])
            return blocked
        return screened


def _unless_hung_up(screened: Screened, hung_up: Callable[[], str]) -> Screened:
    """A block instead of an allow that nobody would get."""
    if screened.decision.verdict is not Verdict.ALLOW or not isinstance(screened.dialled, PhoneNumber):
        return screened
    if not (why := hung_up()):
        return screened
    blocked = Decision(reason=Reason.UNDELIVERED, rule=ANSWER_RULE)
    return replace(screened, decision=blocked, notice=Notice.NONE, failure=why)


def _number(request: ScreenRequest, dialled: Dialled) -> str:
    return dialled.e164 if isinstance(dialled, PhoneNumber) else request.number[:_KEPT]


def _event(request: ScreenRequest, call: Call, profile: Profile, screened: Screened) -> Event:
    campaign, decision = call.campaign, screened.decision
    return Event(
        EventType.CALL_SCREENED,
        {
            "call": screened.call_id,
            "number": _number(request, call.dialled),
            "dialled": request.number[:_KEPT],
            "campaign": request.campaign[:_KEPT],
            "seller": campaign.seller.key if campaign else None,
            "agent": request.agent[:_KEPT],
            "profile": profile.key,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "rule": decision.rule,
            "generation": screened.generation,
            "notice": screened.notice,
            "source": request.source,
            "uniqueid": request.uniqueid,
            "failure": screened.failure or None,
            "formerly": [*campaign.seller.formerly] or None if campaign else None,
        },
    )
