"""The notice as a table: what is heard in turn, what is on record after it, and what is played."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.domain.choice import MENU_ANSWERS, Answer, Charities, Scope, Wish
from agent.domain.dialogue import NL_BMNR_NOTICE, Dialogue, Heard, Pressed, Turn, Unheard, prompt_names
from agent.domain.model import Purpose, Sector
from tests.unit.builders import a_campaign

UNHEARD = {"-": Unheard.SILENCE, "!": Unheard.HUNG_UP, "<": Unheard.LEFT, "?": Unheard.NO_SOUND}
ENERGY = Dialogue(script=NL_BMNR_NOTICE, seller="acme", sector=Sector.ENERGY)
CHARITY = replace(ENERGY, sector=Sector.CHARITIES)
NO_SECTOR = replace(ENERGY, sector=None)


def conduct(dialogue: Dialogue, heard: str) -> tuple[list[str], Turn, list[tuple[str, ...]]]:
    """Run ``dialogue`` over ``heard``: keys, ``-`` silence, ``!`` hang-up, ``<`` before the question, ``?`` no sound.

    Returns what was said as ``question=answer``, the last turn, and each turn's sounds.
    """
    turn = dialogue.begin()
    said, played = [], [turn.statement + turn.prompts]
    for one in heard:
        assert turn.question is not None, f"the dialogue was over before {one!r}"
        event: Heard = UNHEARD.get(one) or Pressed(digit=one)
        turn = dialogue.follow(turn, event)
        played.append(turn.statement + turn.prompts)
        if turn.said is not None:
            said.append(f"{turn.said.question}={turn.said.answer}")
    return said, turn, played


OPTOUT = Wish(seller_optout=True)


def wanted(scope: str = "not_answered", charities: str = "not_answered", *, optout: bool = False) -> Wish:
    """A wish to be in the register."""
    return Wish(register=True, scope=Scope(scope), charities=Charities(charities), seller_optout=optout)


ROWS = [
    # The menu.
    ("1", "menu=seller_optout", OPTOUT, "read_back"),
    ("2", "menu=register", wanted(), "scope"),
    ("3", "menu=register_and_seller_optout", wanted(optout=True), "scope"),
    ("0", "menu=declined", Wish(), None),
    ("9", "", Wish(), "menu"),
    ("-", "", Wish(), "menu"),
    ("--", "menu=not_answered", Wish(), None),
    ("!", "menu=hung_up", Wish(), None),
    ("?", "", Wish(), None),
    ("<", "", Wish(), None),
    ("2<", "menu=register", wanted(), None),
    ("21<", "menu=register scope=everything", wanted("everything"), None),
    ("1<", "menu=seller_optout", OPTOUT, None),
    ("7", "", Wish(), "menu"),
    ("77", "menu=not_answered", Wish(), None),
    ("7-", "menu=not_answered", Wish(), None),
    ("*1", "menu=seller_optout", OPTOUT, "read_back"),
    ("#1", "menu=seller_optout", OPTOUT, "read_back"),
    ("-1", "menu=seller_optout", OPTOUT, "read_back"),
    # Again: it asks anew with all tries; the fourth time is a key without meaning.
    ("-9-1", "menu=seller_optout", OPTOUT, "read_back"),
    ("999", "", Wish(), "menu"),
    ("99999", "menu=not_answered", Wish(), None),
    ("9!", "menu=hung_up", Wish(), None),
    # How much of the register.
    ("21", "menu=register scope=everything", wanted("everything"), "charities"),
    ("22", "menu=register scope=this_sector", wanted("this_sector"), "charities"),
    ("2-1", "menu=register scope=everything", wanted("everything"), "charities"),
    ("2--", "menu=register scope=not_answered", wanted(), "charities"),
    ("2!", "menu=register scope=hung_up", wanted(), None),
    ("2?", "menu=register", wanted(), None),
    ("29", "menu=register", wanted(), "scope"),
    ("299", "menu=register scope=not_answered", wanted(), "charities"),
    ("3!", "menu=register_and_seller_optout scope=hung_up", wanted(optout=True), None),
    # Charities too: asked again, and no default.
    ("211", "menu=register scope=everything charities=charities_too", wanted("everything", "yes"), "read_back"),
    ("212", "menu=register scope=everything charities=not_charities", wanted("everything", "no"), "read_back"),
    ("21-1", "menu=register scope=everything charities=charities_too", wanted("everything", "yes"), "read_back"),
    ("21--", "menu=register scope=everything charities=not_answered", wanted("everything"), "read_back"),
    ("210-", "menu=register scope=everything charities=not_answered", wanted("everything"), "read_back"),
    ("21!", "menu=register scope=everything charities=hung_up", wanted("everything"), None),
    ("21?", "menu=register scope=everything", wanted("everything"), None),
    ("222", "menu=register scope=this_sector charities=not_charities", wanted("this_sector", "no"), "read_back"),
    ("2--1", "menu=register scope=not_answered charities=charities_too", wanted(charities="yes"), "read_back"),
    ("31", "menu=register_and_seller_optout scope=everything", wanted("everything", optout=True), "charities"),
    # The read-back: what is not corrected stands.
    ("1-", "menu=seller_optout", OPTOUT, "read_back"),
    ("1--", "menu=seller_optout", OPTOUT, None),
    ("1!", "menu=seller_optout", OPTOUT, None),
    ("1?", "menu=seller_optout", OPTOUT, None),
    ("15", "menu=seller_optout", OPTOUT, "read_back"),
    ("11", "menu=seller_optout", OPTOUT, "menu"),
    ("110", "menu=seller_optout menu=declined", OPTOUT, None),
    ("112!", "menu=seller_optout menu=register scope=hung_up", wanted(), None),
    ("112", "menu=seller_optout menu=register", wanted(), "scope"),
    ("11!", "menu=seller_optout menu=hung_up", OPTOUT, None),
    ("11--", "menu=seller_optout menu=not_answered", OPTOUT, None),
    ("211111", "menu=register scope=everything charities=charities_too menu=seller_optout", OPTOUT, "menu"),
]  # fmt: skip


@pytest.mark.parametrize(("heard", "said", "wish", "question"), ROWS, ids=[row[0] for row in ROWS])
def test_every_transition(heard: str, said: str, wish: Wish, question: str | None) -> None:
    """After these keys, silences and hang-ups: what is on record, what is wished, what is asked next."""
    came, turn, _ = conduct(ENERGY, heard)
    assert " ".join(came) == said
    assert turn.wish == wish
    assert turn.question == question


def test_the_wish_is_the_fold_of_what_was_said() -> None:
    """What is read back is what the journal's answers add up to, in every row."""
    for heard, _, wish, _ in ROWS:
        folded, turn = Wish(), ENERGY.begin()
        for one in heard:
            event: Heard = UNHEARD.get(one) or Pressed(digit=one)
            turn = ENERGY.follow(turn, event)
            if turn.said is not None:
                begun = Wish() if turn.said.answer in MENU_ANSWERS else folded
                folded = begun.after(turn.said.answer)
        assert folded == wish, heard


