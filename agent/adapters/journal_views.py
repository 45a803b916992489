"""What the journal holds of the seller lists, of one call and of one number."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.choice import OBJECTING, REGISTERING
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Verdict
from agent.domain.phone_number import PhoneNumber
from agent.domain.seller_list_entries import Customer, OptOut, Sale
from agent.domain.standing import STANDING_EVENTS, Standing, standing

_OPTOUT: Final = f"type IN ('{EventType.OPTOUT_ADDED}', '{EventType.OPTOUT_REMOVED}') AND seller = ?"
_CUSTOMER: Final = f"type IN ('{EventType.CUSTOMER_ADDED}', '{EventType.CUSTOMER_REMOVED}') AND seller = ?"
_GROUP: Final = "json_extract(body, '$.product_group')"


_CHOICES: Final = ", ".join(f"'{name}'" for name in sorted(STANDING_EVENTS))
_OBJECTING_LIST: Final = ", ".join(f"'{answer}'" for answer in sorted(OBJECTING))
_OF_CALLS: Final = f"type = '{EventType.CHOICE_RECORDED}' AND json_extract(body, '$.answer') IN ({_OBJECTING_LIST})"
_REGISTERING: Final = ", ".join(f"'{answer}'" for answer in sorted(REGISTERING))

_REGISTRATION_CHANGES: Final = ", ".join(
    f"'{name}'"
    for name in (
        EventType.CHOICE_RECORDED,
        EventType.CHOICE_UNDONE,
        EventType.REGISTRATION_EXPORTED,
        EventType.REGISTRATION_ACKNOWLEDGED,
    )
)

_PUT_RIGHT: Final = (
    f"EXISTS (SELECT 1 FROM records jumped WHERE jumped.type = '{EventType.CLOCK_JUMPED}' AND jumped.seq > records.seq "
    "AND jumped.at >= ? AND jumped.at < ?)"
)
_WITHIN: Final = f"at >= ? AND (at < ? OR {_PUT_RIGHT})"
"""What a clock that was ahead dated into the future happened before it was put right. The first term needs no body."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def is_on_record(journal: SqliteJournal, number: PhoneNumber) -> bool:
    """Whether a record is of ``number``; what was dialled and blocked need not have been one.

    Raises ``JournalUnavailable``.
    """
    where = f"number = ? AND NOT (type = '{EventType.CALL_SCREENED}' AND verdict = '{Verdict.BLOCK}')"
    return next(journal.records(where, (number.e164,), limit=1), None) is not None


