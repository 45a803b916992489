"""A seller's own lists: opt-outs, which beat everything, and customers, each with the evidence of the sale.

Each change is a journal record first and is in force in Redis before the call returns. Doing it again changes nothing.
What was recorded under a former key of a seller counts as if it stood under the present one, and ends with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, LookupUnavailable, PremiseOutdated
from agent.domain.journal_events import Event, EventType
from agent.domain.model import Seller
from agent.domain.phone_number import PhoneNumber
from agent.domain.ports import Journal, Progress
from agent.domain.premise import Premise
from agent.domain.seller_list_entries import Customer, Objection, OptOut, Sale
from agent.outbox import Outbox

APPEND_TIMEOUT_MS: Final = 3_000
_CHUNK: Final = 1_000
"""Records in one journal transaction: small, so that live screenings never wait long for the disk."""


class SellerListRecords(Protocol):
    """The seller lists as the journal tells them."""

    def optout(self, seller: str, number: PhoneNumber) -> OptOut | None:
        """The opt-out in force for ``number``."""

    def is_listed(self, seller: str, number: PhoneNumber) -> bool:
        """Whether an objection is in force that was entered by hand or from a file."""

    def optouts(self, seller: str) -> Iterator[OptOut]:
        """All in force."""

    def customer(self, seller: str, product_group: str, number: PhoneNumber) -> Customer | None:
        """The customer record in force for ``number``."""

    def customers(self, seller: str, product_group: str | None) -> Iterator[Customer]:
        """All in force, oldest first; of every product group when that is None."""


class SellerLists:
    """The use cases behind ``bmn optout`` and ``bmn customer``. ``by`` is the system user who asks."""

    def __init__(
        self, journal: Journal, records: SellerListRecords, outbox: Outbox, sellers: Mapping[str, Seller], by: str
    ) -> None:
        """``sellers`` are those of the configuration, by each of their keys."""
        self._journal = journal
        self._records = records
        self._outbox = outbox
        self._sellers = sellers
        self._by = by

    def add_optout(self, seller: str, number: PhoneNumber, source: str, note: str | None) -> bool:
        """Record an objection; False when one was entered already. One that was said in a call is no reason not to."""
        if self._is_listed(seller, number):
            self._outbox.drain_recorded()
            return False
        self._record([self._optout_added(seller, number, Objection(source=source, note=note))])
        return True

    def add_optouts(self, seller: str, objections: Sequence[tuple[PhoneNumber, Objection]], progress: Progress) -> int:
        """Record the first objection of each number that is not entered yet; returns how many were recorded."""
        first: dict[PhoneNumber, Objection] = {}
        for number, objection in objections:
            first.setdefault(number, objection)
        numbers = list(first)
        added = 0
        for start in range(0, len(numbers), _CHUNK):
            events = [
                self._optout_added(seller, number, first[number])
                for number in numbers[start : start + _CHUNK]
                if not self._is_listed(seller, number)
            ]
            if events:
                self._record(events)
                added += len(events)
            progress("recording", min(start + _CHUNK, len(numbers)), len(numbers))
        self._outbox.drain_recorded()
        return added

    def opted_out(self, seller: str, numbers: Iterable[PhoneNumber]) -> int:
        """How many of ``numbers`` have an objection to ``seller`` in force, each counted once."""
        return sum(bool(self._objected_to(seller, number)) for number in set(numbers))

    def remove_optout(self, seller: str, number: PhoneNumber, reason: str) -> bool:
        """Take an objection back, under every key that it is on record under; False when there was none.

        The reason is part of the evidence. Raises ``InputRejected`` when the consumer said something new while this was
        decided.
        """
        with contextlib.suppress(LookupUnavailable):  # before, so that a restored journal is noticed without it
            self._outbox.drain()
        upto = self._journal.state().seq
        keys = self._objected_to(seller, number)
        if not keys:
            self._outbox.drain()
            return False
        bodies = [{"seller": key, "number": number.e164, "reason": reason, "by": self._by} for key in keys]
        events = [Event(EventType.OPTOUT_REMOVED, body) for body in bodies]
        premise = Premise(upto=upto, number=number.e164)
        try:
            self._journal.append(events, Deadline.after_ms(APPEND_TIMEOUT_MS), premise)
        except PremiseOutdated as error:
            raise InputRejected(
                "something new was recorded of this number meanwhile: look again (bmn explain) before you remove it"
            ) from error
        self._outbox.drain_recorded()
        return True

    def optouts(self, seller: str) -> Iterator[OptOut]:
        """All opt-outs in force for ``seller``, each number once; those under its former keys come first."""
        seen: set[PhoneNumber] = set()
        for key in reversed(self._keys(seller)):
            for item in self._records.optouts(key):
                if item.number not in seen:
                    yield item
                seen.add(item.number)

    def add_customers(
        self,
        seller: str,
        product_group: str,
        sales: Sequence[tuple[PhoneNumber, Sale]],
        source: str,
        progress: Progress,
    ) -> int:
        """Record the newest sale to each customer; returns how many were recorded.

        What is on record already, or older than what is, changes nothing. Of two sales on one day the later one counts.
        """
        newest: dict[PhoneNumber, Sale] = {}
        for number, sale in sales:
            if number not in newest or sale.sold_on >= newest[number].sold_on:
                newest[number] = sale
        customers = list(newest.items())
        added = 0
        for start in range(0, len(customers), _CHUNK):
            events = [
                _customer_added(self._keys(seller)[0], product_group, number, sale, source, self._by)
                for number, sale in customers[start : start + _CHUNK]
                if self._is_news(seller, product_group, number, sale)
            ]
            if events:
                self._record(events)
                added += len(events)
            progress("recording", min(start + _CHUNK, len(customers)), len(customers))
        self._outbox.drain_recorded()
        return added

    def remove_customer(self, seller: str, product_group: str, number: PhoneNumber, reason: str) -> bool:
        """End the exemption of a customer; False when there was none."""
        on_record = self._on_record(seller, product_group, number)
        if not on_record:
            self._outbox.drain()
            return False
        bodies = [
            {
                "seller": known.seller,
                "product_group": product_group,
                "number": number.e164,
                "reason": reason,
                "by": self._by,
            }
            for known in on_record
        ]
        self._record([Event(EventType.CUSTOMER_REMOVED, body) for body in bodies])
        return True

    def customers(self, seller: str, product_group: str | None) -> Iterator[Customer]:
        """All customers in force for ``seller``, each once for a product group, first under its present key."""
        seen: set[tuple[PhoneNumber, str]] = set()
        for key in self._keys(seller):
            for item in self._records.customers(key, product_group):
                if (item.number, item.product_group) not in seen:
                    yield item
                seen.add((item.number, item.product_group))

    def _keys(self, seller: str) -> tuple[str, ...]:
        """Every key of ``seller``, the present one first."""
        known = self._sellers.get(seller)
        return (seller,) if known is None else known.keys

    def _is_listed(self, seller: str, number: PhoneNumber) -> bool:
        return any(self._records.is_listed(key, number) for key in self._keys(seller))

    def _objected_to(self, seller: str, number: PhoneNumber) -> list[str]:
        """The keys of ``seller`` under which an objection of ``number`` is in force."""
        return [key for key in self._keys(seller) if self._records.optout(key, number) is not None]

    def _on_record(self, seller: str, product_group: str, number: PhoneNumber) -> list[Customer]:
        """What makes ``number`` a customer, by each key of ``seller``."""
        found = (self._records.customer(key, product_group, number) for key in self._keys(seller))
        return [known for known in found if known is not None]

    def _is_news(self, seller: str, product_group: str, number: PhoneNumber, sale: Sale) -> bool:
        sales = [known.sale for known in self._on_record(seller, product_group, number)]
        return sale not in sales and all(sale.sold_on >= known.sold_on for known in sales)

    def _optout_added(self, seller: str, number: PhoneNumber, objection: Objection) -> Event:
        return Event(
            EventType.OPTOUT_ADDED,
            {
                "seller": self._keys(seller)[0],
                "number": number.e164,
                "source": objection.source,
                "note": objection.note,
                "by": self._by,
                "since": objection.objected_on.isoformat() if objection.objected_on else None,
            },
        )

    def _record(self, events: Sequence[Event]) -> None:
        self._journal.append(events, Deadline.after_ms(APPEND_TIMEOUT_MS))
        self._outbox.drain_recorded()


def _customer_added(seller: str, product_group: str, number: PhoneNumber, sale: Sale, source: str, by: str) -> Event:
    return Event(
        EventType.CUSTOMER_ADDED,
        {
            "seller": seller,
            "product_group": product_group,
            "number": number.e164,
            "sold_on": sale.sold_on.isoformat(),
            "product": sale.product,
            "evidence": sale.evidence,
            "source": source,
            "by": by,
        },
    )
