"""The outbox to the registrar: what is due, handing it over exactly once, and what came back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from agent.domain.choice import Charities
from agent.domain.clock import behind, is_behind
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.ports import CallRecords, Journal
from agent.domain.profile import Profile
from agent.domain.registration import (
    Acknowledgement,
    AcknowledgementFile,
    Due,
    Registration,
    RegistrationState,
    registration,
)
from agent.domain.wording import wrong_lines

_APPEND_TIMEOUT_MS: Final = 10_000


class Draft(Protocol):
    """A batch on disk under a temporary name."""

    def publish(self) -> None:
        """Give it its name. The file is there whole or not at all."""


class RegistrationFiles(Protocol):
    """Where batches are written."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Only one export at a time, over all processes on this journal."""

    def draft(self, path: Path, rows: Sequence[Mapping[str, JsonValue]]) -> AbstractContextManager[Draft]:
        """Write ``rows``, bodies of ``registration.exported``, beside ``path``; gone again when it is not published.

        Raises ``InputRejected`` when ``path`` exists.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A batch that was written."""

    batch: str
    count: int
    waiting: int
    """Registrations of calls that may still be going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What a file of the registrar changed."""

    accepted: int
    rejected: int
    unchanged: int


class Registrations:
    """The use cases behind ``bmn registrations``. ``by`` is the system user who asks."""

    def __init__(
        self,
        *,
        journal: Journal,
        calls: CallRecords,
        files: RegistrationFiles,
        profiles: Mapping[str, Profile],
        clock: Callable[[], datetime],
        settle: timedelta,
        by: str,
    ) -> None:
        """``settle`` is how long a call must have been silent before its registration is handed over."""
        self._journal = journal
        self._calls = calls
        self._files = files
        self._profiles = profiles
        self._clock = clock
        self._settle = settle
        self._by = by

    def all(self) -> Iterator[Registration]:
        """Every registration, the oldest call first."""
        for call in self._calls.registering_calls():
            found = registration(self._calls.of_call(call))
            if found is not None:
                yield found

    def due(self, item: Registration) -> datetime:
        """When it must be with the registrar at the latest."""
        return item.due(self._profiles[item.profile].registration_days, self._clock())

    def nearness(self, item: Registration) -> Due | None:
        """How near its deadline is; None where the registrar must not get it any more."""
        now = self._clock()
        due = item.due(self._profiles[item.profile].registration_days, now)
        return Due.of(due - now) if item.is_undelivered else None

    def is_overdue(self, item: Registration) -> bool:
        """Whether its time is over and the registrar does not have it as the consumer wants it."""
        return self.nearness(item) is Due.OVERDUE

    def export(self, path: Path, *, rejected: bool = False) -> Exported | None:
        """Hand over what is pending (or what was ``rejected``) as a new batch; None when there is nothing.

        The journal has the batch before the file has its name: what was exported once is never in another batch, and a
        file that was lost can be written again by ``rewrite``. Raises ``InputRejected`` while the clock is behind the
        journal: then nobody knows which calls are over.
        """
        newest_at = self._journal.state().newest_at
        if newest_at is not None and is_behind(self._clock(), newest_at):
            raise InputRejected(f"{behind(self._clock(), newest_at)}; nothing was handed over")
        wanted = RegistrationState.REJECTED if rejected else RegistrationState.PENDING
        with self._files.exclusive():
            open_items = [item for item in self.all() if item.state is wanted]
            items = [item for item in open_items if item.is_settled(self._clock(), self._settle)]
            if not items:
                return None
            batch = f"{self._clock():%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
            events = [self._exported(item, batch) for item in items]
            with self._files.draft(path, [event.body for event in events]) as draft:
                self._journal.append(events, Deadline.after_ms(_APPEND_TIMEOUT_MS))
                draft.publish()
        return Exported(batch=batch, count=len(items), waiting=len(open_items) - len(items))

    def rewrite(self, batch: str, path: Path) -> Exported:
        """Write a batch once more, as it was. Raises ``InputRejected`` when there is no such batch."""
        rows = [record.body for record in self._calls.exported(batch)]
        if not rows:
            raise InputRejected(f"there is no batch {batch} (bmn registrations status shows them)")
        with self._files.draft(path, rows) as draft:
            draft.publish()
        return Exported(batch=batch, count=len(rows), waiting=0)

    def acknowledge(self, file: AcknowledgementFile) -> Acknowledged:
        """Record what the registrar answered. Raises ``InputRejected``, with nothing recorded, for a wrong line."""
        known = {item.call: item for item in self.all() if item.batch is not None}
        problems = [
            f"{file.name}, line {row.line}: {problem}" for row in file.rows if (problem := _problem(row, known))
        ]
        if problems:
            lines = wrong_lines(len(problems), len(file.rows))
            raise InputRejected.listing(f"{lines}, so nothing was recorded", problems)
        changed = [row for row in file.rows if not _is_known(row, known[row.call])]
        if changed:
            events = [self._acknowledged(row, known[row.call], file) for row in changed]
            self._journal.append(events, Deadline.after_ms(_APPEND_TIMEOUT_MS))
        accepted = sum(row.accepted for row in changed)
        return Acknowledged(
            accepted=accepted, rejected=len(changed) - accepted, unchanged=len(file.rows) - len(changed)
        )

    def _exported(self, item: Registration, batch: str) -> Event:
        body: dict[str, JsonValue] = {
            "batch": batch,
            "call": item.call,
            "number": item.number.e164,
            "campaign": item.campaign,
            "seller": item.seller,
            "profile": item.profile,
            "action": item.action,
            "wished_at": item.wished_at.isoformat(),
            "scope": item.wish.scope,
            "sector": item.sector,
            "charities": item.wish.charities,
            "by": self._by,
        }
        return Event(EventType.REGISTRATION_EXPORTED, body)

    def _acknowledged(self, row: Acknowledgement, item: Registration, file: AcknowledgementFile) -> Event:
        body: dict[str, JsonValue] = {
            "batch": row.batch or item.batch,
            "call": item.call,
            "number": item.number.e164,
            "accepted": row.accepted,
            "reason": row.reason,
            "file": file.name,
            "sha256": file.sha256,
            "by": self._by,
        }
        return Event(EventType.REGISTRATION_ACKNOWLEDGED, body)


def charity_unanswered(item: Registration) -> bool:
    """Whether the question of charities was not answered: asked explicitly, it has no default."""
    return item.state is not RegistrationState.WITHDRAWN and item.wish.charities is Charities.NOT_ANSWERED


def _problem(row: Acknowledgement, known: Mapping[str, Registration]) -> str | None:
    item = known.get(row.call)
    if item is None:
        return f"call {row.call!r} is in no batch that was exported"
    if row.batch and row.batch != item.batch and row.batch not in item.answers:
        return f"call {row.call} was not handed over last in batch {row.batch}, but in {item.batch}"
    if row.number and row.number != item.number.e164:
        return f"the number is not the one that was exported for call {row.call}"
    if not row.accepted and row.reason is None:
        return "a rejection needs a reason"
    return None


def _is_known(row: Acknowledgement, item: Registration) -> bool:
    """Whether the registrar said just this before of that batch."""
    known = item.answers.get(row.batch or item.batch or "")
    return known is not None and (known.accepted, known.reason) == (row.accepted, row.reason)
