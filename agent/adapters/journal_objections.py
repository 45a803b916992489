"""To whom consumers object, whoever they are: the sellers that the journal names, found without reading all of it.

The index ``records_objecting`` holds the records that matter, by seller. So which sellers there are, and whether an
objection to one of them is in force, is known after a few steps in a journal of millions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from agent.adapters.journal_schema import OBJECTIONS
from agent.adapters.journal_views import JournalCalls, JournalSellerLists
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.condition import IdleCustomers, SellersOnRecord, UnassignedSeller
from agent.domain.journal_events import EventType
from agent.domain.model import Campaign
from agent.domain.phone_number import PhoneNumber
from agent.domain.standing import standing

_FROM: Final = f"FROM records INDEXED BY records_objecting WHERE {OBJECTIONS}"
_SELLERS: Final = f"""
WITH RECURSIVE found (seller) AS (
  SELECT min(seller) {_FROM}
  UNION ALL SELECT (SELECT min(seller) {_FROM} AND seller > found.seller) FROM found WHERE found.seller IS NOT NULL)
SELECT seller FROM found WHERE seller IS NOT NULL
"""
"""One step along the index for each seller, however many records there are of it."""
_NOT_TAKEN_BACK: Final = f"""
SELECT number {_FROM} AND seller = ? AND seq > ? AND NOT EXISTS (
  SELECT 1 FROM records removed WHERE removed.number = records.number AND removed.seller = records.seller
  AND removed.type = '{EventType.OPTOUT_REMOVED}' AND removed.seq > records.seq)
ORDER BY seq DESC
"""
_GROUPS: Final = f"""
SELECT DISTINCT seller, json_extract(body, '$.product_group') FROM records
WHERE type = '{EventType.CUSTOMER_ADDED}' AND seller IS NOT NULL ORDER BY 1, 2
"""


class JournalObjections:
    """See ``agent.unassigned_objections.ObjectionRecords``."""

    def __init__(self, journal: SqliteJournal, calls: JournalCalls) -> None:
        self._journal = journal
        self._calls = calls

    def sellers(self) -> list[str]:
        """Every seller that somebody objected to once."""
        return [seller for (seller,) in self._journal.query(_SELLERS, ())]

    def any_in_force(self, seller: str, after: int) -> bool:
        """Whether an objection to ``seller`` is in force that was recorded after record ``after``."""
        looked_at: set[str] = set()
        head = self._journal.head().seq
        for (number,) in self._journal.query(_NOT_TAKEN_BACK, (seller, after)):
            if number in looked_at:
                continue
            held_up_by = standing(self._calls.choices_of(number, head)).optouts.get(seller)
            if held_up_by is not None and held_up_by.seq > after:
                return True
            looked_at.add(number)
        return False

    def objects(self, number: PhoneNumber, sellers: Collection[str]) -> bool:
        """Whether an objection of ``number`` to one of ``sellers`` is in force."""
        optouts = standing(self._calls.choices_of(number.e164, self._journal.head().seq)).optouts
        return any(optouts.get(seller) is not None for seller in sellers)


def sellers_on_record(
    path: Path, key_path: Path, campaigns: Iterable[Campaign], assigned: Collection[str], configured: Collection[str]
) -> SellersOnRecord:
    """Where the journal speaks of sellers and product groups that no campaign has; reads all customer records.

    ``assigned`` are the keys of sellers of which it is known who they are, ``configured`` those with a table. Raises
    ``JournalUnavailable``.
    """
    with SqliteJournal(path, key_path, create=False, progress=None) as journal:
        return _on_record(journal, campaigns, assigned, configured)


def _on_record(
    journal: SqliteJournal, campaigns: Iterable[Campaign], assigned: Collection[str], configured: Collection[str]
) -> SellersOnRecord:
    calls = JournalCalls(journal)
    lists = JournalSellerLists(journal, calls)
    unknown = [key for key in JournalObjections(journal, calls).sellers() if key not in assigned]
    objections = {key: sum(1 for _ in lists.optouts(key)) for key in unknown}
    exempt = {(key, campaign.product_group) for campaign in campaigns for key in campaign.seller.keys}
    retired = set(assigned) - {key for key, _ in exempt}
    groups = [(str(key), str(group)) for key, group in journal.query(_GROUPS, ()) if key not in retired]
    customers = {place: sum(1 for _ in lists.customers(*place)) for place in groups if place not in exempt}
    return SellersOnRecord(
        unassigned=tuple(
            UnassignedSeller(key=key, configured=key in configured, objections=count)
            for key, count in objections.items()
            if count
        ),
        idle=tuple(
            IdleCustomers(seller=key, product_group=group, customers=count)
            for (key, group), count in customers.items()
            if count
        ),
    )
