"""A key counts only for a question of which enough was heard; and whether a line can hear keys at all."""

from __future__ import annotations

import pytest

from agent.domain.ports import Played, PlayEnd
from agent.domain.profile import NL_BMNR
from tests.unit.scripted_notices import LONG_MS, FakeLine, FakeSounds, answered, conduct, ended, sent

ENOUGH_MS = NL_BMNR.notice.listen_ms


def key(digit: str, heard_ms: int) -> Played:
    """A key in a question."""
    return ended(PlayEnd.KEY, heard_ms, digit)


def test_a_doubled_key_answers_one_question() -> None:
    """The second 2 comes 150 ms into the next one, which goes on from there, and waits for an answer of its own."""
    line = FakeLine("1", menu=key("2", ENOUGH_MS), scope=[key("2", 150)])
    _, journal = conduct(line)
    assert answered(journal) == ["register", "everything", "hung_up"]
    scope = [begun for (name, _), begun in zip(line.heard, line.begun_at, strict=True) if name == "scope"]
    assert scope == [0, 150]


@pytest.mark.parametrize(
    ("heard_ms", "long_ms", "counts"),
    [
        (ENOUGH_MS - 1, LONG_MS, False),
        (ENOUGH_MS, LONG_MS, True),
        (499, 500, False),
        (500, 500, True),
    ],
)
def test_a_key_counts_when_enough_of_the_question_was_heard(heard_ms: int, long_ms: int, counts: bool) -> None:
    """All of it, where it is shorter."""
    line = FakeLine("0", menu=[key("1", heard_ms)])
    _, journal = conduct(line, sounds=FakeSounds(milliseconds=long_ms))
    assert answered(journal)[0] == ("seller_optout" if counts else "declined")


def test_a_question_of_two_prompts_is_heard_in_both() -> None:
    """How much of it was heard adds up."""
    line = FakeLine("2", scope=[ended(PlayEnd.COMPLETE, 1_500)], sector=[key("1", 499), key("2", 1)])
    _, journal = conduct(line, sounds=FakeSounds(milliseconds=1_500))
    assert answered(journal)[:2] == ["register", "this_sector"]


def test_a_key_at_a_question_that_was_asked_before_is_its_answer() -> None:
    """It was heard the first time; the key comes right as it is asked again."""
    line = FakeLine("-", menu=[ended(PlayEnd.COMPLETE, LONG_MS), key("1", 20)])
    _, journal = conduct(line)
    assert answered(journal)[0] == "seller_optout"


def test_early_keys_do_not_keep_a_question_from_being_heard() -> None:
    """Whoever leans on a key hears it out, and is waited for as ever."""
    line = FakeLine("0", menu=[key("2", 0)] * 100)
    conduct(line)
    tries = NL_BMNR.notice.early_keys
    menu = [keys != "" for name, keys in line.heard if name == "menu-acme"]
    assert menu[: tries + 1] == [True] * tries + [False]
    assert len(menu) == tries + 1


def test_a_key_in_what_was_not_sent_is_early() -> None:
    """They were on hold for the first seconds: the question begins again."""
    menu = [sent(PlayEnd.KEY, 100, played_ms=4_000, digit="2"), key("0", ENOUGH_MS)]
    line = FakeLine(menu=menu)
    _, journal = conduct(line)
    assert answered(journal) == ["declined"]
    assert line.begun_at[:3] == [0, 0, 0]


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        (FakeLine("--"), False),
        (FakeLine("1"), True),
        (FakeLine("-1"), True),
        (FakeLine("--", menu=[key("7", 20)]), True),
        (FakeLine("!"), None),
        (FakeLine("h", resumes="n"), None),
        (FakeLine(notice=ended(PlayEnd.HUNG_UP, 900)), None),
    ],
)
def test_whether_keys_can_be_heard_at_all(line: FakeLine, heard: bool | None) -> None:
    """An early key is one, too; who hung up in time for none says nothing."""
    outcome, _ = conduct(line)
    assert outcome.keys_heard is heard
