"""Conversations that are passed on, for the tests of every way into and out of a call."""

from __future__ import annotations

import re
import time
from typing import Any

from deploy.lab import AmiMessage, Lab
from deploy.lab.calls import Call, returns_from
from deploy.lab.phones import Phone
from tests.e2e.conftest import Site
from tests.e2e.test_notice import REACTION_S, wait_for_records
from tests.waiting import until

FIRST, FIRST_E164 = "0612340001", "+31612340001"
SECOND, SECOND_E164 = "0612340002", "+31612340002"
COLLEAGUE = "801"
TRANSFERS = {"TRANSFER_CONTEXT": "lab-transfers"}
"""Where a transfer of this agent's may lead to, as a site would say for all its agents."""


def complaints(lab: Lab) -> list[str]:
    """What the call centre's Asterisk has warned of so far.

    One is none: two legs that end at the same moment, so that one has nowhere to leave its word and reports by itself.
    """
    return [one for one in lab.pbx.warnings() if not re.search(r"func_global\.c.*'BMN_(LEFT|UNTIL)' not set", one)]


def talk(lab: Lab, number: str = FIRST, **settings: str) -> Call:
    """An agent who may transfer talks to a consumer until somebody ends it; ``settings`` are set on the agent's leg."""
    call = lab.place(number, campaign="energy", agent="agent-7", hold_s=None, settings={**TRANSFERS, **settings})
    call.wait_until_answered()
    time.sleep(REACTION_S)
    return call


def place_and_ring(lab: Lab, number: str, **settings: str) -> Call:
    """A call of the agent's, whose number's phone rings, and whose own phone has heard so."""
    mark = lab.pbx.ami.mark()
    call = lab.place(number, campaign="energy", agent="agent-7", hold_s=None, settings=settings)
    lab.pbx.ami.wait_for(lambda event: event.get("DialStatus") == "RINGING", since=mark, what="ringing")
    until(lambda: "to-tag=;" not in call.agent().dialog)
    return call


def wait_for_key(lab: Lab, since: int) -> None:
    """Return when a key was logged, or rejected, and whoever pressed it has heard which, since the mark."""
    lab.pbx.ami.wait_for(returns_from("bmn-key"), since=since, what="the end of a key")


def answer_the_notice(call: Call, consumer: Phone, key: str = "1") -> None:
    """The consumer hears the notice, presses a key in its menu, hears that it was recorded, and hangs up."""
    call.wait_for_prompt("menu-")
    time.sleep(REACTION_S)
    consumer.presses(key)
    call.wait_for_prompt("chosen-correct")
    consumer.hangs_up()
    consumer.wait_until_free()


def ends(site: Site, count: int) -> dict[str, dict[str, Any]]:
    """``call.finished`` by number, once there are ``count``: how each call ended."""
    about = ("dialstatus", "answered", "ended_by", "notice")
    return {
        one["number"]: {name: one[name] for name in about} for one in wait_for_records(site, "call.finished", count)
    }


def notices(site: Site, count: int) -> list[tuple[str, str, str]]:
    """Number, result and end of each notice, once there are ``count``."""
    played = wait_for_records(site, "notice.played", count)
    return [(one["number"], one["result"], one["ended"]) for one in played]


def choices(site: Site) -> list[tuple[str, str, str]]:
    """Number, who pressed and what, of each answer in the journal."""
    return [(one["number"], one["source"], one["answer"]) for one in site.records("choice.recorded")]


def wait_until_connected(lab: Lab, phone: Phone) -> None:
    """Return when the call centre's leg to this phone is in a conversation."""
    until(lambda: "Up" in lab.network.command(f"core show channel {phone.channel}"))
    time.sleep(REACTION_S)


def legs(lab: Lab, call: Call, kind: str) -> list[str]:
    """The channels of an endpoint (``agent-phones``, ``network-trunk``) that there were since this call began."""
    return [
        event["Channel"]
        for event in lab.pbx.ami.events(call.mark)
        if event.name == "Newchannel" and event["Channel"].startswith(f"PJSIP/{kind}-")
    ]


def prompts_on(lab: Lab, call: Call, leg: str) -> list[str]:
    """The prompts that the dialplan has played on a leg."""
    return [event["AppData"].split(",")[0] for event in _playbacks(lab, call) if event.get("Channel") == leg]


def played(lab: Lab, call: Call) -> list[str]:
    """The prompts that the dialplan has played on any leg since this call began."""
    return [event["AppData"].split(",")[0] for event in _playbacks(lab, call)]


def _playbacks(lab: Lab, call: Call) -> list[AmiMessage]:
    return [event for event in lab.pbx.ami.events(call.mark) if event.get("Application") == "Playback"]
