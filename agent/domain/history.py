"""What is asked of the journal by those who watch it: pages of records, counts for charts, and what needs attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import Final, Protocol

from agent.domain.journal_events import EventType, Record
from agent.domain.model import DeliveryFailure, Reason, Verdict
from agent.domain.phone_number import PhoneNumber

CONSUMER_REASONS: Final = frozenset(
    {Reason.REGISTERED, Reason.REGISTERED_SECTOR, Reason.REGISTERED_CHARITIES, Reason.SELLER_OPTOUT}
)
"""Blocks because of what the consumer wants: whoever dials such a number again is told so a second time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which records; what is None, or empty, does not narrow. Everything given must hold."""

    since: datetime | None = None
    """Aware; the first moment that counts."""
    until: datetime | None = None
    """Aware; the first moment that does not count any more."""
    types: frozenset[EventType] = frozenset()
    verdict: Verdict | None = None
    """With this or ``reason``, only ``call.screened`` is looked at: nothing else has a verdict."""
    reason: Reason | None = None
    campaign: str | None = None
    seller: str | None = None
    agent: str | None = None
    number: PhoneNumber | None = None
    call: str | None = None

    def __post_init__(self) -> None:
        if any(moment is not None and moment.tzinfo is None for moment in (self.since, self.until)):
            raise ValueError("a time without a zone is no moment")

    @property
    def wanted_types(self) -> frozenset[EventType]:
        """The types that can match; never empty unless nothing can."""
        types = self.types or frozenset(EventType)
        return types & {EventType.CALL_SCREENED} if self.verdict or self.reason else types

    @property
    def wanted_reasons(self) -> frozenset[Reason] | None:
        """The reasons that can match; None when the reason does not matter."""
        if self.verdict is None and self.reason is None:
            return None
        reasons = frozenset(Reason) if self.reason is None else frozenset({self.reason})
        return frozenset(reason for reason in reasons if self.verdict in (None, reason.verdict))


EVERYTHING: Final = HistoryFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Some of the records that match."""

    records: tuple[Record, ...]
    """Newest first. For the page below, ask ``before`` the last one's ``seq``."""
    more: bool
    """Whether there are more in the direction that was asked for: older ones, or newer ones with ``after``."""
    upto: int
    """The journal's last record when this was read. Without ``more``, ask ``after`` it for what is new."""
    undelivered: Mapping[str, DeliveryFailure] = field(default_factory=dict)
    """Of the calls in ``records`` those whose verdict Asterisk did not confirm, by their ids."""


class Bucket(StrEnum):
    """How long one stretch of a chart is."""

    HOUR = "hour"
    DAY = "day"
    WHOLE = "whole"
    """No stretches: everything from ``since`` on."""


class Breakdown(StrEnum):
    """What is counted apart."""

    VERDICT = "verdict"
    REASON = "reason"
    CAMPAIGN = "campaign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many screenings one stretch has of one kind."""

    begins: datetime
    """When the stretch begins, in the zone that was asked for."""
    key: str
    """The verdict, the reason, or the campaign as it was asked for (empty when none was)."""
    verdict: Verdict
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedAttempts:
    """One agent, and a number that he dialled again after it was blocked (``CONSUMER_REASONS``)."""

    agent: str
    number: PhoneNumber
    attempts: int
    """Blocked attempts, all of them; 2 at least."""
    last: Record
    """The newest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCount:
    """One agent, and how many of his calls."""

    agent: str
    count: int
    last: datetime
    """When the newest of them was recorded."""


class History(Protocol):
    """The journal as those read it who watch it. Everything here raises ``JournalUnavailable``."""

    def page(
        self, chosen: HistoryFilter, *, before: int | None = None, after: int | None = None, limit: int
    ) -> HistoryPage:
        """The newest ``limit`` records that match, of those ``before`` a record (by ``seq``, not included).

        With ``after``, the oldest ``limit`` of those after that record: whoever follows misses none.
        """

    def counts(
        self, since: datetime, until: datetime, bucket: Bucket, by: Breakdown, zone: tzinfo = UTC
    ) -> tuple[Count, ...]:
        """How many calls were screened, in order of time; stretches without any are left out.

        Both times (aware) are rounded down to whole hours, the least that is counted apart. ``zone`` says when a day
        begins. Purged records still count.
        """

    def undelivered(self, since: datetime, until: datetime) -> int:
        """How many verdicts Asterisk did not confirm in those hours. All of them are in ``counts`` as well."""

    def repeated_attempts(self, since: datetime, limit: int) -> tuple[RepeatedAttempts, ...]:
        """Agents who dialled blocked numbers again, those with the most attempts first."""

    def missing_offers(
        self, since: datetime, limit: int | None, chosen: HistoryFilter = EVERYTHING
    ) -> tuple[Record, ...]:
        """``call.finished`` of answered calls in which the agent logged no offer though one was due, newest first.

        All of them without a ``limit``; ``chosen`` narrows further, but for its types, verdict and reason.
        """

    def lacks_offer(self, record: Record) -> bool:
        """Whether ``record`` is one of ``missing_offers``."""

    def agents_missing_offers(self, since: datetime, limit: int) -> tuple[AgentCount, ...]:
        """The agents of ``missing_offers``, those with the most first."""

    def unfinished_calls(self, since: datetime, limit: int) -> tuple[Record, ...]:
        """``call.screened`` of calls that were allowed and of whose end nothing is known, newest first.

        A call that still goes on is one of them, and one whose books were closed without an end.
        """
