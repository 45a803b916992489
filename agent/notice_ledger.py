"""What is kept of one notice while it is conducted: each record when it is true, and the outcome so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.choices import Choices
from agent.domain.call_story import CallStory, NoticeResult
from agent.domain.choice import MENU_ANSWERS, Wish
from agent.domain.deadline import Deadline
from agent.domain.dialogue import Said
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import Event
from agent.domain.ports import Journal, Line, Packets, Played, Sound, Sounds
from agent.notices import NoticeEnd, NoticeOutcome, judged, notice_begun, notice_played

_RECORD_MS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeLedger:
    """The records of one notice. What is on disk is told to the dialplan; what is not on disk is not claimed."""

    outcome: NoticeOutcome
    story: CallStory
    prompt: str
    """The notice proper, by the name of its sound."""
    language: str
    line: Line
    uniqueid: str
    journal: Journal
    choices: Choices
    sounds: Sounds

    def begin(self) -> None:
        """Record that the notice begins, before its first sound: so a crash in the middle leaves its trace."""
        self._keep(notice_begun(self.story, self.uniqueid, self.language, self.prompt, self.sound(self.prompt)))

    def prove(self, played: Played) -> bool:
        """Record how much of the notice was heard; False when that is not on disk."""
        result, ended = judged(played, self.sound(self.prompt))
        return self._record(result, ended, played.heard_ms, played.packets)

    def pass_over(self, ended: NoticeEnd, packets: Packets | None = None) -> None:
        """Record that the notice was not played, and why; nothing when something of it was recorded before."""
        if self.outcome.ended is None:
            self._record(NoticeResult.NOT_PLAYED, ended, 0, packets)

    def answer(self, said: Said, prompt: str) -> bool:
        """Put an answer to ``prompt`` on disk and into force; False when it could not be kept."""
        deadline = Deadline.after_ms(_RECORD_MS)
        try:
            applied = self.choices.record(self.story, said, prompt, self.sound(prompt), self.uniqueid, deadline)
        except JournalUnavailable as error:
            self.outcome.failure = str(error)
            return False
        begun = Wish() if said.answer in MENU_ANSWERS else self.outcome.wish
        self.outcome.wish = begun.after(said.answer)
        self.outcome.late += not applied
        self.line.tell(self.outcome.result, self.outcome.wish.word)
        return True

    def sound(self, name: str) -> Sound | None:
        """The prompt ``name`` in the language of this notice."""
        return self.sounds.find(name, self.language)

    def _record(self, result: NoticeResult, ended: NoticeEnd, heard_ms: int, packets: Packets | None) -> bool:
        sound, outcome = self.sound(self.prompt), self.outcome
        about = (self.story, self.uniqueid, self.language, self.prompt, sound)
        if not self._keep(notice_played(*about, result, ended, heard_ms, packets)):
            return False
        if outcome.ended is None or heard_ms >= outcome.heard_ms:
            outcome.result, outcome.ended, outcome.heard_ms = result, ended, heard_ms
        self.line.tell(outcome.result, outcome.wish.word)
        return True

    def _keep(self, event: Event) -> bool:
        """Put a record on disk; False when it is not there yet. It is true all the same, so it follows."""
        try:
            self.journal.append([event], Deadline.after_ms(_RECORD_MS))
        except JournalUnavailable as error:
            self.outcome.failure = str(error)
            self.journal.append_later([event])
            return False
        return True
