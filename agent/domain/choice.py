"""What a consumer wants: what was said, answer by answer, and the wish that it adds up to.

Nothing here is ever rewritten. The journal holds answers; a ``Wish`` is what they mean together. What the agent logged
and what the consumer keyed in are two wishes of one call; both are kept, and the wider protection of the two holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from agent.domain.model import Blocked, Sector


class Source(StrEnum):
    """Who pressed the key."""

    AGENT = "agent_key"
    CONSUMER = "consumer_key"


class Question(StrEnum):
    """What a consumer is asked in the notice."""

    MENU = "menu"
    SCOPE = "scope"
    CHARITIES = "charities"
    READ_BACK = "read_back"


class Answer(StrEnum):
    """What was said. Append only: the journal holds these words."""

    OFFERED = "offered"
    REGISTER_WITH_CHARITIES = "register_with_charities"
    REGISTER_WITHOUT_CHARITIES = "register_without_charities"
    SELLER_OPTOUT = "seller_optout"
    DECLINED = "declined"
    VOICEMAIL = "voicemail"

    REGISTER = "register"
    REGISTER_AND_SELLER_OPTOUT = "register_and_seller_optout"
    EVERYTHING = "everything"
    THIS_SECTOR = "this_sector"
    ONLY_CHARITIES = "only_charities"
    CHARITIES_TOO = "charities_too"
    NOT_CHARITIES = "not_charities"
    NOT_ANSWERED = "not_answered"
    HUNG_UP = "hung_up"


AGENT_KEYS: Final = frozenset(
    {
        Answer.OFFERED,
        Answer.REGISTER_WITH_CHARITIES,
        Answer.REGISTER_WITHOUT_CHARITIES,
        Answer.SELLER_OPTOUT,
        Answer.DECLINED,
        Answer.VOICEMAIL,
    }
)
"""What an agent can log. All but ``voicemail`` say that the offer was made."""
MENU_ANSWERS: Final = frozenset({Answer.SELLER_OPTOUT, Answer.REGISTER, Answer.REGISTER_AND_SELLER_OPTOUT})
"""The wishes in the menu of the notice; each begins the consumer's wish anew. Declining changes nothing."""


OBJECTING: Final = frozenset({Answer.SELLER_OPTOUT, Answer.REGISTER_AND_SELLER_OPTOUT})
"""Each is an objection to the seller."""
REGISTERING: Final = frozenset(
    {
        Answer.REGISTER_WITH_CHARITIES,
        Answer.REGISTER_WITHOUT_CHARITIES,
        Answer.REGISTER,
        Answer.REGISTER_AND_SELLER_OPTOUT,
    }
)
"""Each is a wish to be entered in the register."""


class Scope(StrEnum):
    """How much of the register the consumer wants to be in; the widest first."""

    EVERYTHING = "everything"
    THIS_SECTOR = "this_sector"
    NOT_ANSWERED = "not_answered"


class Charities(StrEnum):
    """Whether the block covers charities too: asked explicitly, without a default. The widest first."""

    YES = "yes"
    NO = "no"
    NOT_ANSWERED = "not_answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a consumer wants, as far as he has said it."""

    seller_optout: bool = False
    """Not to be called by this seller again."""
    register: bool = False
    """To be entered in the register."""
    scope: Scope = Scope.NOT_ANSWERED
    charities: Charities = Charities.NOT_ANSWERED

    def after(self, answer: Answer) -> Wish:
        """The wish once ``answer`` was given too; of two answers to one question the later counts."""
        match answer:
            case Answer.REGISTER_WITH_CHARITIES:
                return replace(self, register=True, scope=Scope.EVERYTHING, charities=Charities.YES)
            case Answer.REGISTER_WITHOUT_CHARITIES:
                return replace(self, register=True, scope=Scope.EVERYTHING, charities=Charities.NO)
            case Answer.SELLER_OPTOUT:
                return replace(self, seller_optout=True)
            case Answer.REGISTER:
                return replace(self, register=True)
            case Answer.REGISTER_AND_SELLER_OPTOUT:
                return replace(self, register=True, seller_optout=True)
            case Answer.EVERYTHING:
                return replace(self, scope=Scope.EVERYTHING)
            case Answer.THIS_SECTOR:
                return replace(self, scope=Scope.THIS_SECTOR)
            case Answer.ONLY_CHARITIES:
                return replace(self, scope=Scope.THIS_SECTOR, charities=Charities.YES)
            case Answer.CHARITIES_TOO:
                return replace(self, charities=Charities.YES)
            case Answer.NOT_CHARITIES:
                return replace(self, charities=Charities.NO)
            case _:
                return self

    def blocked(self, sector: Sector | None) -> frozenset[Blocked]:
        """What our own dialling must leave alone, for a call about ``sector``.

        What was not answered counts as the wider answer here, and is never told to the registrar as an answer.
        """
        if not self.register:
            return frozenset()
        if self.scope is Scope.THIS_SECTOR and sector is not None:
            charities = {Blocked.CHARITIES} if self.charities is not Charities.NO else set()
            return frozenset({Blocked(sector), *charities})
        return frozenset({Blocked.ALL_EXCEPT_CHARITIES if self.charities is Charities.NO else Blocked.ALL})

    def __or__(self, other: Self) -> Wish:
        """The wider of two wishes in one call, for the registrar: an answer that was given beats one that was not."""
        registering = [wish for wish in (self, other) if wish.register]
        scopes = {wish.scope for wish in registering}
        charities = {wish.charities for wish in registering}
        return Wish(
            seller_optout=self.seller_optout or other.seller_optout,
            register=bool(registering),
            scope=next((scope for scope in Scope if scope in scopes), Scope.NOT_ANSWERED),
            charities=next((answer for answer in Charities if answer in charities), Charities.NOT_ANSWERED),
        )

    @property
    def word(self) -> str:
        """The wish as ``BMN_CHOICE`` and the reports say it; ``none`` when there is none."""
        words = ["seller_optout"] if self.seller_optout else []
        if self.register:
            scope = "_sector" if self.scope is Scope.THIS_SECTOR else ""
            words.append(f"register{scope}_{_CHARITY_WORDS[self.charities]}")
        return "+".join(words) or "none"


_CHARITY_WORDS: Final = {
    Charities.YES: "with_charities",
    Charities.NO: "without_charities",
    Charities.NOT_ANSWERED: "charities_not_answered",
}
