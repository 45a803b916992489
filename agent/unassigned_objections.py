"""Objections to a seller that the configuration does not know: its key was changed, or its campaigns were taken out.

The journal keeps an objection under the key that the seller had then. Whose it is today, only the configuration can
say, with ``formerly`` or ``retired``; until it does, promotional calls are blocked, and all calls to whoever objected
(``agent.domain.rules``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from agent.domain.model import Facts
from agent.domain.phone_number import PhoneNumber


class ObjectionRecords(Protocol):
    """The objections that the journal holds. Raises ``JournalUnavailable``."""

    def sellers(self) -> list[str]:
        """Every seller that somebody objected to once."""

    def any_in_force(self, seller: str, after: int) -> bool:
        """Whether an objection to ``seller`` is in force that was recorded after record ``after``."""

    def objects(self, number: PhoneNumber, sellers: Collection[str]) -> bool:
        """Whether an objection of ``number`` to one of ``sellers`` is in force."""


class UnassignedObjections:
    """Looks for such sellers. Thread-safe; asks the journal only when an objection may have been added."""

    def __init__(self, records: ObjectionRecords, assigned: Collection[str]) -> None:
        """``assigned`` are the keys of which the configuration says who they are."""
        self._records = records
        self.assigned = assigned
        """As given."""
        self._none_up_to = -1
        """Up to this record no such objection is in force; one that was taken back comes back by a new record only."""

    def sellers(self, watermark: int) -> tuple[str, ...]:
        """The keys of these sellers. ``watermark`` is the newest record that may turn an allow into a block."""
        none_up_to = self._none_up_to
        if watermark <= none_up_to:
            return ()
        unknown = [seller for seller in self._records.sellers() if seller not in self.assigned]
        found = tuple(seller for seller in unknown if self._records.any_in_force(seller, none_up_to))
        if not found:
            self._none_up_to = watermark
        return found

    def added_to(self, facts: Facts, number: PhoneNumber, watermark: int) -> Facts:
        """``facts`` of ``number`` with these sellers, and whether it objected to one of them."""
        sellers = self.sellers(watermark)
        if not sellers:
            return facts
        return replace(facts, unassigned=sellers, unassigned_objector=self._records.objects(number, sellers))


def unassigned_in_words(sellers: Sequence[str]) -> str:
    """Why calls are blocked, and what to do."""
    return (
        f"objections to {', '.join(sellers)} are in force, and the configuration does not say which seller that is "
        "now: see bmn doctor"
    )
