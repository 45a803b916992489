"""The notice on a real consumer's line: heard, answered by RFC 4733 keys, on record and in force.

The consumer is a second Asterisk that records what it hears and presses keys when it is asked.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.lab import Lab
from deploy.lab.calls import Call
from deploy.lab.lab import Behaviour
from tests.e2e.conftest import Site
from tests.e2e.sound import read_wav, share_heard
from tests.waiting import until

NUMBER = "0612340001"
E164 = "+31612340001"
REACTION_S = 0.2
"""Nobody presses a key in the very millisecond that a prompt begins; Asterisk wants a gap between two keys."""
EMPTY = "0611111111\n"
QUESTIONS = {"m": "menu-", "s": "sector-", "c": "charities", "r": "chosen-correct"}


def converse(lab: Lab, answers: str, number: str = NUMBER, campaign: str = "energy", hold_s: float = 0.3) -> Call:
    """Call a consumer, hang up, and let him answer the notice.

    ``answers`` are pairs of a question's letter and a key, ``!`` for hanging up: ``m2 s1 c!``.
    """
    call = lab.place(number, campaign=campaign, agent="agent-7", hold_s=hold_s)
    for answer in answers.split():
        prompt, key = QUESTIONS[answer[0]], answer[1]
        call.wait_for_prompt(prompt)
        time.sleep(REACTION_S)
        if key == "!":
            call.consumer_hangs_up()
        else:
            call.consumer_presses(key)
    call.outcome()
    call.wait_until_consumer_is_free()
    return call


def wait_for_records(site: Site, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """The records of a type, once there are ``count``: they may come after the call is over."""
    until(lambda: len(site.records(kind)) >= count)
    return site.records(kind)


def wait_for_log(site: Site, event: str) -> dict[str, Any]:
    """The newest line of the agent's log about an event, once there is one."""
    line: dict[str, Any] = until(lambda: site.agent.log(event))[-1]
    return line


def dialled(lab: Lab, campaign: str) -> str:
    """Call the consumer for ``campaign``: ``dialled`` when an INVITE went out, else the reason."""
    before = len(lab.invites_from_trunk())
    outcome = lab.call(NUMBER, campaign=campaign, agent="agent-8", hold_s=0.2)
    if lab.invites_from_trunk()[before:] == [E164]:
        return "dialled"
    return outcome.user_event("BmnBlocked")["Reason"]


def answers(site: Site, count: int = 0) -> list[str]:
    """What the consumer said, as the journal has it; at least ``count`` answers are waited for."""
    return [f"{one['question']}={one['answer']}" for one in wait_for_records(site, "choice.recorded", count)]


def test_the_consumer_hears_the_notice(lab: Lab, site: Site, prompts: Path) -> None:
    """The far end's recording holds the prompt's waveform; the record has its hash and both lengths."""
    site.load_register(EMPTY)
    call = converse(lab, "m0")
    notice = prompts / "nl/bmn/notice-acme.wav"
    assert share_heard(lab.consumer_heard(E164).samples, read_wav(notice)) == 1.0
    assert share_heard(lab.consumer_heard(E164).samples, read_wav(prompts / "en/bmn/notice-acme.wav")) < 0.2
    (played,) = site.records("notice.played")
    assert (played["result"], played["ended"], played["prompt"]) == ("heard", "complete", "notice-acme")
    assert (played["heard_ms"], played["long_ms"]) == (3000, 3000)
    assert played["sha256"] == hashlib.sha256(notice.read_bytes()).hexdigest()
    event = call.wait_for_user_event("BmnChoice")
    assert (event["Notice"], event["Choice"], event["Number"]) == ("heard", "none", "+316*****001")


CHOICES = """
m2 s1 c1 r!  register_with_charities                  registered         registered  registered
m2 s1 c2 r!  register_without_charities               registered         registered  dialled
m1 r!        seller_optout                            seller_optout      dialled     dialled
m3 s1 c2 r!  seller_optout+register_without_charities seller_optout      registered  dialled
m2 s2 c2 r!  register_sector_without_charities        registered_sector  dialled     dialled
m2 s2 c1 r!  register_sector_with_charities           registered_sector  dialled     registered_charities
m0           none                                     dialled            dialled     dialled
m1 r1 m0     seller_optout                            seller_optout      dialled     dialled
m1 r1 m2 s2 c2 r!  register_sector_without_charities  registered_sector  dialled     dialled
"""
"""What is said; what the dialplan is told; and the next call of the same seller, of another one, of a charity."""


