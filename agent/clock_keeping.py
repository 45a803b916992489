"""The clock against the journal: calls stop while it is behind, and go on when somebody vouches for it.

A clock that was ahead once and is right again must not stop a site until that time has come, and one that was set back
must not make an old register fresh. Only something outside can say which of the two it was: what keeps the clock right,
or a person. Their word is a record, so that the order of the journal explains its times.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from agent.domain.clock import behind, is_behind
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType
from agent.domain.ports import Journal

SYNCHRONISED: Final = "system"
"""Vouches for a clock that the kernel calls synchronised: it loses that word when somebody sets it by hand."""


class ClockKeeping:
    """Compares the clock with the journal. ``synchronised`` says whether something keeps it right; None: not known."""

    def __init__(
        self, journal: Journal, clock: Callable[[], datetime], synchronised: Callable[[], bool | None]
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._synchronised = synchronised

    def problem(self) -> str:
        """Why the clock is not believed, in a sentence; empty when it is. Raises ``JournalUnavailable``."""
        now, newest_at = self._clock(), self._journal.state().newest_at
        return behind(now, newest_at) if newest_at is not None and is_behind(now, newest_at) else ""

    def settle(self, deadline: Deadline) -> bool:
        """Believe a clock that is behind when the system calls it synchronised; whether it did so now.

        Raises ``JournalUnavailable``.
        """
        return bool(self.problem()) and self._synchronised() is True and self.trust(SYNCHRONISED, deadline)

    def trust(self, by: str, deadline: Deadline) -> bool:
        """Record that ``by`` vouches for the clock, so that calls go on; False when it is not behind.

        Raises ``JournalUnavailable``.
        """
        now, newest_at = self._clock(), self._journal.state().newest_at
        if newest_at is None or not is_behind(now, newest_at):
            return False
        body = {"newest_at": newest_at.isoformat(), "now": now.astimezone(UTC).isoformat(), "by": by}
        self._journal.append([Event(EventType.CLOCK_JUMPED, body)], deadline)
        return True
