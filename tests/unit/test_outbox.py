"""The outbox on fakes: one drain for all who wait, and nobody waits longer than he may."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from agent.domain.deadline import Deadline
from agent.domain.errors import LookupTimedOut, LookupUnavailable
from agent.domain.journal_events import Event, EventType, Mark, Record
from agent.domain.ports import JournalState
from agent.domain.premise import Premise
from agent.domain.standing import Standing
from agent.outbox import Outbox


class FakeJournal:
    """Some opt-outs; the link of record n is ``n`` in hexadecimal."""

    def __init__(self, count: int) -> None:
        self.count = count

    def append(self, events: Sequence[Event], deadline: Deadline, premise: Premise | None = None) -> tuple[int, ...]:
        """Not used by the outbox."""
        raise AssertionError

    def append_later(self, events: Sequence[Event], premise: Premise | None = None) -> bool:
        """Not used by the outbox."""
        raise AssertionError

    def mark(self, seq: int) -> Mark | None:
        """None beyond the end."""
        return Mark(journal="j", seq=seq, link=f"{seq:x}" if seq else "") if seq <= self.count else None

    def state(self) -> JournalState:
        """All of them protect."""
        return JournalState(seq=self.count, restriction_watermark=self.count, newest_at=None)

    def register_changes(self, profile: str) -> list[Record]:
        """Not used by the outbox."""
        raise AssertionError

    def list_changes(self, after: int, limit: int) -> list[Record]:
        """One batch."""
        seqs = range(after + 1, min(after + limit, self.count) + 1)
        return [Record(seq, datetime.now(UTC), EventType.OPTOUT_ADDED, {}) for seq in seqs]


class NoCalls:
    """Nothing but plain opt-outs."""

    def of_call(self, call: str) -> list[Record]:
        """Not used."""
        raise AssertionError

    def choices_of(self, number: str, until: int) -> list[Record]:
        """Not used."""
        raise AssertionError

    def last_applied(self) -> int:
        """Nothing that is on the disk yet."""
        return 0

    def exported(self, batch: str) -> list[Record]:
        """Not used."""
        raise AssertionError

    def unfollowed(self, since: datetime, before: datetime) -> list[str]:
        """Not used."""
        raise AssertionError

    def cut_off(self, since: datetime, before: datetime) -> list[str]:
        """Not used."""
        raise AssertionError

    def unfinished(self, before: datetime, limit: int) -> list[str]:
        """Not used."""
        raise AssertionError

    def registering_calls(self) -> list[str]:
        """Not used."""
        raise AssertionError


class FakeLists:
    """A mark and what was applied. ``gate`` holds every ``apply`` until it is set."""

    def __init__(self, mark: Mark | None = None) -> None:
        self.mark = mark
        self.seqs: list[int] = []
        self.drains = 0
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def applied(self, deadline: Deadline | None = None) -> Mark | None:
        """As Redis says."""
        if self.failure is not None:
            raise self.failure
        return self.mark

    def require_no_eviction(self) -> None:
        """It never does."""

    def settle_losses(self) -> None:
        """There are none."""

    def apply(self, records: Sequence[Record], after: Mark, upto: Mark, standings: Mapping[str, Standing]) -> bool:
        """Move the mark."""
        self.drains += 1
        assert self.gate.wait(10)
        if self.mark != after:
            return False
        self.seqs += [record.seq for record in records]
        self.mark = upto
        return True

    def inherited(self) -> int:
        """They know nothing besides."""
        return 0

    def restart(self, after: Mark | None, head: Mark) -> None:
        """Back to the beginning."""
        if self.mark == after:
            self.reset(head, take_over=False)

    def reset(self, head: Mark, *, take_over: bool) -> None:
        """Back to the beginning, in any case."""
        self.mark = Mark(journal="j", seq=0, link="")


def an_outbox(journal: FakeJournal, lists: FakeLists) -> tuple[Outbox, list[str]]:
    """With what it said of restarts."""
    said: list[str] = []
    return Outbox(journal, NoCalls(), lists, lambda: datetime.now(UTC), said.append), said


@pytest.mark.parametrize(
    ("mark", "applied", "restarts"),
    [
        (None, [1, 2, 3], 0),
        (Mark(journal="j", seq=2, link="2"), [3], 0),
        (Mark(journal="j", seq=3, link="3"), [], 0),
        (Mark(journal="j", seq=9, link="9"), [1, 2, 3], 1),
        (Mark(journal="j", seq=2, link="f"), [1, 2, 3], 1),
    ],
)
def test_a_drain_begins_where_the_journal_and_redis_agree(mark: Mark | None, applied: list[int], restarts: int) -> None:
    """A mark beyond the journal's end, or with another link, is no place to go on from; that is said once."""
    journal, lists = FakeJournal(3), FakeLists(mark)
    outbox, said = an_outbox(journal, lists)
    assert outbox.lag() == len(applied)
    outbox.drain()
    assert lists.seqs == applied
    assert lists.mark == journal.mark(3)
    assert outbox.drain() == outbox.lag() == 0
    assert len(said) == restarts


