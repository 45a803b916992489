"""A service that is stopped, not dead (SIGSTOP): the kernel accepts for it, nobody answers, and no phone waits for it.

``AGI()`` has no limit of its own. In each test the service is resumed at the end, and what it then says is on record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from deploy.lab import Lab
from deploy.lab.ami import AmiError
from deploy.lab.calls import Call
from tests.e2e.conftest import Site
from tests.e2e.test_agent_keys import log_key, talk
from tests.e2e.test_notice import EMPTY, NUMBER, wait_for_records
from tests.e2e.test_ways_in import leg_of, send
from tests.waiting import until

PATIENCE_S = 20.0
"""What tells a limit of a few seconds from none, on a busy machine."""
NO_LIMITS = """. 0. 0 1e9 -1 0.4 10.1 11 2s 3.5.1 three 1:2 " 99999999999999999999"""
LIMITS = "0.5 .5 1 1. 02.25"


@contextlib.contextmanager
def stopped(site: Site) -> Iterator[None]:
    """The service is stopped meanwhile."""
    site.agent.pause()
    try:
        yield
    finally:
        site.agent.resume()


def asterisk_warnings(lab: Lab, text: str) -> int:
    """How often the call centre's Asterisk has warned so."""
    return sum(text in line for line in lab.pbx.warnings())


def test_what_is_no_limit_on_screening_is_three_seconds(lab: Lab, site: Site, subtests: pytest.Subtests) -> None:
    """A BMN_SCREEN_TIMEOUT that TIMEOUT(absolute) would take for none, or nobody would wait for; the log says so."""
    site.load_register(EMPTY)
    before, warned = len(lab.invites_from_trunk()), asterisk_warnings(lab, "BMN_SCREEN_TIMEOUT")
    with stopped(site):
        calls = {
            value: lab.place(NUMBER, campaign="energy", settings={"BMN_SCREEN_TIMEOUT": value}, hold_s=0.2)
            for value in f"{NO_LIMITS} {LIMITS}".split()
        }
        for value, call in calls.items():
            with subtests.test(value):
                assert call.outcome(PATIENCE_S).user_event("BmnBlocked")["Reason"] == "agent_timeout"
    assert lab.invites_from_trunk()[before:] == []
    assert asterisk_warnings(lab, "BMN_SCREEN_TIMEOUT") == warned + len(NO_LIMITS.split())


def test_a_key_is_rejected_and_the_conversation_goes_on(lab: Lab, site: Site) -> None:
    """The agent hears so; the next key is recorded, on the same call, and the end of it is the end of the call."""
    site.load_register(EMPTY)
    call = talk(lab)
    with stopped(site):
        call.agent_presses("*71")
        assert call.wait_for_user_event("BmnChoice", PATIENCE_S)["Result"] == "rejected"
        call.wait_for_application("Playback", "bmn/key-rejected")
        call.wait_for_return("bmn-key")
    assert log_key(call, "*73", 2)["Result"] == "recorded"
    call.consumer_hangs_up()
    outcome = call.outcome()
    (finished,) = wait_for_records(site, "call.finished")
    assert (finished["answered"], finished["ended_by"], finished["choice"]) == (True, "consumer", "seller_optout")
    assert finished["uniqueid"] == outcome.cdrs[-1]["UniqueID"]
    assert [one["uniqueid"] for one in site.records("choice.recorded")] == [finished["uniqueid"]]


def consumer_ends(lab: Lab, call: Call) -> None:
    """The agent's phone is the one that waits for the end."""
    call.consumer_hangs_up()


def agent_ends(lab: Lab, call: Call) -> None:
    """The phone is free; its channel must be, too, or the agent is busy for every dialler."""
    call.hang_up()


def agent_hands_over(lab: Lab, call: Call) -> None:
    """*75 asks nobody."""
    call.agent_presses("*75")


def agent_is_taken_elsewhere(lab: Lab, call: Call) -> None:
    """To a dialplan of the site's own, which ends there."""
    send(lab, leg_of(lab, call)["Channel"], ("lab-hold", "end", "1"))


def agent_dials_again(lab: Lab, call: Call) -> None:
    """By a transfer of their own leg: the first call is finished before the second is screened."""
    send(lab, leg_of(lab, call)["Channel"], ("bmn-outbound", "0612340002", "1"))


@pytest.mark.parametrize(
    "end", [consumer_ends, agent_ends, agent_hands_over, agent_is_taken_elsewhere, agent_dials_again]
)
def test_the_end_of_a_call_holds_no_phone(lab: Lab, site: Site, end: Callable[[Lab, Call], None]) -> None:
    """The agent's leg ends within seconds, Asterisk's log names the call, and the record follows when it can."""
    site.load_register(EMPTY)
    call = talk(lab)
    (allowed,) = [one for one in site.records("call.screened") if one["verdict"] == "allow"]
    with stopped(site):
        end(lab, call)
        outcome = call.outcome(PATIENCE_S)
        assert outcome.user_event("BmnFinished")["Call"] == allowed["call"]
        until(lambda: asterisk_warnings(lab, f"finish of call {allowed['call']} may not be recorded"))
        with contextlib.suppress(AmiError):  # gone already, where the agent handed nobody over
            call.consumer_hangs_up()
    (finished,) = wait_for_records(site, "call.finished")
    assert finished["call"] == allowed["call"]
    call.wait_until_consumer_is_free()


def test_asking_the_service_aside_leaves_no_cdr(lab: Lab, site: Site) -> None:
    """A key and the end of a call go by a channel of their own: no call for anybody's bill."""
    site.load_register(EMPTY)
    mark = lab.pbx.ami.mark()
    call = talk(lab)
    log_key(call, "*74")
    call.hang_up()
    call.outcome()
    wait_for_records(site, "call.finished")
    call.consumer_hangs_up()
    call.wait_until_consumer_is_free()

    def billed() -> set[str]:
        return {event["DestinationContext"] for event in lab.pbx.ami.events(mark) if event.name == "Cdr"}

    until(lambda: "bmn-notice" in billed())
    assert billed() == {"bmn-verdict", "bmn-notice"}
