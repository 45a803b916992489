"""A dialler that enters by a Local channel, and a trunk that is one: with /n and without it.

Without /n Asterisk takes a Local channel out of an answered call, and with it the agent's keys, the notice and the end.
"""

from __future__ import annotations

import time

import pytest

from deploy.lab import Lab
from tests.e2e.conftest import Site
from tests.e2e.test_agent_keys import log_key
from tests.e2e.test_notice import E164, EMPTY, NUMBER, REACTION_S, dialled, wait_for_records

ENTRY = {"LAB_DIAL": f"Local/{NUMBER}@bmn-outbound", "__BMN_CAMPAIGN": "energy", "__BMN_AGENT": "agent-7"}
TRUNK = {"__BMN_DIAL_PREFIX": "Local/", "__BMN_DIAL_SUFFIX": "@lab-trunk"}


@pytest.mark.parametrize(
    "settings",
    [
        ENTRY,
        {**ENTRY, "LAB_DIAL": ENTRY["LAB_DIAL"] + "/n"},
        TRUNK,
        {**TRUNK, "__BMN_DIAL_SUFFIX": "@lab-trunk/n"},
        {**ENTRY, **TRUNK},
    ],
    ids=["entry", "entry/n", "trunk", "trunk/n", "both"],
)
def test_keys_notice_and_end_survive_a_local_channel(lab: Lab, site: Site, settings: dict[str, str]) -> None:
    """The agent's key, the notice, the consumer's answer and the end of the call are on record."""
    site.load_register(EMPTY)
    call = lab.place(NUMBER, campaign="energy", agent="agent-7", settings=settings, hold_s=None)
    call.wait_until_answered()
    time.sleep(2 * REACTION_S)  # Asterisk would take the channel out at the first words
    assert log_key(call, "*74")["Result"] == "recorded"
    assert wait_for_records(site, "call.finished", 0) == []
    call.hang_up()
    call.wait_for_prompt("menu-acme")
    time.sleep(REACTION_S)
    call.consumer_presses("1")
    call.wait_for_prompt("chosen-correct")
    call.consumer_hangs_up()
    call.wait_until_consumer_is_free()
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["number"], finished["answered"], finished["ended_by"], finished["offered"]) == (
        *(E164, True, "agent", True),
    )
    (played,) = wait_for_records(site, "notice.played")
    assert played["result"] == "heard"
    assert dialled(lab, "energy") == "seller_optout"