def test_the_notice_comes_first_and_again_on_request_only() -> None:
    """The notice proper is a statement: no key of the consumer cuts it short."""
    begin = ENERGY.begin()
    assert (begin.statement, begin.prompts) == (("notice-acme",), ("menu-acme",))
    _, _, played = conduct(ENERGY, "79-")
    assert played[1] == ("invalid-key", "menu-acme")
    assert played[2] == ("notice-acme", "menu-acme")
    assert played[3] == ("menu-acme",)


@pytest.mark.parametrize(
    ("heard", "sounds"),
    [
        ("1", "chosen-seller-optout-acme chosen-correct"),
        ("211", "chosen-register-all chosen-charities-yes chosen-correct"),
        ("212", "chosen-register-all chosen-charities-no chosen-correct"),
        ("21--", "chosen-register-all chosen-charities-not-answered chosen-correct"),
        ("221", "chosen-register-sector sector-energy chosen-charities-yes chosen-correct"),
        ("2--2", "chosen-register-all chosen-charities-no chosen-correct"),
        ("312", "chosen-seller-optout-acme chosen-register-all chosen-charities-no chosen-correct"),
        ("0", "chosen-none goodbye"),
        ("--", "chosen-none goodbye"),
        ("1--", "goodbye"),
        ("11--", "goodbye"),
        ("110", "goodbye"),
        ("1!", ""),
        ("1?", ""),
        ("2", "scope sector-energy"),
        ("21", "charities"),
        ("217", "invalid-key charities"),
    ],
)
def test_what_is_played_says_what_was_recorded(heard: str, sounds: str) -> None:
    """The read-back is composed of the wish, sector by name; the last of the sounds belong to the last turn."""
    assert " ".join(conduct(ENERGY, heard)[2][-1]) == sounds


