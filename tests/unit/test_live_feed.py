"""The live view's feed: every watcher sees every call once, whenever he came and however slow he is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest

from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import EventType, Record
from agent.entrypoints.dashboard import live
from agent.entrypoints.dashboard.live import Calls, LiveFeed

WAIT_S = 10.0


class FakeTail:
    """A journal in memory, in which every record is a screening."""

    def __init__(self) -> None:
        self.length = 0
        self.looks = 0
        self.broken = False

    def head(self) -> int:
        """Its end."""
        self.looks += 1
        if self.broken:
            raise JournalUnavailable("locked")
        return self.length

    def screened(self, after: int, upto: int, limit: int) -> tuple[Sequence[Record], bool]:
        """The newest."""
        seqs = range(max(after + 1, upto - limit + 1), upto + 1)
        return [Record(seq, datetime.now(UTC), EventType.CALL_SCREENED, {}) for seq in seqs], upto - after > limit


class Viewer:
    """Somebody who watches, until a call."""

    def __init__(self, feed: LiveFeed, after: int) -> None:
        self.seen: list[int] = []
        self.batches: list[Calls] = []
        self._feed = feed
        self._after = after

    async def until(self, seq: int) -> None:
        """Watch until that call was seen."""
        watching = self._feed.watch(self._after)
        async for calls in watching:
            self.batches.append(calls)
            self.seen += [record.seq for record in calls.records]
            if seq in self.seen:
                break
        await watching.aclose()  # type: ignore[attr-defined]


def with_feed(act: Callable[[FakeTail, LiveFeed], Awaitable[None]]) -> None:
    """Run a feed meanwhile."""

    async def run() -> None:
        tail = FakeTail()
        feed = LiveFeed(tail)
        running = asyncio.create_task(feed.run())
        try:
            await asyncio.wait_for(act(tail, feed), WAIT_S)
        finally:
            running.cancel()

    asyncio.run(run())


def test_each_watcher_sees_every_call_once_from_where_he_was() -> None:
    """One who was here long ago, one who is new, one who comes while calls do."""

    async def act(tail: FakeTail, feed: LiveFeed) -> None:
        tail.length = 20
        old, new = Viewer(feed, after=5), Viewer(feed, after=20)
        first = asyncio.gather(old.until(60), new.until(60))
        late = None
        for length in range(21, 61):
            tail.length = length
            if length == 40:
                late = Viewer(feed, after=30)
                last = asyncio.create_task(late.until(60))
            await asyncio.sleep(0.005)
        await first
        await last
        assert late
        assert (old.seen, new.seen, late.seen) == ([*range(6, 61)], [*range(21, 61)], [*range(31, 61)])

    with_feed(act)


def test_of_more_calls_than_fit_the_newest_are_shown_and_it_is_said() -> None:
    """A watcher who comes back after a night, or a burst."""

    async def act(tail: FakeTail, feed: LiveFeed) -> None:
        tail.length = 5_000
        viewer = Viewer(feed, after=1)
        await viewer.until(5_000)
        assert viewer.seen == [*range(5_001 - live.BATCH, 5_001)]
        assert viewer.batches[0].left_out

    with_feed(act)


def test_a_journal_that_comes_back_goes_on_where_it_was() -> None:
    """And one that was restored from a backup is followed from its end."""

    async def act(tail: FakeTail, feed: LiveFeed) -> None:
        tail.length = 10
        viewer = Viewer(feed, after=10)
        watching = asyncio.create_task(viewer.until(12))
        await until(lambda: tail.looks > 2)
        tail.broken, tail.length, before = True, 12, tail.looks
        await until(lambda: tail.looks > before + 2)
        tail.broken = False
        await watching
        assert viewer.seen == [11, 12]

    with_feed(act)


def test_without_calls_a_watcher_hears_that_there_were_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that both ends know the other is there."""
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)

    async def act(tail: FakeTail, feed: LiveFeed) -> None:
        watching = feed.watch(0)
        beat = await anext(watching)
        assert beat.records == ()

    with_feed(act)


def test_nobody_looks_at_the_journal_while_nobody_watches() -> None:
    """A dashboard that is open nowhere costs nothing."""

    async def act(tail: FakeTail, feed: LiveFeed) -> None:
        tail.length = 1
        await Viewer(feed, after=0).until(1)
        await until(lambda: not feed._awake.is_set())
        before = tail.looks
        await asyncio.sleep(3 * live.POLL_S)
        assert tail.looks == before

    with_feed(act)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something to be seen; the caller's time is bounded."""
    while not true():  # noqa: ASYNC110  # what is waited for is not of this loop
        await asyncio.sleep(0.01)
