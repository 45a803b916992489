"""Notices on a line that plays by a script, and on a journal in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from agent.choices import Choices
from agent.conversation import Notices
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, LineHungUp, LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue, Record
from agent.domain.model import Sector
from agent.domain.ports import Journal, Line, Packets, Played, PlayEnd, Sound, Sounds
from agent.domain.profile import NL_BMNR
from agent.notices import NoticeOutcome
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


def answered(journal: FakeJournal) -> list[str]:
    """What is on record as said."""
    return [str(event.body["answer"]) for event in journal.events if event.type is EventType.CHOICE_RECORDED]
