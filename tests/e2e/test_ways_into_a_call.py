"""Every other way into a conversation and out of it: who was dialled stays a consumer, and who was not is none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from deploy.lab import Lab
from deploy.lab.ami import AmiError, AmiMessage
from deploy.lab.calls import Call
from tests.e2e.conftest import Site
from tests.e2e.passing_on import (
    COLLEAGUE,
    FIRST,
    FIRST_E164,
    SECOND,
    SECOND_E164,
    answer_the_notice,
    choices,
    complaints,
    ends,
    legs,
    notices,
    place_and_ring,
    talk,
    wait_for_key,
    wait_until_connected,
)
from tests.e2e.test_notice import EMPTY, REACTION_S, wait_for_records
from tests.waiting import until

KEYS = {"DYNAMIC_FEATURES": "bmn"}
"""The agents' keys on a phone, as a site gives them to each by ``set_var``."""
MEMBER = "802"
"""Of the lab's queue."""


@pytest.fixture(autouse=True)
def quiet(lab: Lab) -> Iterator[None]:
    """Whatever is done with legs, Asterisk has nothing to warn of."""
    before = len(complaints(lab))
    yield
    assert complaints(lab)[before:] == []


def has_joined(event: AmiMessage) -> bool:
    """Whether the near half of a Local channel to bmn-outbound has entered a bridge."""
    return event.name == "BridgeEnter" and re.fullmatch(r"Local/\w+@bmn-outbound-\w+;1", event["Channel"]) is not None


def wait_for_bridge(lab: Lab, mark: int, leg: str) -> None:
    """Return when a leg has entered a bridge since the mark."""
    lab.pbx.ami.wait_for(
        lambda event: event.name == "BridgeEnter" and event.get("Channel") == leg, since=mark, what=f"a bridge of {leg}"
    )
    time.sleep(REACTION_S)


# --- parking


def park(lab: Lab, call: Call) -> None:
    """The agent passes the consumer on to the car park, where somebody may take them out at 701."""
    mark = lab.pbx.ami.mark()
    call.agent().refers("700")
    lab.pbx.ami.wait_for(lambda event: event.name == "ParkedCall", since=mark, what="the parking")


def test_a_parked_consumer_is_still_one_when_they_are_taken_out(lab: Lab, site: Site) -> None:
    """A colleague's phone takes them out, with keys of its own; then they hear the notice."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    park(lab, call)
    taking = lab.place("701", hold_s=None, settings=KEYS)
    taking.wait_until_answered()
    time.sleep(REACTION_S)
    mark = lab.pbx.ami.mark()
    taking.agent_presses("*70")
    wait_for_key(lab, mark)
    taking.hang_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [(FIRST_E164, "agent_key", "offered"), (FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]
    assert ends(site, 1)[FIRST_E164]["notice"] == "to_follow"


def test_a_consumer_who_hangs_up_in_the_car_park_heard_no_notice(lab: Lab, site: Site) -> None:
    """That is on record at once, and not as a notice that is still to come."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    park(lab, call)
    ends(site, 1)
    consumer.hangs_up()
    ((number, result, _),) = notices(site, 1)
    assert (number, result) == (FIRST_E164, "not_played")


def test_a_parked_consumer_whom_nobody_takes_out_comes_back_as_one(lab: Lab, site: Site) -> None:
    """Parking ends, somebody's phone rings, and when that conversation is over they hear the notice."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    call.agent().refers("750")
    colleague = call.consumer(COLLEAGUE)
    wait_until_connected(lab, colleague)
    colleague.presses("*70")
    assert call.wait_for_user_event("BmnChoice")["Result"] == "recorded"
    call.wait_for_return("bmn-key")
    colleague.hangs_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [(FIRST_E164, "agent_key", "offered"), (FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


# --- queue


def test_a_queue_connects_a_consumer_who_was_passed_on(lab: Lab, site: Site) -> None:
    """The member logs for this consumer, and hangs up: the notice follows."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    call.agent().refers("610")
    member = call.consumer(MEMBER)
    wait_until_connected(lab, member)
    member.presses("*71")
    call.wait_for_return("bmn-key")
    member.hangs_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [
        (FIRST_E164, "agent_key", "register_with_charities"),
        (FIRST_E164, "consumer_key", "seller_optout"),
    ]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_a_dialler_puts_consumers_into_a_queue(lab: Lab, site: Site) -> None:
    """The consumer first, then an agent: the member's keys reach the call through the Local channel, once each."""
    site.load_register(EMPTY)
    far, near = lab.network.ami.mark(), lab.pbx.ami.mark()
    lab.pbx.ami.action(
        "Originate",
        ("Variable", "__BMN_CAMPAIGN=energy"),
        ("Variable", "__BMN_AGENT=dialler"),
        Channel=f"Local/{FIRST}@bmn-outbound/n",
        Application="Queue",
        Data="lab",
        Async="true",
    )
    consumer, member = lab.phone(FIRST_E164, far), lab.phone(MEMBER, far)
    wait_until_connected(lab, member)
    member.presses("*73")
    (key,) = wait_for_records(site, "choice.recorded")
    assert (key["number"], key["answer"], key["agent"]) == (FIRST_E164, "seller_optout", "dialler")
    wait_for_key(lab, near)
    member.hangs_up()
    lab.pbx.ami.wait_for(
        lambda event: event.get("Command").startswith("STREAM FILE bmn/notice-"), since=near, what="the notice"
    )
    assert ends(site, 1)[FIRST_E164] == {
        "dialstatus": "ANSWER", "answered": True, "ended_by": "agent", "notice": "to_follow",
    }  # fmt: skip
    consumer.hangs_up()
    consumer.wait_until_free()
    ((number, result, _),) = notices(site, 1)
    assert (number, result) == (FIRST_E164, "partial")


