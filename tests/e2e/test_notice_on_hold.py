"""A consumer's phone that puts the line on hold: what was not sent was not heard, and is played after the hold.

The hold is a re-INVITE of the far Asterisk; what really arrived there is in its own recording.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from deploy.lab import Lab
from deploy.lab.calls import Call
from deploy.lab.sip_phone import Direction, SipPhone
from tests.e2e.conftest import Site, prompts_of_length
from tests.e2e.sound import read_wav, share_heard
from tests.e2e.test_notice import E164, EMPTY, NUMBER, REACTION_S, answers, wait_for_log, wait_for_records

NOTICE = "nl/bmn/notice-acme.wav"
TALK_S = 0.5
"""So that there is something on the consumer's tape."""
LOOKS = "WAIT FOR DIGIT 250"
"""What the agent software does while it waits for the end of a hold."""


def talk(lab: Lab, site: Site) -> Call:
    """A conversation, until somebody ends it."""
    site.load_register(EMPTY)
    call = lab.place(NUMBER, campaign="energy", agent="agent-7", hold_s=None)
    call.wait_until_answered()
    time.sleep(TALK_S)
    return call


def decline(call: Call) -> None:
    """Nothing to be changed; then it is over."""
    call.wait_for_agi("STREAM FILE bmn/menu-acme", timeout_s=30.0)
    time.sleep(REACTION_S)
    call.consumer_presses("0")
    call.outcome()
    call.wait_until_consumer_is_free()


def said_of(record: dict[str, Any]) -> tuple[str, str, str]:
    """How far it came, and what that rests on."""
    return record["result"], record["ended"], record["proof"]


def test_a_notice_into_a_hold_is_not_played(lab: Lab, site: Site, prompts: Path) -> None:
    """On hold when the agent hangs up, and until the end: not one packet, and nothing on the far end's tape."""
    call = talk(lab, site)
    call.consumer_holds()
    call.hang_up()
    call.wait_for_agi(LOOKS, nth=2)
    call.consumer_hangs_up()
    call.outcome()
    (played,) = wait_for_records(site, "notice.played")
    assert said_of(played) == ("not_played", "on_hold", "rtp")
    assert (played["heard_ms"], played["sent"]) == (0, 0)
    assert "STREAM FILE" not in call.agi_commands()
    assert answers(site) == []
    assert wait_for_log(site, "notice.played")["ended"] == "on_hold"
    assert call.wait_for_user_event("BmnChoice")["Notice"] == "not_played"
    assert share_heard(lab.consumer_heard(E164).samples, read_wav(prompts / NOTICE)) == 0.0


def test_a_notice_waits_for_the_end_of_a_hold(lab: Lab, site: Site, prompts: Path) -> None:
    """Then it is heard from its beginning, packet by packet."""
    call = talk(lab, site)
    call.consumer_holds()
    call.hang_up()
    call.wait_for_agi(LOOKS, nth=2)
    call.consumer_resumes()
    decline(call)
    (played,) = wait_for_records(site, "notice.played")
    assert said_of(played) == ("heard", "complete", "rtp")
    assert (played["heard_ms"], played["sent"]) == (3000, 150)
    assert share_heard(lab.consumer_heard(E164).samples, read_wav(prompts / NOTICE)) > 0.5


def test_a_hold_during_the_notice_makes_it_partial(lab: Lab, site: Site) -> None:
    """Asterisk plays it to its end all the same; after the hold it is played again, whole."""
    call = talk(lab, site)
    call.hang_up()
    call.wait_for_prompt("notice-acme")
    time.sleep(1.0)  # how long they listen is the matter of this test
    call.consumer_holds()
    call.wait_for_agi(LOOKS)
    call.consumer_resumes()
    decline(call)
    first, second = wait_for_records(site, "notice.played", 2)
    assert said_of(first) == ("partial", "on_hold", "rtp")
    assert 0 < first["heard_ms"] < 2900
    assert first["heard_ms"] == first["sent"] * 20
    assert said_of(second) == ("heard", "complete", "rtp")
    assert wait_for_log(site, "notice.played")["result"] == "heard"


def test_a_hold_that_is_over_again_is_missed_in_the_packets(lab: Lab, site: Site, prompts: Path) -> None:
    """On hold neither before the notice nor after it: the packets in the middle are missing, and it is played again."""
    with prompts_of_length(prompts, 6.0, "notice-acme"):
        call = talk(lab, site)
        call.hang_up()
        call.wait_for_prompt("notice-acme")
        call.consumer_holds()
        time.sleep(1.0)  # how much they miss is the matter of this test
        call.consumer_resumes()
        decline(call)
    first, second = wait_for_records(site, "notice.played", 2)
    assert said_of(first) == ("partial", "unsent", "rtp")
    assert 0 < first["heard_ms"] <= 5000
    assert said_of(second) == ("heard", "complete", "rtp")


