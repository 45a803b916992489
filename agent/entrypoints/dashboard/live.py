"""Screened calls as they happen: one reader of the journal, whoever watches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from anyio import CapacityLimiter, to_thread

from agent import logs
from agent.domain.errors import BmnError
from agent.domain.journal_events import Record

POLL_S: Final = 0.1
HEARTBEAT_S: Final = 10.0
"""After so long without calls a watcher is told that there were none."""
BATCH: Final = 200
"""As many calls are shown of one look at the journal; of more, the newest."""
_WAITING: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Newly screened calls, the oldest first."""

    upto: int
    """The journal record up to which was looked."""
    records: Sequence[Record]
    left_out: bool = False
    """That there were older ones in the same look, for which there is no room."""


class Tail(Protocol):
    """The end of the journal."""

    def head(self) -> int:
        """Its newest record. Raises ``JournalUnavailable``."""

    def screened(self, after: int, upto: int, limit: int) -> tuple[Sequence[Record], bool]:
        """The newest ``limit`` screenings in between, the oldest first, and whether there were more.

        A verdict that Asterisk did not confirm is one more, with the record that says so.
        """


@dataclass(slots=True, eq=False)
class Watcher:
    """One browser that watches."""

    queue: asyncio.Queue[Calls] = field(default_factory=lambda: asyncio.Queue(_WAITING))
    behind: bool = False
    """That it did not keep up, and has to ask again from where it is."""


class LiveFeed:
    """Looks at the journal while somebody watches, in a thread of its own, and tells every watcher."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._watchers: set[Watcher] = set()
        self._thread = CapacityLimiter(1)
        self._wanted = asyncio.Event()
        self._awake = asyncio.Event()
        """Set while it looks, from a record on that no later watcher's own look can be before."""

    async def run(self) -> None:
        """Look until cancelled."""
        seen: int | None = None
        failing = False
        while True:
            if not self._watchers:
                seen = None
                self._awake.clear()
                self._wanted.clear()
                await self._wanted.wait()
            try:
                seen, calls = await to_thread.run_sync(self._look, seen, limiter=self._thread)
            except BmnError as error:
                if not failing:
                    logs.logger().error(logs.DASHBOARD_BLIND, why=str(error))
                failing = True
            else:
                failing = False
                self._awake.set()
                if calls is not None:
                    self._tell(calls)
            await asyncio.sleep(POLL_S)

    def _look(self, seen: int | None) -> tuple[int, Calls | None]:
        head = self._tail.head()
        if seen is None or head <= seen:  # less: the journal was restored from a backup
            return head, None
        records, left_out = self._tail.screened(seen, head, BATCH)
        return head, Calls(upto=head, records=records, left_out=left_out) if records else None

    def _tell(self, calls: Calls) -> None:
        for watcher in self._watchers:
            try:
                watcher.queue.put_nowait(calls)
            except asyncio.QueueFull:
                watcher.behind = True

    @contextlib.contextmanager
    def _watching(self) -> Iterator[Watcher]:
        watcher = Watcher()
        self._watchers.add(watcher)
        self._wanted.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def watch(self, after: int) -> AsyncIterator[Calls]:
        """Every call screened after that record, without a gap and without repeats, for ever.

        Without any for ``HEARTBEAT_S``, that there was none.
        """
        with self._watching() as watcher:
            told = after
            await self._awake.wait()
            while True:
                head, calls = await to_thread.run_sync(self._look, told, limiter=self._thread)
                told, watcher.behind = head, False
                if calls is not None:
                    yield calls
                while not watcher.behind:
                    try:
                        new = await asyncio.wait_for(watcher.queue.get(), HEARTBEAT_S)
                    except TimeoutError:
                        yield Calls(upto=told, records=())
                        continue
                    if fresh := [record for record in new.records if record.seq > told]:
                        yield replace(new, records=fresh)
                    told = max(told, new.upto)