@pytest.mark.parametrize("row", CHOICES.strip().splitlines(), ids=lambda row: "-".join(row.split()[:-4]))
def test_a_choice_is_in_force_for_the_next_call(lab: Lab, site: Site, row: str) -> None:
    """The same seller, another seller, a charity: each next call is dialled or blocked as the consumer chose."""
    *asked, choice, solar, loans, charity = row.split()
    said = " ".join(asked)
    site.load_register(EMPTY)
    site.bmn("customer", "add", NUMBER, "--seller", "acme", "--product-group", "energy-contract",
             "--sold-on", "2026-01-01", "--product", "power")  # fmt: skip
    call = converse(lab, said, campaign="solar")
    assert call.wait_for_user_event("BmnChoice")["Choice"] == choice
    assert [dialled(lab, name) for name in ("solar", "loans", "charity")] == [solar, loans, charity]
    # Own customers are exempt from the register, and from an opt-out they are not.
    expected = "seller_optout" if solar == "seller_optout" else "dialled"
    assert dialled(lab, "energy") == expected


@pytest.mark.parametrize(
    ("said", "recorded", "charity", "loans"),
    [
        ("m!", "menu=hung_up", "dialled", "dialled"),
        ("m1 r!", "menu=seller_optout", "dialled", "dialled"),
        ("m2 s!", "menu=register scope=hung_up", "registered", "registered"),
        ("m3 s!", "menu=register_and_seller_optout scope=hung_up", "registered", "registered"),
        ("m2 s1 c!", "menu=register scope=everything charities=hung_up", "registered", "registered"),
        ("m2 s2 c!", "menu=register scope=this_sector charities=hung_up", "registered_charities", "dialled"),
        ("m2 s1 c2 r!", "menu=register scope=everything charities=not_charities", "dialled", "registered"),
        ("m1 r1 m!", "menu=seller_optout menu=hung_up", "dialled", "dialled"),
    ],
)
def test_hanging_up_keeps_what_was_said(
    lab: Lab, site: Site, said: str, recorded: str, charity: str, loans: str
) -> None:
    """At every step: the answers so far are in force, and who was not asked about charities is not called for them."""
    site.load_register(EMPTY)
    converse(lab, said)
    assert " ".join(answers(site, len(recorded.split()))) == recorded
    assert [dialled(lab, name) for name in ("charity", "loans")] == [charity, loans]
    expected = "seller_optout" if "optout" in recorded else "dialled" if recorded == "menu=hung_up" else "registered"
    assert dialled(lab, "energy").removesuffix("_sector") == expected


def test_hanging_up_during_the_notice_is_heard_in_part(lab: Lab, site: Site) -> None:
    """Asterisk's own count says how much: that is no offer."""
    site.load_register(EMPTY)
    call = lab.place(NUMBER, campaign="energy", hold_s=0.2)
    call.wait_for_prompt("notice-acme")
    time.sleep(1.0)  # how long he listens is the matter of this test
    call.consumer_hangs_up()
    call.outcome()
    call.wait_until_consumer_is_free()
    (played,) = wait_for_records(site, "notice.played")
    assert (played["result"], played["ended"], played["long_ms"]) == ("partial", "hung_up", 3000)
    assert 600 <= played["heard_ms"] <= 1600
    assert answers(site) == []


def test_keys_do_not_cut_the_notice_short(lab: Lab, site: Site) -> None:
    """Early keys are not taken for an answer to a question that was not asked."""
    site.load_register(EMPTY)
    call = lab.place(NUMBER, campaign="energy", hold_s=0.2)
    call.wait_for_prompt("notice-acme")
    call.consumer_presses("12")
    call.wait_for_prompt("menu-acme")
    time.sleep(REACTION_S)
    call.consumer_presses("2")
    call.wait_for_prompt("sector-energy")
    call.consumer_hangs_up()
    call.outcome()
    call.wait_until_consumer_is_free()
    assert answers(site, 2) == ["menu=register", "scope=hung_up"]
    assert site.records("notice.played")[0]["result"] == "heard"


