"""How long records are kept, and which of a number's may go: pure, and checked by folding what would be left.

What is in force never goes: an opt-out, a registration taken in our calls, a customer, a wish that the registrar does
not have yet. What ended counts from when it ended, not from when it was recorded, for calls rested on it until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from agent.domain.call_story import CallChoices
from agent.domain.journal_events import EventType, Record
from agent.domain.registration import RegistrationState, registration
from agent.domain.standing import standing


class Kind(StrEnum):
    """What has a period of its own."""

    CALLS = "calls"
    CHOICES = "choices"
    LISTS = "lists"
    ACCESS = "access"
    OPERATIONS = "operations"


KIND_OF: Final[Mapping[EventType, Kind | None]] = MappingProxyType(
    {
        EventType.CALL_SCREENED: Kind.CALLS,
        EventType.CALL_FINISHED: Kind.CALLS,
        EventType.NOTICE_BEGUN: Kind.CALLS,
        EventType.NOTICE_PLAYED: Kind.CALLS,
        EventType.VERDICT_UNDELIVERED: Kind.CALLS,
        EventType.SCRUB_COMPLETED: Kind.CALLS,
        EventType.CHOICE_RECORDED: Kind.CHOICES,
        EventType.CHOICE_UNDONE: Kind.CHOICES,
        EventType.CHOICE_APPLIED: Kind.CHOICES,
        EventType.REGISTRATION_EXPORTED: Kind.CHOICES,
        EventType.REGISTRATION_ACKNOWLEDGED: Kind.CHOICES,
        EventType.OPTOUT_ADDED: Kind.LISTS,
        EventType.OPTOUT_REMOVED: Kind.LISTS,
        EventType.CUSTOMER_ADDED: Kind.LISTS,
        EventType.CUSTOMER_REMOVED: Kind.LISTS,
        EventType.NUMBER_REVEALED: Kind.ACCESS,
        EventType.EVIDENCE_EXPORTED: Kind.ACCESS,
        EventType.AGENT_STARTED: Kind.OPERATIONS,
        EventType.AGENT_STOPPED: Kind.OPERATIONS,
        EventType.REGISTER_REJECTED: Kind.OPERATIONS,
        # These hold no number, and what is left could not be read without them.
        EventType.REGISTER_LOADED: None,
        EventType.REGISTER_ROLLED_BACK: None,
        EventType.JOURNAL_PURGED: None,
        EventType.CLOCK_JUMPED: None,
    }
)
"""The kind of each type; None for what is kept for ever."""

AGED_ALONE: Final = frozenset({Kind.CALLS, Kind.ACCESS, Kind.OPERATIONS})
"""Kinds of records that go when they are old enough themselves. The others are looked at number by number."""

_OF_CALLS: Final = frozenset(event for event, kind in KIND_OF.items() if kind is Kind.CHOICES)
_OPTOUT: Final = frozenset({EventType.OPTOUT_ADDED, EventType.OPTOUT_REMOVED})
_CUSTOMER: Final = frozenset({EventType.CUSTOMER_ADDED, EventType.CUSTOMER_REMOVED})
_ADDED: Final = frozenset({EventType.OPTOUT_ADDED, EventType.CUSTOMER_ADDED})

FOLDED: Final = _OF_CALLS | _OPTOUT | _CUSTOMER
"""The types that ``spent`` looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """A record that may go: what a purge needs to know of it."""

    seq: int
    at: datetime
    type: EventType
    call: str | None


def spent(records: Sequence[Record], until: Mapping[Kind, datetime]) -> frozenset[int]:
    """Of one number's records (types ``FOLDED``, in order) those that may go.

    ``until`` says for each kind before when a record must have ended.
    """
    old = {record.seq for record in records if _is_over(_ended_at(record, records), until[Kind.LISTS])}
    customers = frozenset(record.seq for record in records if record.type in _CUSTOMER and record.seq in old)
    going = set(old)
    for of_call in _by_call(records).values():
        if not _holds(of_call, records) and _is_over(_over_at(of_call, records), until[Kind.CHOICES]):
            going |= {record.seq for record in of_call}
    before = _in_force(records)
    if _in_force([one for one in records if one.seq not in going]) == before:
        return frozenset(going)
    # An objection that was taken back stands beside something that is in force: its removal must go on to count.
    going -= {record.seq for record in records if record.type is EventType.OPTOUT_REMOVED}
    return frozenset(going) if _in_force([one for one in records if one.seq not in going]) == before else customers


def is_pending(of_call: Iterable[Record]) -> bool:
    """Whether the registrar has yet to hear of a wish of this call: then nothing of the call goes."""
    wished = registration(of_call)
    return wished is not None and wished.state is RegistrationState.PENDING


def _is_over(ended_at: datetime | None, until: datetime) -> bool:
    return ended_at is not None and ended_at < until


def _ended_at(record: Record, records: Sequence[Record]) -> datetime | None:
    """When a list change stopped to count; None when it is in force, or no list change."""
    family = _OPTOUT if record.type in _OPTOUT else _CUSTOMER if record.type in _CUSTOMER else frozenset()
    if not family:
        return None
    if record.type not in _ADDED:
        return record.at
    key = (record.body["seller"], record.body.get("product_group"))
    later = (
        one.at
        for one in records
        if one.seq > record.seq and one.type in family and (one.body["seller"], one.body.get("product_group")) == key
    )
    return next(later, None)


def _by_call(records: Sequence[Record]) -> dict[str, list[Record]]:
    calls: dict[str, list[Record]] = {}
    for record in records:
        if record.type in _OF_CALLS:
            calls.setdefault(str(record.body["call"]), []).append(record)
    return calls


def _holds(of_call: Sequence[Record], records: Sequence[Record]) -> bool:
    """Whether something that was said in this call is in force, or on its way to the registrar."""
    choices = CallChoices()
    for record in of_call:
        choices = choices.after(record)
    objects = choices.wish.seller_optout and not _removals(of_call, records)
    return bool(choices.blocked) or objects or is_pending(of_call)


def _over_at(of_call: Sequence[Record], records: Sequence[Record]) -> datetime:
    """When the last of what was said in a call stopped to count."""
    return max(of_call[-1].at, *(removal.at for removal in _removals(of_call, records)), of_call[0].at)


def _removals(of_call: Sequence[Record], records: Sequence[Record]) -> list[Record]:
    """The first removal of an opt-out, for the seller of the call, after the last word in it."""
    said = [record for record in of_call if record.type is EventType.CHOICE_RECORDED]
    if not said:
        return []
    seller, last = said[-1].body["seller"], said[-1].seq
    later = (
        one
        for one in records
        if one.type is EventType.OPTOUT_REMOVED and one.body["seller"] == seller and one.seq > last
    )
    return [first for first in [next(later, None)] if first is not None]


def _in_force(records: Sequence[Record]) -> tuple[object, ...]:
    """What screening sees of a number, and the records that it rests on."""
    now = standing(records)
    optouts = {seller: one.seq for seller, one in now.optouts.items() if one is not None}
    customers: dict[tuple[object, object], int] = {}
    for record in records:
        key = (record.body["seller"], record.body["product_group"]) if record.type in _CUSTOMER else None
        if key is not None and record.type is EventType.CUSTOMER_ADDED:
            customers[key] = record.seq
        elif key is not None:
            customers.pop(key, None)
    registrations = {entry for entry, blocks in now.registrations.items() if blocks}
    return optouts, {seller: one.seq for seller, one in now.listed.items()}, registrations, customers
