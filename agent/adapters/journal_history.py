"""The journal as those read it who watch it: pages by key, counts, and what needs attention.

A page is read for each type apart, backwards along the index ``records_by_type``, which holds all that a filter may ask
for; what the ``tally`` knows tells before between which records there can be any. So what is rare, and what is not
there, is found in a journal of millions without reading it. Nothing is paged by counting rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby, islice
from typing import Final

from agent.adapters.journal_schema import BLOCKED, HOUR_US, MISSING_OFFER
from agent.adapters.journal_views import JournalCalls
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.call_story import CallStory
from agent.domain.history import (
    CONSUMER_REASONS,
    AgentCount,
    Breakdown,
    Bucket,
    Count,
    HistoryFilter,
    HistoryPage,
    RepeatedAttempts,
)
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Reason, Verdict
from agent.domain.phone_number import PhoneNumber

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OFFERED_LATER: Final = (
    "EXISTS (SELECT 1 FROM records later INDEXED BY records_by_call WHERE later.call = records.call "
    f"AND later.seq > records.seq AND later.type = '{EventType.CHOICE_RECORDED}')"
)
_CONSUMER_REASONS: Final = ", ".join(f"'{reason}'" for reason in sorted(CONSUMER_REASONS))


class JournalHistory:
    """See ``agent.domain.history.History``."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal

    # --- pages

    def page(
        self, chosen: HistoryFilter, *, before: int | None = None, after: int | None = None, limit: int
    ) -> HistoryPage:
        """The newest that match, or with ``after`` the next."""
        upto = self._journal.head().seq
        first = 1 if after is None else after + 1
        last = upto if before is None else min(upto, before - 1)
        newest_first = after is None
        found = list(islice(self._matching(chosen, first, last, newest_first, limit + 1), limit + 1))
        more, found = len(found) > limit, found[:limit]
        return HistoryPage(records=tuple(found if newest_first else reversed(found)), more=more, upto=upto)

    def _matching(
        self, chosen: HistoryFilter, first: int, last: int, newest_first: bool, limit: int
    ) -> Iterator[Record]:
        if chosen.call is not None or chosen.number is not None:
            return iter(self._of_one(chosen, first, last, newest_first, limit))
        of_types = [
            self._of_type(chosen, event_type, max(first, low), min(last, high), newest_first, limit)
            for event_type, low, high in self._where(chosen)
            if max(first, low) <= min(last, high)
        ]
        return heapq.merge(*of_types, key=lambda record: record.seq, reverse=newest_first)

    def _where(self, chosen: HistoryFilter) -> list[tuple[str, int, int]]:
        """Between which records there may be any, for each type that can match and is there."""
        since, until = _hours(chosen)
        types = sorted(chosen.wanted_types)
        where, parameters = (
            [f"hour BETWEEN ? AND ? AND type IN ({_marks(types)})"],
            list[object]([since, until, *types]),
        )
        if chosen.campaign is not None:
            where.append("campaign = ?")
            parameters.append(chosen.campaign)
        if (reasons := chosen.wanted_reasons) is not None:
            where.append(f"reason IN ({_marks(reasons)})")
            parameters += sorted(reasons)
        query = f"SELECT type, min(first), max(last) FROM tally WHERE {' AND '.join(where)} GROUP BY type"
        return list(self._journal.query(query, parameters))

    def _of_type(
        self, chosen: HistoryFilter, event_type: str, first: int, last: int, newest_first: bool, limit: int
    ) -> Iterator[Record]:
        where, parameters = _conditions(chosen)
        order = "DESC" if newest_first else "ASC"
        return self._journal.selected(
            "FROM records INDEXED BY records_by_type WHERE type = ? AND seq BETWEEN ? AND ?"
            f"{where} ORDER BY seq {order} LIMIT ?",
            (event_type, first, last, *parameters, limit),
        )

    def _of_one(self, chosen: HistoryFilter, first: int, last: int, newest_first: bool, limit: int) -> Iterator[Record]:
        """Of one call, or of one number: few, whatever else is asked."""
        where, parameters = _conditions(chosen)
        types = sorted(chosen.wanted_types)
        index = "records_by_number" if chosen.call is None else "records_by_call"
        column = index.removeprefix("records_by_")
        key = chosen.call if chosen.number is None or chosen.call is not None else chosen.number.e164
        if chosen.call is not None and chosen.number is not None:
            where, parameters = f"{where} AND number = ?", [*parameters, chosen.number.e164]
        order = "DESC" if newest_first else "ASC"
        return self._journal.selected(
            f"FROM records INDEXED BY {index} WHERE {column} = ? AND seq BETWEEN ? AND ? AND type IN ({_marks(types)})"
            f"{where} ORDER BY seq {order} LIMIT ?",
            (key, first, last, *types, *parameters, limit),
        )

    # --- counts

    def counts(
        self, since: datetime, until: datetime, bucket: Bucket, by: Breakdown, zone: tzinfo = UTC
    ) -> tuple[Count, ...]:
        """From the tally, which is hours of UTC; a day of ``zone`` is made of them."""
        column = "campaign" if by is Breakdown.CAMPAIGN else "''"
        rows = self._journal.query(
            f"SELECT hour, {column}, reason, sum(count) FROM tally "
            "WHERE hour >= ? AND hour < ? AND type = ? GROUP BY 1, 2, 3 ORDER BY 1",
            (_microseconds(since) // HOUR_US, _microseconds(until) // HOUR_US, EventType.CALL_SCREENED),
        )
        found: dict[tuple[datetime, str, Verdict], int] = {}
        for hour, of_hour in groupby(rows, key=lambda row: int(row[0])):
            begins = _begins(since if bucket is Bucket.WHOLE else _EPOCH + timedelta(hours=hour), bucket, zone)
            for _, campaign, word, count in of_hour:
                if not word:  # purged before there was a tally
                    continue
                reason = Reason(word)
                key = {Breakdown.VERDICT: reason.verdict.value, Breakdown.REASON: word, Breakdown.CAMPAIGN: campaign}
                place = (begins, key[by], reason.verdict)
                found[place] = found.get(place, 0) + count
        return tuple(
            Count(begins=begins, key=key, verdict=verdict, count=count)
            for (begins, key, verdict), count in sorted(found.items())
        )

    # --- what needs attention

    def repeated_attempts(self, since: datetime, limit: int) -> tuple[RepeatedAttempts, ...]:
        """By an index of the blocked calls alone."""
        rows = self._journal.query(
            "SELECT agent, number, count(*), max(seq) FROM records INDEXED BY records_blocked "
            f"WHERE {BLOCKED} AND at >= ? AND reason IN ({_CONSUMER_REASONS}) "
            "GROUP BY agent, number HAVING count(*) > 1 ORDER BY 3 DESC, 4 DESC LIMIT ?",
            (_microseconds(since), limit),
        )
        return tuple(
            RepeatedAttempts(
                agent=agent, number=PhoneNumber(digits=number.removeprefix("+")), attempts=attempts, last=last
            )
            for agent, number, attempts, seq in list(rows)
            if (last := self._journal.record(seq)) is not None
        )

    def missing_offers(self, since: datetime, limit: int) -> tuple[Record, ...]:
        """By an index of just these."""
        return tuple(islice(self._missing_offers(since), limit))

    def agents_missing_offers(self, since: datetime, limit: int) -> tuple[AgentCount, ...]:
        """Counted from ``missing_offers``."""
        rows = self._journal.query(
            "SELECT agent, count(*), max(at) FROM records INDEXED BY records_missing_offer "
            f"WHERE {MISSING_OFFER} AND at >= ? AND NOT {_OFFERED_LATER} GROUP BY agent",
            (_microseconds(since),),
        )
        counts = {agent: (count, at) for agent, count, at in rows}
        for record in self._missing_offers(since, only_with_later=True):
            count, at = counts.get(str(record.body["agent"]), (0, 0))
            counts[str(record.body["agent"])] = (count + 1, max(at, _microseconds(record.at)))
        ranked = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
        return tuple(
            AgentCount(agent=agent, count=count, last=_EPOCH + timedelta(microseconds=at))
            for agent, (count, at) in ranked[:limit]
        )

    def _missing_offers(self, since: datetime, *, only_with_later: bool = False) -> Iterator[Record]:
        """A key may reach the journal a moment after the end of its call did: those calls are told in full."""
        calls = JournalCalls(self._journal)
        later = f" AND {_OFFERED_LATER}" if only_with_later else ""
        found = self._journal.selected(
            f"FROM records INDEXED BY records_missing_offer WHERE {MISSING_OFFER} AND at >= ?{later} ORDER BY at DESC",
            (_microseconds(since),),
        )
        for record in found:
            story = CallStory.of(calls.of_call(str(record.body["call"])))
            if story is None or not (story.choices.offered or story.choices.voicemail):
                yield record

    def unfinished_calls(self, since: datetime, limit: int) -> tuple[Record, ...]:
        """By the table of open calls."""
        found = self._journal.selected(
            "FROM open_calls CROSS JOIN records ON records.seq = open_calls.seq "
            "WHERE records.at >= ? AND records.body IS NOT NULL ORDER BY open_calls.seq DESC LIMIT ?",
            (_microseconds(since), limit),
        )
        return tuple(found)


def _conditions(chosen: HistoryFilter) -> tuple[str, list[object]]:
    """What must hold besides type, number, call and place; each column is in ``records_by_type``."""
    where, parameters = "", list[object]()
    for text, value in (
        ("at >= ?", None if chosen.since is None else _microseconds(chosen.since)),
        ("at < ?", None if chosen.until is None else _microseconds(chosen.until)),
        ("campaign = ?", chosen.campaign),
        ("seller = ?", chosen.seller),
        ("agent = ?", chosen.agent),
    ):
        if value is not None:
            where += f" AND {text}"
            parameters.append(value)
    if (reasons := chosen.wanted_reasons) is not None:
        where += f" AND reason IN ({_marks(reasons)})"
        parameters += sorted(reasons)
    return where, parameters


def _hours(chosen: HistoryFilter) -> tuple[int, int]:
    """The hours that the filter is about, both included."""
    since = -(1 << 40) if chosen.since is None else _microseconds(chosen.since) // HOUR_US
    until = 1 << 40 if chosen.until is None else _microseconds(chosen.until) // HOUR_US
    return since, until


def _begins(moment: datetime, bucket: Bucket, zone: tzinfo) -> datetime:
    """When the stretch begins that ``moment`` is in."""
    local = moment.astimezone(zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0) if bucket is Bucket.DAY else local


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _marks(values: Sequence[object] | frozenset[Reason]) -> str:
    return ", ".join("?" * len(values))
