"""Why a number gets the verdict it gets: what the journal and Redis hold of it, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from agent.domain.deadline import Deadline
from agent.domain.errors import LookupUnavailable
from agent.domain.explanation import (
    Expected,
    Explanation,
    LoadedFile,
    Memberships,
    OwnRegistration,
    RegisterEntry,
    own_registrations,
)
from agent.domain.journal_events import Record
from agent.domain.model import Campaign
from agent.domain.phone_number import PhoneNumber
from agent.domain.ports import CallRecords, Journal
from agent.domain.profile import Profile
from agent.domain.register_history import register_history
from agent.domain.seller_list_entries import Customer, OptOut
from agent.domain.standing import standing
from agent.register_records import files_of
from agent.screening import Screening

_NO_END = 1 << 62


class Membership(Protocol):
    """The lists of the dial path, asked about one number."""

    def of(
        self,
        number: PhoneNumber,
        profiles: Collection[str],
        sellers: Collection[str],
        groups: Collection[tuple[str, str]],
    ) -> Memberships:
        """Which of these lists hold ``number``. Raises ``LookupUnavailable``."""


class NumberRecords(Protocol):
    """The seller lists as the journal tells them of one number."""

    def optout(self, seller: str, number: PhoneNumber) -> OptOut | None:
        """The opt-out in force for ``number``, however it came."""

    def customers_of(self, number: PhoneNumber) -> list[tuple[int, Customer]]:
        """In force for ``number``, with the seq of the record of each."""


class Explaining:
    """The use case behind ``bmn explain``. Changes nothing, and records nothing."""

    def __init__(
        self,
        *,
        journal: Journal,
        calls: CallRecords,
        seller_lists: NumberRecords,
        memberships: Membership,
        screening: Screening,
        campaigns: Mapping[str, Campaign],
        profiles: Mapping[str, Profile],
        clock: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._calls = calls
        self._seller_lists = seller_lists
        self._memberships = memberships
        self._screening = screening
        self._campaigns = campaigns
        self._profiles = profiles
        self._clock = clock

    def explain(self, number: PhoneNumber, campaigns: Sequence[str], timeout_ms: int) -> Explanation:
        """Everything about ``number``, and what ``campaigns`` would get, each decided within ``timeout_ms``.

        Raises ``JournalUnavailable``; a Redis that is away is told in the explanation.
        """
        records = self._calls.choices_of(number.e164, _NO_END)
        stands = standing(records)
        objections = {seller: record for seller, record in stands.optouts.items() if record is not None}
        own = own_registrations(records)
        customers = self._seller_lists.customers_of(number)
        profiles = sorted(
            {self._campaigns[key].profile for key in campaigns} | {profile for profile, _ in stands.registrations}
        )
        sellers = sorted({key for one in self._campaigns.values() for key in one.seller.keys} | set(stands.optouts))
        groups = {(item.seller, item.product_group) for _, item in customers}
        groups |= {
            (key, one.product_group) for one in self._campaigns.values() if one.product_group for key in one.seller.keys
        }
        unavailable = ""
        found: Memberships | None = None
        try:
            found = self._memberships.of(number, profiles, sellers, sorted(groups))
        except LookupUnavailable as error:
            unavailable = str(error)
        differing = () if found is None else tuple(_disagreements(found, own, objections, customers))
        return Explanation(
            number=number,
            register=tuple(self._entry(profile, found) for profile in profiles),
            own=own,
            optouts=tuple(
                optout
                for seller in sorted(objections)
                if (optout := self._seller_lists.optout(seller, number)) is not None
            ),
            customers=tuple(item for _, item in customers),
            expected=tuple(self._expected(number, self._campaigns[key], timeout_ms) for key in campaigns),
            disagreements=(*differing, *self._other_registers(profiles, found)),
            unavailable=unavailable,
        )

    def _entry(self, key: str, found: Memberships | None) -> RegisterEntry:
        profile, lineage = self._profiles[key], register_history(self._journal.register_changes(key)).lineage
        generation = None if found is None else found.generations[key]
        return RegisterEntry(
            profile=key,
            generation=generation,
            stale=generation is not None and profile.is_stale(generation, self._clock()),
            blocked=None if found is None or generation is None else found.register[key],
            files=tuple(
                LoadedFile(
                    name=str(item["name"]),
                    sha256=str(item["sha256"]),
                    as_of=date.fromisoformat(str(record.body["as_of"])),
                    loaded_at=record.at,
                )
                for record in lineage
                for item in files_of(record)
            ),
        )

    def _expected(self, number: PhoneNumber, campaign: Campaign, timeout_ms: int) -> Expected:
        decision, failure = self._screening.would_be(number, campaign, Deadline.after_ms(timeout_ms))
        return Expected(campaign=campaign.key, seller=campaign.seller.key, decision=decision, failure=failure)

    def _other_registers(self, profiles: Sequence[str], found: Memberships | None) -> Iterator[str]:
        for profile in profiles if found is not None else ():
            loaded = register_history(self._journal.register_changes(profile)).in_force
            wanted = None if loaded is None else str(loaded.body["generation"])
            generation = found.generations[profile] if found is not None else None
            if wanted != (generation.id if generation else None):
                yield (
                    f"register {profile}: in force by the journal is {wanted or 'none'}, and in Redis "
                    f"{generation.id if generation else 'none'}: run bmn rebuild"
                )


def _disagreements(
    found: Memberships,
    own: Sequence[OwnRegistration],
    objections: Mapping[str, Record],
    customers: Sequence[tuple[int, Customer]],
) -> Iterator[str]:
    """Where the lists in Redis and the journal say different things of one number."""

    def missing(what: str, since: datetime, seq: int) -> str:
        todo = "it waits in the outbox" if seq > found.applied >= 0 else "run bmn rebuild"
        return f"{what}: in the journal since {since.isoformat(timespec='seconds')}, not in Redis: {todo}"

    def unknown(what: str) -> str:
        return f"{what}: in Redis, and the journal has no record of it: run bmn rebuild"

    if not found.whole:
        yield "Redis lost a part of the sets of this number, or has more than it should: run bmn rebuild"
    for item in own:
        if not item.blocked <= found.own.get(item.profile, frozenset()):
            yield missing(f"own registration ({item.profile})", item.since, item.seq)
    for profile, blocked in found.own.items():
        known = frozenset(one for item in own if item.profile == profile for one in item.blocked)
        if not blocked <= known:
            yield unknown(f"own registration ({profile}, {', '.join(sorted(blocked - known))})")
    for seller, record in sorted(objections.items()):
        if seller not in found.optouts:
            yield missing(f"opt-out of {seller}", record.at, record.seq)
    for seller in sorted(found.optouts - set(objections)):
        yield unknown(f"opt-out of {seller}")
    groups = {(customer.seller, customer.product_group) for _, customer in customers}
    for seq, customer in customers:
        if (customer.seller, customer.product_group) not in found.customers:
            what = f"customer of {customer.seller} for {customer.product_group}"
            yield missing(what, customer.since, seq)
    for seller, group in sorted(found.customers - groups):
        yield unknown(f"customer of {seller} for {group}")
