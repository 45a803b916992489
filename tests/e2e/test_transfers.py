"""A consumer who is transferred stays a consumer: without an agent's keys, answering for their own number alone."""

from __future__ import annotations

import time

import pytest

from deploy.lab import Lab
from deploy.lab.ami import AmiError
from deploy.lab.calls import Call
from deploy.lab.lab import INCLUDED_PHONE
from tests.e2e.conftest import Site
from tests.e2e.passing_on import (
    COLLEAGUE,
    FIRST_E164,
    SECOND,
    SECOND_E164,
    TRANSFERS,
    answer_the_notice,
    choices,
    complaints,
    ends,
    legs,
    notices,
    place_and_ring,
    played,
    prompts_on,
    talk,
    wait_until_connected,
)
from tests.e2e.test_notice import EMPTY, REACTION_S, wait_for_records

TO_FOLLOW = {"dialstatus": "ANSWER", "answered": True, "ended_by": "transferred", "notice": "to_follow"}
LEFT = {"dialstatus": "ANSWER", "answered": True, "ended_by": "consumer", "notice": "not_played"}


@pytest.fixture(autouse=True)
def quiet(lab: Lab) -> object:
    """Whatever is done with legs, Asterisk has nothing to warn of."""
    before = len(complaints(lab))
    yield
    assert complaints(lab)[before:] == []


def test_a_consumer_referred_outside_answers_for_their_own_number(lab: Lab, site: Site) -> None:
    """SIP REFER to B: A has no agent's keys, and what A presses in the notice is A's, although B was called last."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    call.agent().refers(SECOND)
    other = call.consumer(SECOND_E164)
    wait_until_connected(lab, other)
    consumer.presses("*73")
    with pytest.raises(AmiError):
        call.wait_for_user_event("BmnChoice", timeout_s=1.5)
    other.hangs_up()
    answer_the_notice(call, consumer)
    (leg,) = legs(lab, call, "network-trunk")[:1]
    assert prompts_on(lab, call, leg) == []
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert ends(site, 2) == {FIRST_E164: TO_FOLLOW, SECOND_E164: LEFT}
    assert notices(site, 2) == [(SECOND_E164, "not_played", "consumer_left"), (FIRST_E164, "heard", "complete")]
    event = call.wait_for_user_event("BmnChoice")
    assert (event["Number"], event["Choice"]) == ("+316*****001", "seller_optout")


def test_the_one_who_was_called_by_a_transfer_hears_a_notice_too(lab: Lab, site: Site) -> None:
    """A was referred to B and hangs up first: B hears the notice, and B's answer is B's."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    call.agent().refers(SECOND)
    other = call.consumer(SECOND_E164)
    wait_until_connected(lab, other)
    consumer.hangs_up()
    answer_the_notice(call, other)
    assert choices(site) == [(SECOND_E164, "consumer_key", "seller_optout")]
    assert ends(site, 2) == {FIRST_E164: TO_FOLLOW, SECOND_E164: {**TO_FOLLOW, "ended_by": "agent"}}
    assert sorted(notices(site, 2)) == [(FIRST_E164, "not_played", "transferred"), (SECOND_E164, "heard", "complete")]


@pytest.mark.parametrize("behaviour", ["blocked", "busy"])
def test_a_consumer_whose_transfer_fails_hears_no_agents_prompt(lab: Lab, site: Site, behaviour: str) -> None:
    """B is in the register, or busy: A is not told why, and hears the notice at once."""
    site.load_register(f"{SECOND}\n" if behaviour == "blocked" else EMPTY)
    lab.consumer(SECOND_E164, "busy")
    try:
        call = talk(lab)
        consumer = call.consumer(FIRST_E164)
        call.agent().refers(SECOND)
        answer_the_notice(call, consumer)
    finally:
        lab.consumer(SECOND_E164)
    (leg,) = legs(lab, call, "network-trunk")[:1]
    assert prompts_on(lab, call, leg) == []
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]
    (expected, *_) = [one["reason"] for one in site.records("call.screened") if one["number"] == SECOND_E164]
    assert expected == ("registered" if behaviour == "blocked" else "not_registered")


def test_a_consumer_referred_to_a_colleague_hears_the_notice_after_them(lab: Lab, site: Site) -> None:
    """The colleague's phone has the keys, which are logged for this consumer; then the colleague hangs up."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    call.agent().refers(COLLEAGUE)
    colleague = call.consumer(COLLEAGUE)
    wait_until_connected(lab, colleague)
    colleague.presses("*70")
    assert call.wait_for_user_event("BmnChoice")["Result"] == "recorded"
    call.wait_for_return("bmn-key")
    colleague.hangs_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [
        (FIRST_E164, "agent_key", "offered"),
        (FIRST_E164, "consumer_key", "seller_optout"),
    ]
    assert ends(site, 1) == {FIRST_E164: TO_FOLLOW}
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_a_consumer_who_leaves_the_colleague_first_heard_no_notice(lab: Lab, site: Site) -> None:
    """That is on record as soon as they hang up."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    call.agent().refers(COLLEAGUE)
    wait_until_connected(lab, call.consumer(COLLEAGUE))
    assert ends(site, 1) == {FIRST_E164: TO_FOLLOW}
    consumer.hangs_up()
    assert notices(site, 1) == [(FIRST_E164, "not_played", "transferred")]


