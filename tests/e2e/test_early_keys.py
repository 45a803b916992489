"""Keys that come before their question was heard, by real RFC 4733: they answer nothing, and the question goes on."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from deploy.lab import Lab
from deploy.lab.calls import Call
from tests.e2e.conftest import Site, prompts_of_length
from tests.e2e.test_notice import EMPTY, NUMBER, REACTION_S, answers, wait_for_log
from tests.waiting import until

LONG_S = 4.0
"""Of a question that goes on while keys come."""
KEYS = '"0123456789*#"'


def hear(lab: Lab, site: Site) -> Call:
    """A call whose agent has hung up."""
    site.load_register(EMPTY)
    return lab.place(NUMBER, campaign="energy", agent="agent-7", hold_s=0.2)


def press_at(call: Call, prompt: str, keys: str, nth: int = 1) -> None:
    """Press keys at a short question, in its nth asking."""
    call.wait_for_agi(f"STREAM FILE bmn/{prompt}", nth=nth)
    time.sleep(REACTION_S)
    call.consumer_presses(keys)


def wait_for_the_early_key(site: Site, call: Call, prompt: str, answered: int) -> None:
    """Return when it was taken: the question goes on from an offset, or it has an answer (which is wrong)."""
    goes_on = f"STREAM FILE bmn/{prompt} {KEYS} "
    until(lambda: goes_on in call.agi_commands() or len(site.records("choice.recorded")) > answered)


def leave(call: Call) -> None:
    """Hang up, and wait for the end."""
    call.consumer_hangs_up()
    call.outcome()
    call.wait_until_consumer_is_free()


def test_a_doubled_key_answers_one_question_only(lab: Lab, site: Site, prompts: Path) -> None:
    """2 for the register, twice: the second is no "only this sector". The question goes on and gets its own answer."""
    with prompts_of_length(prompts, LONG_S, "scope"):
        call = hear(lab, site)
        press_at(call, "menu-acme", "22")
        wait_for_the_early_key(site, call, "scope", answered=1)
        assert answers(site) == ["menu=register"]
        call.wait_for_prompt("sector-energy")
        time.sleep(REACTION_S)
        call.consumer_presses("1")
        call.wait_for_prompt("charities")
        leave(call)
    assert answers(site, 3) == ["menu=register", "scope=everything", "charities=hung_up"]
    assert wait_for_log(site, "notice.played")["keys_heard"] is True


def test_a_doubled_correction_does_not_choose_anew(lab: Lab, site: Site, prompts: Path) -> None:
    """1 at the read-back asks the menu again; the second 1 would be an opt-out that drops the registration."""
    call = hear(lab, site)
    press_at(call, "menu-acme", "2")
    press_at(call, "scope", "1")
    press_at(call, "charities", "2")
    with prompts_of_length(prompts, LONG_S, "menu-acme"):
        press_at(call, "chosen-correct", "11")
        wait_for_the_early_key(site, call, "menu-acme", answered=3)
        leave(call)
    assert answers(site, 4) == ["menu=register", "scope=everything", "charities=not_charities", "menu=hung_up"]
    assert wait_for_log(site, "notice.played")["choice"] == "register_without_charities"


def test_a_key_that_is_held_into_the_question_is_early(lab: Lab, site: Site, prompts: Path) -> None:
    """Asterisk reports it when it is released, a second into the menu."""
    with prompts_of_length(prompts, LONG_S, "menu-acme"):
        call = hear(lab, site)
        call.wait_for_prompt("notice-acme")
        time.sleep(2.2)  # the notice takes 3 s
        call.consumer_presses("1", key_s=1.8)
        wait_for_the_early_key(site, call, "menu-acme", answered=0)
        assert site.records("choice.recorded") == []
        call.wait_for_agi("WAIT FOR DIGIT 5000")
        call.consumer_presses("2")
        call.wait_for_prompt("scope")
        leave(call)
    assert answers(site, 1)[0] == "menu=register"


def test_keys_while_an_answer_is_being_written_are_nobodys(lab: Lab, site: Site) -> None:
    """The disk takes its time between two prompts; what is pressed meanwhile answers neither."""
    call = hear(lab, site)
    call.wait_for_prompt("menu-acme")
    time.sleep(REACTION_S)
    with closing(sqlite3.connect(site.folder / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        call.consumer_presses("22")
        time.sleep(REACTION_S)
        other.execute("ROLLBACK")
    call.wait_for_agi("WAIT FOR DIGIT 5000", nth=2)
    leave(call)
    assert answers(site, 2) == ["menu=register", "scope=hung_up"]
