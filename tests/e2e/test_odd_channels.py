"""Channels and variables as only a dialler makes them by AMI: what is odd about them takes nobody's notice away."""

from __future__ import annotations

import time

import pytest

from deploy.lab import Lab
from tests.e2e.conftest import Site
from tests.e2e.passing_on import FIRST, FIRST_E164, choices, ends, notices, talk
from tests.e2e.test_agent_keys import log_key
from tests.e2e.test_notice import EMPTY, REACTION_S, wait_for_records
from tests.waiting import until

ODD = ["call,7", "call^7", "call)7", "call(7", "call\\,7", 'call"7', "call 7", "call&7|8", "${call}7", "call:7;8"]
"""Ids of channels. The first five would change the options of Dial() that they stand in."""


def connect(lab: Lab, channel_id: str) -> str:
    """A dialler calls the consumer by a Local channel with ids of its own; returns the near half's name."""
    far, mark = lab.network.ami.mark(), lab.pbx.ami.mark()
    lab.pbx.ami.action(
        "Originate",
        ("Variable", "__BMN_CAMPAIGN=energy"),
        ("Variable", "__BMN_AGENT=dialler"),
        Channel=f"Local/{FIRST}@bmn-outbound/n",
        ChannelId=f"{channel_id}-near",
        OtherChannelId=f"{channel_id}-far",
        Context="lab-hold",
        Exten="talk",
        Priority="1",
        Async="true",
    )
    lab.phone(FIRST_E164, far)
    near = lab.pbx.ami.wait_for(
        lambda event: event.name == "Newexten" and event.get("Context") == "lab-hold", since=mark, what="the near half"
    )
    time.sleep(REACTION_S)
    return near["Channel"]


@pytest.mark.parametrize("channel_id", ODD)
def test_an_odd_channel_id_takes_no_notice_away(lab: Lab, site: Site, channel_id: str) -> None:
    """The near half hangs up: the consumer hears the notice, and both are on record."""
    site.load_register(EMPTY)
    far, mark = lab.network.ami.mark(), lab.pbx.ami.mark()
    near = connect(lab, channel_id)
    lab.pbx.ami.action("Hangup", Channel=near)
    lab.pbx.ami.wait_for(
        lambda event: event.get("Command").startswith("STREAM FILE bmn/menu-"), since=mark, what="the menu"
    )
    lab.phone(FIRST_E164, far).hangs_up()
    assert notices(site, 1) == [(FIRST_E164, "heard", "complete")]
    assert ends(site, 1) == {
        FIRST_E164: {"dialstatus": "ANSWER", "answered": True, "ended_by": "agent", "notice": "to_follow"}
    }


@pytest.mark.parametrize("channel_id", ODD)
def test_a_consumer_who_leaves_a_call_with_an_odd_id_did_leave(lab: Lab, site: Site, channel_id: str) -> None:
    """That they heard no notice is on record once, whoever could tell."""
    site.load_register(EMPTY)
    far = lab.network.ami.mark()
    connect(lab, channel_id)
    lab.phone(FIRST_E164, far).hangs_up()
    assert notices(site, 1) == [(FIRST_E164, "not_played", "consumer_left")]
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["answered"], finished["dialstatus"]) == (True, "ANSWER")
    until(lambda: "0 active channels" in lab.pbx.command("core show channels count"))
    assert len(site.records("notice.played")) == 1


def test_a_result_that_somebody_left_as_a_global_is_no_answer_to_a_key(lab: Lab, site: Site) -> None:
    """An AMI Setvar that names no channel sets it for all: with the service down the agent hears that it failed."""
    site.load_register(EMPTY)
    call = talk(lab)
    site.agent.kill()
    lab.pbx.ami.action("Setvar", Variable="BMN_KEY_RESULT", Value="recorded")
    try:
        assert log_key(call, "*73")["Result"] == "rejected"
    finally:
        lab.pbx.ami.action("Setvar", Variable="BMN_KEY_RESULT", Value="")
    assert choices(site) == []
    call.consumer_hangs_up()
    call.outcome()
