"""What counts as heard: by Asterisk's count and the sound file, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from agent.choices import Choices
from agent.conversation import Notices
from agent.domain.call_story import NoticeResult
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, LineHungUp, LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue, Record
from agent.domain.model import Sector
from agent.domain.ports import Journal, Line, Packets, Played, PlayEnd, Sound, Sounds
from agent.domain.profile import NL_BMNR
from agent.notices import NoticeEnd, NoticeOutcome
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
        self.later: list[Event] = []
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

    def append_later(self, events: Sequence[Event]) -> None:
        """Remember it."""
        self.later += events

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
    """Plays by a script: what becomes of prompts by name, in turn, and which keys come after questions.

    Of the keys ``-`` is silence, ``h`` silence on a line that is on hold after it, and ``!`` a hang-up.
    """

    def __init__(self, keys: str = "", *, resumes: str = "", **played: Played | Sequence[Played]) -> None:
        """``resumes`` says for each hold whether it ends: yes, no, or ``!`` by a hang-up."""
        self.keys: Iterator[str] = iter(keys)
        self.resumes: Iterator[str] = iter(resumes)
        self.outcomes = {
            name: iter([outcome] if isinstance(outcome, Played) else outcome) for name, outcome in played.items()
        }
        self.heard: list[tuple[str, str]] = []
        self.begun_at: list[int] = []
        self.waits: list[int] = []
        self.told: list[tuple[str, str]] = []
        self.language = ""
        self.on_hold = False

    @property
    def prompts(self) -> list[str]:
        """What was played, or was to be."""
        return [name for name, _ in self.heard]

    def speak(self, language: str) -> None:
        """Remember it."""
        self.language = language

    def play(self, name: str, keys: str, from_ms: int = 0) -> Played:
        """As scripted; else to its end."""
        self.heard.append((name, keys))
        self.begun_at.append(from_ms)
        whole = Played(end=PlayEnd.COMPLETE, heard_ms=LONG_MS, stopped_ms=LONG_MS)
        scripted = next(self.outcomes.get(name.split("-")[0], iter(())), whole)
        return scripted if keys or scripted.digit is None else whole

    def wait_for_key(self, timeout_ms: int) -> str | None:
        """The next key of the script; after them he hangs up."""
        key = next(self.keys, "!")
        if key == "!":
            raise LineHungUp("gone")
        self.on_hold = key == "h"
        return None if key in "-h" else key

    def is_on_hold(self) -> bool:
        """After an ``h``."""
        return self.on_hold

    def wait_for_resumption(self, timeout_ms: int) -> bool:
        """As scripted."""
        self.waits.append(timeout_ms)
        end = next(self.resumes)
        if end == "!":
            raise LineHungUp("gone")
        return end == "y"

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
    """How a prompt ended on a line without RTP."""
    return Played(end=end, heard_ms=heard_ms, stopped_ms=heard_ms, digit=digit)


def sent(end: PlayEnd, heard_ms: int, played_ms: int = LONG_MS, digit: str | None = None) -> Played:
    """How a prompt ended on a line that counts packets of 20 ms."""
    packets = Packets(sent=heard_ms // 20, received=250)
    unsent_ms = played_ms - heard_ms
    return Played(end=end, heard_ms=heard_ms, unsent_ms=unsent_ms, stopped_ms=played_ms, digit=digit, packets=packets)


HELD = Played(end=PlayEnd.ON_HOLD, heard_ms=0, packets=Packets(sent=0, received=None))
"""Nothing was played, for the line was on hold before it."""


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


# --- hold


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


def answered(journal: FakeJournal) -> list[str]:
    """What is on record as said."""
    return [str(event.body["answer"]) for event in journal.events if event.type is EventType.CHOICE_RECORDED]


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


# --- keys that come too early

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
