"""What counts as heard: by Asterisk's count and the sound file, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from agent.domain.call_story import NoticeResult
from agent.domain.journal_events import EventType
from agent.domain.ports import Played, PlayEnd
from agent.notices import NoticeEnd
from tests.unit.scripted_notices import LONG_MS, NOTICE, FakeJournal, FakeLine, FakeSounds, conduct, ended


@pytest.mark.parametrize(
    ("played", "sounds", "result", "why"),
    [
        (ended(PlayEnd.COMPLETE, LONG_MS), {}, "heard", "complete"),
        (ended(PlayEnd.COMPLETE, LONG_MS - 100), {}, "heard", "complete"),
        (ended(PlayEnd.COMPLETE, LONG_MS - 101), {}, "partial", "complete"),
        (ended(PlayEnd.HUNG_UP, 2_000), {}, "partial", "hung_up"),
        (ended(PlayEnd.HUNG_UP, LONG_MS), {}, "partial", "hung_up"),
        (ended(PlayEnd.HUNG_UP, 0), {}, "not_played", "hung_up"),
        (ended(PlayEnd.NO_SOUND, 0), {}, "not_played", "no_sound"),
        (ended(PlayEnd.COMPLETE, 0), {}, "not_played", "complete"),
        (ended(PlayEnd.COMPLETE, LONG_MS), {"missing": True}, "partial", "unproved"),
        (ended(PlayEnd.NO_SOUND, 0), {"missing": True}, "not_played", "no_sound"),
        (ended(PlayEnd.COMPLETE, LONG_MS), {"silent": True}, "not_played", "silent_file"),
        (ended(PlayEnd.HUNG_UP, 2_000), {"silent": True}, "not_played", "silent_file"),
        (ended(PlayEnd.HUNG_UP, 2_000), {"missing": True}, "partial", "hung_up"),
    ],
)
def test_what_counts_as_heard(played: Played, sounds: dict[str, bool], result: str, why: str) -> None:
    """Only all of an audible file whose length is known."""
    outcome, journal = conduct(FakeLine(notice=played), sounds=FakeSounds(**sounds))
    (record,) = journal.played()
    assert (record["result"], record["ended"], record["heard_ms"]) == (result, why, played.heard_ms)
    assert (outcome.result, outcome.ended) == (result, why)


def test_the_best_of_several_playings_counts() -> None:
    """Asked for again and hung up in it: he has heard it."""
    line = FakeLine("9", notice=[ended(PlayEnd.COMPLETE, LONG_MS), ended(PlayEnd.HUNG_UP, 900)])
    outcome, journal = conduct(line)
    assert [one["result"] for one in journal.played()] == ["heard", "partial"]
    assert (outcome.result, outcome.ended) == (NoticeResult.HEARD, NoticeEnd.COMPLETE)


def test_what_was_not_played_is_not_asked_about() -> None:
    """Without the notice the questions mean nothing."""
    line = FakeLine("1", notice=ended(PlayEnd.NO_SOUND, 0))
    outcome, _ = conduct(line)
    assert [name for name, _ in line.heard] == [NOTICE]
    assert outcome.failure == "prompt notice-acme could not be played"


def test_no_key_cuts_the_notice_short_unless_the_profile_says_so() -> None:
    """Then it was not heard in full. The key answers nothing: the menu was not heard yet."""
    line = FakeLine()
    conduct(line)
    assert line.heard[0] == (NOTICE, "")
    line = FakeLine("0", notice=ended(PlayEnd.KEY, 800, "1"))
    outcome, _ = conduct(line, keys_skip_notice=True)
    assert line.heard[:2] == [(NOTICE, "0123456789*#"), ("menu-acme", "0123456789*#")]
    assert (outcome.result, outcome.ended, outcome.wish.word) == (NoticeResult.PARTIAL, NoticeEnd.KEY, "none")


def test_a_machine_hears_nothing() -> None:
    """The agent logged voicemail: a record, no sound."""
    line = FakeLine()
    outcome, journal = conduct(line, FakeJournal("voicemail"))
    assert line.heard == []
    assert journal.played()[0]["ended"] == "voicemail"
    assert outcome.result is NoticeResult.NOT_PLAYED


@pytest.mark.parametrize("screened", [{"notice": "none"}, {"verdict": "block"}, {"number": "112"}, {"seller": None}])
def test_a_call_without_a_notice_hears_none(screened: dict[str, Any]) -> None:
    """Research, a blocked call, an emergency: nothing is played or recorded."""
    line = FakeLine()
    outcome, journal = conduct(line, FakeJournal(**screened))
    assert (line.heard, journal.events, outcome.result) == ([], [], NoticeResult.NOT_PLAYED)
    assert outcome.failure


def test_nothing_is_confirmed_that_is_not_on_disk() -> None:
    """The consumer hears so, at the notice and at an answer; the dialplan is told nothing that is not so."""
    line = FakeLine("1")
    outcome, _ = conduct(line, FakeJournal(fails=True))
    assert [name for name, _ in line.heard] == [NOTICE, "not-recorded-acme"]
    assert (outcome.result, line.told, outcome.failure) == (NoticeResult.NOT_PLAYED, [], "disk full")


def test_what_is_true_of_a_notice_is_recorded_as_soon_as_that_works() -> None:
    """The disk is full for a moment: its beginning and how far it came are facts, and follow later."""
    _, journal = conduct(FakeLine("1"), FakeJournal(fails=True))
    assert [event.type for event in journal.later] == [EventType.NOTICE_BEGUN, EventType.NOTICE_PLAYED]
    assert journal.later[1].body["result"] == "heard"


def test_an_answer_that_is_not_in_redis_yet_is_late() -> None:
    """It is confirmed, for it is on disk."""
    outcome, journal = conduct(FakeLine("1"), away=True)
    assert (outcome.late, outcome.wish.word) == (1, "seller_optout")
    assert any(event.type is EventType.CHOICE_RECORDED for event in journal.events)


def test_a_question_that_cannot_be_heard_ends_it() -> None:
    """Nobody can answer what he was not asked; what was said before stands."""
    line = FakeLine("2", scope=ended(PlayEnd.NO_SOUND, 0))
    outcome, _ = conduct(line)
    assert outcome.wish.word == "register_charities_not_answered"
    assert line.heard[-1][0] == "scope"


def test_each_answer_is_told_at_once() -> None:
    """So that a line that drops leaves the last word behind."""
    line = FakeLine("2")
    conduct(line)
    assert line.told == [("heard", "none"), ("heard", "register_charities_not_answered"), *line.told[2:]]
    assert line.language == "nl"


# --- the beginning


def test_the_beginning_is_on_disk_before_the_first_sound() -> None:
    """So a crash in the middle leaves its trace."""
    journal = FakeJournal()

    class Listening(FakeLine):
        """Looks at the journal whenever something is played."""

        def play(self, name: str, keys: str, from_ms: int = 0) -> Played:
            """The first record must be there already."""
            assert journal.events[0].type is EventType.NOTICE_BEGUN
            return super().play(name, keys, from_ms)

    conduct(Listening(), journal)
    begun = journal.events[0].body
    assert [begun[name] for name in ("call", "uniqueid", "prompt", "long_ms")] == ["c1", "1.2", NOTICE, LONG_MS]
    assert [event.type for event in journal.events].count(EventType.NOTICE_BEGUN) == 1


def test_a_machine_is_no_beginning() -> None:
    """Nothing is played to it."""
    _, journal = conduct(FakeLine(), FakeJournal("voicemail"))
    assert [event.type for event in journal.events] == [EventType.NOTICE_PLAYED]
