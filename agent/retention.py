"""Retention: bodies of records go when their period is over, and the chain stays whole.

Each transaction removes a few bodies and appends a ``journal.purged`` that counts them, so that a purge that was cut
off leaves nothing to repair. Between two of them others may write for at least as long: calls go on meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from agent.domain.clock import behind, is_behind
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected
from agent.domain.journal_events import Event, EventType, Record
from agent.domain.ports import CallRecords, Progress
from agent.domain.retention import AGED_ALONE, KIND_OF, Aged, Kind, is_pending, spent

_CHUNK: Final = 1_000
"""Bodies in one transaction, which takes some 20 ms."""
_APPEND_TIMEOUT_MS: Final = 10_000
_LEAST_PAUSE_S: Final = 0.02
_CLOCK_JUMP: Final = timedelta(days=31)
"""A clock that went on by more than this between two records is taken for wrong: what it would purge cannot be brought
back. That is looked for where the last such time began, for a service that starts with a wrong clock writes, too."""


class PurgeRecords(Protocol):
    """The journal as a purge sees it. Raises ``JournalUnavailable``."""

    def made_at(self, seq: int) -> datetime | None:
        """When record ``seq`` was made; None when there is none."""

    def last_before(self, until: datetime) -> int:
        """The last record that was made before then, where the clock only went forward."""

    def aged(self, until: Mapping[EventType, datetime], after: int, last: int, limit: int) -> list[Aged]:
        """Up to ``limit`` records after ``after``, up to ``last``, each made before what its type says, in order."""

    def numbers(self, until: datetime) -> list[str]:
        """The numbers (E.164) that have a record which is looked at number by number, and was made before then."""

    def of_number(self, number: str) -> list[Record]:
        """The records of a number that are looked at together, in order."""

    def newest_at(self) -> datetime | None:
        """The highest time of its records since a clock was last put right."""

    def restriction_watermark(self) -> int:
        """The newest record that may turn an allow into a block: screening looks for it, so it stays."""

    def purge(self, event: Event, seqs: Sequence[int], deadline: Deadline) -> None:
        """Append ``event`` and remove the bodies of ``seqs``, in one transaction."""

    def wipe(self) -> bool:
        """Have nothing of them left in the file's log of writes; False when somebody was reading it all the time."""

    def vacuum(self) -> None:
        """Write the whole file anew; nobody else can write meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """What a purge did, or would do."""

    counts: Mapping[EventType, int]
    until: Mapping[Kind, datetime]
    wiped: bool

    @property
    def count(self) -> int:
        """Bodies in all."""
        return sum(self.counts.values())


class Retention:
    """The use case behind ``bmn journal purge``. ``by`` is the system user who asks."""

    def __init__(
        self,
        *,
        records: PurgeRecords,
        calls: CallRecords,
        days: Mapping[Kind, int],
        clock: Callable[[], datetime],
        synchronised: Callable[[], bool | None],
        pause: Callable[[float], None],
        by: str,
    ) -> None:
        """``days`` is how long each kind is kept; ``pause`` waits for so many seconds.

        ``synchronised`` tells whether something keeps the clock right; None when that is not known.
        """
        self._records = records
        self._calls = calls
        self._days = days
        self._clock = clock
        self._synchronised = synchronised
        self._pause = pause
        self._by = by

    def purge(self, progress: Progress, *, dry_run: bool, trust_clock: bool = False, vacuum: bool = False) -> Purge:
        """Remove what is past its period. With ``dry_run``, only count it.

        Raises ``InputRejected`` for a clock that may be wrong, or when another purge is at work.
        """
        now = self._clock()
        if not (trust_clock or dry_run):  # who only looks loses nothing
            self._check_clock(now)
        until = {kind: now - timedelta(days=days) for kind, days in self._days.items()}
        kept = self._records.restriction_watermark()
        counts: Counter[EventType] = Counter()
        for found in self._chunks(until, progress):
            going = [one for one in found if one.seq != kept]
            counts.update(one.type for one in going)
            if going and not dry_run:
                self._remove(going, until)
        wiped = True
        if not dry_run:
            if vacuum:
                self._records.vacuum()
            wiped = self._records.wipe()
        return Purge(counts={event: counts[event] for event in EventType if counts[event]}, until=until, wiped=wiped)

    def _check_clock(self, now: datetime) -> None:
        newest_at = self._records.newest_at()
        if newest_at is not None and is_behind(now, newest_at):
            raise InputRejected(f"{behind(now, newest_at)}; nothing was purged")
        advice = "set the clock, or add --trust-clock if it is right; a body that is gone cannot be brought back"
        if self._synchronised() is False:
            raise InputRejected(f"nothing keeps the clock of this machine right, which says {now:%Y-%m-%d}: {advice}")
        last = self._records.last_before(now - _CLOCK_JUMP)
        before, after = self._records.made_at(last), self._records.made_at(last + 1)
        if before is not None and (after is None or after - before > _CLOCK_JUMP):
            then = "there is none after it" if after is None else f"the next one of {after:%Y-%m-%d}"
            raise InputRejected(
                f"record {last} is of {before:%Y-%m-%d}, {then}, and the clock of this machine says {now:%Y-%m-%d}: "
                f"{advice}"
            )

    def _remove(self, going: Sequence[Aged], until: Mapping[Kind, datetime]) -> None:
        counts = Counter(str(one.type) for one in going)
        event = Event(
            EventType.JOURNAL_PURGED,
            {
                "count": len(going),
                "counts": {name: counts[name] for name in sorted(counts)},
                "first_at": min(one.at for one in going).isoformat(),
                "last_at": max(one.at for one in going).isoformat(),
                "until": {str(kind): moment.isoformat() for kind, moment in until.items()},
                "by": self._by,
            },
        )
        began = time.monotonic()
        self._records.purge(event, [one.seq for one in going], Deadline.after_ms(_APPEND_TIMEOUT_MS))
        self._pause(max(_LEAST_PAUSE_S, time.monotonic() - began))

    def _chunks(self, until: Mapping[Kind, datetime], progress: Progress) -> Iterator[list[Aged]]:
        pending = {call for call in self._calls.registering_calls() if is_pending(self._calls.of_call(call))}
        ages = {event: until[kind] for event, kind in KIND_OF.items() if kind in AGED_ALONE}
        after, last = 0, self._records.last_before(max(ages.values()))
        while found := self._records.aged(ages, after, last, _CHUNK):
            yield [one for one in found if one.call not in pending]
            after = found[-1].seq
            progress("records", after, last)
        chunk: list[Aged] = []
        numbers = self._records.numbers(max(until[Kind.CHOICES], until[Kind.LISTS]))
        for done, number in enumerate(numbers, 1):
            records = self._records.of_number(number)
            going = spent(records, until)
            chunk += [_aged(record) for record in records if record.seq in going]
            if len(chunk) >= _CHUNK:  # a number's records go together, or not at all
                yield chunk
                chunk = []
            progress("numbers", done, len(numbers))
        if chunk:
            yield chunk


def _aged(record: Record) -> Aged:
    call = record.body.get("call")
    return Aged(
        seq=record.seq, at=record.at.astimezone(UTC), type=record.type, call=None if call is None else str(call)
    )