def test_a_journal_restored_to_nothing_takes_its_lists_back() -> None:
    """There is no record to apply, and still the mark must become one that the journal knows."""
    lists = FakeLists(Mark(journal="j", seq=9, link="9"))
    outbox, said = an_outbox(FakeJournal(0), lists)
    assert outbox.drain() == 0
    assert (lists.mark, len(said)) == (Mark(journal="j", seq=0, link=""), 1)


def test_those_who_wait_for_a_drain_leave_in_time_and_it_goes_on() -> None:
    """Twenty screenings, one drain; a hanging Redis costs each of them no more than its deadline."""
    lists = FakeLists()
    lists.gate.clear()
    outbox, _ = an_outbox(FakeJournal(3), lists)

    def waits() -> None:
        with pytest.raises(LookupTimedOut):
            outbox.catch_up(Deadline.after_ms(100))

    with ThreadPoolExecutor(20) as pool:
        for waiting in [pool.submit(waits) for _ in range(20)]:
            waiting.result(5)
    assert [thread.name for thread in threading.enumerate()].count("catch-up_0") == lists.drains == 1
    lists.gate.set()
    outbox.catch_up(Deadline.after_ms(5_000))
    assert lists.seqs == [1, 2, 3]


def test_what_stopped_the_drain_is_told_to_those_who_wait() -> None:
    """And the next one tries again."""
    lists = FakeLists()
    outbox, _ = an_outbox(FakeJournal(3), lists)
    lists.failure = LookupUnavailable("Redis is away")
    with pytest.raises(LookupUnavailable, match="Redis is away"):
        outbox.catch_up(Deadline.after_ms(5_000))
    lists.failure = None
    outbox.catch_up(Deadline.after_ms(5_000))
    assert lists.seqs == [1, 2, 3]


class ChoiceJournal(FakeJournal):
    """Keys that undo nothing of importance, all of one call; what is appended later is still on its way for ever."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.queued: list[int] = []

    def append_later(self, events: Sequence[Event], premise: Premise | None = None) -> bool:
        """Kept in memory."""
        self.queued += [int(str(event.body["choice"])) for event in events]
        return True

    def list_changes(self, after: int, limit: int) -> list[Record]:
        """One batch."""
        body = {"call": "c", "number": "+31612345678", "seller": "acme"}
        return [
            Record(record.seq, record.at, EventType.CHOICE_UNDONE, body)
            for record in super().list_changes(after, limit)
        ]


class OneCall(NoCalls):
    """A call of which nothing has reached the disk that says when its choices came into force."""

    def of_call(self, call: str) -> list[Record]:
        """Nothing yet."""
        return []

    def choices_of(self, number: str, until: int) -> list[Record]:
        """Nothing that stands."""
        return []


def test_a_choice_is_recorded_as_in_force_once_although_that_record_is_still_on_its_way() -> None:
    """Redis forgets a moment after, and gets it again; a journal that was restored is another matter."""
    journal, lists = ChoiceJournal(2), FakeLists()
    outbox = Outbox(journal, OneCall(), lists, lambda: datetime.now(UTC), lambda _: None)
    outbox.drain()
    lists.mark = None
    outbox.drain()
    assert (journal.queued, lists.seqs) == ([1, 2], [1, 2, 1, 2])
    journal.count = 3
    outbox.drain()
    assert journal.queued == [1, 2, 3]
    lists.mark = Mark(journal="j", seq=9, link="9")
    outbox.drain()
    assert journal.queued == [1, 2, 3, 1, 2, 3]