def test_a_question_into_a_hold_is_asked_again(lab: Lab, site: Site) -> None:
    """Silence on hold is no answer, and none of the tries: the key after it is the first thing on record."""
    call = talk(lab, site)
    call.hang_up()
    call.wait_for_agi("WAIT FOR DIGIT 5000")
    call.consumer_holds()
    call.wait_for_agi(LOOKS, nth=2)
    call.consumer_resumes()
    call.wait_for_agi("STREAM FILE bmn/menu-acme", nth=2)
    time.sleep(REACTION_S)
    call.consumer_presses("1")
    call.wait_for_prompt("chosen-correct")
    call.consumer_hangs_up()
    call.outcome()
    assert answers(site, 1) == ["menu=seller_optout"]


def test_a_question_that_stays_on_hold_is_not_unanswered(lab: Lab, site: Site) -> None:
    """The consumer hangs up without having heard it: nothing may be said of it."""
    call = talk(lab, site)
    call.hang_up()
    call.wait_for_prompt("menu-acme")
    time.sleep(REACTION_S)
    call.consumer_presses("2")
    call.wait_for_prompt("scope")
    call.consumer_holds()
    call.wait_for_agi(LOOKS)
    call.consumer_hangs_up()
    call.outcome()
    assert wait_for_log(site, "notice.played")["choice"] == "register_charities_not_answered"
    assert answers(site, 1) == ["menu=register"]


def test_a_line_without_rtp_says_so(lab: Lab, site: Site) -> None:
    """A Local channel has none to count; Asterisk is not asked for it, which it would warn of."""
    site.load_register(EMPTY)
    trunk = {"BMN_DIAL_PREFIX": "Local/", "BMN_DIAL_SUFFIX": "@lab-local/n"}
    before = len(lab.pbx.warnings())
    lab.call(NUMBER, campaign="energy", agent="agent-7", hold_s=0.3, settings=trunk)
    (played,) = wait_for_records(site, "notice.played")
    assert said_of(played) == ("heard", "complete", "count_only")
    assert (played["heard_ms"], played["sent"], played["received"]) == (3000, None, None)
    assert lab.pbx.warnings()[before:] == []


def reach(lab: Lab, site: Site, phone: SipPhone) -> Call:
    """A conversation with a phone that is no Asterisk."""
    site.load_register(EMPTY)
    call = lab.place(NUMBER, campaign="energy", agent="agent-7", hold_s=None, settings=phone.dial_settings)
    call.wait_until_answered()
    return call


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_each_way_of_holding_is_a_hold(lab: Lab, site: Site, direction: Direction) -> None:
    """No packet arrives during the hold; after it, as many as the notice takes."""
    with SipPhone() as phone:
        call = reach(lab, site, phone)
        phone.hold(direction)
        call.hang_up()
        call.wait_for_agi(LOOKS, nth=3)
        held = phone.received
        call.wait_for_agi(LOOKS, nth=5)
        assert phone.received == held
        phone.hold("sendrecv")
        call.wait_for_agi("WAIT FOR DIGIT 5000")
        assert phone.received >= held + 150
        phone.hang_up()
        call.outcome()
    (played,) = wait_for_records(site, "notice.played")
    assert said_of(played) == ("heard", "complete", "rtp")
    assert played["sent"] == 150


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_a_hold_that_does_not_end_within_its_time_ends_the_notice(lab: Lab, site: Site, direction: Direction) -> None:
    """The line is hung up; not one packet was sent."""
    with SipPhone() as phone:
        call = reach(lab, site, phone)
        phone.hold(direction)
        call.hang_up()
        phone.wait_until_over(60.0)
        call.outcome()
    (played,) = wait_for_records(site, "notice.played")
    assert said_of(played) == ("not_played", "on_hold", "rtp")
    assert answers(site) == []


def test_a_line_from_which_nothing_comes_is_on_record(lab: Lab, site: Site) -> None:
    """It may be dead, or send no silence: so the notice counts as heard, and the packets that came are told."""
    with SipPhone(silent=True) as phone:
        call = reach(lab, site, phone)
        call.hang_up()
        call.wait_for_agi("WAIT FOR DIGIT 5000")
        phone.hang_up()
        call.outcome()
    (played,) = wait_for_records(site, "notice.played")
    assert said_of(played) == ("heard", "complete", "rtp")
    assert (played["sent"], played["received"]) == (150, 0)
