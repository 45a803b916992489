"""The notice as a state machine: what is played, which keys count, what each means, and what comes next.

Pure: ``begin`` and ``follow`` return a ``Turn``; whoever drives them plays it, records ``said`` before anything else,
and comes back with what was heard. Keys, tries and times are data of the profile (``NoticeScript``), so that another
law, or another site's taste, is another script and no other code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from agent.domain.choice import MENU_ANSWERS, Answer, Charities, Question, Scope, Wish
from agent.domain.model import Campaign, Sector

ALL_KEYS: Final = "0123456789*#"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeScript:
    """How a profile's notice is conducted. The prompts' texts name these keys: change both."""

    menu: Mapping[str, Answer]
    again: str
    """Plays the notice again."""
    scope: Mapping[str, Answer]
    charities: Mapping[str, Answer]
    correct: str
    """After the read-back: this is wrong, ask me again."""
    tries: int
    """How often each question is asked in all, when there is silence or a key without meaning."""
    answer_ms: int
    """Silence after a question that counts as no answer."""
    replays: int
    corrections: int
    keys_skip_notice: bool
    """Whether a key may cut the notice short. Then it was not heard in full, and the record says so.

    It answers nothing: the menu comes after it.
    """
    listen_ms: int
    """How much of a question must be heard before a key answers it; all of one that is shorter.

    An earlier key is thrown away and the question goes on: it may be the second half of a doubled key, and answers
    nothing that was heard.
    """
    early_keys: int
    """After so many early keys, the rest of that prompt is played whatever keys come."""
    hold_ms: int
    """How long to wait for the end of a hold; then what was not heard is played."""
    holds: int
    """How often in one notice. After that, and on a line that stays on hold, the notice is over."""


NL_BMNR_NOTICE: Final = NoticeScript(
    menu=MappingProxyType(
        {
            "1": Answer.SELLER_OPTOUT,
            "2": Answer.REGISTER,
            "3": Answer.REGISTER_AND_SELLER_OPTOUT,
            "0": Answer.DECLINED,
        }
    ),
    again="9",
    scope=MappingProxyType({"1": Answer.EVERYTHING, "2": Answer.THIS_SECTOR}),
    charities=MappingProxyType({"1": Answer.CHARITIES_TOO, "2": Answer.NOT_CHARITIES}),
    correct="1",
    tries=2,
    answer_ms=5_000,
    replays=3,
    corrections=3,
    keys_skip_notice=False,
    listen_ms=2_000,
    early_keys=5,
    hold_ms=20_000,
    holds=3,
)


class Unheard(StrEnum):
    """What a line can do other than press a key."""

    SILENCE = "silence"
    HUNG_UP = "hung_up"
    LEFT = "left"
    """It hung up before it heard anything of the question."""
    NO_SOUND = "no_sound"
    """A prompt could not be played, so the consumer cannot know what he would answer."""
    ON_HOLD = "on_hold"
    """The line was on hold, so nobody heard all of the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """One key."""

    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer, to be on disk before anything more is played."""

    question: Question
    answer: Answer
    digit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Say ``statement``, whatever keys come; ask ``prompts``, which a key answers; then wait for a key."""

    statement: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    question: Question | None = None
    """What is being asked; None ends the dialogue after ``statement``."""
    said: Said | None = None
    wish: Wish = field(default_factory=Wish)
    """What the consumer wants so far."""
    asked: int = 1
    replays: int = 0
    corrections: int = 0


