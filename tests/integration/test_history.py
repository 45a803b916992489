"""What those read of the journal who watch it: pages, counts, and what needs attention."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.adapters import journal_history
from agent.adapters.journal_check import verify
from agent.adapters.journal_history import JournalHistory
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.call_story import NOTICE_NOT_DUE
from agent.domain.choice import Source
from agent.domain.deadline import Deadline
from agent.domain.history import CONSUMER_REASONS, Breakdown, Bucket, HistoryFilter
from agent.domain.journal_events import Event, EventType, JsonScalar, Record
from agent.domain.model import DeliveryFailure, Reason, Verdict
from agent.domain.phone_number import PhoneNumber
from tests.bench.journal_maker import fill

UNTIL = datetime(2026, 11, 24, tzinfo=UTC)
SCREENED = frozenset({EventType.CALL_SCREENED})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of a year, with a thousand records."""
    path = tmp_path_factory.mktemp("history") / "journal.db"
    with SqliteJournal(path, key_of(path)):
        pass
    fill(path, 1_000, UNTIL, lambda *_: None)
    return path


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    """That journal, open."""
    with SqliteJournal(path, key_of(path)) as journal:
        yield journal


def key_of(path: Path) -> Path:
    """Where its key is."""
    return path.with_name(path.name + ".key")


FILTERS = {
    "everything": HistoryFilter(),
    "screened": HistoryFilter(types=SCREENED),
    "two types": HistoryFilter(types=SCREENED | {EventType.CALL_FINISHED}),
    "verdict": HistoryFilter(verdict=Verdict.BLOCK),
    "reason": HistoryFilter(reason=Reason.SELLER_OPTOUT),
    "a reason of the other verdict": HistoryFilter(verdict=Verdict.ALLOW, reason=Reason.SELLER_OPTOUT),
    "campaign": HistoryFilter(campaign="campaign-1"),
    "seller": HistoryFilter(seller="seller-1"),
    "agent": HistoryFilter(agent="agent-007"),
    "since": HistoryFilter(since=UNTIL - timedelta(days=20)),
    "until": HistoryFilter(until=UNTIL - timedelta(days=340)),
    "a free time": HistoryFilter(
        since=UNTIL - timedelta(days=90, minutes=7), until=UNTIL - timedelta(days=80, minutes=13)
    ),
    "all at once": HistoryFilter(
        since=UNTIL - timedelta(days=300),
        until=UNTIL - timedelta(days=10),
        types=SCREENED,
        verdict=Verdict.BLOCK,
        reason=Reason.REGISTERED,
        campaign="campaign-1",
        seller="seller-1",
    ),
    "nothing such": HistoryFilter(campaign="no-such", agent="no-such"),
}


def expected(journal: SqliteJournal, chosen: HistoryFilter) -> list[int]:
    """The records that match, newest first, found by looking at each of them."""
    return [record.seq for record in journal.records(newest_first=True) if matches(chosen, record)]


def matches(chosen: HistoryFilter, record: Record) -> bool:
    """The filter, said in another way."""
    body = record.body
    is_verdict = record.type is EventType.CALL_SCREENED
    return (
        (chosen.since is None or record.at >= chosen.since)
        and (chosen.until is None or record.at < chosen.until)
        and (not chosen.types or record.type in chosen.types)
        and (chosen.verdict is None or (is_verdict and body["verdict"] == chosen.verdict))
        and (chosen.reason is None or (is_verdict and body["reason"] == chosen.reason))
        and all(
            value is None or body.get(name) == value
            for name, value in (
                ("campaign", chosen.campaign),
                ("seller", chosen.seller),
                ("agent", chosen.agent),
                ("number", chosen.number and chosen.number.e164),
                ("call", chosen.call),
            )
        )
    )


def paged(history: JournalHistory, chosen: HistoryFilter, limit: int) -> list[int]:
    """All pages together, newest first."""
    seqs: list[int] = []
    before: int | None = None
    while True:
        page = history.page(chosen, before=before, limit=limit)
        seqs += [record.seq for record in page.records]
        if not page.more:
            return seqs
        before = page.records[-1].seq


