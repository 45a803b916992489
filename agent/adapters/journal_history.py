"""The journal as those read it who watch it: pages by key, counts, and what needs attention.

A page is read for each type apart, backwards along the index ``records_by_type``, which holds all that a filter may ask
for; what the ``tally`` knows tells before between which records there can be any. So what is rare, and what is not
there, is found in a journal of millions without reading it. Nothing is paged by counting rows.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Final

from agent.adapters.journal_schema import BLOCKED, HOUR_US, MISSING_OFFER
from agent.adapters.journal_views import JournalCalls
from agent.adapters.sqlite_journal import THERE, SqliteJournal
from agent.domain.call_story import ENDED_UNKNOWN, NOTICE_NOT_DUE, CallStory
from agent.domain.history import (
    CONSUMER_REASONS,
    EVERYTHING,
    AgentCount,
    Breakdown,
    Bucket,
    Count,
    HistoryFilter,
    HistoryPage,
    RepeatedAttempts,
)
from agent.domain.journal_events import EventType, Record
from agent.domain.model import DeliveryFailure, Reason, Verdict
from agent.domain.phone_number import PhoneNumber

_NEAR: Final = 20_000
"""So many records are looked through before the tally is asked, which knows of all the others."""
_LAST: Final = (1 << 63) - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OFFERED_LATER: Final = (
    "EXISTS (SELECT 1 FROM records later INDEXED BY records_by_call WHERE later.call = records.call "
    f"AND later.seq > records.seq AND later.type = '{EventType.CHOICE_RECORDED}')"
)
_ALLOWING: Final = ", ".join(f"'{reason}'" for reason in Reason if reason.verdict is Verdict.ALLOW)
_CONSUMER_REASONS: Final = ", ".join(f"'{reason}'" for reason in sorted(CONSUMER_REASONS))


class JournalHistory:
    """See ``agent.domain.history.History``."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self._calls = JournalCalls(journal)

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
        return HistoryPage(
            records=tuple(found if newest_first else reversed(found)),
            more=more,
            upto=upto,
            undelivered=self._undelivered(found),
        )

    def _undelivered(self, records: Sequence[Record]) -> dict[str, DeliveryFailure]:
        calls = [record.body["call"] for record in records if record.type is EventType.CALL_SCREENED]
        if not calls:
            return {}
        rows = self._journal.query(
            "SELECT call, json_extract(body, '$.why') FROM records INDEXED BY records_by_call "
            "WHERE call IN (SELECT value FROM json_each(?)) AND type = ?",
            (json.dumps(calls), EventType.VERDICT_UNDELIVERED),
        )
        return {call: DeliveryFailure(why) for call, why in rows}

    def _matching(
        self, chosen: HistoryFilter, first: int, last: int, newest_first: bool, limit: int
    ) -> Iterator[Record]:
        if first > last or chosen.wanted_reasons == frozenset():
            return
        if chosen.call is not None or chosen.number is not None:
            yield from self._of_one(chosen, first, last, newest_first, limit)
            return
        near = (max(first, last - _NEAR), last) if newest_first else (first, min(last, first + _NEAR))
        types = [(name, *near) for name in sorted(chosen.wanted_types)]
        yield from self._merged(chosen, types, newest_first, limit)
        first, last = (first, near[0] - 1) if newest_first else (near[1] + 1, last)
        if first <= last:
            bounds = [(name, max(first, low), min(last, high)) for name, low, high in self._where(chosen)]
            yield from self._merged(chosen, bounds, newest_first, limit)

    def _merged(
        self, chosen: HistoryFilter, types: Sequence[tuple[str, int, int]], newest_first: bool, limit: int
    ) -> Iterator[Record]:
        """What matches of some types, each between two records, together in order."""
        found = [self._of_type(chosen, name, low, high, newest_first, limit) for name, low, high in types]
        return heapq.merge(*found, key=lambda record: record.seq, reverse=newest_first)

    def _where(self, chosen: HistoryFilter) -> list[tuple[str, int, int]]:
        """Between which records there may be any, for each type that can match."""
        types = sorted(chosen.wanted_types)
        if {chosen.since, chosen.until, chosen.campaign, chosen.wanted_reasons} == {None}:
            return [(name, 1, _LAST) for name in types]
        since, until = _hours(chosen)
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
            f"{where} AND {THERE} ORDER BY seq {order} LIMIT ?",
            (event_type, first, last, *parameters, limit),
        )

    def _of_one(self, chosen: HistoryFilter, first: int, last: int, newest_first: bool, limit: int) -> Iterator[Record]:
        """Of one call, or of one number: few, whatever else is asked."""
        where, parameters = _conditions(chosen)
        types = sorted(chosen.wanted_types)
        index = "records_by_number" if chosen.call is None else "records_by_call"
        order = "DESC" if newest_first else "ASC"
        return self._journal.selected(
            f"FROM records INDEXED BY {index} WHERE seq BETWEEN ? AND ? AND type IN ({_marks(types)})"
            f"{where} ORDER BY seq {order} LIMIT ?",
            (first, last, *types, *parameters, limit),
        )

    # --- counts

    def counts(
        self, since: datetime, until: datetime, bucket: Bucket, by: Breakdown, zone: tzinfo = UTC
    ) -> tuple[Count, ...]:
        """From the tally, which is hours of UTC; a day of ``zone`` is made of them."""
        stretches = _stretches(since, until, bucket, zone)
        key = {Breakdown.VERDICT: "''", Breakdown.REASON: "reason", Breakdown.CAMPAIGN: "campaign"}[by]
        rows = self._journal.query(
            f"""
            WITH stretch AS MATERIALIZED (
              SELECT json_extract(value, '$[0]') AS begins, json_extract(value, '$[1]') AS ends FROM json_each(?))
            SELECT begins, {key}, reason IN ({_ALLOWING}), sum(count)
            FROM stretch CROSS JOIN tally ON hour >= begins AND hour < ends WHERE type = ? AND reason <> ''
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 DESC
            """,
            (json.dumps([(first, last) for first, last, _ in stretches]), EventType.CALL_SCREENED),
        )
        begins = {first: moment for first, _, moment in stretches}
        return tuple(
            Count(
                begins=begins[first], key=word or (verdict if by is Breakdown.VERDICT else ""), verdict=verdict, count=n
            )
            for first, word, allowed, n in rows
            for verdict in (Verdict.ALLOW if allowed else Verdict.BLOCK,)
        )

    def undelivered(self, since: datetime, until: datetime) -> int:
        """From the tally."""
        first, last = _microseconds(since) // HOUR_US, _microseconds(until) // HOUR_US
        rows = self._journal.query(
            "SELECT ifnull(sum(count), 0) FROM tally WHERE hour >= ? AND hour < ? AND type = ?",
            (first, last, EventType.VERDICT_UNDELIVERED),
        )
        return sum(count for (count,) in rows)

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

    def missing_offers(
        self, since: datetime, limit: int | None, chosen: HistoryFilter = EVERYTHING
    ) -> tuple[Record, ...]:
        """By an index of just these."""
        return tuple(islice(self._missing_offers(since, chosen), limit))

    def lacks_offer(self, record: Record) -> bool:
        """A key may reach the journal a moment after the end of its call did, so the whole call is asked."""
        body = record.body
        if record.type is not EventType.CALL_FINISHED or not body.get("answered"):
            return False
        if body["notice"] == NOTICE_NOT_DUE or body["offered"] or body["voicemail"]:
            return False
        story = CallStory.of(self._calls.of_call(str(body["call"])))
        return story is None or not (story.choices.offered or story.choices.voicemail)

    def agents_missing_offers(self, since: datetime, limit: int) -> tuple[AgentCount, ...]:
        """Counted from ``missing_offers``."""
        rows = self._journal.query(
            "SELECT agent, count(*), max(at) FROM records INDEXED BY records_missing_offer "
            f"WHERE {MISSING_OFFER} AND at >= ? AND NOT {_OFFERED_LATER} GROUP BY agent",
            (_microseconds(since),),
        )
        counts = {agent: (count, at) for agent, count, at in rows}
        for record in self._missing_offers(since, EVERYTHING, f" AND {_OFFERED_LATER}"):
            count, at = counts.get(str(record.body["agent"]), (0, 0))
            counts[str(record.body["agent"])] = (count + 1, max(at, _microseconds(record.at)))
        ranked = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
        return tuple(
            AgentCount(agent=agent, count=count, last=_EPOCH + timedelta(microseconds=at))
            for agent, (count, at) in ranked[:limit]
        )

    def _missing_offers(self, since: datetime, chosen: HistoryFilter, more: str = "") -> Iterator[Record]:
        where, parameters = _conditions(chosen)
        found = self._journal.selected(
            f"FROM records INDEXED BY records_missing_offer WHERE {MISSING_OFFER} AND at >= ?{more}{where} "
            "ORDER BY at DESC",
            (_microseconds(since), *parameters),
        )
        return filter(self.lacks_offer, found)

    def unfinished_calls(self, since: datetime, limit: int) -> tuple[Record, ...]:
        """By the table of open calls, and by the ends that say nothing."""
        closed = (
            "SELECT (SELECT begun.seq FROM records begun WHERE begun.call = closed.call AND +begun.type = ?) "
            "FROM records closed WHERE closed.type = ? AND closed.at >= ? AND json_extract(closed.body, ?) = ? "
            "AND NOT EXISTS (SELECT 1 FROM records ended WHERE ended.call = closed.call AND ended.seq > closed.seq "
            "AND +ended.type = closed.type)"
        )
        found = self._journal.selected(
            f"FROM records WHERE seq IN (SELECT seq FROM open_calls UNION {closed}) AND at >= ? AND body IS NOT NULL "
            "ORDER BY seq DESC LIMIT ?",
            (
                *(EventType.CALL_SCREENED, EventType.CALL_FINISHED, _microseconds(since), "$.ended_by", ENDED_UNKNOWN),
                *(_microseconds(since), limit),
            ),
        )
        return tuple(found)