def test_a_consumer_who_leaves_first_heard_nothing(lab: Lab, site: Site) -> None:
    """Dial() option g: the record says so, the call counts as answered without an offer."""
    site.load_register(EMPTY)
    call = lab.place(NUMBER, campaign="energy", hold_s=None)
    call.wait_until_answered()
    call.consumer_hangs_up()
    call.outcome()
    (played,) = wait_for_records(site, "notice.played")
    assert (played["result"], played["ended"], played["heard_ms"]) == ("not_played", "consumer_left", 0)
    (finished,) = site.records("call.finished")
    assert (finished["answered"], finished["ended_by"], finished["offered"], finished["notice"]) == (
        True, "consumer", False, "not_played",
    )  # fmt: skip


@pytest.mark.parametrize("behaviour", ["no_answer", "busy", "reject", "unknown"])
def test_without_an_answer_no_notice_is_due(lab: Lab, site: Site, behaviour: Behaviour) -> None:
    """The agent hangs up before an answer, or the line is busy: no connection, no offer, nothing played."""
    site.load_register(EMPTY)
    lab.consumer(E164, behaviour)
    mark = lab.pbx.ami.mark()
    try:
        call = lab.place(NUMBER, campaign="energy", hold_s=0.2)
        if behaviour == "no_answer":
            lab.pbx.ami.wait_for(lambda event: event.get("DialStatus") == "RINGING", since=mark, what="ringing")
            call.hang_up()
        call.outcome()
    finally:
        lab.consumer(E164, "answer")
    (finished,) = wait_for_records(site, "call.finished")
    assert (
        finished["dialstatus"]
        == {"no_answer": "CANCEL", "busy": "BUSY", "reject": "CHANUNAVAIL", "unknown": "CHANUNAVAIL"}[behaviour]
    )
    assert (finished["answered"], finished["ended_by"], finished["notice"]) == (False, "not_answered", "not_due")
    assert site.records("notice.played") == []


def test_a_missing_sound_is_not_played_and_says_so(lab: Lab, site: Site, prompts: Path) -> None:
    """No silence is passed off as a notice."""
    site.load_register(EMPTY)
    sounds = [prompts / language / "bmn/notice-bank.wav" for language in ("nl", "en")]
    for sound in sounds:
        sound.rename(sound.with_suffix(".hidden"))
    try:
        call = lab.place(NUMBER, campaign="loans", hold_s=0.2)
        call.outcome()
        call.wait_until_consumer_is_free()
    finally:
        for sound in sounds:
            sound.with_suffix(".hidden").rename(sound)
    (played,) = wait_for_records(site, "notice.played")
    assert (played["result"], played["ended"], played["heard_ms"], played["sha256"]) == (
        "not_played", "no_sound", 0, None,
    )  # fmt: skip
    assert wait_for_log(site, "notice.played")["failure"] == "prompt notice-bank could not be played"


def test_redis_stopped_during_the_dialogue(lab: Lab, site: Site) -> None:
    """The choice is confirmed all the same; nothing is dialled meanwhile; it is in force once Redis is back."""
    site.load_register(EMPTY)
    call = lab.place(NUMBER, campaign="energy", hold_s=0.2)
    call.wait_for_prompt("menu-acme")
    site.redis.stop()
    time.sleep(REACTION_S)
    call.consumer_presses("1")
    call.wait_for_prompt("chosen-seller-optout-acme")
    call.consumer_hangs_up()
    call.outcome()
    assert answers(site, 1) == ["menu=seller_optout"]
    assert wait_for_log(site, "notice.played")["late"] == 1
    assert dialled(lab, "energy") == "lookup_unavailable"
    site.redis.start()
    site.load_register(EMPTY)
    assert dialled(lab, "energy") == "seller_optout"
    (applied,) = wait_for_records(site, "choice.applied")
    assert applied["after_ms"] > 300
