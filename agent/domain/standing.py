"""How a number stands after everything that was ever said of it: whom it is closed to, and for what.

A seller opt-out and a registration each may rest on several records, of several calls. So an undone key or a removed
opt-out takes away only what no other record holds up; that is why it is folded anew and never subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agent.domain.call_story import CallChoices
from agent.domain.choice import OBJECTING, Source
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked

STANDING_EVENTS: Final = frozenset(
    {EventType.OPTOUT_ADDED, EventType.OPTOUT_REMOVED, EventType.CHOICE_RECORDED, EventType.CHOICE_UNDONE}
)
"""The events that ``standing`` folds."""
FOLDED_ANEW: Final = STANDING_EVENTS - {EventType.OPTOUT_ADDED}
"""Those after which it must be folded anew; an added opt-out alone is in force whatever else is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a number's own records say, of every seller and register that they ever spoke of."""

    listed: dict[str, Record]
    """By seller: the record of the objection that was entered by hand or from a file, where one is in force."""
    optouts: dict[str, Record | None]
    """By seller: the newest record that holds an objection up, however it came; None when none is in force."""
    registrations: dict[tuple[str, Blocked], bool]
    """By profile and what is blocked: whether a registration taken in our calls blocks it now."""


_Key = tuple[str, str, str]
"""Seller, profile and call."""


def standing(records: Iterable[Record]) -> Standing:
    """Fold the opt-out and choice records of one number, in their order."""
    listed: dict[str, Record] = {}
    calls: dict[_Key, CallChoices] = {}
    objections: dict[_Key, list[Record]] = {}
    sellers: set[str] = set()
    entries: set[tuple[str, Blocked]] = set()
    for record in records:
        if record.type not in STANDING_EVENTS:
            continue
        seller = str(record.body["seller"])
        sellers.add(seller)
        match record.type:
            case EventType.OPTOUT_ADDED:
                listed[seller] = record
            case EventType.OPTOUT_REMOVED:
                listed.pop(seller, None)
                objections = {key: said for key, said in objections.items() if key[0] != seller}
            case _:
                key = (seller, str(record.body["profile"]), str(record.body["call"]))
                calls[key] = calls.get(key, CallChoices()).after(record)
                objections[key] = _objections(objections.get(key, []), record, calls[key])
                entries |= {(key[1], blocked) for blocked in calls[key].blocked}
    optouts: dict[str, Record | None] = dict.fromkeys(sorted(sellers))
    for seller in sellers:
        said = [one for key, some in objections.items() if key[0] == seller for one in some]
        optouts[seller] = max([*said, *_one(listed.get(seller))], key=lambda one: one.seq, default=None)
    blocked = {(profile, item) for (_, profile, _), choices in calls.items() for item in choices.blocked}
    return Standing(
        listed=listed, optouts=optouts, registrations={entry: entry in blocked for entry in sorted(entries)}
    )


def standing_by(news: Sequence[Record], known: Sequence[Record], inherited: int) -> Standing:
    """How a number stands by ``known``, all of its records, as far as ``news``, some of them, speak of it.

    Of what others say there may be more in the lists than in ``known``, where a journal was restored. So a record ends
    only what it speaks of itself, and one up to ``inherited`` ends nothing: what it ended was ended long ago.
    """
    now = standing(known)
    (sellers, entries), (ended_sellers, ended_entries) = (
        _spoken_of(some, known) for some in (news, [record for record in news if record.seq > inherited])
    )
    return Standing(
        listed={seller: one for seller, one in now.listed.items() if seller in sellers},
        optouts={
            seller: one for seller, one in now.optouts.items() if seller in (ended_sellers if one is None else sellers)
        },
        registrations={
            entry: held for entry, held in now.registrations.items() if entry in (entries if held else ended_entries)
        },
    )


def _spoken_of(news: Sequence[Record], known: Sequence[Record]) -> tuple[set[str], set[tuple[str, Blocked]]]:
    """The sellers that ``news`` speak of, and what was ever registered in the calls of ``news``."""
    calls = {record.body["call"] for record in news if "call" in record.body}
    of_calls = standing(record for record in known if record.body.get("call") in calls)
    return {str(record.body["seller"]) for record in news}, set(of_calls.registrations)


def _objections(before: list[Record], record: Record, choices: CallChoices) -> list[Record]:
    """The records of one call that hold an objection up, once ``record`` counts too."""
    if record.type is EventType.CHOICE_UNDONE:
        return [one for one in before if one.seq != record.body["undoes"]]
    if record.body["answer"] in OBJECTING:
        return [*before, record]
    if record.body["source"] == Source.CONSUMER and not choices.by_consumer.seller_optout:
        return [one for one in before if one.body["source"] == Source.AGENT]
    return before


def _one(record: Record | None) -> list[Record]:
    return [] if record is None else [record]
