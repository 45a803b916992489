"""How a number stands after everything that was ever said of it: whom it is closed to, and for what.

A seller opt-out and a registration each may rest on several records, of several calls. So an undone key or a removed
opt-out takes away only what no other record holds up; that is why it is folded anew and never subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agent.domain.call_story import CallChoices
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked

STANDING: Final = frozenset(
    {EventType.OPTOUT_ADDED, EventType.OPTOUT_REMOVED, EventType.CHOICE_RECORDED, EventType.CHOICE_UNDONE}
)
"""The events that ``standing`` folds."""
FOLDED_ANEW: Final = STANDING - {EventType.OPTOUT_ADDED}
"""Those after which it must be folded anew; an added opt-out alone is in force whatever else is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a number's own records say. A value of False was true once, and is not any more."""

    optouts: dict[str, bool]
    """By seller: whether an objection is in force."""
    registrations: dict[tuple[str, Blocked], bool]
    """By profile and what is blocked: whether a registration taken in our calls blocks it."""


def standing(records: Iterable[Record]) -> Standing:
    """Fold the opt-out and choice records of one number, in their order."""
    listed: set[str] = set()
    lifted: set[tuple[str, str, str]] = set()
    calls: dict[tuple[str, str, str], CallChoices] = {}
    sellers: set[str] = set()
    entries: set[tuple[str, Blocked]] = set()
    for record in records:
        seller = str(record.body["seller"])
        sellers.add(seller)
        match record.type:
            case EventType.OPTOUT_ADDED:
                listed.add(seller)
            case EventType.OPTOUT_REMOVED:
                listed.discard(seller)
                lifted |= {key for key in calls if key[0] == seller}
            case _:
                key = (seller, str(record.body["profile"]), str(record.body["call"]))
                calls[key] = calls.get(key, CallChoices()).after(record)
                lifted.discard(key)
                entries |= {(key[1], blocked) for blocked in calls[key].blocked}
    objected = listed | {key[0] for key, choices in calls.items() if choices.wish.seller_optout and key not in lifted}
    blocked = {(profile, item) for (_, profile, _), choices in calls.items() for item in choices.blocked}
    return Standing(
        optouts={seller: seller in objected for seller in sellers},
        registrations={entry: entry in blocked for entry in entries},
    )