# --- ConfBridge


def test_a_consumer_in_a_conference_hears_the_notice_when_it_is_over(lab: Lab, site: Site) -> None:
    """Passed on into a ConfBridge, where they have no keys; it is ended, and they are on their own again."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    (leg,) = legs(lab, call, "network-trunk")
    mark = lab.pbx.ami.mark()
    call.agent().refers("600")
    wait_for_bridge(lab, mark, leg)
    consumer.presses("*73")
    with pytest.raises(AmiError):
        call.wait_for_user_event("BmnChoice", timeout_s=1.0)
    lab.pbx.command("confbridge kick lab all")
    answer_the_notice(call, consumer)
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_a_dialler_that_redirects_both_legs_into_a_conference(lab: Lab, site: Site) -> None:
    """AMI Redirect takes the notice away; redirected to bmn-notice in the end, they hear the one of their call."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    (near,), (far,) = legs(lab, call, "agent-phones"), legs(lab, call, "network-trunk")
    mark = lab.pbx.ami.mark()
    lab.pbx.ami.action(
        "Redirect",
        Channel=near,
        ExtraChannel=far,
        Context="lab-inside",
        ExtraContext="lab-inside",
        Exten="600",
        ExtraExten="600",
        Priority="1",
        ExtraPriority="1",
    )
    wait_for_bridge(lab, mark, far)
    lab.pbx.ami.action("Redirect", Channel=far, Context="bmn-notice", Exten="s", Priority="1")
    answer_the_notice(call, consumer)
    call.hang_up()
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["answered"], finished["dialstatus"], finished["ended_by"]) == (True, "ANSWER", "agent")
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_two_consumers_in_one_conference_log_nothing_for_each_other(lab: Lab, site: Site) -> None:
    """A dialler puts both into a ConfBridge that passes keys on: what one presses is no agent's key of the other."""
    site.load_register(EMPTY)
    far, near = lab.network.ami.mark(), lab.pbx.ami.mark()
    for number in (FIRST, SECOND):
        lab.pbx.ami.action(
            "Originate",
            ("Variable", "__BMN_CAMPAIGN=energy"),
            Channel=f"Local/{number}@bmn-outbound/n",
            Context="lab-inside",
            Exten="601",
            Priority="1",
            Async="true",
        )
    first, second = lab.phone(FIRST_E164, far), lab.phone(SECOND_E164, far)
    until(lambda: len({event["Channel"] for event in lab.pbx.ami.events(near) if has_joined(event)}) == 2, 15)
    time.sleep(REACTION_S)
    first.presses("*73")
    with pytest.raises(AmiError):
        lab.pbx.ami.wait_for(lambda event: event.name == "BmnChoice", 1.5, since=near)
    assert choices(site) == []
    for phone in (first, second):
        phone.hangs_up()
        phone.wait_until_free()


# --- call pickup


def test_a_colleague_who_picks_a_ringing_call_up_is_no_consumer(lab: Lab, site: Site) -> None:
    """Nobody reached the consumer: no key counts, no notice is played to the colleague, and the record says so."""
    site.load_register(EMPTY)
    lab.consumer(FIRST_E164, "no_answer")
    try:
        call = place_and_ring(lab, FIRST)
        picking = lab.place("630", hold_s=None, settings=KEYS)
        call.wait_until_answered()
        time.sleep(REACTION_S)
        call.agent_presses("*71")
        assert call.wait_for_user_event("BmnChoice")["Result"] == "rejected"
        call.wait_for_return("bmn-key")
        call.hang_up()
        call.outcome()
        picking.outcome()
    finally:
        lab.consumer(FIRST_E164)
    (finished,) = wait_for_records(site, "call.finished")
    about = ("answered", "answered_s", "rang", "ended_by", "notice")
    assert [finished[name] for name in about] == [False, 0, True, "not_answered", "not_due"]
    assert (choices(site), site.records("notice.played")) == ([], [])


# --- FollowMe


