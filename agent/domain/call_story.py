"""What the journal tells of one call: pure folds over its records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self

from agent.domain.choice import MENU_ANSWERS, Answer, Source, Wish
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked, Notice, Sector, Verdict
from agent.domain.phone_number import PhoneNumber

NOTICE_NOT_DUE: Final = "not_due"
"""No conversation, or one that needs no notice."""
NOTICE_TO_FOLLOW: Final = "to_follow"
"""The agent's side is over and the consumer hears the notice now; ``notice.played`` tells."""
ENDED_UNKNOWN: Final = "unknown"
"""The books were closed on a call whose end nobody reported."""
NOTICE_UNKNOWN: Final = "unknown"
"""Nothing said how the call ended, nor whether a notice was played."""


class NoticeResult(StrEnum):
    """How much of the notice was played on the consumer's line; the best first."""

    HEARD = "heard"
    PARTIAL = "partial"
    NOT_PLAYED = "not_played"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedKey:
    """A key that the agent pressed, and did not undo."""

    seq: int
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class CallChoices:
    """What was chosen in one call, on both sides."""

    keys: tuple[LoggedKey, ...] = ()
    by_consumer: Wish = field(default_factory=Wish)
    sector: Sector | None = None
    """Of the call's campaign: what "only this sector" means."""

    def after(self, record: Record) -> CallChoices:
        """The choices once ``record`` counts too; records of other types change nothing."""
        if record.type is EventType.CHOICE_UNDONE:
            return replace(self, keys=tuple(key for key in self.keys if key.seq != record.body["undoes"]))
        if record.type is not EventType.CHOICE_RECORDED:
            return self
        answer, sector = Answer(str(record.body["answer"])), record.body["sector"]
        here = replace(self, sector=None if sector is None else Sector(str(sector)))
        if record.body["source"] == Source.AGENT:
            return replace(here, keys=(*self.keys, LoggedKey(seq=record.seq, answer=answer)))
        begun = Wish() if answer in MENU_ANSWERS else self.by_consumer
        return replace(here, by_consumer=begun.after(answer))

    @property
    def by_agent(self) -> Wish:
        """What the agent's keys add up to."""
        wish = Wish()
        for key in self.keys:
            wish = wish.after(key.answer)
        return wish

    @property
    def wish(self) -> Wish:
        """Both sides together; see ``Wish.__or__``."""
        return self.by_agent | self.by_consumer

    @property
    def blocked(self) -> frozenset[Blocked]:
        """What our own dialling must leave alone from now on: the wider protection of the two."""
        return self.by_agent.blocked(self.sector) | self.by_consumer.blocked(self.sector)

    @property
    def offered(self) -> bool:
        """Whether the agent logged that he made the offer, or what the consumer answered to it.

        The tape alone is no offer (Rechtbank Rotterdam 6 December 2012, BY5391).
        """
        return any(key.answer is not Answer.VOICEMAIL for key in self.keys)

    @property
    def voicemail(self) -> bool:
        """Whether the agent logged that there was nobody to talk to."""
        return any(key.answer is Answer.VOICEMAIL for key in self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStory:
    """One call that was screened, as far as it has come."""

    call: str
    number: PhoneNumber | None
    """The number that was connected; None when the call was not allowed, or went to an emergency number."""
    campaign: str
    seller: str | None
    agent: str
    profile: str
    uniqueid: str
    """Asterisk's id of the agent's channel; empty for a screening from the command line."""
    notice: Notice
    choices: CallChoices = field(default_factory=CallChoices)
    notice_begun: Record | None = None
    """That the notice began; None when it did not, and for calls from before there was such a record."""
    notice_result: NoticeResult | None = None
    """The best that was played; None when the notice was not tried, or goes on."""
    finished: Record | None = None

    @property
    def ended(self) -> bool:
        """Whether it is on record how the call ended."""
        return self.finished is not None and self.finished.body["ended_by"] != ENDED_UNKNOWN

    @classmethod
    def of(cls, records: Iterable[Record]) -> CallStory | None:
        """The story that the records of one call tell, in their order; None when it was never screened."""
        story: CallStory | None = None
        for record in records:
            if record.type is EventType.CALL_SCREENED:
                story = cls._begun(record)
            elif story is not None:
                story = story._after(record)
        return story

    @classmethod
    def _begun(cls, record: Record) -> Self:
        body = record.body
        number, seller = str(body["number"]), body["seller"]
        connected = body["verdict"] == Verdict.ALLOW and number.startswith("+")
        return cls(
            call=str(body["call"]),
            number=PhoneNumber(digits=number.removeprefix("+")) if connected else None,
            campaign=str(body["campaign"]),
            seller=None if seller is None else str(seller),
            agent=str(body["agent"]),
            profile=str(body["profile"]),
            uniqueid=str(body["uniqueid"]),
            notice=Notice(str(body["notice"])),
        )

    def _after(self, record: Record) -> CallStory:
        if record.type is EventType.CALL_FINISHED:
            return replace(self, finished=record)
        if record.type is EventType.NOTICE_BEGUN:
            return replace(self, notice_begun=record)
        if record.type is EventType.NOTICE_PLAYED:
            results = {self.notice_result, NoticeResult(str(record.body["result"]))}
            return replace(self, notice_result=next(result for result in NoticeResult if result in results))
        return replace(self, choices=self.choices.after(record))
