"""Registrations: wishes, taken in our calls, to be entered in the register; due to the registrar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agent.domain.call_story import CallChoices
from agent.domain.choice import Wish
from agent.domain.clock import is_behind
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Sector
from agent.domain.phone_number import PhoneNumber


class RegistrationState(StrEnum):
    """How far a registration has come."""

    PENDING = "pending"
    """Not handed to the registrar yet, or not as the consumer wants it by now."""
    EXPORTED = "exported"
    """In a batch; the registrar has not answered yet."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    """Taken back in the same call, before the registrar knew of it."""


class Action(StrEnum):
    """What the registrar is asked to do."""

    REGISTER = "register"
    WITHDRAW = "withdraw"
    """Undo an earlier batch: the wish was taken back after it was handed over."""


class Due(StrEnum):
    """How near the deadline is of a registration that the registrar must still get; the nearest first."""

    OVERDUE = "overdue"
    WITHIN_1_DAY = "within_1_day"
    WITHIN_3_DAYS = "within_3_days"
    LATER = "later"

    @classmethod
    def of(cls, remaining: timedelta) -> Due:
        """Of a registration that must be there after ``remaining``."""
        for due, at_most in ((cls.OVERDUE, 0), (cls.WITHIN_1_DAY, 1), (cls.WITHIN_3_DAYS, 3)):
            if remaining < timedelta(days=at_most):
                return due
        return cls.LATER

    @property
    def is_near(self) -> bool:
        """Whether it is time to hand it over, and not too late yet: the doctor and an alert warn of it."""
        return self in (Due.WITHIN_1_DAY, Due.WITHIN_3_DAYS)


_LONGEST_CALL: Final = timedelta(hours=4)
"""A call whose end was not recorded counts as over after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the registrar said of one batch."""

    accepted: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One call's wish to be entered in the register."""

    call: str
    number: PhoneNumber
    """The number that was connected in that call; no other can be registered."""
    campaign: str
    seller: str
    profile: str
    wished_at: datetime
    """When it was first said: the time to deliver it counts from here."""
    last_said_at: datetime
    ended_at: datetime | None
    """When the agent's part of the call was over; None when that is not on record."""
    wish: Wish
    sector: Sector | None
    state: RegistrationState
    action: Action
    batch: str | None = None
    """The batch that it was handed over in last."""
    answers: Mapping[str, Answered] = field(default_factory=dict)
    """By batch."""

    @property
    def reason(self) -> str | None:
        """Why the registrar rejected it."""
        answer = self.answers.get(self.batch or "")
        return None if answer is None else answer.reason

    def is_settled(self, now: datetime, after: timedelta) -> bool:
        """Whether the call is over and has gone silent, so that what was said will not change any more.

        One of the future, which a clock that was ahead has left, is over: nobody knows since when.
        """
        last = max(self.last_said_at, self.ended_at or self.last_said_at)
        return is_behind(now, last) or now - last >= (_LONGEST_CALL if self.ended_at is None else after)

    @property
    def is_undelivered(self) -> bool:
        """Whether the registrar does not have it as the consumer wants it."""
        return self.state in (RegistrationState.PENDING, RegistrationState.REJECTED)

    def due(self, days: int, now: datetime) -> datetime:
        """When it must be with the registrar at the latest; now, where a clock that was ahead hides when that is."""
        return now if is_behind(now, self.wished_at) else self.wished_at + timedelta(days=days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What the registrar says of one registration."""

    line: int
    call: str
    batch: str
    """As it stands in the file; empty when it has no such column: then the last batch is meant."""
    number: str
    """As it stands in the file; empty when it has no such column."""
    accepted: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgementFile:
    """A file of the registrar, read whole."""

    name: str
    sha256: str
    rows: tuple[Acknowledgement, ...]


def registration(records: Iterable[Record]) -> Registration | None:
    """Fold the records of one call; None when nobody asked to be registered in it."""
    choices, wished_at, ended_at = CallChoices(), None, None
    said: Record | None = None
    handed: Record | None = None
    answers: dict[str, Answered] = {}
    for record in records:
        match record.type:
            case EventType.CHOICE_RECORDED | EventType.CHOICE_UNDONE:
                choices, said = choices.after(record), record
                if choices.wish.register and wished_at is None:
                    wished_at = record.at
            case EventType.CALL_FINISHED:
                ended_at = record.at
            case EventType.REGISTRATION_EXPORTED:
                handed = record
            case EventType.REGISTRATION_ACKNOWLEDGED:
                reason = record.body["reason"]
                answers[str(record.body["batch"])] = Answered(
                    accepted=bool(record.body["accepted"]), reason=None if reason is None else str(reason)
                )
            case _:
                continue
    if said is None or wished_at is None:
        return None
    body, batch = said.body, None if handed is None else str(handed.body["batch"])
    return Registration(
        call=str(body["call"]),
        number=PhoneNumber(digits=str(body["number"]).removeprefix("+")),
        campaign=str(body["campaign"]),
        seller=str(body["seller"]),
        profile=str(body["profile"]),
        wished_at=wished_at,
        last_said_at=said.at,
        ended_at=ended_at,
        wish=choices.wish,
        sector=choices.sector,
        state=_state(choices.wish, handed, answers.get(batch or "")),
        action=Action.REGISTER if choices.wish.register else Action.WITHDRAW,
        batch=batch,
        answers=answers,
    )


def _state(wish: Wish, handed: Record | None, answer: Answered | None) -> RegistrationState:
    if handed is None:
        return RegistrationState.PENDING if wish.register else RegistrationState.WITHDRAWN
    if not _is_as_wished(wish, handed):
        return RegistrationState.PENDING
    if answer is not None:
        return RegistrationState.ACCEPTED if answer.accepted else RegistrationState.REJECTED
    return RegistrationState.EXPORTED


def _is_as_wished(wish: Wish, handed: Record) -> bool:
    """Whether the registrar was last told what the consumer wants now."""
    if not wish.register:
        return handed.body["action"] == Action.WITHDRAW
    told = (handed.body["action"], handed.body["scope"], handed.body["charities"])
    return told == (Action.REGISTER, wish.scope, wish.charities)
