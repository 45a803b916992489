"""What an agent logs in the call: recorded, audibly, by the agent's phone only; and how each call ends on record."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from deploy.lab import Lab
from deploy.lab.ami import AmiError
from deploy.lab.calls import Call
from tests.e2e.conftest import Site
from tests.e2e.test_notice import E164, EMPTY, NUMBER, REACTION_S, dialled, wait_for_records


def talk(lab: Lab, campaign: str = "energy") -> Call:
    """A conversation that lasts until somebody hangs up."""
    call = lab.place(NUMBER, campaign=campaign, agent="agent-7", hold_s=None)
    call.wait_until_answered()
    time.sleep(REACTION_S)
    return call


def log_key(call: Call, code: str, count: int = 1) -> dict[str, str]:
    """Press a code and wait for the ``count``-th answer of the dialplan in this call, and until it was heard."""
    call.agent_presses(code)
    event = call.wait_for_user_event("BmnChoice", nth=count)
    call.wait_for_return("bmn-key", nth=count)
    return {name: event[name] for name in ("Key", "Result", "Source")}


def end(call: Call) -> None:
    """Both hang up, the consumer as soon as the notice begins."""
    call.hang_up()
    call.outcome()
    with contextlib.suppress(AmiError):  # the line is free already where there was no notice to hear
        call.consumer_hangs_up()
    call.wait_until_consumer_is_free()


KEYS = """
*70  offered                     dialled        dialled     dialled     offered
*71  register_with_charities     registered     registered  registered  offered
*72  register_without_charities  registered     registered  dialled     offered
*73  seller_optout               seller_optout  dialled     dialled     offered
*74  declined                    dialled        dialled     dialled     offered
*76  voicemail                   dialled        dialled     dialled     -
"""
"""The key, its name; the next call of this seller, of another one, of a charity; whether the offer counts as made."""


@pytest.mark.parametrize("row", KEYS.strip().splitlines(), ids=lambda row: row[:3])
def test_each_key_is_recorded_heard_and_in_force(lab: Lab, site: Site, row: str) -> None:
    """On disk and in force before the confirmation; the end of the call says whether the offer was made."""
    site.load_register(EMPTY)
    code, key, energy, loans, charity, offered = row.split()
    call = talk(lab)
    assert log_key(call, code) == {"Key": key, "Result": "recorded", "Source": "agent_key"}
    (record,) = site.records("choice.recorded")
    assert (record["answer"], record["source"], record["number"], record["agent"]) == (
        key,
        "agent_key",
        E164,
        "agent-7",
    )
    call.wait_for_application("Playback", f"bmn/key-{key.replace('_', '-')}")
    end(call)
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["offered"], finished["voicemail"]) == (offered == "offered", key == "voicemail")
    assert [dialled(lab, name) for name in ("energy", "loans", "charity")] == [energy, loans, charity]


def test_undo_takes_back_the_last_key_and_then_the_one_before(lab: Lab, site: Site) -> None:
    """Each as a record of its own; with nothing left it is rejected, and sounds so."""
    site.load_register(EMPTY)
    call = talk(lab)
    results = [
        log_key(call, code, count)["Result"] for count, code in enumerate(("*73", "*71", "*79", "*79", "*79"), 1)
    ]
    assert results == ["recorded"] * 4 + ["rejected"]
    call.wait_for_application("Playback", "bmn/key-rejected")
    undone = [one["answer"] for one in site.records("choice.undone")]
    assert undone == ["register_with_charities", "seller_optout"]
    assert len(site.records("choice.recorded")) == 2, "nothing is rewritten"
    end(call)
    assert dialled(lab, "energy") == "dialled"


def test_the_consumers_phone_has_no_such_keys(lab: Lab, site: Site) -> None:
    """The same digits from the other side do nothing, and the agent's keys still work after them."""
    site.load_register(EMPTY)
    call = talk(lab)
    for code in ("*70", "*71", "*72", "*73", "*74", "*75", "*76", "*79"):
        call.consumer_presses(code)
        time.sleep(REACTION_S)
    with pytest.raises(AmiError):
        call.wait_for_user_event("BmnChoice", timeout_s=1.5)
    assert log_key(call, "*74")["Result"] == "recorded"
    assert [one["answer"] for one in site.records("choice.recorded")] == ["declined"]
    end(call)


def test_handing_over_frees_the_agent_and_plays_the_notice(lab: Lab, site: Site) -> None:
    """*75: the consumer goes on to the notice, and answers it."""
    site.load_register(EMPTY)
    call = talk(lab)
    call.agent_presses("*75")
    call.wait_for_prompt("menu-acme")
    time.sleep(REACTION_S)
    call.consumer_presses("1")
    call.wait_for_prompt("chosen-correct")
    call.consumer_hangs_up()
    call.outcome()
    (played,) = site.records("notice.played")
    (finished,) = wait_for_records(site, "call.finished")
    assert (played["result"], finished["ended_by"], finished["notice"]) == ("heard", "hand_over", "to_follow")
    assert dialled(lab, "energy") == "seller_optout"


