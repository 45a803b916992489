"""The notice, conducted on the consumer's line: played, proved by what Asterisk says was heard, and answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent.choices import Choices, call_fields
from agent.domain.call_story import CallStory, NoticeResult
from agent.domain.choice import MENU_ANSWERS, Wish
from agent.domain.deadline import Deadline
from agent.domain.dialogue import ALL_KEYS, Dialogue, Heard, Pressed, Turn, Unheard
from agent.domain.errors import JournalUnavailable, LineHungUp
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Notice
from agent.domain.ports import Journal, Line, Played, PlayEnd, Sound, Sounds
from agent.domain.profile import Profile

WHOLE_WITHIN_MS: Final = 100
"""A notice counts as heard in full when no more than this is missing: Asterisk counts whole frames of 20 ms."""
_RECORD_MS: Final = 2_000


class NoticeEnd(StrEnum):
    """How the notice ended, or why it was not played. Append only: the journal holds these words."""

    COMPLETE = "complete"
    KEY = "key"
    """Cut short by a key, where the profile allows that."""
    HUNG_UP = "hung_up"
    NO_SOUND = "no_sound"
    SILENT_FILE = "silent_file"
    UNPROVED = "unproved"
    """Played, but its sound file is not where this system can measure it."""
    VOICEMAIL = "voicemail"
    """The agent logged that nobody was there: a recording to a machine is no notice."""
    CONSUMER_LEFT = "consumer_left"
    """The consumer hung up before the notice could begin."""
    TRANSFERRED = "transferred"
    """The agent passed the consumer on to somebody else, past the notice."""
    NEVER_BEGAN = "never_began"
    """The agent's part was over and no notice began within its time: both hung up, or this system was down."""


@dataclass(slots=True, kw_only=True)
class NoticeOutcome:
    """What became of a notice, so far."""

    story: CallStory | None
    result: NoticeResult = NoticeResult.NOT_PLAYED
    ended: NoticeEnd | None = None
    """None when there was no call to play it in."""
    heard_ms: int = 0
    wish: Wish
    late: int = 0
    """Answers that are on disk, but were not in Redis at once."""
    failure: str = ""


class Notices:
    """The use case behind ``notice``. Thread-safe."""

    def __init__(
        self,
        *,
        journal: Journal,
        choices: Choices,
        sounds: Sounds,
        profiles: Mapping[str, Profile],
        languages: Mapping[str, str],
    ) -> None:
        """``languages`` are those of the campaigns, by key."""
        self._journal = journal
        self._choices = choices
        self._sounds = sounds
        self._profiles = profiles
        self._languages = languages

    def conduct(self, call: str, line: Line, uniqueid: str) -> NoticeOutcome:
        """Play the notice of ``call`` on ``line`` and take the consumer's answers, each on disk when it is given.

        Raises nothing for a journal that is away: what is not on disk is not confirmed, and the outcome says why.
        """
        try:
            story = self._choices.story(call)
        except JournalUnavailable as error:
            return NoticeOutcome(story=None, wish=Wish(), failure=str(error))
        if story is None or story.number is None or story.seller is None or story.notice is not Notice.REQUIRED:
            return NoticeOutcome(story=story, wish=Wish(), failure="no call that must carry a notice has this id")
        profile = self._profiles[story.profile]
        return _Conversation(
            outcome=NoticeOutcome(story=story, wish=story.choices.by_consumer),
            story=story,
            dialogue=Dialogue(
                script=profile.notice,
                seller=story.seller,
                sector=self._choices.sector(story),
                already=story.choices.by_agent,
            ),
            language=self._languages.get(story.campaign, profile.language),
            line=line,
            uniqueid=uniqueid,
            journal=self._journal,
            choices=self._choices,
            sounds=self._sounds,
        ).hold()


