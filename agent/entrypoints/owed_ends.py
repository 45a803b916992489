"""Ends of calls that were reported, and of which nothing could be recorded yet: they are kept, and tried again.

A report says less than a record does; what it is about stands in the journal. When that could not be read (no
descriptor is left), or nobody was free to do so (no thread can be had, too many dialogues are open), the report itself
waits here. It counts as a record that waits for the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

from agent import logs
from agent.domain.errors import NothingKept
from agent.domain.watch import Watch
from agent.entrypoints import time_limits

_AGAIN_S: Final = 0.05

Attempt = Callable[[], bool]
"""Records what was reported; False when that must wait for something else. Raises ``NothingKept`` as long as the
journal cannot be read."""


class OwedEnds:
    """Thread-safe; ``settle`` is for one thread at a time."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._waiting: deque[Attempt] = deque()

    @property
    def waiting(self) -> int:
        """How many there are."""
        return len(self._waiting)

    def owe(self, attempt: Attempt) -> None:
        """Keep one; it is lost, and counted, when too many wait already."""
        if len(self._waiting) < time_limits.OWED_ENDS:
            self._waiting.append(attempt)
        else:
            self._watch.records_lost(1)

    def settle(self) -> None:
        """Try each of them once, in their order, as long as the journal can be read."""
        for _ in range(len(self._waiting)):
            attempt, done = self._waiting[0], True
            try:
                done = attempt()
            except NothingKept:
                return
            except Exception as error:  # noqa: BLE001  # it would fail again, and keep the others waiting
                self._watch.records_lost(1)
                logs.logger().error(logs.RECORDS_LOST, count=1, exc_info=error)
            self._waiting.popleft()
            if not done:
                self._waiting.append(attempt)

    def settle_within(self, wait_s: float) -> int:
        """Try until all are recorded, for so long; how many are left, which are lost when the process ends now."""
        until = monotonic() + wait_s
        while self._waiting:
            self.settle()
            if not self._waiting or monotonic() >= until:
                break
            sleep(_AGAIN_S)
        return len(self._waiting)