class JournalCalls:
    """See ``agent.domain.ports.CallRecords``."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal

    def of_call(self, call: str) -> list[Record]:
        """Every record of a call, in order."""
        return list(self._journal.records("call = ?", (call,)))

    def choices_of(self, number: str, until: int) -> list[Record]:
        """The opt-out and choice records of a number up to record ``until``, in order."""
        return list(self._journal.records(f"number = ? AND type IN ({_CHOICES}) AND seq <= ?", (number, until)))

    def last_applied(self) -> int:
        """See ``agent.outbox.ChoiceRecords``."""
        where = f"type = '{EventType.CHOICE_APPLIED}'"
        newest = next(self._journal.records(where, limit=1, newest_first=True), None)
        return 0 if newest is None else int(str(newest.body["choice"]))

    def exported(self, batch: str) -> list[Record]:
        """The registrations of a batch, in order."""
        where = f"type = '{EventType.REGISTRATION_EXPORTED}' AND json_extract(body, '$.batch') = ?"
        return list(self._journal.records(where, (batch,)))

    def unfollowed(self, since: datetime, before: datetime) -> list[str]:
        """Calls that ended in that time with a notice to follow, of which there is no record of a notice."""
        where = (
            f"type = '{EventType.CALL_FINISHED}' AND json_extract(body, '$.notice') = 'to_follow' AND {_WITHIN} "
            "AND NOT EXISTS (SELECT 1 FROM records played WHERE played.call = records.call "
            f"AND played.type IN ('{EventType.NOTICE_BEGUN}', '{EventType.NOTICE_PLAYED}'))"
        )
        return self._calls_of(where, since, before)

    def cut_off(self, since: datetime, before: datetime) -> list[str]:
        """Calls whose notice began in that time, and of which there is no record of how far it came."""
        where = (
            f"type = '{EventType.NOTICE_BEGUN}' AND {_WITHIN} "
            "AND NOT EXISTS (SELECT 1 FROM records played WHERE played.call = records.call "
            f"AND played.type = '{EventType.NOTICE_PLAYED}')"
        )
        return list(dict.fromkeys(self._calls_of(where, since, before)))

    def _calls_of(self, where: str, since: datetime, before: datetime) -> list[str]:
        moments = (since, before, since, before)
        times = tuple((moment - _EPOCH) // timedelta(microseconds=1) for moment in moments)
        return [str(record.body["call"]) for record in self._journal.records(where, times)]

    def unfinished(self, before: datetime, limit: int) -> list[str]:
        """See ``agent.domain.ports.CallRecords``."""
        query = (
            "SELECT open_calls.call FROM open_calls CROSS JOIN records ON records.seq = open_calls.seq "
            f"WHERE (records.at < ? OR {_PUT_RIGHT}) AND records.body IS NOT NULL ORDER BY open_calls.seq LIMIT ?"
        )
        until = (before - _EPOCH) // timedelta(microseconds=1)
        return [str(call) for (call,) in self._journal.query(query, (until, 0, until, limit))]

    def registering_calls(self) -> list[str]:
        """The calls in which somebody asked to be entered in the register, in order."""
        where = f"type = '{EventType.CHOICE_RECORDED}' AND json_extract(body, '$.answer') IN ({_REGISTERING})"
        return list(dict.fromkeys(str(record.body["call"]) for record in self._journal.records(where)))

    def registrations_changed(self, after: int) -> list[str]:
        """See ``agent.service_state.RegistrationRecords``."""
        where = (
            f"type IN ({_REGISTRATION_CHANGES}) AND seq > ? AND EXISTS (SELECT 1 FROM records asked "
            f"WHERE asked.call = records.call AND asked.type = '{EventType.CHOICE_RECORDED}' "
            f"AND json_extract(asked.body, '$.answer') IN ({_REGISTERING}))"
        )
        return list(dict.fromkeys(str(record.body["call"]) for record in self._journal.records(where, (after,))))


class JournalSellerLists:
    """See ``agent.seller_lists.SellerListRecords``."""

    def __init__(self, journal: SqliteJournal, calls: JournalCalls) -> None:
        self._journal = journal
        self._calls = calls

    def optout(self, seller: str, number: PhoneNumber) -> OptOut | None:
        """The opt-out in force for ``number``, however it came."""
        objection = self._standing(number).optouts.get(seller)
        return None if objection is None else _optout(objection)

    def is_listed(self, seller: str, number: PhoneNumber) -> bool:
        """Whether an objection is in force that was entered by hand or from a file."""
        return seller in self._standing(number).listed

    def optouts(self, seller: str) -> Iterator[OptOut]:
        """All in force: those of the command line, oldest first, then those of calls."""
        records = self._journal.records(f"{_OF_CALLS} AND seller = ?", (seller,))
        of_calls = list(dict.fromkeys(str(record.body["number"]) for record in records))
        last_words = f"seq IN (SELECT max(seq) FROM records WHERE {_OPTOUT} GROUP BY number)"
        for record in self._journal.records(f"{last_words} AND type = '{EventType.OPTOUT_ADDED}'", (seller,)):
            if record.body["number"] not in of_calls:
                yield _optout(record)
        for number in of_calls:
            found = self.optout(seller, PhoneNumber(digits=number.removeprefix("+")))
            if found is not None:
                yield found

    def customers_of(self, number: PhoneNumber) -> list[tuple[int, Customer]]:
        """In force for ``number``, with the seq of the record of each."""
        last: dict[tuple[str, str], Record] = {}
        types = f"'{EventType.CUSTOMER_ADDED}', '{EventType.CUSTOMER_REMOVED}'"
        for record in self._journal.records(f"number = ? AND type IN ({types})", (number.e164,)):
            last[str(record.body["seller"]), str(record.body["product_group"])] = record
        added = [record for _, record in sorted(last.items()) if record.type is EventType.CUSTOMER_ADDED]
        return [(record.seq, _customer(record)) for record in added]

    def _standing(self, number: PhoneNumber) -> Standing:
        return standing(self._calls.choices_of(number.e164, self._journal.head().seq))

    def customer(self, seller: str, product_group: str, number: PhoneNumber) -> Customer | None:
        """The customer record in force for ``number``."""
        where = f"{_CUSTOMER} AND number = ? AND {_GROUP} = ?"
        last = next(
            self._journal.records(where, (seller, number.e164, product_group), limit=1, newest_first=True), None
        )
        return _customer(last) if last is not None and last.type is EventType.CUSTOMER_ADDED else None

    def customers(self, seller: str, product_group: str | None) -> Iterator[Customer]:
        """All in force, oldest first."""
        last_words = f"seq IN (SELECT max(seq) FROM records WHERE {_CUSTOMER} GROUP BY number, {_GROUP})"
        where = f"{last_words} AND type = '{EventType.CUSTOMER_ADDED}' AND (? IS NULL OR {_GROUP} = ?)"
        for record in self._journal.records(where, (seller, product_group, product_group)):
            yield _customer(record)


def _optout(record: Record) -> OptOut:
    body = record.body
    if record.type is EventType.CHOICE_RECORDED:
        return OptOut(
            seller=str(body["seller"]),
            number=_number(record),
            since=record.at,
            source=str(body["source"]),
            note=f"call {body['call']}",
            by=str(body["agent"]),
        )
    return OptOut(
        seller=str(body["seller"]),
        number=_number(record),
        since=record.at,
        source=str(body["source"]),
        note=_optional(record, "note"),
        by=str(body["by"]),
        objected_on=date.fromisoformat(str(body["since"])) if body.get("since") else None,
    )


def _customer(record: Record) -> Customer:
    body = record.body
    return Customer(
        seller=str(body["seller"]),
        product_group=str(body["product_group"]),
        number=_number(record),
        sale=Sale(
            sold_on=date.fromisoformat(str(body["sold_on"])),
            product=str(body["product"]),
            evidence=_optional(record, "evidence"),
        ),
        since=record.at,
        source=str(body["source"]),
        by=str(body["by"]),
    )


def _number(record: Record) -> PhoneNumber:
    return PhoneNumber(digits=str(record.body["number"]).removeprefix("+"))


def _optional(record: Record, field: str) -> str | None:
    value = record.body[field]
    return None if value is None else str(value)
