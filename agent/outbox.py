"""The outbox: what the journal holds and Redis does not yet.

The journal is the truth; Redis is its projection. How far Redis has come stands in Redis itself, as the number and the
link of a journal record, and moves in the same transaction as the lists. So there is no second queue that could
disagree: a Redis that restarts empty, is restored from an old snapshot or fails over to a replica that lags simply
stands further back, and the same few lines bring it forward. When it stands at a record that the journal does not
know, because the journal itself was restored from a backup, it is brought forward from the beginning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, LookupTimedOut, LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue, Mark, Record
from agent.domain.ports import CallRecords, Journal, ListChanges, Progress
from agent.domain.standing import FOLDED_ANEW, STANDING_EVENTS, Standing, standing_by

_BATCH: Final = 2_000
_CHOICES: Final = frozenset({EventType.CHOICE_RECORDED, EventType.CHOICE_UNDONE})
_RESTARTS: Final = 5
"""In one drain; others may begin from the beginning at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """List changes that Redis has yet to apply."""

    records: int
    """Counted up to one batch."""
    oldest: timedelta
    """How long ago the first of them was recorded; zero when there is none."""


class ChoiceRecords(CallRecords, Protocol):
    """What the journal holds of calls, and of when choices came into force."""

    def last_applied(self) -> int:
        """The choice of the newest ``choice.applied``; 0 when there is none. Raises ``JournalUnavailable``."""