def test_a_campaign_for_charity_is_not_asked_about_charities_twice() -> None:
    """Only this sector is charities there: an explicit answer by itself."""
    said, turn, played = conduct(CHARITY, "22")
    assert said == ["menu=register", f"scope={Answer.ONLY_CHARITIES}"]
    assert turn.wish == Wish(register=True, scope=Scope.THIS_SECTOR, charities=Charities.YES)
    assert played[-1] == ("chosen-register-sector", "sector-charities", "chosen-correct")
    assert conduct(CHARITY, "21")[1].question == "charities"


def test_without_a_sector_the_scope_is_not_asked() -> None:
    """There is nothing that "only this sector" could mean."""
    said, turn, _ = conduct(NO_SECTOR, "21")
    assert said == ["menu=register", "charities=charities_too"]
    assert turn.wish == Wish(register=True, charities=Charities.YES)


def test_the_read_back_holds_what_the_agent_logged() -> None:
    """Both are in force, so both are read back: nobody is told that charities may call when they may not."""
    logged = replace(ENERGY, already=wanted("everything", "yes"))
    assert conduct(logged, "1")[2][-1][:3] == (
        "chosen-seller-optout-acme",
        "chosen-register-all",
        "chosen-charities-yes",
    )
    assert "chosen-charities-yes" in conduct(logged, "212")[2][-1]
    assert conduct(logged, "0")[2][-1] == ("chosen-none", "goodbye")


def test_corrections_end() -> None:
    """After three corrections the read-back offers no more, so that no call lasts for ever."""
    _, turn, played = conduct(ENERGY, "11" * 3 + "1")
    assert turn.question is None
    assert played[-1] == ("chosen-seller-optout-acme", "goodbye")


def test_the_keys_are_data() -> None:
    """Another script, other keys; the machine does not know any."""
    other = replace(
        ENERGY, script=replace(NL_BMNR_NOTICE, menu={"5": Answer.SELLER_OPTOUT}, again="*", correct="8", tries=1)
    )
    assert conduct(other, "5")[0] == ["menu=seller_optout"]
    assert conduct(other, "*")[1].question == "menu"
    assert conduct(other, "58")[1].question == "menu"
    assert conduct(other, "1")[0] == ["menu=not_answered"]


@pytest.mark.parametrize("dialogue", [ENERGY, CHARITY, NO_SECTOR], ids=["energy", "charity", "no sector"])
def test_every_prompt_that_can_be_played_is_announced(dialogue: Dialogue) -> None:
    """Walk every reachable turn, three keys deep and more: what is played is in ``prompts()``, and nothing else is."""
    seen, frontier, sounds = set[Turn](), [dialogue.begin()], set[str]()
    while frontier:
        turn = frontier.pop()
        if turn in seen:
            continue
        seen.add(turn)
        sounds.update(turn.statement + turn.prompts)
        if turn.question is not None:
            events: list[Heard] = [*(Pressed(digit=digit) for digit in "0123456789*#"), *Unheard]
            frontier += [dialogue.follow(turn, event) for event in events]
    assert sounds | {dialogue.not_recorded} == set(dialogue.prompts())
    assert len(seen) > 100


def test_prompt_names_of_a_campaign() -> None:
    """By the campaign's seller and sector."""
    assert "sector-energy" in prompt_names(NL_BMNR_NOTICE, a_campaign())
    assert "sector-charities" in prompt_names(NL_BMNR_NOTICE, a_campaign(Purpose.CHARITY))