Heard = Pressed | Unheard


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """The notice of one seller's campaign."""

    script: NoticeScript
    seller: str
    sector: Sector | None
    already: Wish = field(default_factory=Wish)
    """What the agent logged in this call: it is in force as well, so the read-back holds it."""

    @property
    def notice(self) -> str:
        """The prompt that is the notice proper: hearing it in full is hearing the notice."""
        return f"notice-{self.seller}"

    @property
    def not_recorded(self) -> str:
        """What is said instead of a read-back when an answer could not be kept."""
        return f"not-recorded-{self.seller}"

    def begin(self) -> Turn:
        """The notice, then the menu."""
        return self._menu(Turn(), statement=(self.notice,))

    def follow(self, turn: Turn, heard: Heard) -> Turn:
        """What comes after ``turn``, once ``heard`` came in answer to its question."""
        match heard:
            case Unheard.HUNG_UP:
                return self._unanswered(turn, Answer.HUNG_UP, Turn(wish=turn.wish))
            case Unheard.LEFT | Unheard.NO_SOUND | Unheard.ON_HOLD:
                return Turn(wish=turn.wish)
            case Unheard.SILENCE:
                return self._asked_again(turn, ())
            case Pressed(digit=digit):
                return self._pressed(turn, digit)

    def prompts(self) -> tuple[str, ...]:
        """Every sound file that this dialogue may need, by name."""
        seller = self.seller
        sectors = () if self.sector is None else ("scope", "chosen-register-sector", _sector_prompt(self.sector))
        return (
            *(self.notice, f"menu-{seller}", "charities", "invalid-key"),
            *(f"chosen-seller-optout-{seller}", "chosen-register-all", *sectors),
            *(f"chosen-charities-{_dashed(answer)}" for answer in Charities),
            *("chosen-correct", "chosen-none", self.not_recorded, "goodbye"),
        )

    # --- what a key means

    def _pressed(self, turn: Turn, digit: str) -> Turn:
        script = self.script
        match turn.question:
            case Question.MENU if digit == script.again and turn.replays < script.replays:
                return self._menu(replace(turn, replays=turn.replays + 1), statement=(self.notice,))
            case Question.MENU if digit in script.menu:
                return self._answered(turn, script.menu[digit], digit)
            case Question.SCOPE if digit in script.scope:
                answer = script.scope[digit]
                only_charities = answer is Answer.THIS_SECTOR and self.sector is Sector.CHARITIES
                return self._answered(turn, Answer.ONLY_CHARITIES if only_charities else answer, digit)
            case Question.CHARITIES if digit in script.charities:
                return self._answered(turn, script.charities[digit], digit)
            case Question.READ_BACK if digit == script.correct:
                return self._menu(replace(turn, corrections=turn.corrections + 1))
            case _:
                return self._asked_again(turn, ("invalid-key",))

    def _answered(self, turn: Turn, answer: Answer, digit: str) -> Turn:
        assert turn.question is not None
        begun = Wish() if answer in MENU_ANSWERS else turn.wish
        said = Said(question=turn.question, answer=answer, digit=digit)
        return replace(self._next(replace(turn, wish=begun.after(answer)), answer), said=said)

    def _next(self, turn: Turn, answer: Answer) -> Turn:
        """The question that follows an answer, or the read-back."""
        match answer:
            case Answer.DECLINED:
                return self._unchanged(turn)
            case Answer.REGISTER | Answer.REGISTER_AND_SELLER_OPTOUT if self.sector is not None:
                return self._scope(turn)
            case Answer.REGISTER | Answer.REGISTER_AND_SELLER_OPTOUT | Answer.EVERYTHING | Answer.THIS_SECTOR:
                return self._charities(turn)
            case _:
                return self._read_back(turn)

    # --- what an unanswered question means

    def _asked_again(self, turn: Turn, statement: tuple[str, ...]) -> Turn:
        if turn.asked < self.script.tries:
            return replace(turn, statement=statement, asked=turn.asked + 1, said=None)
        match turn.question:
            case Question.SCOPE:
                return self._unanswered(turn, Answer.NOT_ANSWERED, self._charities(turn))
            case Question.CHARITIES:
                return self._unanswered(turn, Answer.NOT_ANSWERED, self._read_back(turn))
            case _:
                return self._unanswered(turn, Answer.NOT_ANSWERED, self._unchanged(turn))

    def _unchanged(self, turn: Turn) -> Turn:
        """The end, with what was said before in force; the consumer is told when that is nothing."""
        nothing = () if turn.wish != Wish() else ("chosen-none",)
        return Turn(statement=(*nothing, "goodbye"), wish=turn.wish)

    def _unanswered(self, turn: Turn, answer: Answer, then: Turn) -> Turn:
        """``then``, with the record that a question was put and not answered; the read-back need not be."""
        if turn.question is None or turn.question is Question.READ_BACK:
            return then
        return replace(then, said=Said(question=turn.question, answer=answer, digit=None))

    # --- the questions

    def _menu(self, turn: Turn, statement: tuple[str, ...] = ()) -> Turn:
        return self._ask(turn, Question.MENU, (f"menu-{self.seller}",), statement)

    def _scope(self, turn: Turn) -> Turn:
        assert self.sector is not None
        return self._ask(turn, Question.SCOPE, ("scope", _sector_prompt(self.sector)))

    def _charities(self, turn: Turn) -> Turn:
        return self._ask(turn, Question.CHARITIES, ("charities",))

    def _read_back(self, turn: Turn) -> Turn:
        chosen = self._chosen(turn.wish)
        if turn.corrections >= self.script.corrections:
            return Turn(statement=(*chosen, "goodbye"), wish=turn.wish)
        return self._ask(turn, Question.READ_BACK, ("chosen-correct",), chosen)

    def _ask(self, turn: Turn, question: Question, prompts: tuple[str, ...], statement: tuple[str, ...] = ()) -> Turn:
        return replace(turn, statement=statement, prompts=prompts, question=question, asked=1, said=None)

    def _chosen(self, wish: Wish) -> tuple[str, ...]:
        """Everything that is in force after this call, read back."""
        wish |= self.already
        optout = (f"chosen-seller-optout-{self.seller}",) if wish.seller_optout else ()
        if not wish.register:
            return optout
        charities = f"chosen-charities-{_dashed(wish.charities)}"
        if wish.scope is not Scope.THIS_SECTOR or self.sector is None:
            return (*optout, "chosen-register-all", charities)
        of_sector = (*optout, "chosen-register-sector", _sector_prompt(self.sector))
        return of_sector if self.sector is Sector.CHARITIES else (*of_sector, charities)


def prompt_names(script: NoticeScript, campaign: Campaign) -> tuple[str, ...]:
    """Every sound file that the notice of ``campaign`` may need, by name."""
    return Dialogue(script=script, seller=campaign.seller.key, sector=campaign.sector).prompts()


def _sector_prompt(sector: Sector) -> str:
    return f"sector-{_dashed(sector)}"


def _dashed(word: str) -> str:
    return word.replace("_", "-")
