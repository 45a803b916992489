"""The decision table (README "Which call is blocked, and why"): every rule, every pair of neighbours, every sector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.model import (
    Blocked,
    Call,
    Campaign,
    Facts,
    LookupFailure,
    Notice,
    Purpose,
    Reason,
    Sector,
    Verdict,
)
from agent.domain.phone_number import EmergencyNumber, UnusableNumber
from agent.domain.profile import NL_BMNR
from agent.domain.rules import RULES, decide, needs_lists, notice_for
from tests.unit.builders import NOW, a_call, a_campaign, a_generation, some_facts

EMERGENCY = EmergencyNumber(digits="112")
INVALID = UnusableNumber(foreign=False, text="06123456789")
FOREIGN = UnusableNumber(foreign=True, text="+3225551234")
RESEARCH = a_campaign(Purpose.RESEARCH, None)
SERVICE = a_campaign(Purpose.SERVICE, None)
CHARITY = a_campaign(Purpose.CHARITY)
FAILED = Facts(failure=LookupFailure.UNAVAILABLE)
STALE = a_generation(as_of=date(2026, 10, 1))
LOADED = a_generation().loaded_at


def reason(call: Call, facts: Facts) -> Reason:
    """What is decided on an ordinary Monday."""
    return decide(call, facts, NL_BMNR, NOW).reason


def entry(*blocked: Blocked) -> dict[str, frozenset[Blocked]]:
    """An entry of the register, as facts."""
    return {"register_entry": frozenset(blocked)}


@pytest.mark.parametrize(
    ("call", "facts", "expected", "rule"),
    [
        (a_call(EMERGENCY), Facts(), "emergency_number", "emergency_number_is_put_through"),
        (a_call(INVALID), Facts(), "invalid_number", "number_is_usable"),
        (a_call(FOREIGN), Facts(), "unsupported_country", "number_is_usable"),
        (a_call(campaign=None), Facts(), "unknown_campaign", "campaign_is_known"),
        (a_call(), FAILED, "lookup_unavailable", "lists_answered"),
        (a_call(), Facts(failure=LookupFailure.TIMED_OUT), "deadline_exceeded", "lists_answered"),
        (a_call(), some_facts(seller_optout=True), "seller_optout", "seller_optout_beats_all"),
        (a_call(), some_facts(unassigned=("acme",)), "objections_unassigned", "objections_are_assigned"),
        (a_call(campaign=CHARITY), some_facts(unassigned=("x",)), "objections_unassigned", "objections_are_assigned"),
        (a_call(campaign=RESEARCH), some_facts(), "exempt_research", "purpose_is_exempt"),
        (a_call(campaign=SERVICE), some_facts(), "exempt_service", "purpose_is_exempt"),
        (a_call(), some_facts(customer=True), "exempt_customer", "own_customer_is_exempt"),
        (a_call(), some_facts(generation=None), "register_missing", "register_is_loaded_and_fresh"),
        (a_call(), some_facts(generation=STALE), "register_stale", "register_is_loaded_and_fresh"),
        (a_call(), some_facts(**entry(Blocked.ALL)), "registered", "register_entry_blocks"),
        (a_call(), some_facts(**entry(Blocked.ENERGY)), "registered_sector", "register_entry_blocks"),
        (
            a_call(campaign=CHARITY),
            some_facts(**entry(Blocked.CHARITIES)),
            "registered_charities",
            "register_entry_blocks",
        ),
        (a_call(), some_facts(), "not_registered", "nothing_stands_against_it"),
    ],
)
def test_each_rule_speaks_and_is_named(call: Call, facts: Facts, expected: str, rule: str) -> None:
    """One row a reason."""
    decision = decide(call, facts, NL_BMNR, NOW)
    assert (decision.reason, decision.rule) == (expected, rule)


@pytest.mark.parametrize(
    ("call", "facts", "expected"),
    [
        # 1 before 2, 3 and 4: an emergency needs neither campaign nor facts.
        (a_call(EMERGENCY, None), FAILED, "emergency_number"),
        # 2 before 3.
        (a_call(INVALID, None), Facts(), "invalid_number"),
        (a_call(FOREIGN, None), Facts(), "unsupported_country"),
        # 3 before 4.
        (a_call(campaign=None), FAILED, "unknown_campaign"),
        # 4 before 5: what a failed lookup says of an opt-out means nothing.
        (a_call(), Facts(failure=LookupFailure.UNAVAILABLE, seller_optout=True), "lookup_unavailable"),
        (a_call(), Facts(failure=LookupFailure.TIMED_OUT, customer=True), "deadline_exceeded"),
        # 4 before 6: research is exempt from the register, not from the opt-out that could not be read.
        (a_call(campaign=RESEARCH), FAILED, "lookup_unavailable"),
        # 5 before 6 and 7.
        (a_call(campaign=RESEARCH), some_facts(seller_optout=True), "seller_optout"),
        (a_call(campaign=SERVICE), some_facts(seller_optout=True), "seller_optout"),
        (a_call(), some_facts(seller_optout=True, customer=True), "seller_optout"),
        # Within 5 what the consumer said comes first; objections to a seller that is not known stop what promotes.
        (a_call(), some_facts(seller_optout=True, unassigned=("acme",)), "seller_optout"),
        (a_call(), some_facts(customer=True, unassigned=("acme",)), "objections_unassigned"),
        (a_call(), some_facts(generation=None, unassigned=("acme",)), "objections_unassigned"),
        (a_call(campaign=RESEARCH), some_facts(unassigned=("acme",)), "exempt_research"),
        (a_call(campaign=SERVICE), some_facts(unassigned=("acme",)), "exempt_service"),
        (a_call(campaign=SERVICE), some_facts(unassigned=("x",), unassigned_objector=True), "objections_unassigned"),
        (a_call(campaign=RESEARCH), some_facts(unassigned=("x",), unassigned_objector=True), "objections_unassigned"),
        # 6 before 7.
        (a_call(campaign=RESEARCH), some_facts(customer=True), "exempt_research"),
        # 6 before 8 and 9.
        (a_call(campaign=RESEARCH), some_facts(generation=None), "exempt_research"),
        (a_call(campaign=SERVICE), some_facts(generation=STALE), "exempt_service"),
        (a_call(campaign=RESEARCH), some_facts(**entry(Blocked.ALL)), "exempt_research"),
        # 7 before 8 and 9.
        (a_call(), some_facts(customer=True, generation=None), "exempt_customer"),
        (a_call(), some_facts(customer=True, generation=STALE), "exempt_customer"),
        (a_call(), some_facts(customer=True, **entry(Blocked.ALL)), "exempt_customer"),
        # 8 before 9: an entry of a stale load is not what blocks.
        (a_call(), some_facts(generation=STALE, **entry(Blocked.ALL)), "register_stale"),
        (a_call(), some_facts(generation=None, own_registration=frozenset({Blocked.ALL})), "register_missing"),
        # 9 before 10, and within 9 the widest first.
        (a_call(), some_facts(**entry(Blocked.ALL, Blocked.ENERGY)), "registered"),
        (a_call(), some_facts(**entry(Blocked.ALL_EXCEPT_CHARITIES, Blocked.ENERGY)), "registered"),
    ],
)
def test_of_two_rules_the_earlier_wins(call: Call, facts: Facts, expected: str) -> None:
    """Every pair of neighbouring rules in conflict."""
    assert reason(call, facts) == expected


def covered(campaign: Campaign, blocked: Blocked) -> str:
    """The table of entries against campaigns, written down a second time, differently."""
    if blocked == "all":
        return "registered"
    if blocked == "all_except_charities":
        return "not_registered" if campaign.purpose == "charity" else "registered"
    if str(blocked) != str(campaign.sector):
        return "not_registered"
    return "registered_charities" if campaign.purpose == "charity" else "registered_sector"


@pytest.mark.parametrize("source", ["register_entry", "own_registration"])
@pytest.mark.parametrize("blocked", list(Blocked))
@pytest.mark.parametrize("sector", list(Sector))
def test_every_sector_against_every_kind_of_entry(sector: Sector, blocked: Blocked, source: str) -> None:
    """An own registration counts like an entry of the register."""
    purpose = Purpose.CHARITY if sector is Sector.CHARITIES else Purpose.COMMERCIAL
    campaign = a_campaign(purpose, sector)
    facts = some_facts(**{source: frozenset({blocked})})
    assert reason(a_call(campaign=campaign), facts) == covered(campaign, blocked)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 20, 0, 0, tzinfo=UTC), "not_registered"),
        (datetime(2026, 12, 17, 22, 59, 59, tzinfo=UTC), "not_registered"),
        (datetime(2026, 12, 17, 23, 0, tzinfo=UTC), "not_registered"),  # 18 December 00:00 in Amsterdam
        (datetime(2026, 12, 17, 23, 0, 0, 1, tzinfo=UTC), "register_stale"),
        (datetime(2027, 12, 17, tzinfo=UTC), "register_stale"),
    ],
)
def test_a_load_may_be_used_for_28_days_from_the_start_of_its_day(now: datetime, expected: str) -> None:
    """A load as of 20 November in Dutch time ends on 18 December, 00:00."""
    assert decide(a_call(), some_facts(), NL_BMNR, now).reason == expected


def test_the_limit_holds_across_a_change_of_the_clock() -> None:
    """Days are calendar days in Amsterdam: 20 October (summer time) to 17 November, 00:00 (winter time)."""
    facts = some_facts(generation=a_generation(as_of=date(2026, 10, 20)))
    limit = datetime(2026, 11, 16, 23, 0, tzinfo=UTC)
    assert decide(a_call(), facts, NL_BMNR, limit).verdict is Verdict.ALLOW
    assert decide(a_call(), facts, NL_BMNR, limit + timedelta(seconds=1)).reason == "register_stale"


@pytest.mark.parametrize(
    ("call", "facts", "notice"),
    [
        (a_call(), some_facts(), "required"),
        (a_call(), some_facts(customer=True), "required"),
        (a_call(campaign=CHARITY), some_facts(), "required"),
        (a_call(campaign=RESEARCH), some_facts(), "none"),
        (a_call(campaign=SERVICE), some_facts(), "none"),
        (a_call(EMERGENCY), Facts(), "none"),
        (a_call(EMERGENCY, None), Facts(), "none"),
        (a_call(), some_facts(seller_optout=True), "none"),
    ],
)
def test_the_notice_goes_with_every_promotional_conversation(call: Call, facts: Facts, notice: str) -> None:
    """Own customers hear it too: the exemption is from scrubbing, not from the offer."""
    assert notice_for(call, decide(call, facts, NL_BMNR, NOW), NL_BMNR) == Notice(notice)


@pytest.mark.parametrize(
    ("call", "needed"),
    [(a_call(), True), (a_call(EMERGENCY), False), (a_call(INVALID), False), (a_call(campaign=None), False)],
)
def test_no_lookup_is_made_where_an_earlier_rule_speaks(call: Call, needed: bool) -> None:
    """And where none is made, the facts decide nothing."""
    assert needs_lists(call) is needed
    if not needed:
        assert reason(call, Facts()) == reason(call, FAILED) == reason(call, some_facts())


@pytest.mark.parametrize("member", list(Reason))
def test_every_reason_has_one_verdict(member: Reason) -> None:
    """Append only: dialplans and reports of sites know these words."""
    allowing = {"not_registered", "exempt_research", "exempt_service", "exempt_customer", "emergency_number"}
    assert member.verdict == ("allow" if member in allowing else "block")


def test_the_rules_stand_in_the_order_of_the_law() -> None:
    """Names are in the journal, so they are stable."""
    assert [rule.__name__ for rule in RULES] == [
        "emergency_number_is_put_through",
        "number_is_usable",
        "campaign_is_known",
        "lists_answered",
        "seller_optout_beats_all",
        "objections_are_assigned",
        "clock_is_sound",
        "purpose_is_exempt",
        "own_customer_is_exempt",
        "register_is_loaded_and_fresh",
        "register_entry_blocks",
        "nothing_stands_against_it",
    ]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (LOADED - timedelta(hours=1), "not_registered"),
        (LOADED - timedelta(hours=1, microseconds=1), "clock_unsound"),
        (LOADED - timedelta(days=400), "clock_unsound"),
    ],
)
def test_a_clock_behind_the_journal_allows_nothing(now: datetime, expected: str) -> None:
    """It would make any load fresh again; an hour is what two clocks may differ."""
    facts = replace(some_facts(), newest_at=LOADED)
    assert decide(a_call(), facts, NL_BMNR, now).reason == expected
    assert decide(a_call(campaign=RESEARCH), replace(facts, generation=None), NL_BMNR, now).verdict == (
        "allow" if expected == "not_registered" else "block"
    )
    assert decide(a_call(), replace(facts, seller_optout=True), NL_BMNR, now).reason == "seller_optout"


def test_a_load_of_the_future_is_no_load() -> None:
    """It was loaded while the clock was ahead, so nobody knows how old it is."""
    for days, expected in ((0, "not_registered"), (1, "register_stale"), (300, "register_stale")):
        facts = Facts(generation=a_generation(NL_BMNR.local_date(LOADED) + timedelta(days=days)))
        assert decide(a_call(), facts, NL_BMNR, LOADED + timedelta(hours=12)).reason == expected


# --- properties

campaigns = st.one_of(
    st.builds(a_campaign, st.just(Purpose.COMMERCIAL), st.sampled_from([s for s in Sector if s != "charities"])),
    st.sampled_from([CHARITY, RESEARCH, SERVICE]),
)
entries = st.frozensets(st.sampled_from(list(Blocked)))
generations = st.one_of(
    st.none(),
    st.builds(a_generation, st.dates(date(2026, 9, 1), date(2026, 11, 23))),
)


def any_facts(failure: st.SearchStrategy[LookupFailure | None] = st.none()) -> st.SearchStrategy[Facts]:  # noqa: B008
    """Facts of every kind."""
    return st.builds(
        Facts,
        failure=failure,
        generation=generations,
        register_entry=entries,
        own_registration=entries,
        seller_optout=st.booleans(),
        customer=st.booleans(),
    )


@given(campaigns, any_facts())
def test_an_optout_always_blocks(campaign: Campaign, facts: Facts) -> None:
    """Whatever else holds."""
    opted_out = _with(facts, seller_optout=True)
    assert reason(a_call(campaign=campaign), opted_out) is Reason.SELLER_OPTOUT


@given(campaigns, any_facts(st.sampled_from(list(LookupFailure))))
def test_a_failed_lookup_never_allows(campaign: Campaign, facts: Facts) -> None:
    """Not knowing is never permission."""
    assert decide(a_call(campaign=campaign), facts, NL_BMNR, NOW).verdict is Verdict.BLOCK


@given(campaigns, any_facts(), entries, st.sampled_from(["register_entry", "own_registration"]))
def test_adding_an_entry_never_turns_a_block_into_an_allow(
    campaign: Campaign, facts: Facts, added: Iterable[Blocked], source: str
) -> None:
    """Protection only grows."""
    call = a_call(campaign=campaign)
    more = _with(facts, **{source: getattr(facts, source) | frozenset(added)})
    if decide(call, facts, NL_BMNR, NOW).verdict is Verdict.BLOCK:
        assert decide(call, more, NL_BMNR, NOW).verdict is Verdict.BLOCK


def _with(facts: Facts, **changes: object) -> Facts:
    from dataclasses import replace

    return replace(facts, **changes)  # type: ignore[arg-type]
