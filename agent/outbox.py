"""The outbox: what the journal holds and Redis does not yet.

The journal is the truth; Redis is its projection. How far Redis has come stands in Redis itself and moves in the same
transaction as the lists. So there is no second queue that could disagree: a Redis that restarts empty, is restored
from an old snapshot or fails over to a replica that lags simply stands further back, and the same few lines bring it
forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from agent.domain.errors import LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue, Record
from agent.domain.ports import CallRecords, Journal, ListChanges
from agent.domain.standing import FOLDED_ANEW, Standing, standing

_BATCH: Final = 2_000


class Outbox:
    """Applies list changes from the journal to Redis, in order and exactly once. Safe to run in many processes."""

    def __init__(self, journal: Journal, calls: CallRecords, lists: ListChanges, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._calls = calls
        self._lists = lists
        self._clock = clock

    def drain(self) -> int:
        """Apply everything that is due; returns how many records this call applied.

        Raises ``LookupUnavailable`` or ``JournalUnavailable`` when one of them is; nothing is lost then.
        """
        count = 0
        while True:
            after = self._lists.applied()
            records = self._journal.list_changes(after, _BATCH)
            if not records:
                return count
            if self._lists.apply(records, after, self._standings(records)):
                count += len(records)
                self._record_applied(records)

    def _standings(self, records: Sequence[Record]) -> dict[str, Standing]:
        """How the numbers stand after ``records`` whose records do not simply add up."""
        numbers = {str(record.body["number"]) for record in records if record.type in FOLDED_ANEW}
        last = records[-1].seq
        return {number: standing(self._calls.choices_of(number, last)) for number in numbers}

    def _record_applied(self, records: Sequence[Record]) -> None:
        """Record when choices came into force; not again when they are applied anew, to a Redis that forgot them."""
        now = self._clock()
        for record in records:
            if record.type not in (EventType.CHOICE_RECORDED, EventType.CHOICE_UNDONE):
                continue
            call, number = str(record.body["call"]), str(record.body["number"])
            of_call = self._calls.of_call(call)
            if any(one.type is EventType.CHOICE_APPLIED and one.body["choice"] == record.seq for one in of_call):
                continue
            after_ms = max(0, round((now - record.at).total_seconds() * 1000))
            body: dict[str, JsonValue] = {"call": call, "number": number, "choice": record.seq, "after_ms": after_ms}
            self._journal.append_later(Event.of(EventType.CHOICE_APPLIED, body))

    def drain_recorded(self) -> None:
        """``drain`` for a caller whose change is in the journal: an error then says that nothing is lost."""
        try:
            self.drain()
        except LookupUnavailable as error:
            error.add_note("it is recorded, and will be in force as soon as Redis is back")
            raise

    def lag(self) -> int:
        """How many list changes Redis has yet to apply, counted up to one batch."""
        return len(self._journal.list_changes(self._lists.applied(), _BATCH))
