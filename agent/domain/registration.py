"""Registrations: wishes, taken in our calls, to be entered in the register; due to the registrar."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent.domain.call_story import CallChoices
from agent.domain.choice import Wish
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Sector
from agent.domain.phone_number import PhoneNumber


class RegistrationState(StrEnum):
    """How far a registration has come."""

    PENDING = "pending"
    """Not handed to the registrar yet."""
    EXPORTED = "exported"
    """In a batch; the registrar has not answered yet."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    """Taken back in the same call. When it has a batch, the registrar must be told."""


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
    wish: Wish
    sector: Sector | None
    state: RegistrationState
    batch: str | None = None
    exported_at: datetime | None = None
    reason: str | None = None
    """Why the registrar rejected it."""

    def is_settled(self, now: datetime, after: timedelta) -> bool:
        """Whether the call has gone silent, so that what was said will not change any more."""
        return now - self.last_said_at >= after

    def due(self, days: int) -> datetime:
        """When it must be with the registrar at the latest."""
        return self.wished_at + timedelta(days=days)

    @property
    def with_registrar(self) -> bool:
        """Whether it was handed over and not refused."""
        return self.state in (RegistrationState.EXPORTED, RegistrationState.ACCEPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What the registrar says of one registration."""

    line: int
    call: str
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
    choices, wished_at = CallChoices(), None
    said: Record | None = None
    handed: Record | None = None
    answer: Record | None = None
    for record in records:
        match record.type:
            case EventType.CHOICE_RECORDED | EventType.CHOICE_UNDONE:
                choices, said = choices.after(record), record
                if choices.wish.register and wished_at is None:
                    wished_at = record.at
            case EventType.REGISTRATION_EXPORTED:
                handed, answer = record, None
            case EventType.REGISTRATION_ACKNOWLEDGED:
                answer = record
            case _:
                continue
    if said is None or wished_at is None:
        return None
    body = said.body
    return Registration(
        call=str(body["call"]),
        number=PhoneNumber(digits=str(body["number"]).removeprefix("+")),
        campaign=str(body["campaign"]),
        seller=str(body["seller"]),
        profile=str(body["profile"]),
        wished_at=wished_at,
        last_said_at=said.at,
        wish=choices.wish,
        sector=choices.sector,
        state=_state(choices.wish, handed, answer),
        batch=None if handed is None else str(handed.body["batch"]),
        exported_at=None if handed is None else handed.at,
        reason=None if answer is None or answer.body["reason"] is None else str(answer.body["reason"]),
    )


def _state(wish: Wish, handed: Record | None, answer: Record | None) -> RegistrationState:
    if not wish.register:
        return RegistrationState.WITHDRAWN
    if answer is not None:
        return RegistrationState.ACCEPTED if answer.body["accepted"] else RegistrationState.REJECTED
    return RegistrationState.PENDING if handed is None else RegistrationState.EXPORTED