class Outbox:
    """Applies list changes from the journal to Redis, in order. Safe to run in many threads and processes.

    ``calls`` tells how a number stands where one record does not say it; ``restarted`` is told, in a sentence, when all
    of the journal has to be applied again.
    """

    def __init__(
        self,
        journal: Journal,
        calls: ChoiceRecords,
        lists: ListChanges,
        clock: Callable[[], datetime],
        restarted: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._calls = calls
        self._lists = lists
        self._clock = clock
        self._restarted = restarted
        self._turn = threading.Lock()
        self._told = 0
        """The last choice that this process has recorded as in force; that record may still be on its way."""
        self._sharing = threading.Lock()
        self._shared: Future[int] | None = None
        self._hurry = ThreadPoolExecutor(1, thread_name_prefix="catch-up")

    def drain(self, progress: Progress | None = None) -> int:
        """Apply everything that is due; returns how many records this call applied.

        Raises ``LookupUnavailable`` or ``JournalUnavailable`` when one of them is; nothing is lost then.
        """
        count = restarts = 0
        with self._turn:
            self._lists.require_no_eviction()
            self._lists.settle_losses()
            while True:
                mark = self._lists.applied()
                if mark is None or not self._knows(mark):
                    if restarts == _RESTARTS:
                        raise LookupUnavailable("Redis forgets how far it has come as soon as it was told")
                    restarts += 1
                    self._restart(mark)
                    continue
                records = self._journal.list_changes(mark.seq, _BATCH)
                if not records:
                    return count
                upto = self._known_mark(records[-1].seq)
                inherited = self._lists.inherited()
                in_force = max(inherited, self._calls.last_applied() if _CHOICES & {one.type for one in records} else 0)
                standings = self._standings(records, inherited)
                plain = [one for one in records if one.seq > inherited or one.type is not EventType.OPTOUT_ADDED]
                if self._lists.apply(plain, mark, upto, standings):
                    count += len(records)
                    self._record_applied(records, in_force)
                    if progress is not None:
                        progress("applying", upto.seq, self._journal.state().restriction_watermark)

    def replay(self, progress: Progress, *, take_over: bool) -> int:
        """Apply all of the journal again, whatever Redis holds; returns the number of the last record applied.

        With ``take_over``, also when Redis holds the lists of another journal. Raises as ``drain``.
        """
        with self._turn:
            self._lists.reset(self._head(), take_over=take_over)
        self.drain(progress)
        mark = self._lists.applied()
        return mark.seq if mark is not None else 0

    def drain_recorded(self) -> None:
        """``drain`` for a caller whose change is in the journal: an error then says that nothing is lost."""
        try:
            self.drain()
        except LookupUnavailable as error:
            error.add_note("it is recorded, and will be in force as soon as Redis is back")
            raise

    def catch_up(self, deadline: Deadline) -> None:
        """``drain`` for callers in a hurry: one thread does it for all of them, and goes on when they have left.

        Raises as ``drain``, and ``LookupTimedOut`` when it has not ended by ``deadline``.
        """
        with self._sharing:
            if self._shared is None or self._shared.done():
                self._shared = self._hurry.submit(self.drain)
            shared = self._shared
        try:
            shared.result(deadline.remaining_s())
        except TimeoutError as error:
            raise LookupTimedOut("Redis could not be brought forward in time") from error

    def has_applied(self, seq: int, deadline: Deadline) -> bool:
        """Whether record ``seq`` of this journal is in force in Redis. Raises as ``catch_up``."""
        mark = self._lists.applied(deadline)
        return mark is not None and self._knows(mark) and mark.seq >= seq

    def lag(self, deadline: Deadline | None = None) -> int:
        """How many list changes Redis has yet to apply, counted up to one batch."""
        return self.backlog(self.applied(deadline)).records

    def applied(self, deadline: Deadline | None = None) -> int:
        """The last record that Redis has applied; 0 when it stands nowhere in this journal."""
        mark = self._lists.applied(deadline)
        return mark.seq if mark is not None and self._knows(mark) else 0

    def backlog(self, applied: int) -> Backlog:
        """What waits when Redis has come to record ``applied``. Raises ``JournalUnavailable``."""
        waiting = self._journal.list_changes(applied, _BATCH)
        oldest = max(self._clock() - waiting[0].at, timedelta()) if waiting else timedelta()
        return Backlog(records=len(waiting), oldest=oldest)

    def _standings(self, records: Sequence[Record], inherited: int) -> dict[str, Standing]:
        """How those numbers stand after ``records`` for which the records do not simply add up."""
        last = max(records[-1].seq, inherited)
        by_number: dict[str, list[Record]] = {}
        try:
            for record in records:
                if record.type in (FOLDED_ANEW if record.seq > inherited else STANDING_EVENTS):
                    by_number.setdefault(str(record.body["number"]), []).append(record)
            return {
                number: standing_by(news, self._calls.choices_of(number, last), inherited)
                for number, news in by_number.items()
            }
        except KeyError as error:
            raise JournalUnavailable(f"a record up to {last} was altered: it has no {error}") from error

    def _record_applied(self, records: Sequence[Record], in_force: int) -> None:
        """Record when choices came into force; not again when they are applied anew, to a Redis that forgot them.

        Those up to ``in_force`` had been in force before, for they come into force in their order. One of which nothing
        says since when, because a process was killed between the two, must not be said to be in force since now.
        """
        now, told = self._clock(), max(self._told, in_force)
        for record in records:
            if record.type not in _CHOICES or record.seq <= told:
                continue
            call = record.body["call"]
            of_call = self._calls.of_call(str(call))
            if any(one.type is EventType.CHOICE_APPLIED and one.body["choice"] == record.seq for one in of_call):
                continue
            body: dict[str, JsonValue] = {
                "call": call,
                "number": record.body["number"],
                "choice": record.seq,
                "after_ms": max(0, round((now - record.at).total_seconds() * 1000)),
            }
            self._journal.append_later([Event(EventType.CHOICE_APPLIED, body)])
            self._told = record.seq

    def _knows(self, mark: Mark) -> bool:
        return self._journal.mark(mark.seq) == mark

    def _known_mark(self, seq: int) -> Mark:
        mark = self._journal.mark(seq)
        assert mark is not None
        return mark

    def _head(self) -> Mark:
        return self._known_mark(self._journal.state().seq)

    def _restart(self, mark: Mark | None) -> None:
        self._lists.restart(mark, self._head())
        if mark is not None:
            self._told = 0
            self._restarted(
                f"Redis had applied record {mark.seq}, which this journal does not hold: it was restored from a "
                "backup, and the records after that are lost; all that it holds is applied to Redis again"
            )