def _conditions(chosen: HistoryFilter) -> tuple[str, list[object]]:
    """What must hold besides type and place; but for number and call, each column is in ``records_by_type``."""
    where, parameters = "", list[object]()
    for text, value in (
        ("at >= ?", None if chosen.since is None else _microseconds(chosen.since)),
        ("at < ?", None if chosen.until is None else _microseconds(chosen.until)),
        ("campaign = ?", chosen.campaign),
        ("seller = ?", chosen.seller),
        ("agent = ?", chosen.agent),
        ("number = ?", None if chosen.number is None else chosen.number.e164),
        ("call = ?", chosen.call),
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


def _stretches(since: datetime, until: datetime, bucket: Bucket, zone: tzinfo) -> list[tuple[int, int, datetime]]:
    """The stretches of a chart: first hour, the hour after the last, and when it begins."""
    hour, end = _microseconds(since) // HOUR_US, _microseconds(until) // HOUR_US
    stretches = []
    while hour < end:
        local = (_EPOCH + timedelta(hours=hour)).astimezone(zone)
        match bucket:
            case Bucket.HOUR:
                begins, following = local, hour + 1
            case Bucket.DAY:
                begins = local.replace(hour=0, minute=0)
                following = max(hour + 1, _microseconds(begins + timedelta(days=1)) // HOUR_US)
            case Bucket.WHOLE:
                begins, following = since.astimezone(zone), end
        stretches.append((hour, min(end, following), begins))
        hour = following
    return stretches


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _marks(values: Sequence[object] | frozenset[Reason]) -> str:
    return ", ".join("?" * len(values))