@pytest.mark.parametrize("chosen", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("limit", [7, 2_000])
@pytest.mark.parametrize("near", [0, 30, 20_000])
def test_the_pages_of_a_filter_are_just_what_matches(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, chosen: HistoryFilter, limit: int, near: int
) -> None:
    """Newest first, none twice, none left out, whatever is asked and however big a page is."""
    monkeypatch.setattr(journal_history, "_NEAR", near)
    wanted = expected(journal, chosen)
    assert paged(JournalHistory(journal), chosen, limit) == wanted
    assert wanted or chosen in (FILTERS["nothing such"], FILTERS["a reason of the other verdict"])


def test_a_number_and_a_call_are_found_with_what_else_is_asked(journal: SqliteJournal) -> None:
    """By their own indexes."""
    last = next(journal.records("type = 'call.finished'", newest_first=True))
    call, number = str(last.body["call"]), PhoneNumber(digits=str(last.body["number"]).removeprefix("+"))
    for chosen in (
        HistoryFilter(number=number),
        HistoryFilter(call=call),
        HistoryFilter(call=call, number=number, types=SCREENED),
        HistoryFilter(call=call, number=PhoneNumber(digits="31699999999")),
        HistoryFilter(number=number, verdict=Verdict.ALLOW, agent=str(last.body["agent"])),
        HistoryFilter(call=call, verdict=Verdict.BLOCK),
    ):
        assert paged(JournalHistory(journal), chosen, 2) == expected(journal, chosen)


def test_whoever_follows_misses_none(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a record come the oldest of those after it, until there are no more."""
    monkeypatch.setattr(journal_history, "_NEAR", 50)
    chosen, history, seqs = HistoryFilter(verdict=Verdict.BLOCK), JournalHistory(journal), list[int]()
    after, more = 100, True
    while more:
        page = history.page(chosen, after=after, limit=5)
        assert [record.seq for record in page.records] == sorted((r.seq for r in page.records), reverse=True)
        seqs += sorted(record.seq for record in page.records)
        after, more = page.records[0].seq if page.more else page.upto, page.more
    assert seqs == [seq for seq in reversed(expected(journal, chosen)) if seq > 100]
    assert after == journal.head().seq


@pytest.mark.parametrize("chosen", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("place", [{}, {"before": 500}, {"after": 500}])
def test_no_filter_reads_all_records(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, chosen: HistoryFilter, place: dict[str, int]
) -> None:
    """Each query goes by an index."""
    plans = plans_of(journal, monkeypatch)
    monkeypatch.setattr(journal_history, "_NEAR", 20)
    JournalHistory(journal).page(chosen, limit=10, **place)
    assert plans or chosen == FILTERS["a reason of the other verdict"]
    assert not [plan for plan in plans if "SCAN records" in plan or "TEMP B-TREE FOR ORDER" in plan]


def test_no_list_reads_all_records(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither charts nor what needs attention."""
    plans, history, since = plans_of(journal, monkeypatch), JournalHistory(journal), UNTIL - timedelta(days=7)
    history.repeated_attempts(since, 10)
    history.missing_offers(since, 10)
    history.agents_missing_offers(since, 10)
    history.unfinished_calls(since, 10)
    for bucket, by in itertools.product(Bucket, Breakdown):
        history.counts(since, UNTIL, bucket, by)
    assert len(plans) > 10
    assert not [plan for plan in plans if "SCAN records" in plan or "SCAN later" in plan]


def plans_of(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled with how SQLite goes about each query from here on."""
    plans: list[str] = []
    query = journal.query

    def noting(sql: str, parameters: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
        plans.extend(str(row[3]) for row in query(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return query(sql, parameters)

    monkeypatch.setattr(journal, "query", noting)
    return plans


@pytest.mark.parametrize("by", Breakdown)
@pytest.mark.parametrize("bucket", Bucket)
def test_counts_are_what_was_recorded(journal: SqliteJournal, bucket: Bucket, by: Breakdown) -> None:
    """In days as they begin in the Netherlands, also when the clocks change in between."""
    zone, since, until = ZoneInfo("Europe/Amsterdam"), UNTIL - timedelta(days=250), UNTIL - timedelta(days=3)
    wanted: dict[tuple[datetime, str, str], int] = {}
    for record in journal.records("type = 'call.screened'"):
        if since <= record.at < until:
            match bucket:
                case Bucket.HOUR:
                    begins = record.at.replace(minute=0, second=0, microsecond=0)
                case Bucket.DAY:
                    begins = datetime.combine(record.at.astimezone(zone), datetime.min.time(), zone)
                case Bucket.WHOLE:
                    begins = since
            place = (begins, str(record.body[by]), str(record.body["verdict"]))
            wanted[place] = wanted.get(place, 0) + 1
    found = JournalHistory(journal).counts(since, until, bucket, by, zone)
    assert {(count.begins, count.key, str(count.verdict)): count.count for count in found} == wanted
    assert [count.begins for count in found] == sorted(count.begins for count in found)


# --- what needs attention


def add(journal: SqliteJournal, event_type: EventType, call: str, **fields: JsonScalar) -> int:
    """Append one record of a call."""
    body = {"call": call, "number": "+31612345678", "campaign": "energy", "agent": "lou", "seller": "acme", **fields}
    return journal.append([Event.of(event_type, body)], Deadline.after_ms(5_000))[0]


def screen(journal: SqliteJournal, call: str, reason: Reason = Reason.NOT_REGISTERED, **fields: JsonScalar) -> int:
    """One screening."""
    told: dict[str, JsonScalar] = {"verdict": reason.verdict, "reason": reason, "profile": "nl-bmnr"}
    return add(
        journal,
        EventType.CALL_SCREENED,
        call,
        **{**told, "notice": "required", "source": "fastagi", "uniqueid": call, **fields},
    )


def finish(journal: SqliteJournal, call: str, **fields: JsonScalar) -> int:
    """The end of an answered call without an offer."""
    ended: dict[str, JsonScalar] = {"answered": True, "offered": False, "voicemail": False, "notice": "heard"}
    return add(journal, EventType.CALL_FINISHED, call, **{**ended, **fields})


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[SqliteJournal]:
    """A new journal."""
    with SqliteJournal(tmp_path / "journal.db", key_of(tmp_path / "journal.db")) as journal:
        yield journal


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_repeated_attempts_are_those_of_one_agent_on_one_blocked_number(empty: SqliteJournal) -> None:
    """A second agent, an allowed call and a block that says nothing of the consumer do not count."""
    screen(empty, "1", Reason.REGISTERED)
    screen(empty, "2", Reason.REGISTERED, agent="kim")
    screen(empty, "3", Reason.REGISTER_STALE)
    screen(empty, "4")
    history = JournalHistory(empty)
    assert history.repeated_attempts(LONG_AGO, 10) == ()
    last = screen(empty, "5", Reason.SELLER_OPTOUT)
    for call in ("6", "7", "8"):
        screen(empty, call, Reason.REGISTERED, agent="kim", number="+31687654321")
    kim, lou = history.repeated_attempts(LONG_AGO, 10)
    assert (kim.agent, kim.number.e164, kim.attempts) == ("kim", "+31687654321", 3)
    assert (lou.agent, lou.number.e164, lou.attempts, lou.last.seq) == ("lou", "+31612345678", 2, last)
    assert history.repeated_attempts(LONG_AGO, 1) == (kim,)
    assert history.repeated_attempts(datetime.now(UTC) + timedelta(hours=1), 10) == ()


def test_each_block_because_of_a_consumer_is_one_that_counts() -> None:
    """A new reason must be thought about."""
    others = {reason for reason in Reason if reason.verdict is Verdict.BLOCK and not reason.technical}
    assert others - CONSUMER_REASONS == {Reason.INVALID_NUMBER, Reason.UNSUPPORTED_COUNTRY}


def test_missing_offers_are_answered_calls_in_which_one_was_due(empty: SqliteJournal) -> None:
    """Not those that nobody answered, nor those in which a key came a moment late."""
    for call in ("missing", "offered", "voicemail", "not answered", "not due", "late", "late and undone"):
        screen(empty, call)
    missing = finish(empty, "missing")
    finish(empty, "offered", offered=True)
    finish(empty, "voicemail", voicemail=True)
    finish(empty, "not answered", answered=False)
    finish(empty, "not due", notice=NOTICE_NOT_DUE)
    finish(empty, "late")
    add(empty, EventType.CHOICE_RECORDED, "late", source=Source.AGENT, answer="offered", sector="energy")
    undone = finish(empty, "late and undone", agent="kim")
    key = add(
        empty, EventType.CHOICE_RECORDED, "late and undone", source=Source.AGENT, answer="offered", sector="energy"
    )
    add(empty, EventType.CHOICE_UNDONE, "late and undone", source=Source.AGENT, answer="offered", undoes=key)
    history = JournalHistory(empty)
    assert [record.seq for record in history.missing_offers(LONG_AGO, 10)] == [undone, missing]
    assert [record.seq for record in history.missing_offers(LONG_AGO, 1)] == [undone]
    assert [(found.agent, found.count) for found in history.agents_missing_offers(LONG_AGO, 10)] == [
        ("kim", 1),
        ("lou", 1),
    ]


def test_unfinished_calls_are_those_that_were_allowed_and_never_ended(empty: SqliteJournal) -> None:
    """An emergency call and a question on the command line are not followed."""
    screen(empty, "ended")
    finish(empty, "ended")
    screen(empty, "blocked", Reason.REGISTERED)
    screen(empty, "emergency", Reason.EMERGENCY_NUMBER)
    screen(empty, "asked", source="command")
    unfinished = screen(empty, "unfinished")
    assert [record.seq for record in JournalHistory(empty).unfinished_calls(LONG_AGO, 10)] == [unfinished]
    assert JournalHistory(empty).unfinished_calls(datetime.now(UTC) + timedelta(hours=1), 10) == ()


def lose(journal: SqliteJournal, call: str, why: DeliveryFailure = DeliveryFailure.LOST) -> int:
    """Asterisk did not confirm the verdict of a call."""
    return add(journal, EventType.VERDICT_UNDELIVERED, call, uniqueid=call, verdict=Verdict.ALLOW, why=why)


def test_a_verdict_that_asterisk_did_not_confirm_is_no_call_that_goes_on(empty: SqliteJournal) -> None:
    """Nor is one that Asterisk was told as a block, because its allow was late on the disk."""
    screen(empty, "lost")
    lose(empty, "lost")
    screen(empty, "late")
    screen(empty, "late", Reason.JOURNAL_UNAVAILABLE)
    screen(empty, "dialled all the same")
    lose(empty, "dialled all the same")
    finish(empty, "dialled all the same")
    unfinished = screen(empty, "unfinished")
    assert [record.seq for record in JournalHistory(empty).unfinished_calls(LONG_AGO, 10)] == [unfinished]
    empty.close()
    assert verify(empty.path, key_of(empty.path), lambda *_: None).whole


def test_a_page_says_of_which_calls_the_verdict_was_not_confirmed(empty: SqliteJournal) -> None:
    """Though the record that says so is on none, or on another page."""
    for call in ("lost", "confirmed", "refused"):
        screen(empty, call)
    lose(empty, "lost")
    lose(empty, "refused", DeliveryFailure.REFUSED)
    history = JournalHistory(empty)
    page = history.page(HistoryFilter(types=SCREENED), limit=10)
    assert page.undelivered == {"lost": DeliveryFailure.LOST, "refused": DeliveryFailure.REFUSED}
    assert history.page(HistoryFilter(types=SCREENED), limit=1).undelivered == {"refused": DeliveryFailure.REFUSED}
    assert history.page(HistoryFilter(types=frozenset({EventType.CALL_FINISHED})), limit=1).undelivered == {}


def test_verdicts_that_were_not_confirmed_are_counted_by_hours(empty: SqliteJournal) -> None:
    """They stay among those that were given."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    for call in ("one", "two", "three"):
        screen(empty, call)
    lose(empty, "one")
    lose(empty, "two")
    history = JournalHistory(empty)
    assert history.undelivered(now - hour, now + 2 * hour) == 2
    assert history.undelivered(now - 5 * hour, now - 2 * hour) == 0
    (allowed,) = history.counts(now - hour, now + 2 * hour, Bucket.WHOLE, Breakdown.VERDICT)
    assert (allowed.verdict, allowed.count) == (Verdict.ALLOW, 3)


# --- what the journal counts itself


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE tally SET count = count + 1 WHERE reason = 'registered'",
        "DELETE FROM tally WHERE type = 'call.finished'",
        "UPDATE tally SET reason = 'exempt_customer' WHERE reason = 'seller_optout'",
        "UPDATE tally SET first = 3",
        "UPDATE tally SET last = 1",
        "INSERT INTO tally VALUES (1, 'call.screened', 'energy', 'registered', 1, 1, 1)",
        "DELETE FROM open_calls",
        "INSERT INTO open_calls VALUES ('another', 1)",
    ],
)
def test_sums_that_do_not_agree_with_the_records_are_found(empty: SqliteJournal, sql: str) -> None:
    """Nobody can make a chart, or a list, say what did not happen."""
    screen(empty, "blocked", Reason.SELLER_OPTOUT)
    screen(empty, "registered", Reason.REGISTERED)
    screen(empty, "open")
    finish(empty, "blocked")
    empty.close()
    assert verify(empty.path, key_of(empty.path), lambda *_: None).whole
    with contextlib.closing(sqlite3.connect(empty.path)) as connection, connection:
        connection.execute(sql)
    assert "not agree with its records" in verify(empty.path, key_of(empty.path), lambda *_: None).problem
