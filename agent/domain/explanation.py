"""Why a number may be dialled or not: every list that it is on, and what each campaign would get now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from agent.domain.call_story import CallChoices
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked, Decision, Generation
from agent.domain.phone_number import PhoneNumber
from agent.domain.seller_list_entries import Customer, OptOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Memberships:
    """The lists in Redis that hold one number."""

    applied: int
    """The journal record up to which these lists are; less than any record when that cannot be said."""
    generations: Mapping[str, Generation | None]
    """By profile: the one in force."""
    register: Mapping[str, frozenset[Blocked]]
    """By profile: the entry in it."""
    own: Mapping[str, frozenset[Blocked]]
    """By profile: registrations taken in our calls."""
    optouts: frozenset[str]
    """Sellers."""
    customers: frozenset[tuple[str, str]]
    """Seller and product group."""
    whole: bool
    """Whether Redis has the sets that it should have; else no call is allowed because of what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFile:
    """A file of which the register in force was made."""

    name: str
    sha256: str
    as_of: date
    loaded_at: datetime
    """When the journal recorded the load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterEntry:
    """What the register of one profile says."""

    profile: str
    generation: Generation | None
    """In force in Redis; None when there is none, or when Redis cannot be asked."""
    stale: bool
    blocked: frozenset[Blocked] | None
    """Empty: not in it. None: not known, for only Redis holds the entries."""
    files: tuple[LoadedFile, ...]
    """As the journal tells: the whole load first, then lists of changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRegistration:
    """A registration that the consumer made in one of our calls, which blocks as if it were in the register."""

    profile: str
    blocked: frozenset[Blocked]
    call: str
    campaign: str
    since: datetime
    seq: int
    """Of the newest record of the call that it rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a campaign would get now."""

    campaign: str
    seller: str
    decision: Decision
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All of it."""

    number: PhoneNumber
    register: tuple[RegisterEntry, ...]
    own: tuple[OwnRegistration, ...]
    optouts: tuple[OptOut, ...]
    customers: tuple[Customer, ...]
    expected: tuple[Expected, ...]
    disagreements: tuple[str, ...]
    """Where Redis and the journal differ, and what to do, each in a sentence."""
    unavailable: str
    """Why Redis could not be asked; empty when it could."""


def own_registrations(records: Iterable[Record]) -> tuple[OwnRegistration, ...]:
    """Those in force, from the choice records of one number, in their order; one for each call and profile."""
    calls: dict[tuple[str, str], CallChoices] = {}
    newest: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.type not in (EventType.CHOICE_RECORDED, EventType.CHOICE_UNDONE):
            continue
        key = (str(record.body["profile"]), str(record.body["call"]))
        before = calls.get(key, CallChoices())
        calls[key] = before.after(record)
        if calls[key].blocked != before.blocked:
            newest[key] = record
    return tuple(
        OwnRegistration(
            profile=profile,
            blocked=choices.blocked,
            call=call,
            campaign=str(newest[profile, call].body["campaign"]),
            since=newest[profile, call].at,
            seq=newest[profile, call].seq,
        )
        for (profile, call), choices in calls.items()
        if choices.blocked
    )
