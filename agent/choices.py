"""Choices: what a consumer wants, keyed in by himself or logged by the agent, kept and effective at once.

An answer is in the journal, on disk, before anybody hears that it was recorded; the outbox brings it into Redis before
the call goes on, or as soon as Redis is back. Until then no screening is answered past it, for every screening
compares Redis with the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent.domain.call_story import CallStory
from agent.domain.choice import AGENT_KEYS, Source
from agent.domain.deadline import Deadline
from agent.domain.dialogue import Said
from agent.domain.errors import JournalUnavailable, LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Sector
from agent.domain.ports import CallRecords, Journal, Sound
from agent.domain.watch import Watch
from agent.outbox import Outbox

UNDO: Final = "undo"
"""The key that takes the agent's last one of this call back."""


class KeyResult(StrEnum):
    """What the agent hears."""

    RECORDED = "recorded"
    REJECTED = "rejected"


class Rejection(StrEnum):
    """Why an agent's key was rejected."""

    UNKNOWN_CALL = "unknown_call"
    UNKNOWN_KEY = "unknown_key"
    NOT_CONNECTED = "not_connected"
    NOTHING_TO_UNDO = "nothing_to_undo"
    JOURNAL_UNAVAILABLE = "journal_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPress:
    """A key that an agent pressed in a call."""

    call: str
    """In which the consumer was dialled; the agent who pressed may be another one than who dialled."""
    key: str
    uniqueid: str
    """Asterisk's id of the channel that it was pressed on."""
    connected: bool
    """Whether that channel is no consumer's, and connected to this consumer, who has picked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOutcome:
    """What became of it."""

    story: CallStory | None
    rejection: Rejection | None = None
    applied: bool = False
    """Whether it is in force in Redis already; if not, it will be as soon as Redis is back."""
    failure: str = ""

    @property
    def result(self) -> KeyResult:
        """As the dialplan gets it."""
        return KeyResult.RECORDED if self.rejection is None else KeyResult.REJECTED


class Choices:
    """The use case behind ``key``, and behind each answer of the notice. Thread-safe."""

    def __init__(
        self,
        journal: Journal,
        calls: CallRecords,
        outbox: Outbox,
        sectors: dict[str, Sector | None],
        watch: Watch | None = None,
    ) -> None:
        """``sectors`` are those of the campaigns, by key."""
        self._journal = journal
        self._calls = calls
        self._outbox = outbox
        self._sectors = sectors
        self._watch = watch or Watch()

    def story(self, call: str) -> CallStory | None:
        """What is known of a call; None for a call that was never screened. Raises ``JournalUnavailable``."""
        return CallStory.of(self._calls.of_call(call))

    def sector(self, story: CallStory) -> Sector | None:
        """What "only this sector" means in this call."""
        return self._sectors.get(story.campaign)

    def press(self, press: KeyPress, deadline: Deadline) -> KeyOutcome:
        """Record a key of the agent, or say why not. Raises nothing for a service that is away."""
        try:
            story = self.story(press.call)
            rejection = _rejection(story, press)
            if rejection is not None or story is None:
                return KeyOutcome(story=story, rejection=rejection)
            event = self._undone(story) if press.key == UNDO else self._logged(story, press)
            (seq,) = self._journal.append([event], deadline)
            self._watch.chosen(Source.AGENT, press.key)
        except JournalUnavailable as error:
            return KeyOutcome(story=None, rejection=Rejection.JOURNAL_UNAVAILABLE, failure=str(error))
        return KeyOutcome(story=story, applied=self._apply(seq, deadline))

    def record(
        self, story: CallStory, said: Said, prompt: str, sound: Sound | None, uniqueid: str, deadline: Deadline
    ) -> bool:
        """Record what the consumer said to a question; True when it is in force in Redis already.

        ``prompt`` asked it. Raises ``JournalUnavailable``: then nobody may be told that it was recorded.
        """
        body: dict[str, JsonValue] = {
            **self._about(story, uniqueid),
            "source": Source.CONSUMER,
            "question": said.question,
            "answer": said.answer,
            "digit": said.digit,
            "prompt": prompt,
            "sha256": sound.sha256 if sound else None,
        }
        (seq,) = self._journal.append([Event.of(EventType.CHOICE_RECORDED, body)], deadline)
        self._watch.chosen(Source.CONSUMER, said.answer)
        return self._apply(seq, deadline)

    def _logged(self, story: CallStory, press: KeyPress) -> Event:
        body = {**self._about(story, press.uniqueid), "source": Source.AGENT, "answer": press.key}
        return Event.of(EventType.CHOICE_RECORDED, body)

    def _undone(self, story: CallStory) -> Event:
        last = story.choices.keys[-1]
        undone: dict[str, JsonValue] = {"source": Source.AGENT, "undoes": last.seq, "answer": last.answer}
        return Event.of(EventType.CHOICE_UNDONE, {**self._about(story, story.uniqueid), **undone})

    def _about(self, story: CallStory, uniqueid: str) -> dict[str, JsonValue]:
        return {**call_fields(story, uniqueid), "profile": story.profile, "sector": self.sector(story)}

    def _apply(self, seq: int, deadline: Deadline) -> bool:
        try:
            while not self._outbox.has_applied(seq, deadline):
                self._outbox.catch_up(deadline)
        except (LookupUnavailable, JournalUnavailable):
            return False  # the outbox's own thread goes on, and says so
        return True


def call_fields(story: CallStory, uniqueid: str) -> dict[str, JsonValue]:
    """What every record of a call begins with; ``uniqueid`` is that of the channel that the script ran on."""
    return {
        "call": story.call,
        "number": story.number.e164 if story.number else None,
        "campaign": story.campaign,
        "seller": story.seller,
        "agent": story.agent,
        "uniqueid": uniqueid,
    }


def _rejection(story: CallStory | None, press: KeyPress) -> Rejection | None:
    if press.key != UNDO and press.key not in AGENT_KEYS:
        return Rejection.UNKNOWN_KEY
    if not press.connected:
        return Rejection.NOT_CONNECTED
    if story is None:
        return Rejection.UNKNOWN_CALL
    if story.number is None or not story.uniqueid:
        return Rejection.NOT_CONNECTED  # blocked, an emergency number, or screened by a command: nobody was dialled
    if press.key == UNDO and not story.choices.keys:
        return Rejection.NOTHING_TO_UNDO
    return None
