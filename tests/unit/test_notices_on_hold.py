"""A notice on a line that is on hold, or on which not everything is sent: what was not sent was not heard."""

from __future__ import annotations

import pytest

from agent.domain.call_story import NoticeResult
from agent.domain.ports import Played, PlayEnd
from agent.domain.profile import NL_BMNR
from agent.notices import NoticeEnd
from tests.unit.scripted_notices import HELD, LONG_MS, NOTICE, FakeLine, answered, conduct, ended, sent


@pytest.mark.parametrize(
    ("played", "result", "why", "proof"),
    [
        (sent(PlayEnd.COMPLETE, LONG_MS), "heard", "complete", "rtp"),
        (ended(PlayEnd.COMPLETE, LONG_MS), "heard", "complete", "count_only"),
        (sent(PlayEnd.ON_HOLD, 0), "not_played", "on_hold", "rtp"),
        (sent(PlayEnd.ON_HOLD, 1_000), "partial", "on_hold", "rtp"),
        (sent(PlayEnd.UNSENT, 3_000), "partial", "unsent", "rtp"),
        (sent(PlayEnd.UNSENT, 0), "not_played", "unsent", "rtp"),
        (ended(PlayEnd.HUNG_UP, 2_000), "partial", "hung_up", "count_only"),
        (ended(PlayEnd.LINE_LOST, 0), "partial", "line_lost", None),
        (ended(PlayEnd.NO_SOUND, 0), "not_played", "no_sound", None),
    ],
)
def test_what_was_not_sent_was_not_heard(played: Played, result: str, why: str, proof: str | None) -> None:
    """And the record says what it rests on, with the packets themselves."""
    _, journal = conduct(FakeLine("0", notice=played, resumes="nn"))
    record = journal.played()[0]
    assert (record["result"], record["ended"], record["heard_ms"]) == (result, why, played.heard_ms)
    packets = (None, None) if played.packets is None else (played.packets.sent, 250)
    assert (record["proof"], record["sent"], record["received"]) == (proof, *packets)


def test_a_hold_before_the_notice_is_waited_for() -> None:
    """Nothing is played into it; then the notice is heard, from its beginning."""
    line = FakeLine("0", notice=[HELD], resumes="y")
    outcome, journal = conduct(line)
    assert line.prompts[:3] == [NOTICE, NOTICE, "menu-acme"]
    assert line.waits == [NL_BMNR.notice.hold_ms]
    assert [one["result"] for one in journal.played()] == ["heard"]
    assert outcome.result is NoticeResult.HEARD


@pytest.mark.parametrize("end", ["n", "!"], ids=["it does not end", "they hang up"])
def test_a_hold_that_does_not_end_is_no_notice(end: str) -> None:
    """Nothing was played, and nothing is asked."""
    line = FakeLine("0", notice=[HELD], resumes=end)
    outcome, journal = conduct(line)
    assert line.prompts == [NOTICE]
    (record,) = journal.played()
    assert (record["result"], record["ended"], record["proof"], record["sent"]) == ("not_played", "on_hold", "rtp", 0)
    assert (outcome.result, outcome.ended) == (NoticeResult.NOT_PLAYED, NoticeEnd.ON_HOLD)
    assert line.told[-1] == ("not_played", "none")


def test_a_hold_during_the_notice_is_partial_until_it_is_heard_again() -> None:
    """Both are on record."""
    line = FakeLine("0", notice=[sent(PlayEnd.ON_HOLD, 1_000)], resumes="y")
    outcome, journal = conduct(line)
    assert [(one["result"], one["ended"]) for one in journal.played()] == [
        ("partial", "on_hold"),
        ("heard", "complete"),
    ]
    assert (outcome.result, outcome.heard_ms) == (NoticeResult.HEARD, LONG_MS)


def test_a_hold_that_does_not_end_leaves_what_was_heard() -> None:
    """Partial, and nothing is asked on a line that nobody hears."""
    line = FakeLine("0", notice=[sent(PlayEnd.ON_HOLD, 1_000)], resumes="n")
    outcome, journal = conduct(line)
    assert line.prompts == [NOTICE]
    assert [one["result"] for one in journal.played()] == ["partial"]
    assert (outcome.result, outcome.heard_ms) == (NoticeResult.PARTIAL, 1_000)


def test_holds_are_bounded() -> None:
    """A phone that goes on and off hold does not keep a line for ever."""
    holds = NL_BMNR.notice.holds
    line = FakeLine(notice=[HELD] * 100, resumes="y" * 100)
    conduct(line)
    assert line.prompts == [NOTICE] * (holds + 1)
    assert len(line.waits) == holds


def test_what_was_not_all_sent_without_a_hold_is_played_once_more() -> None:
    """It may be a hold that was over again. If not, it is no hold, and the questions are asked all the same."""
    line = FakeLine("0", notice=[sent(PlayEnd.UNSENT, 3_000)] * 9, menu=[sent(PlayEnd.UNSENT, 3_000)], resumes="y")
    outcome, journal = conduct(line)
    assert line.prompts == [NOTICE, NOTICE, "menu-acme", "chosen-none", "goodbye"]
    assert [one["ended"] for one in journal.played()] == ["unsent", "unsent"]
    assert outcome.result is NoticeResult.PARTIAL


@pytest.mark.parametrize(
    ("keys", "scope"),
    [("21", [HELD]), ("21", [sent(PlayEnd.ON_HOLD, 300)]), ("2h1", [])],
    ids=["before the question", "during it", "while an answer was awaited"],
)
def test_a_question_on_hold_is_asked_again(keys: str, scope: list[Played]) -> None:
    """Silence after it is no answer, and not one of the tries."""
    line = FakeLine(keys, scope=scope, resumes="y")
    _, journal = conduct(line)
    assert answered(journal) == ["register", "everything", "hung_up"]
    assert line.prompts.count("scope") == 2


@pytest.mark.parametrize(("keys", "scope"), [("2", [HELD]), ("2h", []), ("2", [sent(PlayEnd.ON_HOLD, 300)])])
def test_a_question_that_nobody_heard_has_no_answer_on_record(keys: str, scope: list[Played]) -> None:
    """The hold does not end: neither "not answered" nor "hung up" may be said of it."""
    outcome, journal = conduct(FakeLine(keys, scope=scope, resumes="n"))
    assert answered(journal) == ["register"]
    assert outcome.wish.word == "register_charities_not_answered"


def test_a_read_back_on_hold_is_read_back_after_it() -> None:
    """From the sound that was not heard."""
    line = FakeLine("211", chosen=[ended(PlayEnd.COMPLETE, LONG_MS), HELD], resumes="y")
    conduct(line)
    assert line.prompts[-4:] == [
        "chosen-register-all",
        "chosen-charities-yes",
        "chosen-charities-yes",
        "chosen-correct",
    ]