def test_voicemail_is_no_notice(lab: Lab, site: Site) -> None:
    """Handed over by an agent who logged a machine: nothing is played, and the record says why."""
    site.load_register(EMPTY)
    call = talk(lab)
    assert log_key(call, "*76")["Result"] == "recorded"
    call.hang_up()
    call.outcome()
    call.wait_until_consumer_is_free()
    (played,) = wait_for_records(site, "notice.played")
    assert (played["result"], played["ended"], played["heard_ms"]) == ("not_played", "voicemail", 0)


def test_the_wider_of_agent_and_consumer_is_in_force(lab: Lab, site: Site) -> None:
    """The agent logs the register without charities, the consumer keys that only this seller shall go: both hold."""
    site.load_register(EMPTY)
    call = talk(lab)
    log_key(call, "*72")
    call.hang_up()
    call.wait_for_prompt("menu-acme")
    time.sleep(REACTION_S)
    call.consumer_presses("1")
    call.wait_for_prompt("chosen-correct")
    call.consumer_hangs_up()
    call.outcome()
    assert [dialled(lab, name) for name in ("energy", "loans", "charity")] == ["seller_optout", "registered", "dialled"]


def test_a_key_without_an_agent_is_rejected(lab: Lab, site: Site) -> None:
    """The service is down: the agent hears that nothing was recorded, and the conversation goes on."""
    site.load_register(EMPTY)
    call = talk(lab)
    site.agent.kill()
    assert log_key(call, "*71")["Result"] == "rejected"
    site.agent.start()
    assert log_key(call, "*73", 2)["Result"] == "recorded"
    assert [one["answer"] for one in site.records("choice.recorded")] == ["seller_optout"]
    end(call)


def test_the_end_of_a_call_is_recorded_once(lab: Lab, site: Site) -> None:
    """Dialled, rung, answered and connected apart; an event for the wallboard."""
    site.load_register(EMPTY)
    lab.consumer(E164, ring_s=0.5)
    call = talk(lab)
    lab.consumer(E164, ring_s=0)
    time.sleep(1.2)  # the length of the conversation is the matter
    end(call)
    event = call.wait_for_user_event("BmnFinished")
    assert (event["Number"], event["Status"], event["EndedBy"]) == ("+316*****001", "ANSWER", "")
    finished: list[dict[str, Any]] = wait_for_records(site, "call.finished")
    assert len(finished) == 1
    about = ("dialstatus", "rang", "answered", "answered_s", "ended_by", "offered", "notice", "choice")
    assert [finished[0][name] for name in about] == [
        *("ANSWER", True, True, 1, "agent", False, "to_follow", "none"),
    ]


def test_a_consumer_who_was_passed_on_did_not_leave(lab: Lab, site: Site) -> None:
    """The notice is to follow on a blind transfer; the consumer hangs up before it could: not played, transferred."""
    site.load_register(EMPTY)
    call = talk(lab)
    (leg,) = [event["Channel"] for event in lab.pbx.ami.events(call.mark) if event.name == "Newchannel"][:1]
    lab.pbx.ami.action("BlindTransfer", Channel=leg, Context="lab-hold", Exten="s")
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["ended_by"], finished["notice"]) == ("transferred", "to_follow")
    assert site.records("notice.played") == []
    call.outcome()
    call.consumer_hangs_up()
    call.wait_until_consumer_is_free()
    (played,) = wait_for_records(site, "notice.played")
    assert (played["result"], played["ended"]) == ("not_played", "transferred")


def test_a_second_call_on_the_same_channel_ends_the_first(lab: Lab, site: Site) -> None:
    """A supervisor redirects the agent's leg to another number: each call has its end on record, under its own id."""
    site.load_register(EMPTY)
    call = talk(lab)
    (leg,) = [event["Channel"] for event in lab.pbx.ami.events(call.mark) if event.name == "Newchannel"][:1]
    lab.pbx.ami.action("Redirect", Channel=leg, Context="bmn-outbound", Exten="0612340002", Priority="1")
    lab.pbx.ami.wait_for(
        lambda event: event.name == "DialEnd" and event.get("DestChannel").startswith("PJSIP/network-trunk"),
        since=lab.pbx.ami.mark() - 1,
        what="the second call",
    )
    time.sleep(REACTION_S)
    call.hang_up()
    finished = wait_for_records(site, "call.finished", 2)
    first, second = [one["call"] for one in site.records("call.screened") if one["verdict"] == "allow"]
    assert [one["call"] for one in finished] == [first, second]
    call.outcome()