def test_followme_is_one_more_way_to_dial(lab: Lab, site: Site) -> None:
    """A number outside in somebody's FollowMe is screened, and whoever accepts there hears the notice."""
    site.load_register(EMPTY)
    call = lab.place("620", hold_s=None, settings={"__BMN_CAMPAIGN": "energy", "__BMN_AGENT": "agent-7"})
    consumer = call.consumer(FIRST_E164)
    time.sleep(1)  # what FollowMe says
    consumer.presses("1")
    call.wait_until_answered()
    time.sleep(REACTION_S)
    call.hang_up()
    answer_the_notice(call, consumer)
    assert choices(site) == [(FIRST_E164, "consumer_key", "seller_optout")]
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]
    assert ends(site, 1)[FIRST_E164]["answered"] is True


def test_followme_to_a_registered_number_does_not_dial(lab: Lab, site: Site) -> None:
    """The same, blocked."""
    site.load_register(f"{FIRST}\n")
    before = len(lab.invites_from_trunk())
    lab.place("620", hold_s=None, settings={"__BMN_CAMPAIGN": "energy"}).outcome()
    assert lab.invites_from_trunk()[before:] == []
    assert site.last_verdict()["reason"] == "registered"


# --- call waiting, and legs that are sent elsewhere


def test_two_calls_at_one_agents_phone_are_two(lab: Lab, site: Site) -> None:
    """Call waiting: each key belongs to the call on whose line it is pressed."""
    site.load_register(EMPTY)
    first, second = talk(lab), talk(lab, SECOND)
    second.agent_presses("*74")
    second.wait_for_return("bmn-key")
    first.agent_presses("*70")
    first.wait_for_return("bmn-key")
    assert choices(site) == [(SECOND_E164, "agent_key", "declined"), (FIRST_E164, "agent_key", "offered")]
    consumers = first.consumer(FIRST_E164), second.consumer(SECOND_E164)
    for call in (first, second):
        call.hang_up()
    assert {number: end["ended_by"] for number, end in ends(site, 2).items()} == {
        FIRST_E164: "agent",
        SECOND_E164: "agent",
    }
    for consumer in consumers:
        consumer.hangs_up()
        consumer.wait_until_free()


def test_a_ringing_agents_leg_that_is_sent_to_a_colleague_reached_nobody(lab: Lab, site: Site) -> None:
    """AMI Redirect while the consumer's phone rings: talking to the colleague is no answer, and no key counts."""
    site.load_register(EMPTY)
    lab.consumer(FIRST_E164, "no_answer")
    try:
        call = place_and_ring(lab, FIRST)
        (leg,) = legs(lab, call, "agent-phones")
        lab.pbx.ami.action("Redirect", Channel=leg, Context="lab-inside", Exten=COLLEAGUE, Priority="1")
        wait_until_connected(lab, call.consumer(COLLEAGUE))
        call.agent_presses("*71")
        assert call.wait_for_user_event("BmnChoice")["Result"] == "rejected"
        call.wait_for_return("bmn-key")
        time.sleep(1)  # the length of this conversation is not the call's
        call.hang_up()
        call.outcome()
    finally:
        lab.consumer(FIRST_E164)
    (finished,) = wait_for_records(site, "call.finished")
    about = ("dialstatus", "answered", "answered_s", "rang", "ended_by", "notice")
    assert [finished[name] for name in about] == ["CANCEL", False, 0, True, "not_answered", "not_due"]
    assert choices(site) == []


def test_an_agents_leg_that_is_sent_on_after_the_talk_was_answered(lab: Lab, site: Site) -> None:
    """AMI Redirect to a colleague who is busy: that says nothing about the consumer, who hears the notice."""
    site.load_register(EMPTY)
    lab.consumer(COLLEAGUE, "busy")
    try:
        call = talk(lab)
        consumer = call.consumer(FIRST_E164)
        time.sleep(1)  # the length of the conversation is the matter
        (leg,) = legs(lab, call, "agent-phones")
        lab.pbx.ami.action("Redirect", Channel=leg, Context="lab-inside", Exten=COLLEAGUE, Priority="1")
        answer_the_notice(call, consumer)
        call.outcome()
    finally:
        lab.consumer(COLLEAGUE)
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["dialstatus"], finished["answered"], finished["ended_by"]) == ("ANSWER", True, "agent")
    assert finished["answered_s"] >= 1
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]


def test_a_consumer_who_passes_the_agent_on_hears_the_notice_until_they_hang_up(lab: Lab, site: Site) -> None:
    """The consumer's phone sends a REFER and hangs up: the agent's new conversation says nothing about the call."""
    site.load_register(EMPTY)
    call = talk(lab, __TRANSFER_CONTEXT="lab-transfers")
    consumer = call.consumer(FIRST_E164)
    consumer.refers(COLLEAGUE)
    consumer.wait_until_free()
    ((number, result, ended),) = notices(site, 1)
    assert (number, result in ("partial", "not_played"), ended) == (FIRST_E164, True, "hung_up")
    wait_until_connected(lab, call.consumer(COLLEAGUE))
    call.agent_presses("*71")
    assert call.wait_for_user_event("BmnChoice", nth=2)["Result"] == "rejected"
    call.wait_for_return("bmn-key")
    call.hang_up()
    call.outcome()
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["dialstatus"], finished["answered"]) == ("ANSWER", True)
    assert choices(site) == []
