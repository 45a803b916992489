"""The outbox: what the journal holds and Redis does not yet.

The journal is the truth; Redis is its projection. How far Redis has come stands in Redis itself and moves in the same
transaction as the lists. So there is no second queue that could disagree: a Redis that restarts empty, is restored
from an old snapshot or fails over to a replica that lags simply stands further back, and the same few lines bring it
forward.
"""

from __future__ import annotations

from typing import Final

from agent.domain.errors import LookupUnavailable
from agent.domain.ports import Journal, ListChanges

_BATCH: Final = 2_000


class Outbox:
    """Applies list changes from the journal to Redis, in order and exactly once. Safe to run in many processes."""

    def __init__(self, journal: Journal, lists: ListChanges) -> None:
        self._journal = journal
        self._lists = lists

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
            if self._lists.apply(records, after):
                count += len(records)

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