def test_an_attended_transfer_keeps_keys_and_notice(lab: Lab, site: Site) -> None:
    """REFER with Replaces between two answered calls: what is pressed while asking the colleague is nobody's."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    asking = lab.place(COLLEAGUE, hold_s=None, settings={"DYNAMIC_FEATURES": "bmn"})
    asking.wait_until_answered()
    colleague = asking.consumer(COLLEAGUE)
    time.sleep(REACTION_S)
    asking.agent_presses("*71")
    assert asking.wait_for_user_event("BmnChoice")["Result"] == "rejected"
    asking.wait_for_return("bmn-key")
    call.agent().refers_to(asking.agent())
    assert ends(site, 1) == {FIRST_E164: TO_FOLLOW}
    colleague.presses("*71")
    wait_for_records(site, "choice.recorded")
    call.wait_for_return("bmn-key")
    colleague.hangs_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [
        (FIRST_E164, "agent_key", "register_with_charities"),
        (FIRST_E164, "consumer_key", "seller_optout"),
    ]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_a_semi_attended_transfer_that_was_answered_is_on_record_as_such(lab: Lab, site: Site) -> None:
    """REFER with Replaces while B rings: A takes the agent's place in that call, but not the agent's keys.

    B picked up and talked; B hangs up, and A hears the notice of A's own call.
    """
    site.load_register(EMPTY)
    lab.consumer(SECOND_E164, "no_answer")
    try:
        call = talk(lab)
        consumer = call.consumer(FIRST_E164)
        second = place_and_ring(lab, SECOND, **TRANSFERS)
        call.agent().refers_to(second.agent())
        assert ends(site, 1) == {FIRST_E164: TO_FOLLOW}
        other = second.ringing(SECOND_E164)
        other.picks_up()
    finally:
        lab.consumer(SECOND_E164)
    wait_until_connected(lab, other)
    consumer.presses("*73")
    time.sleep(1)  # the length of the conversation is the matter
    other.hangs_up()
    answer_the_notice(call, consumer)
    (leg,) = legs(lab, call, "network-trunk")[:1]
    assert prompts_on(lab, call, leg) == []
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert ends(site, 2) == {FIRST_E164: TO_FOLLOW, SECOND_E164: LEFT}
    (talked,) = [one for one in site.records("call.finished") if one["number"] == SECOND_E164]
    assert (talked["answered_s"] >= 1, talked["rang"]) == (True, True)
    assert sorted(notices(site, 2)) == [(FIRST_E164, "heard", "complete"), (SECOND_E164, "not_played", "consumer_left")]


@pytest.mark.parametrize("leaves", ["consumer", "nobody"])
def test_a_semi_attended_transfer_that_nobody_answers(lab: Lab, site: Site, leaves: str) -> None:
    """A hangs up while B rings, or B does not want: B was not reached, and A's notice is not forgotten."""
    site.load_register(EMPTY)
    lab.consumer(SECOND_E164, "no_answer")
    try:
        call = talk(lab)
        consumer = call.consumer(FIRST_E164)
        second = place_and_ring(lab, SECOND, **TRANSFERS)
        call.agent().refers_to(second.agent())
        assert ends(site, 1) == {FIRST_E164: TO_FOLLOW}
        if leaves == "consumer":
            consumer.hangs_up()
            heard = (FIRST_E164, "not_played", "transferred")
        else:
            second.ringing(SECOND_E164).declines()
            answer_the_notice(call, consumer)
            heard = (FIRST_E164, "heard", "complete")
        finished = ends(site, 2)
    finally:
        lab.consumer(SECOND_E164)
    assert finished[SECOND_E164]["ended_by"] == "not_answered"
    assert notices(site, 1) == [heard]


