"""What counts as heard: by Asterisk's count and the sound file, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from agent.choices import Choices
from agent.domain.call_story import NoticeResult
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, LineHungUp, LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue, Record
from agent.domain.model import Sector
from agent.domain.ports import Journal, Line, Played, PlayEnd, Sound, Sounds
from agent.domain.profile import NL_BMNR
from agent.notices import NoticeEnd, NoticeOutcome, Notices
from agent.outbox import Outbox
from tests.unit.builders import NOW

LONG_MS = 5_000
NOTICE = "notice-acme"


class FakeJournal:
    """One call, and what is appended."""

    def __init__(self, *before: EventType | str, fails: bool = False, **screened: JsonValue) -> None:
        body: dict[str, JsonValue] = {
            "call": "c1",
            "number": "+31612345678",
            "campaign": "energy",
            "seller": "acme",
            "agent": "7",
            "profile": "nl-bmnr",
            "verdict": "allow",
            "notice": "required",
            "uniqueid": "1.1",
            **screened,
        }
        self.records = [Record(1, NOW, EventType.CALL_SCREENED, body)]
        self.events: list[Event] = []
        self.fails = fails
        for answer in before:
            self.records.append(
                Record(2, NOW, EventType.CHOICE_RECORDED, {"answer": answer, "source": "agent_key", "sector": "energy"})
            )

    def append(self, events: Sequence[Event], deadline: Deadline) -> tuple[int, ...]:
        """Keep them, unless the disk is full."""
        if self.fails:
            raise JournalUnavailable("disk full")
        self.events += events
        return tuple(range(len(events)))

    def of_call(self, call: str) -> list[Record]:
        """The one call."""
        return self.records if call == "c1" else []

    def played(self) -> list[dict[str, JsonValue]]:
        """The records of the notice."""
        return [dict(event.body) for event in self.events if event.type is EventType.NOTICE_PLAYED]


class FakeOutbox:
    """Redis is there, or away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away

    def catch_up(self, deadline: Deadline) -> None:
        """At once, or not at all."""
        if self.away:
            raise LookupUnavailable("away")

    def has_applied(self, seq: int, deadline: Deadline) -> bool:
        """As soon as somebody caught up."""
        self.catch_up(deadline)
        return True


class FakeSounds:
    """Every prompt is there, of the same length."""

    def __init__(self, **changes: Any) -> None:
        self.sound: Sound | None = Sound(name="x", sha256="0" * 64, milliseconds=LONG_MS, silent=False)
        if changes:
            self.sound = None if changes.get("missing") else replace(self.sound, **changes)

    def find(self, name: str, language: str) -> Sound | None:
        """The same for all."""
        return self.sound


class FakeLine:
    """Plays by a script: what becomes of prompts by name, and which keys come after questions."""

    def __init__(self, keys: str = "", **played: Played) -> None:
        self.keys: Iterator[str] = iter(keys)
        self.outcomes = played
        self.heard: list[tuple[str, str]] = []
        self.told: list[tuple[str, str]] = []
        self.language = ""

    def speak(self, language: str) -> None:
        """Remember it."""
        self.language = language

    def play(self, name: str, keys: str) -> Played:
        """As scripted; else to its end."""
        self.heard.append((name, keys))
        whole = Played(end=PlayEnd.COMPLETE, heard_ms=LONG_MS)
        again = sum(heard == name for heard, _ in self.heard) > 1
        return self.outcomes.get(f"{name.split('-')[0]}{'_again' if again else ''}", whole)

    def wait_for_key(self, timeout_ms: int) -> str | None:
        """The next key of the script; after them he hangs up."""
        key = next(self.keys, "!")
        if key == "!":
            raise LineHungUp("gone")
        return None if key == "-" else key

    def tell(self, result: str, choice: str) -> None:
        """Remember it."""
        self.told.append((result, choice))


def conduct(
    line: FakeLine, journal: FakeJournal | None = None, sounds: FakeSounds | None = None, **options: Any
) -> tuple[NoticeOutcome, FakeJournal]:
    """One notice."""
    journal = journal or FakeJournal()
    outbox = cast("Outbox", FakeOutbox(away=options.pop("away", False)))
    profile = replace(NL_BMNR, notice=replace(NL_BMNR.notice, **options))
    notices = Notices(
        journal=cast("Journal", journal),
        choices=Choices(cast("Journal", journal), cast("Any", journal), outbox, {"energy": Sector.ENERGY}),
        sounds=cast("Sounds", sounds or FakeSounds()),
        profiles={"nl-bmnr": profile},
        languages={"energy": "nl"},
    )
    return notices.conduct("c1", cast("Line", line), "1.2"), journal


def ended(end: PlayEnd, heard_ms: int, digit: str | None = None) -> Played:
    """How the notice ended."""
    return Played(end=end, heard_ms=heard_ms, digit=digit)


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
    line = FakeLine("9", notice_again=ended(PlayEnd.HUNG_UP, 900))
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
    """Then it was not heard in full, and the key answers the menu."""
    line = FakeLine()
    conduct(line)
    assert line.heard[0] == (NOTICE, "")
    line = FakeLine(notice=ended(PlayEnd.KEY, 800, "1"))
    outcome, _ = conduct(line, keys_skip_notice=True)
    assert line.heard[0] == (NOTICE, "0123456789*#")
    assert (outcome.result, outcome.ended, outcome.wish.word) == (NoticeResult.PARTIAL, NoticeEnd.KEY, "seller_optout")


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
