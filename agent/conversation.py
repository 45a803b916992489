"""The notice, conducted on the consumer's line: played, proved by what Asterisk says was heard, and answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.choices import Choices
from agent.domain.call_story import NoticeResult
from agent.domain.choice import Wish
from agent.domain.dialogue import ALL_KEYS, Dialogue, Heard, Pressed, Turn, Unheard
from agent.domain.errors import JournalUnavailable, LineHungUp, LineLost
from agent.domain.model import Notice
from agent.domain.ports import WHOLE_WITHIN_MS, Journal, Line, Packets, Played, PlayEnd, Sounds
from agent.domain.profile import Profile
from agent.notice_ledger import NoticeLedger
from agent.notices import NoticeEnd, NoticeOutcome


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
        dialogue = Dialogue(
            script=profile.notice,
            seller=story.seller,
            sector=self._choices.sector(story),
            already=story.choices.by_agent,
        )
        ledger = NoticeLedger(
            outcome=NoticeOutcome(story=story, wish=story.choices.by_consumer),
            story=story,
            prompt=dialogue.notice,
            language=self._languages.get(story.campaign, profile.language),
            line=line,
            uniqueid=uniqueid,
            journal=self._journal,
            choices=self._choices,
            sounds=self._sounds,
        )
        _Conversation(dialogue=dialogue, line=line, ledger=ledger).converse()
        return ledger.outcome


@dataclass(slots=True, kw_only=True)
class _Conversation:
    """One notice on one line."""

    dialogue: Dialogue
    line: Line
    ledger: NoticeLedger
    asked_ms: int = 0
    """Milliseconds of the question that were heard, in all the times that it was asked."""
    holds: int = 0
    repeated: bool = False
    """Something was played again because it was not all sent, though no hold was seen."""

    def converse(self) -> None:
        """From the notice to the goodbye, or as far as it comes."""
        if self.ledger.story.choices.voicemail:
            self.ledger.pass_over(NoticeEnd.VOICEMAIL)
            return
        self.ledger.begin()
        try:
            self.line.speak(self.ledger.language)
        except LineHungUp as error:
            self.ledger.pass_over(NoticeEnd.LINE_LOST if isinstance(error, LineLost) else NoticeEnd.HUNG_UP)
            return
        turn = self.dialogue.begin()
        heard = self._take(turn)
        while turn.question is not None:
            asked, turn = turn, self.dialogue.follow(turn, heard)
            if turn.said is not None and not self.ledger.answer(turn.said, asked.prompts[0]):
                self._play(self.dialogue.not_recorded, "")
                break
            heard = self._take(turn)

    def _take(self, turn: Turn) -> Heard:
        """Play a turn and wait for its answer; what was not heard because of a hold is played after it."""
        left = list(turn.statement)
        if turn.asked == 1:
            self.asked_ms = 0
        while True:
            heard = self._say(left) or self._ask(turn)
            if heard is not Unheard.ON_HOLD or not self._resumed():
                return heard

    def _say(self, left: list[str]) -> Unheard | None:
        """Play what is left of a statement, and take out what was heard of it; None when that was all."""
        outcome = self.ledger.outcome
        while left:
            is_notice = left[0] == self.dialogue.notice
            played = self._play(left[0], ALL_KEYS if is_notice and self.dialogue.script.keys_skip_notice else "")
            began = played.end is not PlayEnd.ON_HOLD or played.stopped_ms > 0
            if is_notice and began and not self.ledger.prove(played):
                self._play(self.dialogue.not_recorded, "")
                return Unheard.NO_SOUND
            if played.end in (PlayEnd.HUNG_UP, PlayEnd.LINE_LOST):
                return Unheard.LEFT
            if self._must_repeat(played):
                return Unheard.ON_HOLD
            if is_notice and outcome.result is NoticeResult.NOT_PLAYED:
                return Unheard.NO_SOUND
            left.pop(0)
        return None

    def _ask(self, turn: Turn) -> Heard:
        """Put the question of a turn and wait for its answer."""
        if turn.question is None:
            return Unheard.SILENCE
        enough_ms = self._enough_ms(turn.prompts)
        for name in turn.prompts:
            if (heard := self._put(name, enough_ms)) is not None:
                return heard
        try:
            digit = self.line.wait_for_key(self.dialogue.script.answer_ms)
        except LineHungUp:
            return Unheard.HUNG_UP
        if digit is None and self.line.is_on_hold():
            return Unheard.ON_HOLD
        outcome = self.ledger.outcome
        outcome.keys_heard = outcome.keys_heard or digit is not None
        return Unheard.SILENCE if digit is None else Pressed(digit=digit)

    def _put(self, name: str, enough_ms: int) -> Heard | None:
        """Play one prompt of a question; None when it was heard to its end.

        A key before ``enough_ms`` of the question were heard answers nothing, and the prompt goes on.
        """
        from_ms, early, script = 0, 0, self.dialogue.script
        while True:
            played = self._play(name, ALL_KEYS if early < script.early_keys else "", from_ms)
            self.asked_ms += played.heard_ms
            if played.digit is None:
                break
            if self.asked_ms >= enough_ms:
                return Pressed(digit=played.digit)
            early += 1
            from_ms = played.stopped_ms if played.unsent_ms <= WHOLE_WITHIN_MS else 0
        if played.end in (PlayEnd.HUNG_UP, PlayEnd.LINE_LOST):
            return Unheard.HUNG_UP if self.asked_ms else Unheard.LEFT
        if played.end is PlayEnd.NO_SOUND:
            return Unheard.NO_SOUND
        return Unheard.ON_HOLD if self._must_repeat(played) else None

    def _play(self, name: str, keys: str, from_ms: int = 0) -> Played:
        played = self.line.play(name, keys, from_ms)
        if played.end is PlayEnd.NO_SOUND:
            self.ledger.outcome.failure = f"prompt {name} could not be played"
        if played.digit is not None:
            self.ledger.outcome.keys_heard = True
        return played

    def _must_repeat(self, played: Played) -> bool:
        """Whether a prompt has to be played again; once only where no hold was seen, for that may be no hold at all."""
        if played.end is PlayEnd.UNSENT and not self.repeated:
            self.repeated = True
            return True
        return played.end is PlayEnd.ON_HOLD

    def _resumed(self) -> bool:
        """Wait for the end of a hold; False when it does not end, and the notice is over."""
        script = self.dialogue.script
        self.holds += 1
        try:
            resumed = self.holds <= script.holds and self.line.wait_for_resumption(script.hold_ms)
        except LineHungUp:
            resumed = False
        if not resumed:
            self.ledger.pass_over(NoticeEnd.ON_HOLD, Packets(sent=0, received=None))
        return resumed

    def _enough_ms(self, prompts: tuple[str, ...]) -> int:
        """How much of a question must be heard before a key answers it."""
        listen_ms = self.dialogue.script.listen_ms
        sounds = [self.ledger.sound(name) for name in prompts]
        known_ms = [sound.milliseconds for sound in sounds if sound is not None]
        return min(listen_ms, sum(known_ms)) if len(known_ms) == len(prompts) else listen_ms