@dataclass(slots=True, kw_only=True)
class _Conversation:
    """One notice on one line."""

    outcome: NoticeOutcome
    story: CallStory
    dialogue: Dialogue
    language: str
    line: Line
    uniqueid: str
    journal: Journal
    choices: Choices
    sounds: Sounds

    def hold(self) -> NoticeOutcome:
        """From the notice to the goodbye, or as far as it comes."""
        if self.story.choices.voicemail:
            self._record_notice(NoticeResult.NOT_PLAYED, NoticeEnd.VOICEMAIL, 0, self._sound(self.dialogue.notice))
            return self.outcome
        try:
            self.line.speak(self.language)
        except LineHungUp:
            self._prove(Played(end=PlayEnd.HUNG_UP, heard_ms=0))
            return self.outcome
        turn = self.dialogue.begin()
        heard = self._take(turn)
        while turn.question is not None:
            asked, turn = turn, self.dialogue.follow(turn, heard)
            if turn.said is not None and not self._record(asked, turn):
                self._play(self.dialogue.not_recorded, "")
                break
            heard = self._take(turn)
        return self.outcome

    def _take(self, turn: Turn) -> Heard:
        """Play a turn and wait for its answer."""
        for name in turn.statement:
            is_notice = name == self.dialogue.notice
            played = self._play(name, ALL_KEYS if is_notice and self.dialogue.script.keys_skip_notice else "")
            if is_notice and not self._prove(played):
                self._play(self.dialogue.not_recorded, "")
                return Unheard.NO_SOUND
            if played.digit is not None:
                return Pressed(digit=played.digit)
            if played.end is PlayEnd.HUNG_UP:
                return Unheard.LEFT
            if is_notice and self.outcome.result is NoticeResult.NOT_PLAYED:
                return Unheard.NO_SOUND
        asked_ms = 0
        for name in turn.prompts:
            played = self._play(name, ALL_KEYS)
            asked_ms += played.heard_ms
            if played.digit is not None:
                return Pressed(digit=played.digit)
            if played.end is PlayEnd.HUNG_UP:
                return Unheard.HUNG_UP if asked_ms else Unheard.LEFT
            if played.end is not PlayEnd.COMPLETE:
                return Unheard.NO_SOUND
        if turn.question is None:
            return Unheard.SILENCE
        try:
            digit = self.line.wait_for_key(self.dialogue.script.answer_ms)
        except LineHungUp:
            return Unheard.HUNG_UP
        return Unheard.SILENCE if digit is None else Pressed(digit=digit)

    def _record(self, asked: Turn, turn: Turn) -> bool:
        """Put the answer on disk and into force; False when it could not be kept."""
        assert turn.said is not None
        prompt = asked.prompts[0]
        deadline = Deadline.after_ms(_RECORD_MS)
        try:
            applied = self.choices.record(self.story, turn.said, prompt, self._sound(prompt), self.uniqueid, deadline)
        except JournalUnavailable as error:
            self.outcome.failure = str(error)
            return False
        begun = Wish() if turn.said.answer in MENU_ANSWERS else self.outcome.wish
        self.outcome.wish = begun.after(turn.said.answer)
        self.outcome.late += not applied
        self.line.tell(self.outcome.result, self.outcome.wish.word)
        return True

    def _play(self, name: str, keys: str) -> Played:
        played = self.line.play(name, keys)
        if played.end is PlayEnd.NO_SOUND:
            self.outcome.failure = f"prompt {name} could not be played"
        return played

    def _prove(self, played: Played) -> bool:
        """Record how much was heard, by Asterisk's count and the length of the file; False when that failed."""
        sound = self._sound(self.dialogue.notice)
        if played.heard_ms == 0:
            result, ended = NoticeResult.NOT_PLAYED, NoticeEnd(played.end)
        elif sound is None:
            result, ended = NoticeResult.PARTIAL, NoticeEnd.UNPROVED
        elif sound.silent:
            result, ended = NoticeResult.NOT_PLAYED, NoticeEnd.SILENT_FILE
        elif played.end is PlayEnd.COMPLETE and played.heard_ms >= sound.milliseconds - WHOLE_WITHIN_MS:
            result, ended = NoticeResult.HEARD, NoticeEnd.COMPLETE
        else:
            result, ended = NoticeResult.PARTIAL, NoticeEnd(played.end)
        return self._record_notice(result, ended, played.heard_ms, sound)

    def _record_notice(self, result: NoticeResult, ended: NoticeEnd, heard_ms: int, sound: Sound | None) -> bool:
        event = notice_played(
            self.story, self.uniqueid, self.language, self.dialogue.notice, sound, result, ended, heard_ms
        )
        outcome = self.outcome
        try:
            self.journal.append([event], Deadline.after_ms(_RECORD_MS))
        except JournalUnavailable as error:
            outcome.failure = str(error)  # what is not on disk is not claimed
            return False
        if outcome.ended is None or heard_ms >= outcome.heard_ms:
            outcome.result, outcome.ended, outcome.heard_ms = result, ended, heard_ms
        self.line.tell(outcome.result, outcome.wish.word)
        return True

    def _sound(self, name: str) -> Sound | None:
        return self.sounds.find(name, self.language)


def notice_played(
    story: CallStory,
    uniqueid: str,
    language: str | None,
    prompt: str,
    sound: Sound | None,
    result: NoticeResult,
    ended: NoticeEnd,
    heard_ms: int,
) -> Event:
    """The record of one notice, played or not."""
    body: dict[str, JsonValue] = {
        **call_fields(story, uniqueid),
        "language": language,
        "prompt": prompt,
        "sha256": sound.sha256 if sound else None,
        "heard_ms": heard_ms,
        "long_ms": sound.milliseconds if sound else None,
        "ended": ended,
        "result": result,
    }
    return Event.of(EventType.NOTICE_PLAYED, body)
