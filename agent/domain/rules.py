"""The decision: may this number be dialled for this campaign, now?

Read ``RULES`` from top to bottom; the first rule that speaks wins, and its name is in the decision. Every rule is a
function of the call, the facts, the profile and the time, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from agent.domain.clock import is_behind
from agent.domain.model import (
    Blocked,
    Call,
    Campaign,
    Decision,
    Facts,
    LookupFailure,
    Notice,
    Purpose,
    Reason,
    Verdict,
)
from agent.domain.phone_number import EmergencyNumber, UnusableNumber
from agent.domain.profile import Profile

Rule = Callable[[Call, Facts, Profile, datetime], Reason | None]


def emergency_number_is_put_through(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """Needs no facts, so it survives every outage (Universal Service Directive art. 26)."""
    return Reason.EMERGENCY_NUMBER if isinstance(call.dialled, EmergencyNumber) else None


def number_is_usable(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """A network may ignore a digit too many and ring a registered number, so only valid complete numbers pass."""
    if isinstance(call.dialled, UnusableNumber):
        return Reason.UNSUPPORTED_COUNTRY if call.dialled.foreign else Reason.INVALID_NUMBER
    return None


def campaign_is_known(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """Without a campaign there is no seller, purpose or sector to decide by."""
    return Reason.UNKNOWN_CAMPAIGN if call.campaign is None else None


def lists_answered(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """Not knowing is never permission."""
    match facts.failure:
        case None:
            return None
        case LookupFailure.TIMED_OUT:
            return Reason.DEADLINE_EXCEEDED
        case LookupFailure.UNAVAILABLE:
            return Reason.LOOKUP_UNAVAILABLE


def seller_optout_beats_all(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """The consumer objected to this seller (recht van verzet); no exemption outweighs that."""
    return Reason.SELLER_OPTOUT if facts.seller_optout else None


def objections_are_assigned(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """A seller may not lose the objections to it by getting another key in the configuration.

    Which of the sellers of today it is, only the configuration can say; until it does, nobody promotes anything, and
    whoever objected is called for no purpose.
    """
    exempt = _campaign(call).purpose in profile.exempt_purposes and not facts.unassigned_objector
    return Reason.OBJECTIONS_UNASSIGNED if facts.unassigned and not exempt else None


def clock_is_sound(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """A clock that is behind what it said before is no clock, and cannot say how old the register is."""
    return Reason.CLOCK_UNSOUND if is_behind(now, facts.newest_at) else None


def purpose_is_exempt(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """Market research and service calls promote nothing, so the register does not bind them."""
    purpose = _campaign(call).purpose
    if purpose not in profile.exempt_purposes:
        return None
    return Reason.EXEMPT_RESEARCH if purpose is Purpose.RESEARCH else Reason.EXEMPT_SERVICE


def own_customer_is_exempt(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """Own customers may be called for similar products, if the number was obtained in a sale."""
    return Reason.EXEMPT_CUSTOMER if facts.customer else None


def register_is_loaded_and_fresh(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """An empty Redis never means that nobody is registered; a load past its period, or of the future, is no load."""
    if facts.generation is None:
        return Reason.REGISTER_MISSING
    return Reason.REGISTER_STALE if profile.is_stale(facts.generation, now) else None


def register_entry_blocks(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """The register's entry, or a registration taken in our own calls, covers what this campaign is for."""
    return entry_reason(facts.register_entry | facts.own_registration, _campaign(call))


def entry_reason(blocked: frozenset[Blocked], campaign: Campaign) -> Reason | None:
    """Why entries that block ``blocked`` stand against ``campaign``; None when they leave it alone."""
    if Blocked.ALL in blocked:
        return Reason.REGISTERED
    if Blocked.ALL_EXCEPT_CHARITIES in blocked and not campaign.for_charity:
        return Reason.REGISTERED
    if campaign.sector is not None and Blocked(campaign.sector) in blocked:
        return Reason.REGISTERED_CHARITIES if campaign.for_charity else Reason.REGISTERED_SECTOR
    return None


def nothing_stands_against_it(call: Call, facts: Facts, profile: Profile, now: datetime) -> Reason | None:
    """The last rule always speaks."""
    return Reason.NOT_REGISTERED


RULES: Final[tuple[Rule, ...]] = (
    emergency_number_is_put_through,
    number_is_usable,
    campaign_is_known,
    lists_answered,
    seller_optout_beats_all,
    objections_are_assigned,
    clock_is_sound,
    purpose_is_exempt,
    own_customer_is_exempt,
    register_is_loaded_and_fresh,
    register_entry_blocks,
    nothing_stands_against_it,
)


def decide(call: Call, facts: Facts, profile: Profile, now: datetime) -> Decision:
    """Apply ``RULES`` in order. ``now`` is an aware datetime."""
    for rule in RULES:
        reason = rule(call, facts, profile, now)
        if reason is not None:
            return Decision(reason=reason, rule=rule.__name__)
    raise AssertionError("the last rule always speaks")


def needs_lists(call: Call) -> bool:
    """False when one of the rules before the lookup already speaks, so that no lookup is made."""
    return not isinstance(call.dialled, EmergencyNumber | UnusableNumber) and call.campaign is not None


def notice_for(call: Call, decision: Decision, profile: Profile) -> Notice:
    """Whether this call must carry the notice: every conversation that is allowed and promotes something."""
    if decision.verdict is not Verdict.ALLOW or call.campaign is None:
        return Notice.NONE
    if isinstance(call.dialled, EmergencyNumber):
        return Notice.NONE
    return Notice.REQUIRED if call.campaign.purpose in profile.notice_purposes else Notice.NONE


def _campaign(call: Call) -> Campaign:
    """The campaign, which ``campaign_is_known`` has made sure of."""
    assert call.campaign is not None
    return call.campaign
