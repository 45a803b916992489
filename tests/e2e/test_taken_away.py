"""Legs that somebody takes out of their call by AMI, or by a transfer, at an unlucky moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.lab import Lab
from tests.e2e.conftest import Site, prompts_of_length
from tests.e2e.passing_on import (
    COLLEAGUE,
    FIRST,
    FIRST_E164,
    SECOND,
    SECOND_E164,
    answer_the_notice,
    complaints,
    ends,
    legs,
    notices,
    place_and_ring,
    talk,
    wait_until_connected,
)
from tests.e2e.test_notice import EMPTY, wait_for_records
from tests.e2e.test_ways_in import send

NOTICE = ("bmn-notice", "s", "1")


@pytest.fixture(autouse=True)
def quiet(lab: Lab) -> Iterator[None]:
    """Whatever is done with legs, Asterisk has nothing to warn of but what the dialplan says itself."""
    before = len(complaints(lab))
    yield
    assert [one for one in complaints(lab)[before:] if "no notice on a leg" not in one] == []


def test_a_phone_that_rings_hears_no_notice(lab: Lab, site: Site) -> None:
    """AMI Redirect of the ringing leg to bmn-notice: it stops ringing, nothing is played, nothing counts as heard."""
    site.load_register(EMPTY)
    lab.consumer(FIRST_E164, "no_answer")
    try:
        call = place_and_ring(lab, FIRST)
        phone = call.ringing(FIRST_E164)
        (leg,) = legs(lab, call, "network-trunk")
        agent = call.agent()
        send(lab, leg, NOTICE)
        for one in (agent, phone):
            one.wait_until_free()
    finally:
        lab.consumer(FIRST_E164)
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["answered"], finished["rang"], finished["notice"]) == (False, True, "not_due")
    assert site.records("notice.begun", "notice.played") == []


def test_a_talk_with_somebody_else_is_none_with_the_consumer(lab: Lab, site: Site) -> None:
    """The agent's leg is sent to a colleague in the conversation: how long they talk there is not on its record."""
    site.load_register(EMPTY)
    call = talk(lab)
    consumer = call.consumer(FIRST_E164)
    (leg,) = legs(lab, call, "agent-phones")
    send(lab, leg, ("lab-inside", COLLEAGUE, "1"))
    wait_until_connected(lab, call.consumer(COLLEAGUE))
    time.sleep(5)  # the length of this conversation is not the call's
    answer_the_notice(call, consumer)
    call.hang_up()
    call.outcome()
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["answered"], finished["answered_s"] <= 3) == (True, True)


def test_a_consumer_who_takes_a_place_that_ends_hears_the_notice(lab: Lab, site: Site, prompts: Path) -> None:
    """REFER with Replaces to the agent's other line, whose consumer has just been handed over to their notice.

    A hears what the agent would hear there, and then the notice of A's own call.
    """
    site.load_register(EMPTY)
    with prompts_of_length(prompts, 3.0, "key-hand-over"):
        call = talk(lab)
        consumer = call.consumer(FIRST_E164)
        second = talk(lab, SECOND)
        other = second.consumer(SECOND_E164)
        second.agent_presses("*75")
        second.wait_for_application("Playback", "bmn/key-hand-over")
        call.agent().refers_to(second.agent())
        answer_the_notice(call, consumer)
        other.hangs_up()
        other.wait_until_free()
    assert ends(site, 2)[FIRST_E164]["ended_by"] == "transferred"
    assert (FIRST_E164, "heard", "complete") in notices(site, 2)