def test_a_phone_that_takes_the_agents_place_logs_for_this_consumer(lab: Lab, site: Site) -> None:
    """INVITE with Replaces: the supervisor's phone has keys by its settings, and hands over to the notice."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    taking = lab.place("0612349999", caller=INCLUDED_PHONE, hold_s=None, replaces=call.agent())
    taking.wait_until_answered()
    assert ends(site, 1) == {FIRST_E164: TO_FOLLOW}
    taking.agent_presses("*72")
    call.wait_for_return("bmn-key")
    taking.agent_presses("*75")
    answer_the_notice(call, consumer)
    assert choices(site) == [
        (FIRST_E164, "agent_key", "register_without_charities"),
        (FIRST_E164, "consumer_key", "seller_optout"),
    ]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]
    assert len(site.records("call.screened")) == 1


KEYED = (TO_FOLLOW, {**TO_FOLLOW, "ended_by": "agent"})
"""Who completes a transfer by keys hangs up, a moment before the other two are connected."""


def key_in(lab: Lab, call: Call, target: str, feature: str = "*2") -> None:
    """The agent presses the keys of a transfer, which put the consumer on hold, and then where to."""
    call.agent_presses(feature)
    lab.pbx.ami.wait_for(lambda event: event.name == "MusicOnHoldStart", since=call.mark, what="the hold")
    time.sleep(REACTION_S)
    call.agent_presses(target)


def test_a_blind_transfer_by_keys_to_another_number(lab: Lab, site: Site) -> None:
    """#1 and B's number: B hangs up, A has no keys, and hears the notice of A's own call."""
    site.load_register(EMPTY)
    call = talk(lab, BRIDGE_FEATURES="T")
    consumer = call.consumer(FIRST_E164)
    key_in(lab, call, SECOND, feature="#1")
    other = call.consumer(SECOND_E164)
    wait_until_connected(lab, other)
    consumer.presses("*73")
    with pytest.raises(AmiError):
        call.wait_for_user_event("BmnChoice", timeout_s=1.5)
    other.hangs_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert ends(site, 2) == {FIRST_E164: TO_FOLLOW, SECOND_E164: LEFT}
    assert sorted(notices(site, 2)) == [(FIRST_E164, "heard", "complete"), (SECOND_E164, "not_played", "consumer_left")]


def test_a_blind_transfer_by_keys_to_a_number_that_is_blocked(lab: Lab, site: Site) -> None:
    """#1 and a registered number: A hears no agent's words, and the notice at once."""
    site.load_register(f"{SECOND}\n")
    call = talk(lab, BRIDGE_FEATURES="T")
    consumer = call.consumer(FIRST_E164)
    key_in(lab, call, SECOND, feature="#1")
    answer_the_notice(call, consumer)
    assert played(lab, call) == []
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_an_attended_transfer_by_keys_to_a_colleague(lab: Lab, site: Site) -> None:
    """*2: what the agent presses while asking the colleague is not the consumer's, who listens to music."""
    site.load_register(EMPTY)
    call = talk(lab, BRIDGE_FEATURES="T")
    consumer = call.consumer(FIRST_E164)
    key_in(lab, call, COLLEAGUE)
    colleague = call.consumer(COLLEAGUE)
    wait_until_connected(lab, colleague)
    call.agent_presses("*71")
    time.sleep(1)
    call.hang_up()
    assert ends(site, 1)[FIRST_E164] in KEYED
    colleague.presses("*74")
    assert call.wait_for_user_event("BmnChoice")["Key"] == "declined"
    call.wait_for_return("bmn-key")
    colleague.hangs_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [
        (FIRST_E164, "agent_key", "declined"),
        (FIRST_E164, "consumer_key", "seller_optout"),
    ]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_an_attended_transfer_by_keys_to_another_number(lab: Lab, site: Site) -> None:
    """*2 and B's number: what the agent logs there is B's; B hangs up, and A hears the notice of A's own call."""
    site.load_register(EMPTY)
    call = talk(lab, BRIDGE_FEATURES="T")
    consumer = call.consumer(FIRST_E164)
    key_in(lab, call, SECOND)
    other = call.consumer(SECOND_E164)
    wait_until_connected(lab, other)
    call.agent_presses("*71")
    call.wait_for_return("bmn-key")
    call.hang_up()
    assert ends(site, 1)[FIRST_E164] in KEYED
    consumer.presses("*73")
    time.sleep(1)  # the time that a key would take
    other.hangs_up()
    answer_the_notice(call, consumer)
    assert ends(site, 2)[SECOND_E164] == LEFT
    assert choices(site) == [
        (SECOND_E164, "agent_key", "register_with_charities"),
        (FIRST_E164, "consumer_key", "seller_optout"),
    ]
    assert sorted(notices(site, 2)) == [(FIRST_E164, "heard", "complete"), (SECOND_E164, "not_played", "consumer_left")]


def test_an_attended_transfer_by_keys_to_a_number_that_is_blocked(lab: Lab, site: Site) -> None:
    """*2 and a registered number: a tone, for the agent may hang up and leave A to it; then A hears the notice."""
    site.load_register(f"{SECOND}\n")
    call = talk(lab, BRIDGE_FEATURES="T")
    consumer = call.consumer(FIRST_E164)
    key_in(lab, call, SECOND)
    call.wait_for_application("PlayTones", "425/250,0/250")
    call.hang_up()
    answer_the_notice(call, consumer)
    assert played(lab, call) == []
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_a_semi_attended_transfer_to_a_number_that_is_blocked(lab: Lab, site: Site) -> None:
    """REFER with Replaces while the agent hears why: A takes the agent's place there, and hears the notice after it."""
    site.load_register(f"{SECOND}\n")
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    second = lab.place(SECOND, campaign="energy", agent="agent-7", hold_s=None, settings=TRANSFERS)
    second.wait_for_application("Playback", "bmn/blocked-registered,noanswer")
    call.agent().refers_to(second.agent())
    answer_the_notice(call, consumer)
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert ends(site, 1) == {FIRST_E164: TO_FOLLOW}
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]
