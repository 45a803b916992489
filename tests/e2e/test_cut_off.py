"""Who ended the conversation: the consumer's line, or somebody who hung up their channel at the exchange."""

from __future__ import annotations

import time

import pytest

from deploy.lab import Lab
from tests.e2e.conftest import Site
from tests.e2e.passing_on import (
    COLLEAGUE,
    FIRST_E164,
    answer_the_notice,
    ends,
    legs,
    notices,
    talk,
    wait_until_connected,
)
from tests.e2e.test_notice import EMPTY, REACTION_S, wait_for_log, wait_for_records

CUT_OFF = {"dialstatus": "ANSWER", "answered": True, "ended_by": "cut_off", "notice": "not_played"}
LOCAL_TRUNK = {"BMN_DIAL_PREFIX": "Local/", "BMN_DIAL_SUFFIX": "@lab-trunk/n"}


def test_a_consumer_whose_channel_was_hung_up_did_not_leave(lab: Lab, site: Site) -> None:
    """By AMI, as VICIdial does: a word of its own in journal, event and log, for the notice was taken from them."""
    site.load_register(EMPTY)
    call = talk(lab)
    (leg,) = legs(lab, call, "network-trunk")
    lab.pbx.ami.action("Hangup", Channel=leg)
    assert call.wait_for_user_event("BmnFinished")["EndedBy"] == "cut_off"
    assert ends(site, 1) == {FIRST_E164: CUT_OFF}
    assert notices(site, 1) == [(FIRST_E164, "not_played", "cut_off")]
    assert wait_for_log(site, "call.finished")["ended_by"] == "cut_off"
    call.outcome()


def test_a_consumer_who_hung_up_was_not_cut_off(lab: Lab, site: Site) -> None:
    """A BYE of the trunk's."""
    site.load_register(EMPTY)
    call = talk(lab)
    call.consumer_hangs_up()
    call.outcome()
    assert ends(site, 1) == {FIRST_E164: {**CUT_OFF, "ended_by": "consumer"}}
    assert notices(site, 1) == [(FIRST_E164, "not_played", "consumer_left")]


def test_an_agent_whose_channel_was_hung_up_leaves_the_consumer_to_the_notice(lab: Lab, site: Site) -> None:
    """The dialler ends the agent's side alone, as it should."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    (leg,) = legs(lab, call, "agent-phones")
    lab.pbx.ami.action("Hangup", Channel=leg)
    answer_the_notice(call, consumer)
    assert ends(site, 1) == {FIRST_E164: {**CUT_OFF, "ended_by": "agent", "notice": "to_follow"}}


def test_a_consumer_cut_off_while_talking_to_a_colleague_was_transferred(lab: Lab, site: Site) -> None:
    """The agent had passed them on; the notice that was to follow was not played."""
    site.load_register(EMPTY)
    call = talk(lab)
    call.agent().refers(COLLEAGUE)
    wait_until_connected(lab, call.consumer(COLLEAGUE))
    ends(site, 1)
    (leg,) = legs(lab, call, "network-trunk")
    lab.pbx.ami.action("Hangup", Channel=leg)
    assert notices(site, 1) == [(FIRST_E164, "not_played", "transferred")]


@pytest.mark.parametrize("leaves", ["consumer", "agent"])
def test_a_trunk_behind_a_local_channel_has_keys_and_notice_too(lab: Lab, site: Site, leaves: str) -> None:
    """A Local channel does not tell who hung up: the consumer is believed to have, and nobody is accused."""
    site.load_register(EMPTY)
    call = talk(lab, **LOCAL_TRUNK)
    consumer = call.consumer(FIRST_E164)
    call.agent_presses("*70")
    wait_for_records(site, "choice.recorded")
    call.wait_for_return("bmn-key")
    if leaves == "consumer":
        consumer.hangs_up()
        call.outcome()
        assert ends(site, 1) == {FIRST_E164: {**CUT_OFF, "ended_by": "consumer"}}
        assert notices(site, 1) == [(FIRST_E164, "not_played", "consumer_left")]
    else:
        call.hang_up()
        time.sleep(REACTION_S)
        answer_the_notice(call, consumer)
        assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]
